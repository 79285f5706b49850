"""What Vigil knows as FHIR R4 resources, as plain dictionaries. Pure.

A patient here is a stay: opaque, its name sealed. Codes are LOINC, ISO/IEEE 11073-10101 and Vigil's
own; units UCUM. A value that must not be used is not there: ``dataAbsentReason`` says why. Source:
hl7.org/fhir/R4 (observation-vitalsigns, bp, SampledData).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.times import S, format_time, from_datetime
from schemas.vitals import COMMON_NAMES, KNOWN, QUALITY_CODE, Quality, unpack_status
from schemas.waves import CHANNELS, NO_SAMPLE

Resource = dict[str, Any]
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
MDC, OWN = "urn:iso:std:iso:11073:10101", "urn:x-vigil:vital"
OWN_RULE, OWN_STAY, OWN_ALERT = "urn:x-vigil:rule", "urn:x-vigil:stay", "urn:x-vigil:alert"
OWN_BED, OWN_DEVICE, OWN_OBSERVED = "urn:x-vigil:bed", "urn:x-vigil:device", "urn:x-vigil:observed"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
PROFILES = "http://hl7.org/fhir/StructureDefinition/"
PROFILED = {
    "hr": "heartrate",
    "rr": "resprate",
    "awrr": "resprate",
    "spo2": "oxygensat",
    "temp": "bodytemp",
}
"""Vitals whose observations follow a profile of FHIR's own."""
MORE_LOINC = {"spo2": ("2708-6", "59408-5"), "nibp_pr": (), "abp_pr": ()}
"""Where a vital's codes are not the one in the table: these rates are no heart rate (8867-4)."""
PRESSURES = {
    "nibp": ("无创血压", "Non-invasive blood pressure"),
    "abp": ("有创血压", "Invasive arterial pressure"),
    "bp": ("血压", "Blood pressure"),
    "pap": ("肺动脉压", "Pulmonary artery pressure"),
}
PARTS = {"sys": "8480-6", "dia": "8462-4", "mean": "8478-0"}
PANEL = "85354-9"
ABSENT_BECAUSE = {
    Quality.MISSING: "unknown",
    Quality.SENTINEL: "unknown",
    Quality.SENSOR_OFF: "not-performed",
    Quality.CALIBRATING: "temp-unknown",
}
PRIORITY = {"high": "PH", "medium": "PM", "low": "PL"}
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PRESSURE_OF = {f"{group}_{part}": group for group in PRESSURES for part in PARTS}
SINGLE = tuple(name for name in COMMON_NAMES if name not in _PRESSURE_OF)


def _codings(vital: str) -> list[dict[str, str]]:
    known = KNOWN.get(vital)
    found: list[dict[str, str]] = []
    if known is not None:
        loinc = MORE_LOINC.get(vital, (known.loinc,) if known.loinc else ())
        found += [{"system": LOINC, "code": code} for code in loinc]
        if known.mdc is not None:
            found.append({"system": MDC, "code": str(known.mdc)})
    return [*found, {"system": OWN, "code": vital}]


def _concept(vital: str) -> dict[str, Any]:
    known = KNOWN.get(vital)
    return {"coding": _codings(vital), "text": known.en if known is not None else vital}


def _panel(group: str) -> dict[str, Any]:
    loinc = [] if group == "pap" else [{"system": LOINC, "code": PANEL}]
    return {"coding": [*loinc, {"system": OWN, "code": group}], "text": PRESSURES[group][1]}


def _part(group: str, part: str) -> dict[str, Any]:
    vital = f"{group}_{part}"
    loinc = [] if group == "pap" else [{"system": LOINC, "code": PARTS[part]}]
    own = [c for c in _codings(vital) if c not in loinc]
    return {"coding": [*loinc, *own], "text": KNOWN[vital].en}


CONCEPTS = {name: _concept(name) for name in KNOWN}
PANELS = {group: _panel(group) for group in PRESSURES}
PART_CONCEPTS = {f"{g}_{p}": _part(g, p) for g in PRESSURES for p in PARTS}
_VITAL_SIGNS = [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}]


def kinds_of(system: str | None, code: str) -> frozenset[str]:
    """Return the kinds of observation that have a code: vitals, or pressures by their group."""
    found = set()
    for kind, concept in (*CONCEPTS.items(), *PANELS.items()):
        if kind in _PRESSURE_OF:
            continue
        for coding in concept["coding"]:
            if coding["code"] == code and system in (None, coding["system"]):
                found.add(kind)
    return frozenset(found)


def base36(number: int) -> str:
    """Return a number in 36 digits; one below zero with a dot before it."""
    if number < 0:
        return f".{base36(-number)}"
    out = ""
    while True:
        number, digit = divmod(number, 36)
        out = DIGITS[digit] + out
        if not number:
            return out


