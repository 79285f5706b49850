"""The recorder service: judged batches, alert events and refusals into the database.

It acknowledges after the commit. When the database is away it leaves the broker: its durable
session keeps everything, bounded by the broker's disk, and delivers it when we are back. Inserts
are idempotent, so what comes twice is stored once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psycopg
import structlog
from psycopg import AsyncConnection

from hub.broker import Connection, Envelope, stay_connected
from hub.clock import now_ns
from hub.database import connect_when_there
from hub.health import Reporter
from hub.settings import Settings
from ingest.store import ROLL_LIMIT, Retention, Store, utc
from schemas.alerts import AlertEvent
from schemas.codec import decode_alert, decode_judged, decode_rejected
from schemas.errors import DecodeError
from schemas.times import MS
from schemas.topics import ALERTS_FILTER, JUDGED_FILTER, REJECTED_TOPIC
from schemas.wire import ClockOffset, JudgedReading, Rejected

log = structlog.get_logger()

CLIENT_ID = "vigil-recorder"
FILTERS = (JUDGED_FILTER, ALERTS_FILTER, REJECTED_TOPIC)
ROLL_PERIOD_S = 10.0
KEEP_PERIOD_S = 3600.0
LATENCIES_KEPT = 5_000


@dataclass(slots=True)
class Batch:
    """What one transaction stores, and the messages that it acknowledges."""

    readings: list[JudgedReading] = field(default_factory=list)
    clocks: list[ClockOffset] = field(default_factory=list)
    alerts: list[AlertEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    mids: list[int] = field(default_factory=list)


class Recorder:
    """The shell around the store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._batch = Batch()
        self._wake = asyncio.Event()
        self._stored = self._repeats = self._alerts = self._unreadable = self._refused = 0
        self._delays: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._reporter = Reporter("recorder", self._counters)

    def _counters(self) -> dict[str, float]:
        counters: dict[str, float] = {
            "stored": self._stored,
            "already_stored": self._repeats,
            "alert_events": self._alerts,
            "unreadable": self._unreadable,
            "refused_by_database": self._refused,
            "waiting": len(self._batch.readings),
        }
        if self._delays:
            ordered = sorted(self._delays)
            counters["sent_to_stored_p50_ms"] = ordered[len(ordered) // 2]
            counters["sent_to_stored_p99_ms"] = ordered[int(len(ordered) * 0.99)]
        return counters

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, through any number of losses of database and broker."""
        serving = asyncio.create_task(self._run(stop), name="recorder")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        stopping.cancel()
        result = (await asyncio.gather(serving, return_exceptions=True))[0]
        if isinstance(result, Exception):
            raise result
        log.info("recorder_stopped", **self._counters())

    async def _run(self, stop: asyncio.Event) -> None:
        while True:
            database = await connect_when_there(self._settings.database_address)
            try:
                async with database:
                    await stay_connected(self._connect, self._server(database), stop)
            except* psycopg.OperationalError as group:
                log.warning("database_lost", reason=str(group.exceptions[0]).strip())

    def _server(self, database: AsyncConnection) -> Callable[[Connection], Awaitable[None]]:
        return lambda connection: self._serve(connection, Store(database))

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
            if len(self._batch.readings) >= self._settings.recorder.batch_rows:
                self._wake.set()

    def _add(self, envelope: Envelope) -> None:
        """Put a message's content into the batch. An unreadable one is counted and let go."""
        batch = self._batch
        batch.mids.append(envelope.mid)
        try:
            if envelope.topic == REJECTED_TOPIC:
                batch.rejected.extend(decode_rejected(envelope.payload))
            elif envelope.topic.endswith("/judged"):
                judged = decode_judged(envelope.payload)
                batch.readings.extend(judged.readings)
                batch.clocks.extend(judged.clocks)
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
            size = len(batch.readings) + len(batch.clocks) + len(batch.alerts)
            if size + len(batch.rejected) <= 1:
                self._refused += 1
                log.error("row_refused", reason=str(error).strip())  # noqa: TRY400
                return
            for half in _halves(batch):
                await self._insert(store, half)
        except psycopg.Error:
            store.forget_owed()
            raise

    async def _commit(self, store: Store, batch: Batch) -> None:
        await store.prepare(batch.readings)
        async with store.transaction():
            new = await store.insert_readings(batch.readings) if batch.readings else 0
            alerts = sum([await store.insert_alert(event) for event in batch.alerts])
            for clock in batch.clocks:
                await store.insert_clock(clock)
            await store.upsert_rejected(batch.rejected)
        now = now_ns()
        self._stored += new
        self._repeats += len(batch.readings) - new
        self._alerts += alerts
        self._delays.extend(
            (now - r.sent_ns) / MS for r in batch.readings[::16] if r.sent_ns is not None
        )

    async def _roll(self, store: Store, lock: asyncio.Lock) -> None:
        """Compute rollups every 10 s and drop what is too old every hour."""
        retention = self._settings.recorder
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
                    dropped = await store.keep(
                        Retention(retention.raw_days, retention.minute_days, retention.hour_days),
                        utc(now_ns()),
                    )
                    if dropped:
                        log.info("partitions_dropped", count=dropped)
            await asyncio.sleep(ROLL_PERIOD_S)


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    """Return a batch as two, each list cut in the middle."""
    first, second = Batch(), Batch()
    for name in ("readings", "clocks", "alerts", "rejected"):
        items = getattr(batch, name)
        middle = len(items) // 2
        setattr(first, name, items[:middle])
        setattr(second, name, items[middle:])
    return first, second
