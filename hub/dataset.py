"""A data set of many beds as Parquet or CSV: partitioned, streamed, whole or not there at all.

    OUT/numerics/subject=p-…/2019-03-02.parquet     a row a reading, a column a vital
    OUT/rare/subject=p-…/2019-03-02.parquet         vitals without a column: time, vital, value
    OUT/alerts.parquet, OUT/annotations.parquet
    OUT/dictionary.csv, OUT/manifest.json

It is written beside its place and moved there when it is whole: a full disk or a Ctrl-C leaves
nothing. Memory holds a few hours of one bed.
"""

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from care.stays import Place
from hub import deidentify
from hub.arrow import TIME, Readings, shifted, values_in
from hub.deidentify import Subject, pseudonym
from hub.dictionary import dictionary
from hub.health import VERSION
from schemas.errors import HubError
from schemas.times import from_datetime, to_datetime

T = TypeVar("T")
ALERTS = pa.schema(
    [
        ("subject", pa.string()),
        ("alert", pa.string()),
        ("rule", pa.string()),
        ("priority", pa.string()),
        ("technical", pa.bool_()),
        ("vital", pa.string()),
        ("value", pa.float32()),
        ("limit", pa.float32()),
        ("unit", pa.string()),
        ("onset", TIME),
        ("ended", TIME),
        ("delayed", pa.bool_()),
        ("acknowledged_at", TIME),
    ]
)
ANNOTATIONS = pa.schema(
    [
        ("subject", pa.string()),
        ("id", pa.string()),
        ("label", pa.string()),
        ("signal", pa.string()),
        ("start", TIME),
        ("end", TIME),
        ("note", pa.string()),
        ("by", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: beds, a time, as whom. ``key`` None: identified."""

    beds: list[str]
    start: datetime
    end: datetime
    key: bytes | None

    def subjects(self, bed: str, places: list[Place]) -> list[Subject]:
        """Return whose data a bed's are."""
        span = (from_datetime(self.start), from_datetime(self.end))
        if self.key is None:
            return deidentify.identified(bed, *span)
        return deidentify.subjects(self.key, bed, places, *span)

    def subject_at(self, bed: str, places: list[Place], at_ns: int) -> Subject:
        """Return whose a bed's data were at a time, also before the export's own times.

        What began before them and reaches into them is still its patient's, not the next one's.
        """
        if self.key is None:
            return deidentify.identified(bed, at_ns, at_ns + 1)[0]
        return deidentify.subjects(self.key, bed, places, at_ns, at_ns + 1)[0]

    def device(self, name: str) -> str:
        """Return what a device is called in the export."""
        return name if self.key is None else pseudonym(self.key, "d", name)


@dataclass(slots=True)
class Counts:
    """What was written."""

    readings: int = 0
    values: int = 0
    files: int = 0
    subjects: int = 0
    alerts: int = 0
    annotations: int = 0


@contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out``, taken away in the end; HubError when the disk is full."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise HubError(f"{out}: the disk is full; nothing was left there") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``out`` in the end; HubError when that is there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HubError(f"{out}: is there already; name another, or take it away")
    with scratch(out) as folder:
        yield folder
        if out.exists():
            out.rmdir()
        folder.chmod(0o755)
        folder.replace(out)


def write(
    readings: Readings,
    wanted: Wanted,
    form: str,
    folder: Path,
    places: list[Place],
    advance: Callable[[str], None],
) -> Counts:
    """Write the numerics of all beds; ``advance`` is told each bed before its turn."""
    counts = Counts()
    seen: set[str] = set()
    for bed in wanted.beds:
        advance(bed)
        number = readings.bed_id(bed)
        for subject in wanted.subjects(bed, places):
            if _write_subject(readings, wanted, form, folder, (number, subject), counts):
                seen.add(subject.name)
    counts.subjects = len(seen)
    return counts


def _write_subject(
    readings: Readings,
    wanted: Wanted,
    form: str,
    folder: Path,
    whose: tuple[int, Subject],
    counts: Counts,
) -> bool:
    """Write one subject's time in one bed; return whether there was anything."""
    number, subject = whose
    start, end = to_datetime(subject.start_ns), to_datetime(subject.end_ns)
    label = "bed" if wanted.key is None else "subject"
    name = subject.name.replace("/", "%2F")
    files = _Files(folder, form, f"{label}={name}")
    try:
        for table, rare in _ahead(_pieces(readings, number, start, end)):
            counts.readings += len(table)
            counts.values += values_in(table)
            files.add("numerics", _named(wanted, shifted(table, subject.shift_ns)))
            counts.values += len(rare) - rare["value"].null_count
            files.add("rare", _named(wanted, shifted(rare, subject.shift_ns)))
    finally:
        files.close()
    counts.files += files.count
    return files.count > 0


def _pieces(
    readings: Readings, number: int, start: datetime, end: datetime
) -> Iterator[tuple[pa.Table, pa.Table]]:
    for window in readings.windows(number, start, end):
        yield readings.numerics(number, *window), readings.rare(number, *window)


def _ahead(pieces: Iterator[T]) -> Iterator[T]:
    """Yield pieces while a thread has the next one read: the database works while we write."""
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(next, pieces, None)
        while (piece := waiting.result()) is not None:
            waiting = worker.submit(next, pieces, None)
            yield piece


def _named(wanted: Wanted, table: pa.Table) -> pa.Table:
    """Return a table with its devices by the names that the export uses."""
    if wanted.key is None or not len(table):
        return table
    encoded = table["device"].combine_chunks().dictionary_encode()
    names = pa.array([wanted.device(name) for name in encoded.dictionary.to_pylist()], pa.string())
    at = table.schema.get_field_index("device")
    return table.set_column(at, "device", names.take(encoded.indices))


class _Files:
    """One file a table and day, opened when something for it comes, closed when the day is over."""

    def __init__(self, folder: Path, form: str, partition: str) -> None:
        self._folder, self._form, self._partition = folder, form, partition
        self._open: dict[str, tuple[str, Any]] = {}
        self.count = 0

    def add(self, kind: str, table: pa.Table) -> None:
        """Append a table to the file of its day; a table that spans two days is cut."""
        if not len(table):
            return
        days = table["time"].cast(pa.date32()).combine_chunks()
        for day in days.unique().to_pylist():
            part = table.filter(pa.compute.equal(days, pa.scalar(day, pa.date32())))
            self._writer(kind, f"{day:%Y-%m-%d}", part.schema).write_table(part)

    def _writer(self, kind: str, day: str, schema: pa.Schema) -> Any:
        current = self._open.get(kind)
        if current is not None and current[0] == day:
            return current[1]
        if current is not None:
            current[1].close()
        place = self._folder / kind / self._partition
        place.mkdir(parents=True, exist_ok=True)
        number = 0
        while (path := place / f"{day}{f'-{number}' if number else ''}.{self._form}").exists():
            number += 1
        writer: Any = (
            pq.ParquetWriter(path, schema, compression="zstd")
            if self._form == "parquet"
            else arrow_csv.CSVWriter(path, schema)
        )
        self.count += 1
        self._open[kind] = (day, writer)
        return writer

    def close(self) -> None:
        """Close what is open."""
        for _, writer in self._open.values():
            writer.close()
        self._open.clear()


def write_events(
    folder: Path, form: str, name: str, rows: list[dict[str, Any]], schema: pa.Schema
) -> int:
    """Write alerts or annotations; return how many."""
    table = pa.Table.from_pylist(rows, schema)
    path = folder / f"{name}.{form}"
    if form == "parquet":
        pq.write_table(table, path, compression="zstd")
    else:
        arrow_csv.write_csv(table, path)
    return len(rows)


def finish(folder: Path, wanted: Wanted, form: str, counts: Counts) -> None:
    """Write what tells of the data set: the dictionary, and what it is."""
    (folder / "dictionary.csv").write_text(dictionary(), "utf-8")
    what: dict[str, Any] = {
        "vigil": VERSION,
        "format": form,
        "de_identified": wanted.key is not None,
        **{name: getattr(counts, name) for name in Counts.__slots__},
    }
    if wanted.key is None:
        what["made_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        what |= {"from": wanted.start.isoformat(), "to": wanted.end.isoformat()}
        what["beds"] = wanted.beds
    else:
        # no date of making: beside the last row of who still lies there it would tell the shift
        what["dates"] = "shifted by patient, whole days, by a shift that is not in this data set"
    (folder / "manifest.json").write_text(json.dumps(what, indent=2) + "\n", "utf-8")
