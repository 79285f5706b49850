"""From the bytes of one frame to what became of it: the whole way, in one call. Pure."""

import re
from dataclasses import dataclass
from typing import Any

from ingest.hl7.acknowledge import Verdict, answer, code_of
from ingest.hl7.codes import UNKNOWN
from ingest.hl7.message import MAX_BYTES, Message, parse
from ingest.hl7.mllp import VT, Frame, FrameKind, Framer
from ingest.hl7.profiles import Profile, recognise
from ingest.hl7.translate import Memory, Outcome, Site, translate
from schemas.errors import DecodeError
from schemas.times import format_time
from schemas.vitals import Quality

HARMLESS = frozenset({"no_value", UNKNOWN, "wave"})
"""Reasons for which a message is not in error: sending it again would change nothing."""
_STARTS = re.compile(rb"(?:^|[\r\n]+)(?=MSH)")


@dataclass(slots=True)
class Read:
    """One message read: what it means, and the verdict on it as far as its content goes."""

    message: Message | None
    outcome: Outcome
    verdict: Verdict
    why: str = ""
    what: str = "data"

    def answer(self, number: str, now_ns: int) -> bytes | None:
        """Return what the sender is answered; None when nothing can or need be."""
        if self.message is None or self.message.kind[0] == "ACK":
            return None
        code = code_of(self.message, self.verdict)
        if code is None:
            return None
        return answer(self.message, code, self.why, self.what, number, now_ns)


def read(
    data: bytes, profiles: list[Profile], site: Site, memory: Memory, received_ns: int
) -> Read:
    """Return what a message is to us. Bytes that are none are a rejection, never an error here."""
    try:
        message = parse(data)
    except DecodeError as error:
        outcome = Outcome("", refused=(error.reason, str(error)))
        return Read(None, outcome, Verdict.REJECT, str(error))
    outcome = translate(message, recognise(profiles, message), site, memory, received_ns)
    if outcome.refused is not None:
        what, why = outcome.refused
        verdict = Verdict.REJECT if what in ("type", "event") else Verdict.ERROR
        return Read(message, outcome, verdict, why, what)
    wrong = [d for d in outcome.dropped if d.reason not in HARMLESS]
    if wrong and not outcome.usable:
        return Read(message, outcome, Verdict.ERROR, "; ".join(d.detail for d in wrong)[:200])
    return Read(message, outcome, Verdict.ACCEPT)


WHY = {
    FrameKind.HALF: "no end block (FS CR): the message may be cut off; send it again",
    FrameKind.TOO_LARGE: f"a message has at most {MAX_BYTES} bytes",
    FrameKind.NOISE: "no message: HL7 over MLLP starts with VT and MSH",
}


def read_frame(
    frame: Frame, profiles: list[Profile], site: Site, memory: Memory, received_ns: int
) -> Read:
    """Return what a frame is to us; of one that is no whole message, only who is to be answered."""
    if frame.kind is FrameKind.MESSAGE:
        return read(frame.data, profiles, site, memory, received_ns)
    head = frame.data.split(b"\r")[0].split(b"\n")[0]
    one = read(head, profiles, site, Memory(), received_ns)
    one.verdict = Verdict.ERROR if frame.kind is FrameKind.HALF else Verdict.REJECT
    one.why, one.what = WHY[frame.kind], "sequence"
    one.outcome = Outcome(one.outcome.profile, refused=(frame.kind, one.why))
    if frame.kind is FrameKind.NOISE:
        one.message = None
    return one


def frames_in(data: bytes) -> list[Frame]:
    """Return the messages of a file: framed, or one after the other, each beginning with MSH."""
    if VT in data:
        framer = Framer()
        return framer.feed(data) + framer.close()
    parts = _STARTS.split(data.removeprefix(b"\xef\xbb\xbf"))
    whole = [part for part in parts if part.strip(b"\r\n\x1c \x00")]
    return [Frame(FrameKind.MESSAGE, part, len(part)) for part in whole]


def describe(one: Read) -> dict[str, Any]:
    """Return what became of a message as JSON shows it."""
    out = one.outcome
    ack = code_of(one.message, one.verdict) if one.message is not None else f"A{one.verdict}"
    admission = out.admission
    return {
        "control_id": one.message.control_id if one.message is not None else "",
        "type": "^".join(one.message.kind) if one.message is not None else "",
        "profile": out.profile,
        "charset": one.message.charset if one.message is not None else "",
        "ack": ack,
        "error": one.why,
        "bed": out.bed,
        "device": out.device,
        "readings": [
            {
                "vital": r.vital,
                "value": r.value,
                "unit": r.unit,
                "time": format_time(r.time_ns),
                "code": r.code,
                "segment": r.segment,
                "reason": r.reason,
                "quality": str(r.quality if r.value is not None else Quality.MISSING),
            }
            for r in out.readings
        ],
        "waves": [
            {
                "channel": w.channel,
                "code": w.code,
                "unit": w.unit,
                "rate_hz": w.rate_hz,
                "scale": w.scale,
                "zero": w.zero,
                "time": None if w.start_ns is None else format_time(w.start_ns),
                "samples": len(w.samples),
            }
            for w in out.waves
        ],
        "alarms": [
            {
                "alarm": a.alarm,
                "phase": a.phase,
                "priority": str(a.priority),
                "type": a.type,
                "text": a.text,
                "time": format_time(a.time_ns),
                "code": a.code,
                "id": a.id,
            }
            for a in out.alarms
        ],
        "stay": None
        if admission is None
        else {"event": admission.event, "time": format_time(admission.at_ns), "bed": admission.bed},
        "dropped": [
            {"segment": d.segment, "code": d.code, "reason": d.reason, "detail": d.detail}
            for d in out.dropped
        ],
        "segments": [{"segment": name, "became": what} for name, what in out.became],
        "notes": out.notes,
    }
