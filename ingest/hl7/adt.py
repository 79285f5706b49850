"""Admissions, transfers and discharges: what an ADT message says of a patient. Pure.

What becomes of it, given who lies where already, ``care.admissions`` decides.
"""

from datetime import tzinfo

from ingest.hl7.message import Message, Segment
from ingest.hl7.times import parse_time
from schemas.admissions import Admission
from schemas.errors import DecodeError


def admission_of(
    message: Message, event: str, bed: str | None, zone: tzinfo, received_ns: int
) -> Admission:
    """Return what an ADT message says; raise DecodeError when it does not say of whom."""
    pid, pv1 = message.first("PID"), message.first("PV1")
    evn, mrg = message.first("EVN"), message.first("MRG")
    patient = _identifier(pid)
    visit = pv1.component(19) if pv1 is not None else ""
    if not patient and not visit:
        raise DecodeError("identity", "PID-3 and PV1-19 are empty: of whom is this?")
    merged = mrg.component(1) if mrg is not None else ""
    if event == "A40" and not merged:
        raise DecodeError("identity", "MRG-1 is empty: with whom is the patient merged?")
    times = [evn.component(6) if evn is not None else ""]
    if pv1 is not None:
        times.append(pv1.component(44 if event in ("A01", "A04") else 45 if event == "A03" else 0))
    times += [evn.component(2) if evn is not None else "", message.header.component(7)]
    at = next((t for text in times if (t := parse_time(text, zone)) is not None), received_ns)
    return Admission(
        event,
        patient,
        visit,
        at,
        bed,
        _name(pid),
        parse_time(pid.component(7), zone) if pid is not None else None,
        pid.component(8) if pid is not None else "",
        merged,
    )


def _identifier(pid: Segment | None) -> str:
    """Return the patient's identifier: a medical record number (MR, PI) before any other."""
    if pid is None:
        return ""
    first = ""
    for repetition in pid.repetitions(3):
        parts = [*repetition.split(pid.marks.component), "", "", "", ""]
        number = parts[0].strip()
        if number and parts[4].strip() in ("MR", "PI"):
            return number
        first = first or number
    return first or pid.component(2)


def _name(pid: Segment | None) -> str:
    """Return a name as people write it: Chinese without a blank, others given name first."""
    if pid is None:
        return ""
    parts = [*pid.components(5), "", "", ""]
    family, given, middle = (part.replace('""', "").strip() for part in parts[:3])
    if any(ord(c) > 0x2E7F for c in family + given):
        return family + given
    return " ".join(part for part in (given, middle, family) if part)
