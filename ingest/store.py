"""SQL of the recorder: idempotent inserts, rollups, partitions, retention."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection

from hub.database import query
from ingest.batch import Stream, columns, floor_minute, transpose
from schemas.alerts import AlertEvent
from schemas.times import MS, to_datetime
from schemas.vitals import COMMON_NAMES
from schemas.wire import ClockOffset, JudgedReading, Rejected

STREAMS_CACHED = 50_000
DUE_CACHED = 200_000
REJECTED_KEPT = 10_000
ROLL_LIMIT = 200
"""Buckets a transaction: short, because readings wait meanwhile."""
ROLL_GRACE = timedelta(seconds=10)
BY_DAY = ("numerics", "numerics_rare")
BY_MONTH = ("numerics_1m", "numerics_1h", "numerics_rare_1m", "numerics_rare_1h")


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days raw readings, 1 min and 1 h rollups are kept."""

    raw_days: int
    minute_days: int
    hour_days: int


class Store:
    """One connection's view of the tables, with what it knows of ids and partitions."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._streams: dict[Stream, tuple[int, int]] = {}
        self._days: set[datetime] = set()
        self._due: set[tuple[int, datetime]] = set()

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Return a transaction: all of it is stored, or nothing."""
        return self._connection.transaction()

    async def insert_readings(self, readings: list[JudgedReading]) -> int:
        """Store readings inside the caller's transaction; return how many were new.

        Needs :meth:`prepare` first.
        """
        cols = columns(readings)
        ids = [self._streams[stream] for stream in cols.stream]
        beds, streams = [bed for bed, _ in ids], [stream for _, stream in ids]
        cursor = await self._connection.execute(
            query("insert_numerics"),
            [
                beds,
                streams,
                cols.measured_at,
                cols.received_at,
                cols.seq,
                cols.offset_ms,
                cols.late,
                cols.status,
                *transpose(cols.common, len(COMMON_NAMES)),
            ],
        )
        stored = cursor.rowcount
        if cols.rare:
            rows = [
                (beds[row], streams[row], cols.measured_at[row], cols.seq[row], *rest)
                for row, *rest in cols.rare
            ]
            await self._connection.execute(query("insert_rare"), transpose(rows, 7))
        await self._owe(beds, cols.measured_at)
        return stored

    def forget_owed(self) -> None:
        """After a rollback: what was noted as owed may not be."""
        self._due.clear()

    async def prepare(self, readings: list[JudgedReading]) -> None:
        """Register the streams and partitions that ``readings`` need, each on its own."""
        if len(self._streams) > STREAMS_CACHED:
            self._streams.clear()
        for stream in {(r.bed, r.device, r.boot) for r in readings} - self._streams.keys():
            bed, device, boot = stream
            cursor = await self._connection.execute(
                query("insert_stream"),
                {"bed": bed, "hospital": bed.partition("/")[0], "device": device, "boot": boot},
            )
            row = await cursor.fetchone()
            assert row is not None
            self._streams[stream] = (row[0], row[1])
        days = {r.measured_ns // (86_400_000 * MS) for r in readings}
        for day in days:
            await self._ensure_partitions(to_datetime(day * 86_400_000 * MS))

    async def _ensure_partitions(self, day: datetime) -> None:
        if day in self._days:
            return
        month = day.replace(day=1)
        next_month = (month + timedelta(days=32)).replace(day=1)
        for parents, start, end in (
            (BY_DAY, day, day + timedelta(days=1)),
            (BY_MONTH, month, next_month),
        ):
            for parent in parents:
                await self._connection.execute(
                    "SELECT vigil_add_partition(%s, %s, %s)", (parent, start, end)
                )
        self._days.add(day)

    async def _owe(self, beds: list[int], measured_at: list[datetime]) -> None:
        """Note the minutes that these readings belong to: their rollup is owed."""
        owed = {(bed, floor_minute(at)) for bed, at in zip(beds, measured_at, strict=True)}
        fresh = owed - self._due
        if not fresh:
            return
        rows = [(bed, minute, 60) for bed, minute in sorted(fresh)]
        await self._connection.execute(query("insert_due"), transpose(rows, 3))
        if len(self._due) > DUE_CACHED:
            self._due.clear()
        self._due |= fresh

    async def roll(self, now: datetime) -> int:
        """Compute the rollups that are owed for buckets that ended; return how many minutes."""
        before = now - ROLL_GRACE
        async with self._connection.transaction():
            minutes = await self._take_due(60, before)
            if minutes:
                beds, buckets = transpose(minutes, 2)
                await self._connection.execute(
                    "SELECT vigil_roll_minutes(%s::int[], %s::timestamptz[])", (beds, buckets)
                )
                hours = sorted({(bed, b.replace(minute=0), 3600) for bed, b in minutes})
                await self._connection.execute(query("insert_due"), transpose(hours, 3))
        self._due.difference_update(minutes)
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
            ),
        )
        return cursor.rowcount

    async def insert_clock(self, clock: ClockOffset) -> None:
        """Note a change of a device's clock offset."""
        await self._connection.execute(
            query("insert_clock"),
            (clock.bed, clock.device, to_datetime(clock.since_ns), clock.offset_ns // MS),
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

    async def keep(self, retention: Retention, now: datetime) -> int:
        """Drop what is older than its retention; return how many partitions went."""
        dropped = 0
        for parents, days in (
            (BY_DAY, retention.raw_days),
            (("numerics_1m", "numerics_rare_1m"), retention.minute_days),
            (("numerics_1h", "numerics_rare_1h"), retention.hour_days),
        ):
            for parent in parents:
                cursor = await self._connection.execute(
                    "SELECT vigil_drop_partitions(%s, %s)", (parent, now - timedelta(days=days))
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


def utc(now_ns: int) -> datetime:
    """Return now as the SQL side wants it."""
    return to_datetime(now_ns).astimezone(UTC)
