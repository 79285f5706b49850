"""Recordings as readings and waveforms: what a file holds, whatever its format. Pure.

CSV: columns ``t_seconds``, an optional name of the record (``record``, ``stay_id``, ``subject``),
and vitals as ``{vital}_{unit}`` (``hr_bpm``, ``spo2_pct``, ``abp_sys_mmhg``, ``temp_c``). A column
of numbers that names no known vital is kept under its own name. An empty cell is a missing value.
WFDB records come from ``simulators.wfdb_records``. Oddities that cost nothing (rows out of order,
a row that stands twice, a record whose rows are far apart) are notes, told to the person.
"""

import csv
import re
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecordingError
from schemas.times import S
from schemas.vitals import VITALS, Quality
from schemas.wave_codec import Samples
from schemas.waves import WaveChunk, split
from schemas.wire import Reading

RECORD_COLUMNS = ("record", "stay_id", "subject")
MAX_ROWS = 5_000_000
SPARSE_S = 30.0
EPOCH_NS = 946_684_800 * S
"""2000-01-01: when a recording without a date of its own begins in a run."""
_UNITS = ("_bpm", "_mmhg", "_pct", "_c")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WaveSource:
    """Consecutive samples of one channel of a record, (n,) int16, from ``start_s`` on.

    A value is ``sample * scale + zero`` in ``unit``.
    """

    channel: str
    unit: str
    rate_hz: float
    scale: float
    zero: float
    start_s: float
    samples: Samples


@dataclass(slots=True)
class Recording:
    """One patient's record: ``times`` (n,) seconds in order, ``values`` (n, vitals), NaN: missing.

    ``began_ns``: when it was recorded, if it says so.
    """

    name: str
    vitals: tuple[str, ...] = ()
    times: Floats = field(default_factory=lambda: np.zeros(0))
    values: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    waves: list[WaveSource] = field(default_factory=list)
    began_ns: int | None = None

    @property
    def interval_s(self) -> float:
        """The usual time between two rows, seconds; 1 when there is only one."""
        steps = np.diff(self.times)
        steps = steps[steps > 0]
        return float(max(0.1, np.median(steps))) if len(steps) else 1.0

    @property
    def first_s(self) -> float:
        """The time of the first row or sample."""
        return float(min([*self.times[:1].tolist(), *(wave.start_s for wave in self.waves)]))

    @property
    def last_s(self) -> float:
        """The time of the last row or sample."""
        ends = [wave.start_s + len(wave.samples) / wave.rate_hz for wave in self.waves]
        return float(max([*self.times[-1:].tolist(), *ends]))


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a file holds: its records by name, and what people should know about them."""

    records: dict[str, Recording]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Rows:
    """The rows of one record as they are read."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))


def vital_of(column: str) -> str:
    """Return the vital that a column names.

    >>> vital_of("abp_sys_mmhg"), vital_of("temp_c"), vital_of("Lactate mmol/L")
    ('abp_sys', 'temp', 'lactate_mmol_l')
    """
    for unit in _UNITS:
        if column.endswith(unit) and column.removesuffix(unit) in VITALS:
            return column.removesuffix(unit)
    slug = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")[:32] or "unnamed"
    return slug if slug[0].isalpha() else f"x_{slug}"[:32]


def read_csv(lines: Iterable[str], name: str, ignore: tuple[str, ...] = ()) -> Recordings:
    """Return the recordings in CSV ``lines``; raise RecordingError naming file, line, column.

    Columns named in ``ignore`` are left out.
    """
    reader = csv.reader(_without_bom(lines))
    try:
        header = [column.strip() for column in next(reader, [])]
        time_at, record_at, value_at = _columns(header, name, ignore)
        found = _read_rows(reader, name, header, time_at, record_at, value_at)
    except csv.Error as error:
        raise RecordingError(f"{name} line {reader.line_num}: {error}") from None
    if not found:
        raise RecordingError(f"{name}: no rows below the header")
    vitals = tuple(vital_of(header[i]) for i in value_at)
    notes: list[str] = []
    records = {key: _in_order(key, vitals, rows, notes) for key, rows in found.items()}
    notes += _sparse(records.values())
    notes += _unjudged(vitals)
    return Recordings(records, tuple(notes))


