"""Recordings as readings: CSV in the columns of PhysioNet-style numerics. Pure.

Columns: ``t_seconds``, an optional name of the record (``record``, ``stay_id``, ``subject``), and
vitals as ``{vital}_{unit}`` (``hr_bpm``, ``spo2_pct``, ``abp_sys_mmhg``, ``temp_c``). A column of
numbers that names no known vital is kept under its own name. An empty cell is a missing value.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from statistics import median

from schemas.errors import RecordingError
from schemas.times import S
from schemas.vitals import VITALS, Quality
from schemas.wire import Reading

RECORD_COLUMNS = ("record", "stay_id", "subject")
MAX_ROWS = 5_000_000
_UNITS = ("_bpm", "_mmhg", "_pct", "_c")


@dataclass(slots=True)
class Recording:
    """One patient's record: times in seconds and a value (or None) for each vital column."""

    name: str
    times: list[float] = field(default_factory=list)
    rows: list[tuple[float | None, ...]] = field(default_factory=list)

    @property
    def interval_s(self) -> float:
        """The usual time between two rows, seconds; 1 when there is only one."""
        times = sorted(self.times)
        steps = [b - a for a, b in pairwise(times) if b > a]
        return max(0.1, median(steps)) if steps else 1.0


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a file holds: vitals by column, and its records by name."""

    vitals: tuple[str, ...]
    records: dict[str, Recording]


def vital_of(column: str) -> str:
    """Return the vital that a column names.

    >>> vital_of("abp_sys_mmhg"), vital_of("temp_c"), vital_of("Lactate mmol/L")
    ('abp_sys', 'temp', 'lactate_mmol_l')
    """
    for unit in _UNITS:
        if column.endswith(unit) and column.removesuffix(unit) in VITALS:
            return column.removesuffix(unit)
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")[:32] or "unnamed"


def read_csv(lines: Iterable[str], name: str) -> Recordings:
    """Return the recordings in CSV ``lines``; raise RecordingError naming file, line, column."""
    reader = csv.reader(_without_bom(lines))
    header = [column.strip() for column in next(reader, [])]
    if "t_seconds" not in header:
        raise RecordingError(
            f"{name} line 1: no column t_seconds (found: {', '.join(header)[:200]})"
        )
    if len(set(header)) != len(header):
        raise RecordingError(f"{name} line 1: a column stands twice")
    time_at = header.index("t_seconds")
    record_at = next((header.index(c) for c in RECORD_COLUMNS if c in header), None)
    value_at = [i for i, c in enumerate(header) if c != "t_seconds" and c not in RECORD_COLUMNS]
    if not value_at:
        raise RecordingError(f"{name} line 1: no column of a vital beside t_seconds")
    records: dict[str, Recording] = {}
    for count, cells in enumerate(reader):
        line = reader.line_num
        if not cells:
            continue
        if len(cells) != len(header):
            raise RecordingError(
                f"{name} line {line}: {len(cells)} cells, the header has {len(header)}"
            )
        if count >= MAX_ROWS:
            raise RecordingError(f"{name} line {line}: more than {MAX_ROWS} rows; split the file")
        key = name if record_at is None else cells[record_at].strip()
        record = records.setdefault(key, Recording(key))
        t_s = _number(name, line, "t_seconds", cells[time_at])
        if t_s is None:
            raise RecordingError(f"{name} line {line} column t_seconds: empty; give seconds")
        record.times.append(t_s)
        record.rows.append(tuple(_number(name, line, header[i], cells[i]) for i in value_at))
    if not records:
        raise RecordingError(f"{name}: no rows below the header")
    return Recordings(tuple(vital_of(header[i]) for i in value_at), records)


def _without_bom(lines: Iterable[str]) -> Iterable[str]:
    for number, line in enumerate(lines):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _number(name: str, line: int, column: str, cell: str) -> float | None:
    cell = cell.strip()
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise RecordingError(
            f"{name} line {line} column {column}: {cell[:40]!r} is not a number; "
            "leave the cell empty for a missing value"
        )
    return value


def bed_name(record: str) -> str:
    """Return a bed name in the topic grammar for a record.

    >>> bed_name("p000138-2131-10-31"), bed_name("A103 l")
    ('p000138-2131-10-31', 'a103-l')
    """
    return re.sub(r"[^a-z0-9]+", "-", record.lower()).strip("-")[:48] or "bed"


def to_readings(
    recordings: Recordings, record: Recording, bed: str, *, boot: str, start_ns: int
) -> list[Reading]:
    """Return a record's rows as readings, its first row at ``start_ns``, in order of time.

    Columns that are empty throughout the record are left out; an empty cell of the others is a
    missing value.
    """
    used = [
        i for i in range(len(recordings.vitals)) if any(row[i] is not None for row in record.rows)
    ]
    interval = min(record.interval_s, 86_400.0)
    first = min(record.times)
    out = []
    order = sorted(range(len(record.times)), key=record.times.__getitem__)
    for seq, i in enumerate(order):
        row = record.rows[i]
        measured = start_ns + int((record.times[i] - first) * S)
        values: dict[str, float] = {}
        flags: dict[str, Quality] = {}
        for column in used:
            value, vital = row[column], recordings.vitals[column]
            if value is None:
                flags[vital] = Quality.MISSING
            else:
                values[vital] = value
        if values or flags:
            out.append(
                Reading(
                    bed=bed,
                    device=f"replay-{bed_name(record.name)}",
                    boot=boot,
                    seq=seq,
                    measured_ns=measured,
                    sent_ns=measured,
                    received_ns=0,
                    values=values,
                    flags=flags,
                    interval_s=interval,
                )
            )
    return out
