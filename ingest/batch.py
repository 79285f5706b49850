"""Judged batches to the columns that one INSERT takes. Pure.

Times are rounded down to the microsecond that PostgreSQL holds, so that a key is stable.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.times import MS
from schemas.vitals import COMMON_NAMES, COMMON_SLOT, NIBBLES, QUALITY_CODE
from schemas.wire import JudgedBatch, Stream

TINY, HUGE = 1e-30, 1e30
RareRow = tuple[int, str, float | None, int]
"""Row number, vital, value, quality code."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Readings as columns of equal length (n,): times in microseconds since 1970.

    ``stream`` indexes ``streams``. ``sent_us``: sent minus measured, masked by ``sent_unknown``.
    ``status``: (2, n) packed qualities, 0 where all are ok. ``vitals``: (vitals, n), NaN: absent.
    """

    streams: list[Stream]
    stream: NDArray[np.int64]
    measured_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    sent_us: NDArray[np.int64]
    sent_unknown: NDArray[np.bool_]
    seq: NDArray[np.int64]
    offset_ms: NDArray[np.int64]
    late: NDArray[np.bool_]
    status: NDArray[np.int64]
    vitals: NDArray[np.float64]
    rare: list[RareRow]


def columns(batches: list[JudgedBatch]) -> Columns:
    """Return the columns of all readings in ``batches``, in their order."""
    streams: dict[Stream, int] = {}
    parts = [np.zeros(0, dtype=np.int64)]
    for batch in batches:
        index = [streams.setdefault(stream, len(streams)) for stream in batch.streams]
        parts.append(np.array(index, dtype=np.int64)[np.array(batch.stream, dtype=np.int64)])
    measured = _joined([batch.measured_ns for batch in batches])
    sent = [t for batch in batches for t in batch.sent_ns]
    unknown = np.array([t is None for t in sent], dtype=bool)
    sent_ns = np.array([t or 0 for t in sent], dtype=np.int64) if unknown.any() else _joined([sent])  # type: ignore[list-item]  # none is None here
    rows = len(measured)
    vitals = np.full((len(COMMON_NAMES), rows), np.nan)
    status = np.zeros((2, rows), dtype=np.int64)
    rare: dict[tuple[int, str], tuple[float | None, int]] = {}
    base = 0
    for batch in batches:
        _add_values(batch, base, vitals, rare)
        _add_flags(batch, base, status, rare)
        base += len(batch.stream)
    return Columns(
        streams=list(streams),
        stream=np.concatenate(parts),
        measured_us=measured // 1000,
        received_us=_joined([batch.received_ns for batch in batches]) // 1000,
        sent_us=sent_ns // 1000 - measured // 1000,
        sent_unknown=unknown,
        seq=_joined([batch.seq for batch in batches]),
        offset_ms=_joined([batch.offset_ns for batch in batches]) // MS,
        late=np.array([late for batch in batches for late in batch.late], dtype=bool),
        status=status,
        vitals=_storable(vitals),
        rare=[(row, vital, *found) for (row, vital), found in rare.items()],
    )


def _joined(lists: list[list[int]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64)] + [np.array(x, np.int64) for x in lists])


def _add_values(
    batch: JudgedBatch,
    base: int,
    vitals: NDArray[np.float64],
    rare: dict[tuple[int, str], tuple[float | None, int]],
) -> None:
    shape_of = np.array(batch.shape, dtype=np.int64)
    for shape, names in enumerate(batch.shapes):
        at = np.flatnonzero(shape_of == shape)
        if not names or not len(at):
            continue
        values = np.array([batch.values[row] for row in at.tolist()], dtype=np.float64)
        for column, name in enumerate(names):
            slot = COMMON_SLOT.get(name)
            if slot is not None:
                vitals[slot, base + at] = values[:, column]
            else:
                for row, value in zip(at.tolist(), values[:, column].tolist(), strict=True):
                    rare[base + row, name] = (_storable_value(value), 0)


def _add_flags(
    batch: JudgedBatch,
    base: int,
    status: NDArray[np.int64],
    rare: dict[tuple[int, str], tuple[float | None, int]],
) -> None:
    for row, name, quality in batch.flags:
        slot = COMMON_SLOT.get(name)
        code = QUALITY_CODE[quality]
        if slot is None:
            rare[base + row, name] = (rare.get((base + row, name), (None, 0))[0], code)
        else:
            column, nibble = divmod(slot, NIBBLES)
            status[column, base + row] |= code << (4 * nibble)


def _storable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values that a 4-byte float can hold; tiny ones as 0, for averages underflow."""
    size = np.abs(values)
    values[size < TINY] = 0.0
    values[size > HUGE] = np.nan
    return values


def _storable_value(value: float) -> float | None:
    if abs(value) > HUGE:
        return None
    return value if abs(value) > TINY else 0.0
