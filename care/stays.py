"""Stays as intervals: which patient lay in which bed from when until when. Pure.

No bed holds two patients at a time and no patient lies in two beds. Every operation returns the
whole list as it is afterwards, or raises ``CareError`` naming what is wrong and the fix; nothing is
changed then. Times are ns, an open end is None. What happened may be corrected afterwards: evidence
(readings, alerts) carries beds and stays as it is, views ask who lay there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from schemas.alerts import is_place
from schemas.errors import CareError, TopicError
from schemas.times import S, format_time
from schemas.topics import check_bed

AHEAD_NS = 24 * 3600 * S
"""How far ahead something may be dated."""


@dataclass(frozen=True, slots=True)
class Place:
    """One patient in one bed, from ``start_ns`` until ``end_ns`` (None: still there)."""

    stay: str
    bed: str
    start_ns: int
    end_ns: int | None = None

    def holds(self, at_ns: int) -> bool:
        """Return whether the patient lay there at a time."""
        return self.start_ns <= at_ns and (self.end_ns is None or at_ns < self.end_ns)

    def overlaps(self, other: "Place") -> bool:
        """Return whether two intervals share any time."""
        return (other.end_ns is None or self.start_ns < other.end_ns) and (
            self.end_ns is None or other.start_ns < self.end_ns
        )


def check(places: Iterable[Place], now_ns: int) -> list[Place]:
    """Return the places in order; raise CareError when an interval or two of them cannot be."""
    ordered = sorted(places, key=lambda p: (p.start_ns, p.stay, p.bed))
    for place in ordered:
        _check_one(place, now_ns)
    for i, one in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if not one.overlaps(other):
                continue
            since = format_time(max(one.start_ns, other.start_ns))
            if one.bed == other.bed:
                raise CareError(
                    f"bed {one.bed}: {one.stay} and {other.stay} would both lie there from "
                    f"{since}; "
                    "move or discharge one first"
                )
            if one.stay == other.stay:
                raise CareError(
                    f"stay {one.stay}: would lie in {one.bed} and {other.bed} at once from "
                    f"{since}; "
                    "use move"
                )
    return ordered


def _check_one(place: Place, now_ns: int) -> None:
    try:
        check_bed(place.bed)
    except TopicError as error:
        raise CareError(str(error)) from None
    if is_place(place.bed):
        raise CareError(f"bed {place.bed}: the name is reserved; use another")
    if place.end_ns is not None and place.end_ns <= place.start_ns:
        raise CareError(
            f"stay {place.stay} in {place.bed}: ends at {format_time(place.end_ns)}, not after it "
            f"begins at {format_time(place.start_ns)}; correct one of them"
        )
    if max(place.start_ns, place.end_ns or 0) > now_ns + AHEAD_NS:
        raise CareError(f"stay {place.stay} in {place.bed}: is dated more than a day ahead")


def current(places: Sequence[Place], stay: str, at_ns: int) -> Place:
    """Return where a patient lies at a time; raise CareError when nowhere."""
    for place in places:
        if place.stay == stay and place.holds(at_ns):
            return place
    raise CareError(f"stay {stay}: lies in no bed at {format_time(at_ns)}")


def admit(places: Sequence[Place], stay: str, bed: str, at_ns: int, now_ns: int) -> list[Place]:
    """Put a patient into a bed."""
    return check([*places, Place(stay, bed, at_ns)], now_ns)


def discharge(places: Sequence[Place], stay: str, at_ns: int, now_ns: int) -> list[Place]:
    """Let a patient leave."""
    return check(_closed(places, current(places, stay, at_ns), at_ns), now_ns)


def move(places: Sequence[Place], stay: str, bed: str, at_ns: int, now_ns: int) -> list[Place]:
    """Move a patient to another bed, which must be free."""
    place = current(places, stay, at_ns)
    if place.bed == bed:
        raise CareError(f"stay {stay}: lies in {bed} already")
    return check([*_closed(places, place, at_ns), Place(stay, bed, at_ns)], now_ns)


def swap(places: Sequence[Place], one: str, other: str, at_ns: int, now_ns: int) -> list[Place]:
    """Let two patients change beds."""
    first, second = current(places, one, at_ns), current(places, other, at_ns)
    rest = _closed(_closed(places, first, at_ns), second, at_ns)
    return check([*rest, Place(one, second.bed, at_ns), Place(other, first.bed, at_ns)], now_ns)


def correct(
    places: Sequence[Place],
    stay: str,
    start_ns: int,
    *,
    bed: str | None = None,
    new_start_ns: int | None = None,
    new_end_ns: int | None = None,
    now_ns: int,
) -> list[Place]:
    """Correct what was entered wrongly: the interval of a stay that begins at ``start_ns``."""
    found = [p for p in places if p.stay == stay and p.start_ns == start_ns]
    if not found:
        raise CareError(f"stay {stay}: has no interval that begins at {format_time(start_ns)}")
    place = found[0]
    corrected = replace(
        place,
        bed=bed or place.bed,
        start_ns=place.start_ns if new_start_ns is None else new_start_ns,
        end_ns=place.end_ns if new_end_ns is None else new_end_ns,
    )
    return check([corrected if p is place else p for p in places], now_ns)


def _closed(places: Sequence[Place], place: Place, at_ns: int) -> list[Place]:
    """Return the places with one of them ended; an interval that never was is left out."""
    if at_ns == place.start_ns:
        return [p for p in places if p is not place]
    return [replace(p, end_ns=at_ns) if p is place else p for p in places]
