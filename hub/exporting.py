"""Stored data as files for others: data sets, WFDB records, csv. Whole, or not there at all."""

import asyncio
import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from care.stays import Place
from hub.arrow import Readings
from hub.dataset import (
    ALERTS,
    ANNOTATIONS,
    Wanted,
    finish,
    scratch,
    whole,
    write,
    write_events,
)
from hub.deidentify import Subject, pseudonym
from hub.dictionary import dictionary
from hub.export import ANNOTATION_COLUMNS, CSV_COLUMNS, annotation_row, csv_row
from hub.export_wfdb import (
    Mark,
    check_name,
    lay_out,
    lay_out_numerics,
    write_marks,
    write_record,
)
from hub.reads import export_rows, fetch
from hub.waves import read_waves
from schemas.errors import HubError
from schemas.times import S, format_time, from_datetime, to_datetime
from schemas.vitals import COMMON_NAMES

RECORD = timedelta(days=1)
"""A WFDB record holds at most so much; what is longer becomes one record a day."""
LISTED = 100_000
ENDLESS = timedelta(days=3_660)


async def choose(connection: AsyncConnection, beds: list[str], every: str | None) -> list[str]:
    """Return the beds that were asked for; raise HubError when there is none."""
    if every is None:
        return beds
    rows = await (await connection.execute("SELECT name FROM bed ORDER BY name")).fetchall()
    found = [n for (n,) in rows if every == "hub" or n.startswith(f"{every.rstrip('/')}/")]
    if not found:
        raise HubError(f"--all {every}: no bed of it was ever seen")
    return found


