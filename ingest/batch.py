"""Judged readings to columns: the arrays that one INSERT takes. Pure.

Times are rounded down to the microsecond that PostgreSQL holds, so that a key is stable.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.times import MS, to_datetime
from schemas.vitals import COMMON_NAMES, COMMON_SLOT, QUALITY_CODE, Quality, pack_status
from schemas.wire import JudgedReading

TINY, HUGE = 1e-30, 1e30
Stream = tuple[str, str, str]
"""Bed, device, boot."""


@dataclass(slots=True)
class Columns:
    """The columns of one INSERT, as lists of equal length."""

    stream: list[Stream] = field(default_factory=list)
    measured_at: list[datetime] = field(default_factory=list)
    received_at: list[datetime] = field(default_factory=list)
    seq: list[int] = field(default_factory=list)
    offset_ms: list[int] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    status: list[int | None] = field(default_factory=list)
    common: list[tuple[float | None, ...]] = field(default_factory=list)
    rare: list[tuple[int, str, float | None, int]] = field(default_factory=list)
    """Row number, vital, value, quality code."""


def columns(readings: list[JudgedReading]) -> Columns:
    """Return the columns of ``readings``."""
    out = Columns()
    for row, reading in enumerate(readings):
        values, flags = _storable(reading.values), reading.flags
        out.stream.append((reading.bed, reading.device, reading.boot))
        out.measured_at.append(to_datetime(reading.measured_ns))
        out.received_at.append(to_datetime(reading.received_ns))
        out.seq.append(reading.seq)
        out.offset_ms.append(reading.offset_ns // MS)
        out.late.append(reading.late)
        out.status.append(pack_status(flags) if flags else None)
        out.common.append(tuple([values.get(name) for name in COMMON_NAMES]))
        out.rare.extend(
            (row, name, values.get(name), QUALITY_CODE[flags.get(name, Quality.OK)])
            for name in values.keys() | flags.keys()
            if name not in COMMON_SLOT
        )
    return out


def _storable(values: dict[str, float]) -> dict[str, float]:
    """Return the values that a 4-byte float can hold; tiny ones as 0, for averages underflow."""
    if all(v == 0 or TINY < abs(v) < HUGE for v in values.values()):
        return values
    return {n: v if abs(v) > TINY else 0.0 for n, v in values.items() if abs(v) < HUGE}


def transpose(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return the columns of ``rows``; ``width`` empty lists when there are none."""
    return (
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
    )


def floor_minute(moment: datetime) -> datetime:
    """Return the start of the minute of ``moment``."""
    return moment.replace(second=0, microsecond=0)