def _columns(
    header: list[str], name: str, ignore: tuple[str, ...]
) -> tuple[int, int | None, list[int]]:
    if not any(header):
        raise RecordingError(f"{name}: is empty; the first line names the columns, as t_seconds")
    if "t_seconds" not in header:
        hint = "; separate columns by commas" if ";" in header[0] or "\t" in header[0] else ""
        raise RecordingError(
            f"{name} line 1: no column t_seconds (found: {', '.join(header)[:200]}){hint}"
        )
    if len(set(header)) != len(header):
        raise RecordingError(f"{name} line 1: a column stands twice")
    missing = [column for column in ignore if column not in header]
    if missing:
        raise RecordingError(f"{name} line 1: no column {', '.join(missing)} to ignore")
    record_at = next((header.index(c) for c in RECORD_COLUMNS if c in header), None)
    skipped = {"t_seconds", *RECORD_COLUMNS, *ignore}
    value_at = [i for i, c in enumerate(header) if c not in skipped]
    if not value_at:
        raise RecordingError(f"{name} line 1: no column of a vital beside t_seconds")
    names = [vital_of(header[i]) for i in value_at]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise RecordingError(f"{name} line 1: two columns name the vital {twice}; use --ignore")
    return header.index("t_seconds"), record_at, value_at


def _read_rows(
    reader: Iterator[list[str]],
    name: str,
    header: list[str],
    time_at: int,
    record_at: int | None,
    value_at: list[int],
) -> OrderedDict[str, _Rows]:
    found: OrderedDict[str, _Rows] = OrderedDict()
    for count, cells in enumerate(reader):
        if not cells:
            continue
        line = reader.line_num  # type: ignore[attr-defined]  # a csv reader has it
        if len(cells) != len(header):
            raise RecordingError(
                f"{name} line {line}: {len(cells)} cells, the header has {len(header)}; give each "
                "column a cell, empty where there is no value"
            )
        if count >= MAX_ROWS:
            raise RecordingError(f"{name} line {line}: more than {MAX_ROWS} rows; split the file")
        key = name if record_at is None else cells[record_at].strip()
        rows = found.setdefault(key, _Rows())
        cell = cells[time_at].strip()
        if not cell:
            raise RecordingError(f"{name} line {line} column t_seconds: empty; give seconds")
        rows.times.append(_number(name, line, "t_seconds", cell))
        for i in value_at:
            cell = cells[i].strip()
            rows.values.append(_number(name, line, header[i], cell) if cell else np.nan)
    return found