@contextmanager
def _progress(console: Console, beds: int) -> Iterator[Any]:
    """Yield what is told each bed before its turn; a bar shows it at a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("exporting", total=beds)
        begun = iter(range(beds))
        yield lambda bed: bar.update(task, completed=next(begun), description=bed)
        bar.update(task, completed=beds)


async def write_dataset(
    connection: AsyncConnection,
    console: Console,
    wanted: Wanted,
    places: list[Place],
    what: tuple[str, Path],
) -> None:
    """Write a folder of Parquet or csv files, its dictionary and its manifest."""
    form, output = what
    readings = _readings(connection)
    try:
        with whole(output) as folder, _progress(console, len(wanted.beds)) as advance:
            counts = await asyncio.to_thread(write, readings, wanted, form, folder, places, advance)
            alerts = [row async for row in _alerts(connection, wanted, places)]
            marks = [row async for row in _annotations(connection, wanted, places)]
            counts.alerts = write_events(folder, form, "alerts", alerts, ALERTS)
            counts.annotations = write_events(folder, form, "annotations", marks, ANNOTATIONS)
            finish(folder, wanted, form, counts)
    finally:
        readings.close()
    console.print(
        f"{output}: {counts.readings} readings, {counts.values} values of {counts.subjects} "
        f"{'beds' if wanted.key is None else 'subjects'}, {counts.alerts} alerts",
        highlight=False,
        soft_wrap=True,
    )


def _readings(connection: AsyncConnection) -> Readings:
    """Return a connection for Arrow to the tables that another one reads."""
    info = connection.info
    secret = f" password={info.password}" if info.password else ""
    schema = info.options.rpartition("search_path=")[2] if "search_path=" in info.options else None
    return Readings(info.dsn + secret, schema)


async def _alerts(connection: AsyncConnection, wanted: Wanted, places: list[Place]) -> Any:
    """Yield the alerts of the time as rows of the data set."""
    for bed in wanted.beds:
        rows = await fetch(
            connection,
            "select_alerts",
            bed=bed,
            scope=None,
            since=wanted.start,
            until=wanted.end,
            open=False,
            limit=LISTED,
        )
        for row in rows:
            subject = wanted.subject_at(bed, places, from_datetime(row["onset_at"]))
            over = row["kind"] in ("resolved", "finding")
            yield {
                "subject": subject.name,
                "alert": row["alert"] if wanted.key is None else _renamed(wanted, row["alert"]),
                "rule": row["rule"],
                "priority": row["priority"],
                "technical": row["technical"],
                "vital": row["vital"],
                "value": row["value"],
                "limit": row["limit_value"],
                "unit": row["unit"],
                "onset": _moved(row["onset_at"], subject),
                "ended": _moved(row["at"], subject) if over else None,
                "delayed": row["delayed"],
                "acknowledged_at": _moved(row["acknowledged_at"], subject),
            }


async def _annotations(connection: AsyncConnection, wanted: Wanted, places: list[Place]) -> Any:
    """Yield the newest version of each annotation; without free text unless identified."""
    for bed in wanted.beds:
        for row in await _marks(connection, bed, wanted.start, wanted.end):
            subject = wanted.subject_at(bed, places, from_datetime(row["start_at"]))
            plain = wanted.key is None
            yield {
                "subject": subject.name,
                "id": row["id"] if plain else _renamed(wanted, row["id"]),
                "label": row["label"],
                "signal": row["signal"],
                "start": _moved(row["start_at"], subject),
                "end": _moved(row["end_at"], subject),
                "note": row["note"] if plain else "",
                "by": row["by"] if plain else "",
            }


async def _marks(
    connection: AsyncConnection, bed: str, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """Return the newest version of every annotation that touches a time and was not withdrawn."""
    rows = await fetch(connection, "select_annotation_versions", bed=bed, start=start, end=end)
    newest = {row["id"]: row for row in rows}  # in order of their versions
    return [row for row in newest.values() if not row["withdrawn"]]


def _at(whose: list[Subject], at_ns: int) -> Subject:
    return next((s for s in whose if s.start_ns <= at_ns < s.end_ns), whose[-1])


def _moved(moment: datetime | None, subject: Subject) -> datetime | None:

    return None if moment is None else moment + timedelta(seconds=subject.shift_ns // S)


def _renamed(wanted: Wanted, name: str) -> str:

    assert wanted.key is not None
    return pseudonym(wanted.key, "a", name)


async def write_csv(
    connection: AsyncConnection, console: Console, wanted: Wanted, places: list[Place], output: Path
) -> None:
    """Write one csv file of all beds' readings, and one of their annotations beside it."""
    rows = 0
    plain = wanted.key is None
    label = "bed" if plain else "subject"
    kept = [c for c in CSV_COLUMNS if plain or c not in ("received_at", "boot", "seq", "offset_ms")]
    annotated: list[list[object]] = []
    with scratch(output) as folder:
        partial = folder / output.name
        with (
            partial.open("w", encoding="utf-8", newline="") as file,
            _progress(console, len(wanted.beds)) as advance,
        ):
            writer = csv.writer(file)
            writer.writerow([label, *kept])
            for bed in wanted.beds:
                advance(bed)
                whose = wanted.subjects(bed, places)
                async for row in export_rows(connection, bed, wanted.start, wanted.end):
                    subject = _at(whose, from_datetime(row["measured_at"]))
                    if not plain:
                        row["measured_at"] = _moved(row["measured_at"], subject)
                        row["device"] = wanted.device(row["device"])
                    cells = dict(zip(CSV_COLUMNS, csv_row(row), strict=True))
                    writer.writerow([subject.name, *(cells[c] for c in kept)])
                    rows += 1
                for version in await fetch(
                    connection,
                    "select_annotation_versions",
                    bed=bed,
                    start=wanted.start,
                    end=wanted.end,
                ):
                    subject = wanted.subject_at(bed, places, from_datetime(version["start_at"]))
                    if not plain:
                        for at in ("start_at", "end_at", "at"):
                            version[at] = _moved(version[at], subject)
                        version["id"] = _renamed(wanted, version["id"])
                        version |= {"note": "", "by": "", "stay": subject.name}
                    annotated.append(annotation_row(version))
        partial.replace(output)
    _beside(console, output, annotated, list(ANNOTATION_COLUMNS))
    more = "" if rows else "; waveforms: --format wfdb"
    console.print(f"{output}: {rows} readings{more}", highlight=False, soft_wrap=True)


