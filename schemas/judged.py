"""Judged readings as columns and back: what intake packs, recorder and console unpack. Pure.

Version 1 was a list of readings. What the broker and a checkpoint still hold of it after an upgrade
is read as well.
"""

from collections.abc import Iterator

from msgspec import Struct

from schemas.deliveries import Delivery
from schemas.errors import DecodeError
from schemas.vitals import Quality
from schemas.wire import (
    ClockOffset,
    DeviceStatus,
    JudgedBatch,
    Reading,
    Refusal,
    Stream,
    TakenInput,
)

VERSION = 2
BOUND = 2**62


class ReadingV1(Struct, array_like=True, gc=False):
    """One reading in a batch of version 1."""

    bed: str
    device: str
    boot: str
    seq: int
    measured_ns: int
    sent_ns: int | None
    received_ns: int
    offset_ns: int
    late: bool
    interval_s: float
    values: dict[str, float]
    flags: dict[str, Quality]


class BatchV1(Struct):
    """A batch of version 1."""

    v: int
    judged_ns: int
    readings: list[ReadingV1]
    clocks: list[ClockOffset]


def from_v1(old: BatchV1) -> JudgedBatch:
    """Return a batch of version 1 as one of today's."""
    readings = [
        Reading(
            bed=r.bed,
            device=r.device,
            boot=r.boot,
            seq=r.seq,
            measured_ns=r.measured_ns,
            sent_ns=r.sent_ns,
            received_ns=r.received_ns,
            values=r.values,
            flags=r.flags,
            interval_s=r.interval_s,
            offset_ns=r.offset_ns,
            late=r.late,
        )
        for r in old.readings
    ]
    return pack(readings, old.judged_ns, old.clocks)


def pack(
    readings: list[Reading],
    judged_ns: int,
    clocks: list[ClockOffset] | None = None,
    statuses: list[DeviceStatus] | None = None,
    inputs: list[TakenInput] | None = None,
    deliveries: list[Delivery] | None = None,
    refusals: list[Refusal] | None = None,
) -> JudgedBatch:
    """Return ``readings``, in their order, as one batch."""
    streams: dict[tuple[str, str, str, float, bool], int] = {}
    shapes: dict[tuple[str, ...], int] = {}
    stream, shape = [], []
    flags: list[tuple[int, str, Quality]] = []
    for row, r in enumerate(readings):
        stream.append(
            streams.setdefault((r.bed, r.device, r.boot, r.interval_s, r.numbered), len(streams))
        )
        shape.append(shapes.setdefault(tuple(r.values), len(shapes)))
        if r.flags:
            flags += [(row, vital, quality) for vital, quality in r.flags.items()]
    return JudgedBatch(
        v=VERSION,
        judged_ns=judged_ns,
        streams=[Stream(*key) for key in streams],
        shapes=list(shapes),
        stream=stream,
        shape=shape,
        seq=[r.seq for r in readings],
        measured_ns=[r.measured_ns for r in readings],
        sent_ns=[r.sent_ns for r in readings],
        received_ns=[r.received_ns for r in readings],
        offset_ns=[r.offset_ns for r in readings],
        late=[r.late for r in readings],
        values=[list(r.values.values()) for r in readings],
        flags=flags,
        clocks=clocks or [],
        statuses=statuses or [],
        inputs=inputs or [],
        deliveries=deliveries or [],
        refusals=refusals or [],
    )


def check(batch: JudgedBatch) -> None:
    """Raise DecodeError unless all columns are of one length and every index points somewhere."""
    rows = len(batch.stream)
    columns = (
        batch.shape,
        batch.seq,
        batch.measured_ns,
        batch.sent_ns,
        batch.received_ns,
        batch.offset_ns,
        batch.late,
        batch.values,
    )
    if any(len(column) != rows for column in columns):
        raise DecodeError("judged", "the columns of a judged batch differ in length")
    _check_numbers(batch)
    if not rows:
        return
    if not (min(batch.stream) >= 0 and max(batch.stream) < len(batch.streams)):
        raise DecodeError("judged", "a row points at no stream")
    if not (min(batch.shape) >= 0 and max(batch.shape) < len(batch.shapes)):
        raise DecodeError("judged", "a row points at no shape")
    widths = [len(shape) for shape in batch.shapes]
    if any(
        len(values) != widths[shape]
        for values, shape in zip(batch.values, batch.shape, strict=True)
    ):
        raise DecodeError("judged", "a row has more or fewer values than its shape")
    if any(not 0 <= row < rows for row, _, _ in batch.flags):
        raise DecodeError("judged", "a flag points at no row")


def _check_numbers(batch: JudgedBatch) -> None:
    """Raise DecodeError for a time or number that no device of ours can have sent."""
    columns = [batch.seq, batch.measured_ns, batch.received_ns, batch.offset_ns]
    columns.append([t for t in batch.sent_ns if t is not None])
    columns.append([clock.since_ns for clock in batch.clocks])
    columns.append([clock.offset_ns for clock in batch.clocks])
    columns.append([status.received_ns for status in batch.statuses])
    columns.append([taken.received_ns for taken in batch.inputs])
    columns.append([delivery.at_ns for delivery in batch.deliveries])
    if any(column and (min(column) < -BOUND or max(column) > BOUND) for column in columns):
        raise DecodeError("judged", "a time or number is beyond 2^62")


def unpack(batch: JudgedBatch) -> Iterator[Reading]:
    """Yield the readings of a batch in their order: the inverse of :func:`pack`."""
    flags: dict[int, dict[str, Quality]] = {}
    for row, vital, quality in batch.flags:
        flags.setdefault(row, {})[vital] = quality
    for row, (stream, shape) in enumerate(zip(batch.stream, batch.shape, strict=True)):
        of = batch.streams[stream]
        yield Reading(
            bed=of.bed,
            device=of.device,
            boot=of.boot,
            seq=batch.seq[row],
            measured_ns=batch.measured_ns[row],
            sent_ns=batch.sent_ns[row],
            received_ns=batch.received_ns[row],
            values=dict(zip(batch.shapes[shape], batch.values[row], strict=True)),
            flags=flags.get(row, {}),
            interval_s=of.interval_s,
            numbered=of.numbered,
            offset_ns=batch.offset_ns[row],
            late=batch.late[row],
        )