def _without_bom(lines: Iterable[str]) -> Iterable[str]:
    for number, line in enumerate(lines):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _number(name: str, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        fix = (
            "give seconds"
            if column == "t_seconds"
            else f"leave the cell empty for a missing value, or the column out: --ignore {column}"
        )
        raise RecordingError(
            f"{name} line {line} column {column}: {cell[:40]!r} is not a number; {fix}"
        )
    return value


def _in_order(key: str, vitals: tuple[str, ...], rows: _Rows, notes: list[str]) -> Recording:
    """Return a record with its rows in order of time, each once."""
    times = np.array(rows.times)
    values = np.array(rows.values).reshape(len(times), len(vitals))
    if (np.diff(times) < 0).any():
        notes.append(f"{key}: rows out of order; sorted by t_seconds")
    if np.isnan(values).all():
        notes.append(f"{key}: holds no value in any of its {len(times)} rows; left out")
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    again = np.zeros(len(times), dtype=bool)
    again[1:] = (np.diff(times) == 0) & (
        (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    ).all(axis=1)
    if again.any():
        notes.append(f"{key}: {int(again.sum())} rows stand twice; each was taken once")
    if (np.diff(times[~again]) == 0).any():
        notes.append(f"{key}: several rows of one time with different values; all were taken")
    return Recording(key, vitals, times[~again], values[~again])


def _unjudged(vitals: tuple[str, ...]) -> list[str]:
    """Name the columns that no rule looks at, and what was perhaps meant."""
    notes = []
    for vital in vitals:
        if vital not in VITALS:
            close = get_close_matches(vital.removesuffix("_bpm"), VITALS, 1, 0.5)
            hint = f"; did you mean {close[0]}?" if close else ""
            notes.append(f"column {vital} is no known vital: kept, never judged{hint}")
    return notes


def _sparse(records: Iterable[Recording]) -> list[str]:
    """Say when rows are far apart: silence is judged by the distance."""
    intervals = [r.interval_s for r in records if len(r.times) > 1]
    if not intervals or max(intervals) < SPARSE_S:
        return []
    low, high = min(intervals), max(intervals)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    note = (
        f"a row every {span} s: holds shorter than that count single rows, and a bed is silent "
        "only after three such intervals"
    )
    return [note]


def bed_name(record: str) -> str:
    """Return a bed name in the topic grammar for a record.

    >>> bed_name("p000138-2131-10-31"), bed_name("A103 l"), bed_name("mine.csv"), bed_name("张三")
    ('p000138-2131-10-31', 'a103-l', 'mine', 'record-7984b0ca')
    """
    name = re.sub(r"\.csv(\.gz)?$", "", record.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:48].strip("-")
    return slug or f"record-{crc32(record.encode()):08x}"


def to_readings(record: Recording, bed: str, *, boot: str, start_ns: int) -> Iterator[Reading]:
    """Yield a record's rows as readings, the record's beginning at ``start_ns``.

    Columns that are empty throughout the record are left out; an empty cell of the others is a
    missing value.
    """
    if not len(record.times):
        return
    used = np.flatnonzero(~np.isnan(record.values).all(axis=0)).tolist()
    names = [record.vitals[i] for i in used]
    interval = min(record.interval_s, 86_400.0)
    first = record.first_s
    device = f"replay-{bed_name(record.name)}"
    for seq, (t_s, row) in enumerate(zip(record.times.tolist(), record.values, strict=True)):
        cells = dict(zip(names, row[used].tolist(), strict=True))
        values = {name: value for name, value in cells.items() if value == value}  # noqa: PLR0124 - NaN
        flags = dict.fromkeys(cells.keys() - values.keys(), Quality.MISSING)
        if cells:
            measured = start_ns + int((t_s - first) * S)
            yield Reading(
                bed=bed,
                device=device,
                boot=boot,
                seq=seq,
                measured_ns=measured,
                sent_ns=measured,
                received_ns=measured,
                values=values,
                flags=dict(sorted(flags.items())),
                interval_s=interval,
            )


def to_chunks(
    record: Recording,
    bed: str,
    *,
    boot: str,
    start_ns: int,
    channel: str,
    chunk_s: float,
) -> Iterator[WaveChunk]:
    """Yield one channel of a record's waveforms in pieces, its beginning at ``start_ns``."""
    device = f"replay-{bed_name(record.name)}"
    seq = 0
    for wave in [wave for wave in record.waves if wave.channel == channel]:
        begin_ns = start_ns + round((wave.start_s - record.first_s) * S)
        whole = WaveChunk(
            bed=bed,
            channel=wave.channel,
            device=device,
            boot=boot,
            unit=wave.unit,
            seq=seq,
            measured_ns=begin_ns,
            sent_ns=None,
            received_ns=begin_ns,
            rate_hz=wave.rate_hz,
            scale=wave.scale,
            zero=wave.zero,
            samples=wave.samples,
        )
        for chunk in split(whole, chunk_s):
            yield chunk
            seq = chunk.seq + 1
