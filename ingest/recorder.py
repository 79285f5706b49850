"""The recorder service: judged batches, alert events and refusals into the database.

It acknowledges after the commit. When the database is away it leaves the broker: its durable
session keeps everything, bounded by the broker's disk, and delivers it when we are back. Inserts
are idempotent, so what comes twice is stored once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import structlog
from psycopg import AsyncConnection

from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.database import flavour_of, stay_with_database
from hub.health import Reporter
from hub.mqtt import Envelope
from hub.settings import Settings
from ingest.batch import columns
from ingest.store import ROLL_LIMIT, Retention, Store, utc
from ingest.wave_recorder import WaveRecorder
from schemas.alerts import AlertEvent
from schemas.codec import decode_alert, decode_judged, decode_rejected
from schemas.errors import DecodeError
from schemas.judged import pack, unpack
from schemas.times import MS
from schemas.topics import ALERTS_FILTER, JUDGED_FILTER, REJECTED_FILTER
from schemas.wire import JudgedBatch, Rejected

log = structlog.get_logger()

CLIENT_ID = "vigil-recorder"
FILTERS = (JUDGED_FILTER, ALERTS_FILTER, REJECTED_FILTER)
ROLL_PERIOD_S = 10.0
KEEP_PERIOD_S = 3600.0
PACK_PERIOD_S, PACK_PAUSE_S = 60.0, 0.5
LATENCIES_KEPT = 5_000
DELAY_SAMPLE = 16
"""One reading in so many is timed."""


@dataclass(slots=True)
class Batch:
    """What one transaction stores, and the messages that it acknowledges."""

    judged: list[JudgedBatch] = field(default_factory=list)
    alerts: list[AlertEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    mids: list[int] = field(default_factory=list)
    readings: int = 0


class Recorder:
    """The shell around the store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waves = WaveRecorder(settings)
        self._batch = Batch()
        self._wake = asyncio.Event()
        self._stored = self._repeats = self._alerts = self._unreadable = self._refused = 0
        self._packed = 0
        self._delays: deque[float] = deque(maxlen=LATENCIES_KEPT)
        kept = settings.recorder
        self._retention = Retention(
            kept.raw_days, kept.minute_days, kept.hour_days, kept.wave_hours
        )
        self._reporter = Reporter("recorder", self._counters)

    def _counters(self) -> dict[str, float]:
        counters: dict[str, float] = {
            "stored": self._stored,
            "already_stored": self._repeats,
            "alert_events": self._alerts,
            "unreadable": self._unreadable,
            "refused_by_database": self._refused,
            "bed_days_packed": self._packed,
            "waiting": self._batch.readings,
        }
        if self._delays:
            ordered = sorted(self._delays)
            counters["sent_to_stored_p50_ms"] = ordered[len(ordered) // 2]
            counters["sent_to_stored_p99_ms"] = ordered[int(len(ordered) * 0.99)]
        return counters | self._waves.counters()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, through any number of losses of database and broker."""
        tasks = {
            asyncio.create_task(self._record(stop), name="recorder"),
            asyncio.create_task(self._waves.run(stop), name="waves"),
            asyncio.create_task(self._pack(), name="pack"),
            asyncio.create_task(stop.wait(), name="stop"),
        }
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        log.info("recorder_stopped", **self._counters())

    async def _record(self, stop: asyncio.Event) -> None:
        async def with_database(database: AsyncConnection) -> None:
            await stay_connected(self._connect, self._server(database), stop)

        await stay_with_database(self._settings.database_address, with_database)

    async def _pack(self) -> None:
        """Pack old readings, a bed's day at a time, on a connection that nothing waits for."""
        age = timedelta(hours=self._settings.recorder.pack_after_hours)

        async def with_database(database: AsyncConnection) -> None:
            store = Store(database, await flavour_of(database))
            while True:
                while await store.pack(utc(now_ns()) - age):
                    self._packed += 1
                    await asyncio.sleep(PACK_PAUSE_S)
                await asyncio.sleep(PACK_PERIOD_S)

        await stay_with_database(self._settings.database_address, with_database)

    def _server(self, database: AsyncConnection) -> Callable[[Connection], Awaitable[None]]:
        async def serve(connection: Connection) -> None:
            store = Store(database, await flavour_of(database))
            await store.set_policies(self._retention)
            await self._serve(connection, store)

        return serve

    def _connect(self) -> Connection:
        return Connection(
            self._settings.broker_address,
            CLIENT_ID,
            filters=FILTERS,
            durable=True,
            will=self._reporter.will(),
        )

    async def _serve(self, connection: Connection, store: Store) -> None:
        self._batch = Batch()
        lock = asyncio.Lock()
        log.info("recorder_started")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._consume(connection), name="consume")
            group.create_task(self._flush(connection, store, lock), name="flush")
            group.create_task(self._roll(store, lock), name="roll")
            group.create_task(self._reporter.run(connection), name="health")

    async def _consume(self, connection: Connection) -> None:
        async for envelopes in connection.batches():
            for envelope in envelopes:
                self._add(envelope)
            if self._batch.readings >= self._settings.recorder.batch_rows:
                self._wake.set()

    def _add(self, envelope: Envelope) -> None:
        """Put a message's content into the batch. An unreadable one is counted and let go."""
        batch = self._batch
        batch.mids.append(envelope.mid)
        try:
            if envelope.topic.endswith("/rejected"):
                batch.rejected.extend(decode_rejected(envelope.payload))
            elif envelope.topic.endswith("/judged"):
                judged = decode_judged(envelope.payload)
                batch.judged.append(judged)
                batch.readings += len(judged.stream)
            elif envelope.payload and not envelope.retain:
                batch.alerts.append(decode_alert(envelope.payload))
        except DecodeError as error:
            self._unreadable += 1
            log.warning("message_unreadable", topic=envelope.topic, reason=str(error))

    async def _flush(self, connection: Connection, store: Store, lock: asyncio.Lock) -> None:
        period_s = self._settings.recorder.flush_ms / 1000
        while True:
            try:
                async with asyncio.timeout(period_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not self._batch.mids:
                continue
            batch, self._batch = self._batch, Batch()
            async with lock:
                await self._insert(store, batch)
            connection.ack(batch.mids)

    async def _insert(self, store: Store, batch: Batch) -> None:
        """Store a batch; halve it when a value is refused, so that one row costs only itself."""
        try:
            await self._commit(store, batch)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            store.forget_owed()
            pieces = _pieces(batch)
            if len(pieces) <= 1:
                self._refused += 1
                log.error("row_refused", reason=str(error).strip())  # noqa: TRY400
                return
            middle = len(pieces) // 2
            for half in (pieces[:middle], pieces[middle:]):
                await self._insert(store, _together(half))
        except psycopg.Error:
            store.forget_owed()
            raise

    async def _commit(self, store: Store, batch: Batch) -> None:
        cols = columns(batch.judged)
        rows = len(cols.stream)
        await store.prepare(cols)
        async with store.transaction():
            new = await store.insert_readings(cols, now_ns() // 1000) if rows else 0
            alerts = sum([await store.insert_alert(event) for event in batch.alerts])
            for judged in batch.judged:
                for clock in judged.clocks:
                    await store.insert_clock(clock)
                for status in judged.statuses:
                    await store.insert_status(status)
                for taken in judged.inputs:
                    await store.insert_input(taken)
                for delivery in judged.deliveries:
                    await store.insert_delivery(delivery)
            await store.upsert_rejected(batch.rejected)
        now = now_ns()
        self._stored += new
        self._repeats += rows - new
        self._alerts += alerts
        self._delays.extend(
            (now - sent_ns) / MS
            for judged in batch.judged
            for sent_ns in judged.sent_ns[::DELAY_SAMPLE]
            if sent_ns is not None
        )

    async def _roll(self, store: Store, lock: asyncio.Lock) -> None:
        """Compute rollups every 10 s and drop what is too old every hour."""
        kept_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            rolled = ROLL_LIMIT
            while rolled >= ROLL_LIMIT:
                async with lock:
                    rolled = await store.roll(utc(now_ns()))
            async with lock:
                if not kept_at or loop.time() - kept_at > KEEP_PERIOD_S:
                    kept_at = loop.time()
                    dropped = await store.keep(self._retention, utc(now_ns()))
                    if dropped:
                        log.info("partitions_dropped", count=dropped)
            await asyncio.sleep(ROLL_PERIOD_S)


def _pieces(batch: Batch) -> list[Batch]:
    """Return a batch as batches of one reading, clock, status, alert or refusal each."""
    out: list[Batch] = []
    for judged in batch.judged:
        at = judged.judged_ns
        parts = [pack([reading], at) for reading in unpack(judged)]
        parts += [pack([], at, clocks=[clock]) for clock in judged.clocks]
        parts += [pack([], at, statuses=[status]) for status in judged.statuses]
        parts += [pack([], at, inputs=[taken]) for taken in judged.inputs]
        parts += [pack([], at, deliveries=[told]) for told in judged.deliveries]
        out += [Batch(judged=[part]) for part in parts]
    out += [Batch(alerts=[alert]) for alert in batch.alerts]
    out += [Batch(rejected=[kind]) for kind in batch.rejected]
    return out


def _together(pieces: list[Batch]) -> Batch:
    """Return several batches as one: the inverse of :func:`_pieces`."""
    return Batch(
        judged=[judged for piece in pieces for judged in piece.judged],
        alerts=[alert for piece in pieces for alert in piece.alerts],
        rejected=[kind for piece in pieces for kind in piece.rejected],
    )
