"""Exports that say of whom nothing: pseudonyms, and dates shifted by patient. Pure.

A patient's data stay together and their intervals exact: one shift for all of a stay, whole days,
so that the time of day remains. Pseudonyms and shifts follow from a key that is in no file of the
export: the same patient is the same subject in the next export, and nobody without the key can go
back. Source: GB/T 39725-2020 10.2; MIMIC's date shifting.
"""

import hmac
from dataclasses import dataclass

from care.stays import Place
from schemas.times import S

DAY_NS = 86_400 * S
LEAST_DAYS, MOST_DAYS = 366, 3_650
KEY = "export.key"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data a span of a bed's time is: [start, end) ns, and what is added to its times.

    ``name`` stands for the patient; of time in which nobody was admitted, for the bed.
    """

    name: str
    start_ns: int
    end_ns: int
    shift_ns: int = 0


def pseudonym(key: bytes, kind: str, what: str) -> str:
    """Return a name that stands for something, the same one always: ``p-3f…``."""
    return f"{kind}-" + hmac.digest(key, f"{kind}|{what}".encode(), "sha256").hex()[:16]


def shift_of(key: bytes, what: str) -> int:
    """Return what is added to somebody's times: 1 to 10 years back, in whole days, ns."""
    number = int.from_bytes(hmac.digest(key, f"shift|{what}".encode(), "sha256")[:8])
    return -(LEAST_DAYS + number % (MOST_DAYS - LEAST_DAYS)) * DAY_NS


def subjects(
    key: bytes, bed: str, places: list[Place], start_ns: int, end_ns: int
) -> list[Subject]:
    """Return whose data a bed's are between two times, in order, each with a shift of its own."""
    found: list[Subject] = []
    at = start_ns
    for place in sorted((p for p in places if p.bed == bed), key=lambda p: p.start_ns):
        last = end_ns if place.end_ns is None else min(place.end_ns, end_ns)
        first = max(place.start_ns, at)
        if last <= first:
            continue
        if first > at:
            found.append(_nobody(key, bed, at, first))
        name = pseudonym(key, "p", place.stay)
        found.append(Subject(name, first, last, shift_of(key, f"p|{place.stay}")))
        at = last
    if at < end_ns:
        found.append(_nobody(key, bed, at, end_ns))
    return found


def _nobody(key: bytes, bed: str, start_ns: int, end_ns: int) -> Subject:
    return Subject(pseudonym(key, "b", bed), start_ns, end_ns, shift_of(key, f"b|{bed}"))


def identified(bed: str, start_ns: int, end_ns: int) -> list[Subject]:
    """Return a bed's time as it is: for exports that stay within the hospital."""
    return [Subject(bed, start_ns, end_ns)]
