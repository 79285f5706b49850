"""Pages of FHIR searches: whose time it is, which readings, where the next page begins."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from care import store
from care.stays import Place
from dashboard import fhir
from dashboard.fhir import Resource, Whose
from dashboard.fhir_search import Search, SearchError, cursor, tokens
from dashboard.gate import Person
from hub.reads import Row, export_rows, fetch
from hub.waves import read_waves
from schemas.times import S, from_datetime, to_datetime
from schemas.waves import CHANNELS

FIRST_WINDOW, LARGEST_WINDOW = timedelta(minutes=20), timedelta(hours=6)
WAVE_CHUNK_NS, WAVES_MOST = 10 * S, timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Span:
    """A time at a bed, and whose it is."""

    whose: Whose
    start: datetime
    end: datetime


class Beds:
    """Beds by number and name, and who lay where, as a person may see them."""

    def __init__(self, rows: list[Row], places: list[Place], person: Person) -> None:
        self.ids = {row["bed"]: row["bed_id"] for row in rows if person.sees(row["bed"])}
        self.names = {number: name for name, number in self.ids.items()}
        self.places = [p for p in places if p.bed in self.ids]

    def of_stay(self, stay: str) -> list[Place]:
        """Return where a stay lay that the person may see, in order."""
        return sorted((p for p in self.places if p.stay == stay), key=lambda p: p.start_ns)

    def whose(self, bed: str, at_ns: int) -> Whose:
        """Return whose a bed was at a time."""
        there = next((p.stay for p in self.places if p.bed == bed and p.holds(at_ns)), "")
        return Whose(bed, self.ids[bed], there)

    def rows(self, places: list[Place]) -> list[tuple[str, int, datetime, datetime | None]]:
        """Return places as encounters want them."""
        return [
            (
                p.bed,
                self.ids[p.bed],
                to_datetime(p.start_ns),
                None if p.end_ns is None else to_datetime(p.end_ns),
            )
            for p in places
        ]


async def read_beds(connection: AsyncConnection, person: Person) -> Beds:
    """Return the beds that a person may see, and who lay there."""
    rows = await fetch(connection, "select_bed_ids")
    return Beds(rows, await store.read_places(connection), person)


def spans_of(beds: Beds, search: Search) -> list[Span]:
    """Return the times that a search is about: a patient's, or a bed's without one."""
    start, end = search.span()
    subject = search.reference("subject", "Patient", "Location")
    stay = search.reference("patient", "Patient") or search.reference("encounter", "Encounter")
    if stay is None and subject is not None and subject[0] == "Patient":
        stay = subject
    found = []
    if stay is not None:
        for place in beds.of_stay(stay[1]):
            first = max(start, to_datetime(place.start_ns))
            last = end if place.end_ns is None else min(end, to_datetime(place.end_ns))
            if first < last:
                found.append(Span(Whose(place.bed, beds.ids[place.bed], stay[1]), first, last))
    elif subject is not None:
        number = subject[1].removeprefix("b")
        bed = beds.names.get(int(number)) if number.isdecimal() else None
        if bed is not None:
            whose = Whose(bed, beds.ids[bed])
            found = [Span(whose, *gap) for gap in _gaps(beds.places, bed, start, end)]
    else:
        raise SearchError("say whose: patient=…, encounter=…, or subject=Location/… of a free bed")
    return found


def _gaps(
    places: list[Place], bed: str, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """Return when nobody was admitted to a bed."""
    gaps = []
    at = start
    for place in sorted((p for p in places if p.bed == bed), key=lambda p: p.start_ns):
        first = to_datetime(place.start_ns)
        if first > at:
            gaps.append((at, min(first, end)))
        at = max(at, end if place.end_ns is None else to_datetime(place.end_ns))
    if at < end:
        gaps.append((at, end))
    return [gap for gap in gaps if gap[0] < gap[1]]


async def _extent(connection: AsyncConnection, bed_id: int, span: Span) -> Span | None:
    """Return the part of a span from its first reading on; None when there is none."""
    row = await (
        await connection.execute(
            "SELECT vigil_next_reading(%s, %s, %s)", (bed_id, span.start, span.end)
        )
    ).fetchone()
    if row is None or row[0] is None:
        return None
    return Span(span.whose, max(row[0], span.start), min(span.end, datetime.now(UTC)))


async def _readings(
    connection: AsyncConnection, spans: list[Span], *, newest: bool, after: list[Any] | None
) -> AsyncIterator[tuple[Whose, Row]]:
    """Yield readings in order, a window at a time: a page costs what is on it."""
    ordered = sorted(spans, key=lambda s: s.start, reverse=newest)
    bound = to_datetime(int(after[0]) * 1000) if after is not None else None
    for one in ordered:
        span = await _extent(connection, one.whose.bed_id, one)
        if span is None:
            continue
        first, last = span.start, span.end
        if bound is not None and newest:
            last = min(last, bound + timedelta(microseconds=1))
        elif bound is not None:
            first = max(first, bound)
        width = FIRST_WINDOW
        while first < last:
            cut = max(first, last - width) if newest else min(last, first + width)
            window = (cut, last) if newest else (first, cut)
            rows = [row async for row in export_rows(connection, span.whose.bed, *window)]
            rows.sort(key=_key)  # as the cursor compares, whatever the database's collation
            for row in reversed(rows) if newest else rows:
                yield span.whose, row
            first, last = (first, cut) if newest else (cut, last)
            width = min(width * 2, LARGEST_WINDOW) if len(rows) < 500 else width


def _wanted(search: Search) -> tuple[frozenset[str] | None, frozenset[str]]:
    """Return the kinds of numbers (None: all) and the channels that are asked for."""
    category = search.one("category")
    asked = {value for _, value in tokens(category)}
    text = search.one("code")
    if text is None:
        everything = not asked or "vital-signs" in asked
        return (None if everything else frozenset()), frozenset()
    kinds: set[str] = set()
    channels: set[str] = set()
    for system, value in tokens(text):
        kinds |= fhir.kinds_of(system, value)
        for channel in CHANNELS.values():
            own = system in (None, "urn:x-vigil:channel") and channel.name == value
            mdc = system in (None, fhir.MDC) and str(channel.mdc) == value
            if own or mdc:
                channels.add(channel.name)
    if asked and "vital-signs" not in asked:
        kinds = set()
    if asked and "procedure" not in asked:
        channels = set()
    return frozenset(kinds), frozenset(channels)


async def observation_page(
    connection: AsyncConnection, beds: Beds, search: Search
) -> tuple[list[Resource], str | None]:
    """Return a page of observations, and where the next one begins."""
    spans = spans_of(beds, search)
    kinds, channels = _wanted(search)
    if channels:
        return await _wave_page(connection, spans, channels, search)
    found: list[Resource] = []
    mark: str | None = None
    after = search.cursor
    if after is not None and (len(after) != 4 or not isinstance(after[0], int)):
        raise SearchError("_page: take it from the link `next`, as it is")
    if kinds is not None and not kinds:
        return [], None
    async for whose, row in _readings(connection, spans, newest=search.newest, after=after):
        key = _key(row)
        if after is not None and _before(key, after, newest=search.newest):
            continue
        skip = after[3] + 1 if after is not None and key == after[:3] else 0
        for number, one in enumerate(fhir.observations(row, whose, kinds)):
            if number < skip:
                continue
            if len(found) == search.count:
                return found, mark
            found.append(one)
            mark = cursor(*key, number)
    return found, None


def _key(row: Row) -> list[Any]:
    """Return where a reading stands among others: time (us), device, number."""
    return [from_datetime(row["measured_at"]) // 1000, row["device"], row["seq"]]


def _before(key: list[Any], after: list[Any], *, newest: bool) -> bool:
    """Return whether a reading has been on a page already."""
    return key > after[:3] if newest else key < after[:3]


async def _wave_page(
    connection: AsyncConnection, spans: list[Span], channels: frozenset[str], search: Search
) -> tuple[list[Resource], str | None]:
    """Return waveforms, ten seconds an observation; of ten minutes at most a search."""
    found: list[Resource] = []
    soon = datetime.now(UTC) + timedelta(minutes=1)
    for span in spans:
        if min(span.end, soon) - span.start > WAVES_MOST:
            raise SearchError(
                "date: waveforms are read ten minutes at a time, as date=ge…&date=lt…"
            )
        for channel in sorted(channels):
            found += await _waves(connection, span, channel)
    found.sort(key=lambda one: one["effectivePeriod"]["start"], reverse=search.newest)
    first = search.cursor[0] if search.cursor is not None else 0
    if not isinstance(first, int):
        raise SearchError("_page: take it from the link `next`, as it is")
    last = first + search.count
    return found[first:last], cursor(last) if len(found) > last else None


async def _waves(connection: AsyncConnection, span: Span, channel: str) -> list[Resource]:
    found = []
    for segment in await read_waves(connection, span.whose.bed, span.start, span.end, channel):
        form = {
            "unit": segment.unit,
            "rate_hz": segment.rate_hz,
            "scale": segment.scale,
            "zero": segment.zero,
        }
        at = segment.start_ns
        while at < segment.end_ns:
            piece = segment.cut(at, at + WAVE_CHUNK_NS)
            if piece is None:
                break
            found.append(
                fhir.waveform(
                    span.whose, channel, segment.device, form, piece.start_ns, piece.samples
                )
            )
            at = piece.end_ns
    return found


def chosen_of(search: Search) -> set[str] | None:
    """Return the ids or identifiers that a search names; None: all."""
    given = [search.one(name) for name in ("_id", "identifier") if name in search.given]
    if not given:
        return None
    return {value for text in given for _, value in tokens(text)}


def encounters(beds: Beds, search: Search, chosen: set[str] | None) -> list[Resource]:
    """Return the stays that a search finds, newest first. ``chosen``: of these only."""
    start, end = search.span()
    stay = search.reference("patient", "Patient") or search.reference("subject", "Patient")
    status = {value for _, value in tokens(search.one("status"))}
    out = []
    for name in sorted({p.stay for p in beds.places}, reverse=True):
        if (chosen is not None and name not in chosen) or (stay is not None and stay[1] != name):
            continue
        rows = beds.rows(beds.of_stay(name))
        if rows[0][2] >= end or (rows[-1][3] is not None and rows[-1][3] < start):
            continue
        found = fhir.encounter(name, rows)
        if not status or found["status"] in status:
            out.append(found)
    return out


async def read_observation(connection: AsyncConnection, beds: Beds, name: str) -> list[Resource]:
    """Return the observation of an id that ``fhir`` made."""
    parts = name.split(".")
    try:
        bed = beds.names[int(parts[1])]
        if parts[0] == "w" and len(parts) == 4:
            start = to_datetime(int(parts[3], 36) * 1000)
            whose = beds.whose(bed, from_datetime(start))
            span = Span(whose, start, start + timedelta(microseconds=WAVE_CHUNK_NS // 1000))
            found = await _waves(connection, span, parts[2])
            return [one for one in found if one["id"] == name]
        if parts[0] != "o" or len(parts) < 6:
            return []
        start = to_datetime(int(parts[3], 36) * 1000)
    except (ValueError, KeyError, IndexError, OverflowError):
        return []
    whose = beds.whose(bed, from_datetime(start))
    rows = export_rows(connection, bed, start, start + timedelta(microseconds=1))
    return [
        one
        async for row in rows
        for one in fhir.observations(row, whose, None)
        if one["id"] == name
    ]