@dataclass(frozen=True, slots=True)
class Whose:
    """Who is meant: a stay, or with nobody admitted the bed."""

    bed: str
    bed_id: int
    stay: str = ""

    @property
    def subject(self) -> dict[str, str]:
        """A reference to the patient, or to the place."""
        if self.stay:
            return {"reference": f"Patient/{self.stay}"}
        return {"reference": f"Location/b{self.bed_id}", "display": self.bed}


def _quantity(vital: str, value: float) -> dict[str, Any]:
    unit = KNOWN[vital].unit if vital in KNOWN else "1"
    return {"value": float(f"{value:.6g}"), "unit": unit, "system": UCUM, "code": unit}


def _value(vital: str, value: float | None, quality: Quality) -> dict[str, Any]:
    """Return the value, or why there is none that may be used."""
    if value is not None and quality is Quality.OK:
        return {"valueQuantity": _quantity(vital, value)}
    why = ABSENT_BECAUSE.get(quality, "error" if value is not None else "unknown")
    return {
        "dataAbsentReason": {"coding": [{"system": ABSENT, "code": why}], "text": quality.value}
    }


def observations(
    row: dict[str, Any], whose: Whose, wanted: frozenset[str] | None
) -> Iterator[Resource]:
    """Yield a stored reading's observations, in a fixed order; ``wanted`` None: all kinds."""
    flags = unpack_status(row["status"], row["status2"])
    stem = (
        f"o.{whose.bed_id}.{row['stream_id']}.{base36(from_datetime(row['measured_at']) // 1000)}"
    )
    stem += f".{base36(row['seq'])}"
    head = {
        "resourceType": "Observation",
        "status": "final",
        "category": _VITAL_SIGNS,
        "subject": whose.subject,
        **({"encounter": {"reference": f"Encounter/{whose.stay}"}} if whose.stay else {}),
        "effectiveDateTime": _instant(row["measured_at"]),
        "issued": _instant(row["received_at"]),
        "device": {"reference": f"Device/{device_id(row['device'])}", "display": row["device"]},
    }
    for vital in SINGLE:
        value = row[vital]
        if (value is None and vital not in flags) or (wanted is not None and vital not in wanted):
            continue
        quality = flags.get(vital, Quality.OK)
        yield _observation(head, f"{stem}.{_dashed(vital)}", vital, value, quality)
    for group in PRESSURES:
        if wanted is None or group in wanted:
            found = _pressure(head, f"{stem}.{group}", group, row, flags)
            if found is not None:
                yield found
    for vital, (value, code) in sorted((row["rare"] or {}).items()):
        if wanted is None or vital in wanted:
            quality = _QUALITIES[code or 0]
            yield _observation(head, f"{stem}.{_dashed(vital)}", vital, value, quality)


_QUALITIES = {code: quality for quality, code in QUALITY_CODE.items()}


def _dashed(vital: str) -> str:
    return vital.replace("_", "-")


def _observation(
    head: Resource, name: str, vital: str, value: float | None, quality: Quality
) -> Resource:
    out = {
        **head,
        "id": name,
        "code": CONCEPTS.get(vital) or _concept(vital),
        **_value(vital, value, quality),
    }
    profile = PROFILED.get(vital)
    if profile is not None and "encounter" in head:
        out["meta"] = {"profile": [f"{PROFILES}vitalsigns", f"{PROFILES}{profile}"]}
    return out


def _pressure(
    head: Resource, name: str, group: str, row: dict[str, Any], flags: dict[str, Quality]
) -> Resource | None:
    """Return the panel of a pressure; None when nothing of it was measured."""
    parts = []
    there = False
    for part in PARTS:
        vital = f"{group}_{part}"
        value = row[vital]
        if value is None and vital not in flags:
            if part == "mean":
                continue
            quality = Quality.MISSING
        else:
            quality, there = flags.get(vital, Quality.OK), True
        parts.append({"code": PART_CONCEPTS[vital], **_value(vital, value, quality)})
    if not there:
        return None
    out = {**head, "id": name, "code": PANELS[group], "component": parts}
    if "encounter" in head and group != "pap":
        out["meta"] = {"profile": [f"{PROFILES}vitalsigns", f"{PROFILES}bp"]}
    return out


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def device_id(device: str) -> str:
    """Return a device's id, of its name: the same one always."""
    from hashlib import blake2b  # noqa: PLC0415 - a name for a name

    return "d" + blake2b(device.encode(), digest_size=10).hexdigest()


