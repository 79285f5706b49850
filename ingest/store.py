"""SQL of the recorder: idempotent inserts, rollups, partitions, retention."""

from contextlib import AbstractAsyncContextManager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from msgspec.structs import asdict
from numpy.typing import NDArray
from psycopg import AsyncConnection

from hub.arrays import array
from hub.database import PLAIN, query
from ingest.batch import Columns
from schemas.alerts import AlertEvent
from schemas.codec import encode_json
from schemas.deliveries import Delivery
from schemas.times import MS, from_datetime, to_datetime
from schemas.wire import ClockOffset, DeviceStatus, Rejected, Stream, TakenInput

Ints = NDArray[np.int64]
DAY_US, MINUTE_US = 86_400_000_000, 60_000_000
OLD_US = 3_600_000_000
"""Readings this old when they are stored may belong to a time that is packed."""
STREAMS_CACHED = 50_000
DUE_CACHED = 200_000
REJECTED_KEPT = 10_000
ROLL_LIMIT = 200
"""Buckets a transaction: short, because readings wait meanwhile."""
ROLL_GRACE = timedelta(seconds=10)
BY_DAY = ("numerics", "numerics_rare")
KEPT_RAW = (*BY_DAY, "numerics_packed")
BY_MONTH = ("numerics_1m", "numerics_1h", "numerics_rare_1m", "numerics_rare_1h")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long raw readings, 1 min and 1 h rollups, and waves are kept."""

    raw_days: int
    minute_days: int
    hour_days: int
    wave_hours: int


class Store:
    """One connection's view of the tables, with what it knows of ids and partitions."""

    def __init__(self, connection: AsyncConnection, flavour: str) -> None:
        self._connection = connection
        self.rolls = flavour == PLAIN
        self._streams: dict[Stream, tuple[int, int]] = {}
        self._days: set[int] = set()
        self._due: set[int] = set()

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Return a transaction: all of it is stored, or nothing."""
        return self._connection.transaction()

    async def insert_readings(self, cols: Columns, now_us: int | None = None) -> int:
        """Store readings inside the caller's transaction; return how many were new.

        Needs :meth:`prepare` first. ``now_us``: what is much older may be packed; None: nothing is.
        """
        ids = np.array([self._streams[stream] for stream in cols.streams], dtype=np.int64)
        beds, streams = ids[cols.stream, 0], ids[cols.stream, 1]
        if self.rolls and now_us is not None:
            await self._unpack(beds, cols.measured_us, now_us - OLD_US)
        cursor = await self._connection.execute(
            query("insert_numerics"),
            [
                array("int4", beds),
                array("int4", streams),
                array("timestamptz", cols.measured_us),
                array("timestamptz", cols.received_us),
                array("int8", cols.seq),
                array("int8", cols.offset_ms),
                array("bool", cols.late),
                array("int8", cols.sent_us, cols.sent_unknown),
                *(array("int8", status, status == 0) for status in cols.status),
                *(array("float4", values, np.isnan(values)) for values in cols.vitals),
            ],
        )
        stored = cursor.rowcount
        if cols.rare:
            rows = [
                (
                    int(beds[row]),
                    int(streams[row]),
                    to_datetime(int(cols.measured_us[row]) * 1000),
                    int(cols.seq[row]),
                    *rest,
                )
                for row, *rest in cols.rare
            ]
            await self._connection.execute(query("insert_rare"), transpose(rows, 7))
        if self.rolls:
            await self._owe(beds, cols.measured_us)
        return stored

    async def _unpack(self, beds: Ints, measured_us: Ints, before_us: int) -> None:
        """Put back what is packed of the times that old readings belong to: repeats must meet."""
        old = measured_us < before_us
        if old.any():
            # Whole minutes: their rollups are computed again from what is unpacked.
            first = int(measured_us[old].min()) // MINUTE_US * MINUTE_US
            last = (int(measured_us[old].max()) // MINUTE_US + 1) * MINUTE_US
            await self._connection.execute(
                "SELECT vigil_unpack(%s::int[], %s, %s)",
                (
                    np.unique(beds[old]).tolist(),
                    to_datetime(first * 1000),
                    to_datetime(last * 1000),
                ),
            )

    async def pack(self, before: datetime) -> int:
        """Pack a bed's day that ended before a time; return 0 when nothing is left to pack."""
        if not self.rolls:
            return 0
        cursor = await self._connection.execute("SELECT vigil_pack(%s)", (before,))
        row = await cursor.fetchone()
        return row[0] if row else 0

    def forget_owed(self) -> None:
        """After a rollback: what was noted as owed may not be."""
        self._due.clear()

    async def prepare(self, cols: Columns) -> None:
        """Register the streams and partitions that the readings need, each on its own."""
        if len(self._streams) > STREAMS_CACHED:
            self._streams.clear()
        for stream in set(cols.streams) - self._streams.keys():
            cursor = await self._connection.execute(
                query("insert_stream"),
                {"hospital": stream.bed.partition("/")[0], **asdict(stream)},
            )
            row = await cursor.fetchone()
            assert row is not None
            self._streams[stream] = (row[0], row[1])
        for day in np.unique(cols.measured_us // DAY_US).tolist():
            await self.ensure_partitions(day)

    async def ensure_partitions(self, day: int) -> None:
        """Make the partitions that a day (counted since 1970) needs."""
        if not self.rolls or day in self._days:
            return
        at = to_datetime(day * DAY_US * 1000)
        month = at.replace(day=1)
        next_month = (month + timedelta(days=32)).replace(day=1)
        for parents, start, end in (
            (BY_DAY, at, at + timedelta(days=1)),
            (BY_MONTH, month, next_month),
        ):
            for parent in parents:
                await self._connection.execute(
                    "SELECT vigil_add_partition(%s, %s, %s)", (parent, start, end)
                )
        self._days.add(day)

    async def _owe(self, beds: Ints, measured_us: Ints) -> None:
        """Note the minutes that these readings belong to: their rollup is owed."""
        keys = np.unique(beds << 32 | measured_us // MINUTE_US)
        fresh = [key for key in keys.tolist() if key not in self._due]
        if not fresh:
            return
        owed = np.array(fresh, dtype=np.int64)
        minutes = (owed & 0xFFFFFFFF) * MINUTE_US
        await self._connection.execute(
            query("insert_due"),
            (60, array("int4", owed >> 32), array("timestamptz", minutes)),
        )
        if len(self._due) > DUE_CACHED:
            self._due.clear()
        self._due.update(fresh)

    async def roll(self, now: datetime) -> int:
        """Compute the rollups that are owed for buckets that ended; return how many minutes."""
        if not self.rolls:
            return 0
        before = now - ROLL_GRACE
        async with self._connection.transaction():
            minutes = await self._take_due(60, before)
            if minutes:
                beds, buckets = transpose(minutes, 2)
                await self._connection.execute(
                    "SELECT vigil_roll_minutes(%s::int[], %s::timestamptz[])", (beds, buckets)
                )
                hours = sorted({(bed, b.replace(minute=0)) for bed, b in minutes})
                await self._connection.execute(query("insert_due"), (3600, *transpose(hours, 2)))
        self._due.difference_update(
            bed << 32 | from_datetime(bucket) // (1000 * MINUTE_US) for bed, bucket in minutes
        )
        async with self._connection.transaction():
            hours_due = await self._take_due(3600, before)
            if hours_due:
                await self._connection.execute(
                    "SELECT vigil_roll_hours(%s::int[], %s::timestamptz[])",
                    transpose(hours_due, 2),
                )
        return len(minutes)

    async def _take_due(self, width_s: int, before: datetime) -> list[tuple[int, datetime]]:
        cursor = await self._connection.execute(
            query("take_due"), {"width_s": width_s, "before": before, "limit": ROLL_LIMIT}
        )
        return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def insert_alert(self, event: AlertEvent) -> int:
        """Append an event to the ledger; return 1 if it was new."""
        stages = event.stages
        times = (
            stages.measured_ns,
            stages.sent_ns,
            stages.received_ns,
            stages.judged_ns,
            stages.fired_ns,
            stages.published_ns,
        )
        cursor = await self._connection.execute(
            query("insert_alert_event"),
            (
                event.event,
                event.alert,
                event.kind,
                event.bed,
                event.rule,
                event.technical,
                event.priority,
                event.vital,
                event.value,
                event.limit,
                event.unit,
                event.pack,
                event.pack_version,
                to_datetime(event.onset_ns),
                to_datetime(event.at_ns),
                event.delayed,
                event.acknowledged_by,
                event.device,
                event.zh,
                event.en,
                *(None if t is None else to_datetime(t) for t in times),
                event.overlay,
                encode_json(event.values).decode(),
                event.extreme,
                event.latched,
                event.muted_by,
                event.reason,
                _when(event.shelved_until_ns),
                _when(event.acknowledged_ns),
                event.step,
                event.role,
                event.by,
            ),
        )
        return cursor.rowcount

    async def insert_clock(self, clock: ClockOffset) -> None:
        """Note a change of a device's clock offset."""
        await self._connection.execute(
            query("insert_clock"),
            (clock.bed, clock.device, to_datetime(clock.since_ns), clock.offset_ns // MS),
        )

    async def insert_status(self, status: DeviceStatus) -> None:
        """Note what a device said of itself."""
        at = to_datetime(status.received_ns)
        await self._connection.execute(
            query("insert_status"),
            (status.bed, status.device, status.state, status.interval_s, at),
        )

    async def insert_input(self, taken: TakenInput) -> None:
        """Keep something else that intake decided from, as it came."""
        await self._connection.execute(
            query("insert_input"),
            (taken.scope, taken.kind, to_datetime(taken.received_ns), taken.body),
        )

    async def insert_delivery(self, delivery: Delivery) -> None:
        """Keep what became of a notification."""
        await self._connection.execute(
            query("insert_delivery"),
            (
                delivery.id,
                delivery.event,
                delivery.alert,
                delivery.bed,
                delivery.person,
                delivery.role,
                delivery.target,
                delivery.state,
                delivery.attempts,
                to_datetime(delivery.at_ns),
                delivery.detail,
            ),
        )

    async def upsert_rejected(self, kinds: list[Rejected]) -> None:
        """Keep the newest counts of refusals."""
        for kind in kinds:
            await self._connection.execute(
                query("upsert_rejected"),
                (
                    kind.epoch,
                    kind.device,
                    kind.reason,
                    kind.count,
                    to_datetime(kind.first_ns),
                    to_datetime(kind.last_ns),
                    kind.detail,
                    kind.topic,
                    kind.sample,
                ),
            )

    async def set_policies(self, retention: Retention) -> None:
        """Tell the database how long things are kept, where it drops them by itself."""
        await self._connection.execute(
            "SELECT vigil_set_policies(%s, %s, %s, %s)", astuple(retention)
        )

    async def keep(self, retention: Retention, now: datetime) -> int:
        """Drop what is older than its retention; return how many partitions went."""
        dropped = 0
        for parents, age in (
            (KEPT_RAW, timedelta(days=retention.raw_days)),
            (("numerics_1m", "numerics_rare_1m"), timedelta(days=retention.minute_days)),
            (("numerics_1h", "numerics_rare_1h"), timedelta(days=retention.hour_days)),
            (("wave_block",), timedelta(hours=retention.wave_hours)),
        ):
            for parent in parents if self.rolls else ():
                cursor = await self._connection.execute(
                    "SELECT vigil_drop_partitions(%s, %s)", (parent, now - age)
                )
                row = await cursor.fetchone()
                dropped += row[0] if row else 0
        await self._connection.execute(
            "DELETE FROM rejected WHERE last_at < (SELECT min(last_at) FROM"
            " (SELECT last_at FROM rejected ORDER BY last_at DESC LIMIT %s) newest)",
            (REJECTED_KEPT,),
        )
        if dropped:
            self._days.clear()
        return dropped


def _when(time_ns: int) -> datetime | None:
    return to_datetime(time_ns) if time_ns else None


def utc(now_ns: int) -> datetime:
    """Return now as the SQL side wants it."""
    return to_datetime(now_ns).astimezone(UTC)


def transpose(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return the columns of ``rows``; ``width`` empty lists when there are none."""
    return (
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
    )