def _beside(
    console: Console, output: Path, annotated: list[list[object]], columns: list[str]
) -> None:
    """Write annotations and the dictionary beside a csv file."""
    stem = output.name.removesuffix(".csv")
    output.with_name(f"{stem}.dictionary.csv").write_text(dictionary(), "utf-8")
    if not annotated:
        return
    path = output.with_name(f"{stem}.annotations.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(annotated)
    console.print(f"{len(annotated)} versions of annotations: {path}")


async def write_wfdb(
    connection: AsyncConnection,
    console: Console,
    wanted: Wanted,
    places: list[Place],
    channel: str | None,
    output: Path,
) -> None:
    """Write a record, or when there are several subjects or days a record of each.

    NAME holds waveforms, NAMEn numbers at one a second, NAME.atr annotations.
    """
    check_name(output)
    made: list[str] = []
    readings = _readings(connection)
    try:
        with scratch(output) as folder, _progress(console, len(wanted.beds)) as advance:
            for bed in wanted.beds:
                advance(bed)
                number = readings.bed_id(bed)
                whose = wanted.subjects(bed, places)
                several = len(wanted.beds) > 1 or len(whose) > 1
                for subject in whose:
                    for first, last in _days(subject):
                        made += await _record(
                            (connection, readings, number),
                            (bed, subject, wanted.key is None),
                            (first, last, channel),
                            (folder, output.name, several),
                        )
            if not made:
                raise HubError("nothing is stored between these times")
            (folder / f"{output.name}.dictionary.csv").write_text(dictionary(), "utf-8")
            for path in sorted(folder.iterdir()):
                shutil.move(path, output.parent / path.name)
    finally:
        readings.close()
    console.print(f"{output}: {'; '.join(made)}", highlight=False, soft_wrap=True)


def _days(subject: Subject) -> Iterator[tuple[datetime, datetime]]:
    """Yield a subject's time in pieces of a day at most; one that has no end is one piece."""
    first, end = to_datetime(subject.start_ns), to_datetime(subject.end_ns)
    if end - first <= RECORD or end - first > ENDLESS:  # of a run: all of it is one
        yield first, end
        return
    while first < end:
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0) + RECORD
        yield first, min(midnight, end)
        first = midnight


async def _record(
    source: tuple[Any, Any, int],
    whose: tuple[str, Subject, bool],
    what: tuple[datetime, datetime, str | None],
    where: tuple[Path, str, bool],
) -> list[str]:
    """Write one record's files, when there is anything; return what was written, in words."""
    connection, _, _ = source
    bed, subject, plain = whose
    first, last, channel = what
    folder, stem, several = where
    segments = await read_waves(connection, bed, first, last, channel)
    numbers = None if channel is not None else await asyncio.to_thread(_numbers, source, what)
    if not segments and numbers is None:
        return []
    name = stem
    if several:
        name = f"{stem}-{subject.name.replace('/', '_')}"
    if (folder / f"{name}.hea").exists() or (folder / f"{name}n.hea").exists():
        name = f"{name}-{_moved(first, subject):%Y%m%d%H%M}"
    said = []
    marks = await _record_marks(connection, bed, first, last)

    def comments(start_ns: int) -> list[str]:
        who = f"bed {bed}" if plain else f"subject {subject.name}"
        return [who, f"begins {format_time(start_ns + subject.shift_ns)}"]

    if segments:
        laid = lay_out(segments)
        samples = await asyncio.to_thread(
            write_record, folder, name, laid, comments(laid[0]), subject.shift_ns
        )
        write_marks(folder, name, laid[0], float(laid[1]), marks)
        said.append(f"{name}: {samples} samples of {', '.join(s.name for s in laid[2])}")
    if numbers is not None:
        start_ns, signals = numbers
        own = f"{name}n" if segments else name
        laid = (start_ns, Fraction(1), signals)
        samples = await asyncio.to_thread(
            write_record, folder, own, laid, comments(start_ns), subject.shift_ns
        )
        if not segments:
            write_marks(folder, own, start_ns, 1.0, marks)
        said.append(f"{own}: {samples} numbers of {len(signals)} vitals")
    return said


def _numbers(source: tuple[Any, Any, int], what: tuple[datetime, datetime, str | None]) -> Any:
    """Return a record's numbers laid out; None when there are none that are usable."""
    _, readings, number = source
    first, last, _ = what
    windows = readings.windows(number, first, last)
    tables = [t for window in windows if len(t := readings.numerics(number, *window))]
    if not tables:
        return None
    table = pa.concat_tables(tables)
    times = table["time"].cast(pa.int64()).to_numpy()
    unusable = _unusable(table["not_usable"].to_pylist())
    columns = {}
    for name in COMMON_NAMES:
        values = table[name].to_numpy().astype(np.float32)
        if name in unusable:
            values = values.copy()
            values[unusable[name]] = np.nan
        columns[name] = values
    laid = lay_out_numerics(times, columns)
    return laid if laid[1] else None


def _unusable(reasons: list[str]) -> dict[str, list[int]]:
    """Return the rows at which a vital is not usable."""
    found: dict[str, list[int]] = {}
    for row, text in enumerate(reasons):
        for part in text.split() if text else ():
            found.setdefault(part.partition("=")[0], []).append(row)
    return found


async def _record_marks(
    connection: AsyncConnection, bed: str, first: datetime, last: datetime
) -> list[Mark]:

    return [
        Mark(from_datetime(row["start_at"]), from_datetime(row["end_at"]), row["label"])
        for row in await _marks(connection, bed, first, last)
    ]