def waveform(
    whose: Whose, channel: str, device: str, form: dict[str, Any], start_ns: int, samples: Any
) -> Resource:
    """Return consecutive samples as SampledData: a value is origin + data * factor."""
    known = CHANNELS.get(channel)
    unit = form["unit"]
    codings = [{"system": MDC, "code": str(known.mdc)}] if known is not None and known.mdc else []
    codings.append({"system": "urn:x-vigil:channel", "code": channel})
    texts = ["E" if sample == NO_SAMPLE else str(sample) for sample in samples.tolist()]
    end_ns = start_ns + round(len(texts) * S / form["rate_hz"])
    return {
        "resourceType": "Observation",
        "id": f"w.{whose.bed_id}.{channel}.{base36(start_ns // 1000)}",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "procedure"}]}],
        "code": {"coding": codings, "text": known.en if known is not None else channel},
        "subject": whose.subject,
        **({"encounter": {"reference": f"Encounter/{whose.stay}"}} if whose.stay else {}),
        "effectivePeriod": {"start": format_time(start_ns), "end": format_time(end_ns)},
        "device": {"reference": f"Device/{device_id(device)}", "display": device},
        "valueSampledData": {
            "origin": {"value": form["zero"], "unit": unit, "system": UCUM, "code": unit},
            "period": 1000 / form["rate_hz"],
            "factor": form["scale"],
            "dimensions": 1,
            "data": " ".join(texts),
        },
    }


def flag(row: dict[str, Any], whose: Whose) -> Resource:
    """Return an alert as a flag; active until it is resolved."""
    over = row["kind"] in ("resolved", "finding")
    period = {"start": _instant(row["onset_at"])}
    if over:
        period["end"] = _instant(max(row["at"], row["onset_at"]))
    return {
        "resourceType": "Flag",
        "id": row["alert"],
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/flag-priority",
                "valueCodeableConcept": {
                    "coding": [
                        {
                            "system": "http://hl7.org/fhir/flag-priority-code",
                            "code": PRIORITY[row["priority"]],
                        }
                    ]
                },
            }
        ],
        "identifier": [{"system": OWN_ALERT, "value": row["alert"]}],
        "status": "inactive" if over else "active",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/flag-category",
                        "code": "safety" if row["technical"] else "clinical",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": OWN_RULE, "code": row["rule"]}],
            "text": f"{row['zh']} / {row['en']}",
        },
        "subject": whose.subject,
        "period": period,
        **({"encounter": {"reference": f"Encounter/{whose.stay}"}} if whose.stay else {}),
    }


def patient(row: dict[str, Any], name: str, *, masked: bool, lying: bool) -> Resource:
    """Return a stay's patient. A name that the reader may not see is masked, and says so."""
    out: Resource = {
        "resourceType": "Patient",
        "id": row["stay"],
        "identifier": [{"system": OWN_STAY, "value": row["stay"]}],
        "active": lying,
    }
    if name:
        out["name"] = [{"use": "anonymous" if masked else "official", "text": name}]
    return out


def encounter(stay: str, places: Iterable[tuple[str, int, datetime, datetime | None]]) -> Resource:
    """Return a stay as an encounter: where the patient lay, when. ``places`` in order of time."""
    where = list(places)
    last = where[-1][3] if where else None
    period = {"start": _instant(where[0][2])} if where else {}
    if last is not None:
        period["end"] = _instant(last)
    return {
        "resourceType": "Encounter",
        "id": stay,
        "identifier": [{"system": OWN_STAY, "value": stay}],
        "status": "planned" if not where else "in-progress" if last is None else "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{stay}"},
        **({"period": period} if period else {}),
        **(
            {
                "location": [
                    {
                        "location": {"reference": f"Location/b{bed_id}", "display": bed},
                        "status": "active" if end is None else "completed",
                        "period": {
                            "start": _instant(start),
                            **({"end": _instant(end)} if end is not None else {}),
                        },
                    }
                    for bed, bed_id, start, end in where
                ]
            }
            if where
            else {}
        ),
    }


def location(bed: str, bed_id: int) -> Resource:
    """Return a bed."""
    return {
        "resourceType": "Location",
        "id": f"b{bed_id}",
        "identifier": [{"system": OWN_BED, "value": bed}],
        "status": "active",
        "name": bed,
        "mode": "instance",
        "physicalType": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/location-physical-type",
                    "code": "bd",
                }
            ]
        },
    }


def device(name: str, bed: tuple[str, int]) -> Resource:
    """Return a monitor or gateway, and the bed that it was last heard from."""
    return {
        "resourceType": "Device",
        "id": device_id(name),
        "identifier": [{"system": OWN_DEVICE, "value": name}],
        "status": "active",
        "deviceName": [{"name": name, "type": "user-friendly-name"}],
        "location": {"reference": f"Location/b{bed[1]}", "display": bed[0]},
    }


def outcome(code: str, text: str) -> Resource:
    """Return an OperationOutcome: what was wrong, for people."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": text}],
    }


def bundle(
    base: str, links: dict[str, str], resources: list[Resource], total: int | None
) -> Resource:
    """Return a page of a search."""
    out: Resource = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": relation, "url": url} for relation, url in links.items()],
    }
    if total is not None:
        out["total"] = total
    if resources:
        out["entry"] = [
            {
                "fullUrl": f"{base}/{one['resourceType']}/{one['id']}",
                "resource": one,
                "search": {"mode": "match"},
            }
            for one in resources
        ]
    return out
