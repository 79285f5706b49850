"""The intake service: raw messages in, judged batches and alert events out. Needs only the broker.

Order of safety: a message is written to the journal and judged at once; its alerts go out at once,
its reading with the next batch. Every second the state, with all that the broker has not
acknowledged yet, is written to disk; only then, and once the broker has what was made of them, are
the messages acknowledged. So a kill at any moment loses nothing and changes nothing: the state is
brought up to the last message from the journal, what is made again has the same ids, and what the
broker sends again is known by its key.
"""

import asyncio
from collections import deque
from uuid import uuid4

import structlog
from msgspec.structs import replace

from alerts.rulesets import RuleSet
from alerts.sentences import Label
from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.health import Reporter
from hub.mqtt import Envelope
from hub.settings import Settings
from ingest import checkpoint, journal, rejects
from ingest.checkpoint import Checkpoint, Outgoing
from ingest.journal import Journal
from ingest.pipeline import Limits, Pipeline, new_state
from schemas.alerts import AlertEvent, EventKind
from schemas.codec import encode_json, encode_judged, encode_rejected
from schemas.judged import pack
from schemas.times import MS, S
from schemas.topics import (
    RAW_FILTERS,
    REJECTED_TOPIC,
    Kind,
    format_topic,
    judged_topic,
)
from schemas.wire import ClockOffset, DeviceStatus, Reading, Refusal, TakenInput

log = structlog.get_logger()

CLIENT_ID = "vigil-intake"
TICK_S = 0.05
"""How often what is due by itself happens: a hold ends within twice this."""
TICK_GRACE_NS = 20 * MS
"""A tick leaves so much to messages that were received and not yet judged."""
REJECTED_PERIOD_S = 2.0
LATENCIES_KEPT = 2_000
OUTBOX_BOUND = 20_000
TURN_MESSAGES = 500
MANY_MESSAGES = 8_000
"""So many without an acknowledgement are saved at once: the broker stops sending at 20 000."""
GATHER_S = 0.003
"""What an alert may wait for the readings beside it."""
BATCH_ROWS = 1_000
"""Readings a message: far below the broker's largest payload."""


class Intake:
    """The shell around the pipeline: outbox, checkpoint, acknowledgements."""

    def __init__(self, settings: Settings, rules: RuleSet, labels: dict[str, Label]) -> None:
        self._settings = settings
        self._max_payload = settings.broker.max_payload_bytes
        self._path = settings.data / "intake" / "checkpoint.msgpack"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        found = checkpoint.read(self._path)
        state = found.state if found else new_state(uuid4().hex[:12])
        self._unsent = deque(found.outbox if found else [])
        self._sent: dict[asyncio.Future[None], Outgoing] = {}
        known = frozenset(labels) if settings.intake.registration == "registered" else None
        self._pipeline = Pipeline(
            state,
            rules,
            labels,
            Limits(
                late_ns=int(settings.intake.late_s * S),
                clock_bound_ns=int(settings.intake.clock_bound_s * S),
                max_beds=settings.intake.max_beds,
                max_devices=settings.intake.max_devices,
                known_beds=known,
                hospital=settings.edge.hospital,
            ),
        )
        self._readings: dict[str, list[Reading]] = {}
        self._journal = Journal(self._path.parent, found.segment if found else 0)
        self._clocks: dict[str, list[ClockOffset]] = {}
        self._statuses: dict[str, list[DeviceStatus]] = {}
        self._inputs: dict[str, list[TakenInput]] = {}
        self._refusals: list[tuple[str, Refusal]] = []
        self._mids: list[int] = []
        self._many = asyncio.Event()
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._alerts = self._unsendable = 0
        self._received = 0
        self._reporter = Reporter("intake", self._counters)
        self._catch_up(found.segment if found else 0)

    def _catch_up(self, segment: int) -> None:
        """Judge again what was taken after the checkpoint, exactly as it was then."""
        taken = 0
        for topic, payload, received_ns, again in journal.read(self._path.parent, segment):
            self._judge(topic, payload, received_ns, again=again)
            taken += 1
        if taken:
            log.info("journal_replayed", messages=taken)

    def _counters(self) -> dict[str, float]:
        state = self._pipeline.state
        counters: dict[str, float] = {
            "received": self._received,
            "accepted": state.accepted,
            "duplicates_ignored": state.repeats,
            "conflicts": state.conflicts,
            "sequence_gaps": state.gaps,
            "late": state.late,
            "rejected": state.rejects.total,
            "alert_events": self._alerts,
            "beds": len(state.engine.beds),
            "devices": len(state.devices),
            "unsendable": self._unsendable,
            "outbox": len(self._unsent) + len(self._sent),
            "journal_failed": self._journal.failed,
            "internal_errors": state.internal,
            "stuck": self._pipeline.engine.stuck,
        }
        if self._latencies:
            ordered = sorted(self._latencies)
            counters["received_to_published_p50_ms"] = ordered[len(ordered) // 2]
            counters["received_to_published_p99_ms"] = ordered[int(len(ordered) * 0.99)]
        return counters

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, through any number of losses of the broker."""

        def connect() -> Connection:
            return Connection(
                self._settings.broker_address,
                CLIENT_ID,
                filters=RAW_FILTERS,
                durable=True,
                gather_s=GATHER_S,
                will=self._reporter.will(),
            )

        await stay_connected(connect, lambda connection: self._serve(connection, stop), stop)

    async def _serve(self, connection: Connection, stop: asyncio.Event) -> None:
        self._pipeline.state.engine.listening_ns = now_ns()
        self._mids.clear()  # they belonged to the connection that was lost
        self._unsent.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._send(connection)
        log.info("intake_started", beds=len(self._pipeline.state.engine.beds))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._consume(connection), name="consume"),
                group.create_task(self._flush(connection), name="flush"),
                group.create_task(self._tick(connection), name="tick"),
                group.create_task(self._checkpoints(connection), name="checkpoint"),
                group.create_task(self._report_rejected(connection), name="rejected"),
                group.create_task(self._reporter.run(connection), name="health"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
        await self._save(connection)
        log.info("intake_stopped", **self._counters())

    async def _consume(self, connection: Connection) -> None:
        async for envelopes in connection.batches():
            self._received += len(envelopes)
            for start in range(0, len(envelopes), TURN_MESSAGES):
                self._take(envelopes[start : start + TURN_MESSAGES])
                self._send(connection)
                await asyncio.sleep(0)  # a backlog must not hold up alerts and health

    def _take(self, envelopes: list[Envelope]) -> None:
        self._journal.append(envelopes)
        for envelope in envelopes:
            self._judge(
                envelope.topic, envelope.payload, envelope.received_ns, again=envelope.again
            )
        self._mids += [envelope.mid for envelope in envelopes]
        if len(self._mids) >= MANY_MESSAGES:
            self._many.set()

    def _judge(self, topic: str, payload: bytes, received_ns: int, *, again: bool) -> None:
        outcome = self._pipeline.message(topic, payload, received_ns, again=again)
        reading = outcome.reading
        if reading is not None:
            mine = self._readings.get(outcome.hospital)
            if mine is None:
                mine = self._readings[outcome.hospital] = []
            mine.append(reading)
        if outcome.events:
            self._announce(outcome.events)
        if outcome.clock is not None:
            self._clocks.setdefault(outcome.hospital, []).append(outcome.clock)
        if outcome.status is not None:
            self._statuses.setdefault(outcome.hospital, []).append(outcome.status)
        if outcome.taken is not None:
            self._inputs.setdefault(outcome.hospital, []).append(outcome.taken)
        if outcome.refusal is not None:
            self._refusals.append((outcome.hospital, outcome.refusal))

    def _announce(self, events: list[AlertEvent]) -> None:
        """Queue events for their topics: open alerts retained, ended ones taken back."""
        for judged in events:
            now = now_ns()
            event = replace(judged, stages=replace(judged.stages, published_ns=now))
            self._alerts += 1
            if not event.technical and event.kind is EventKind.FIRED and not event.delayed:
                self._latencies.append(round((now - event.stages.received_ns) / MS, 3))
            topic = format_topic(event.bed, Kind.ALERTS, event.alert)
            self._unsent.append(Outgoing(topic, encode_json(event), event.is_open))
            if not event.is_open:
                self._unsent.append(Outgoing(topic, b"", retain=True))

    def _send(self, connection: Connection) -> None:
        """Publish what waits, oldest first. What the broker has not acknowledged is kept."""
        while self._unsent and len(self._sent) < OUTBOX_BOUND:
            message = self._unsent.popleft()
            if len(message.payload) > self._max_payload:  # the broker would end the connection
                self._unsendable += 1
                log.error("message_too_large", topic=message.topic, size=len(message.payload))
                continue
            done = connection.publish_soon(message.topic, message.payload, retain=message.retain)
            self._sent[done] = message
            done.add_done_callback(self._stored)

    def _stored(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._sent.pop(done, None)

    def _close_batches(self) -> None:
        """Turn the readings since the last flush into one message a hospital."""
        now = now_ns()
        for hospital, refusal in self._refusals:
            payload = encode_judged(pack([], now, refusals=[refusal]))
            self._unsent.append(Outgoing(judged_topic(hospital), payload, False))
        self._refusals.clear()
        hospitals = (
            self._readings.keys()
            | self._clocks.keys()
            | self._statuses.keys()
            | self._inputs.keys()
        )
        for hospital in sorted(hospitals):
            readings = self._readings.get(hospital, [])
            clocks = self._clocks.get(hospital, [])
            statuses = self._statuses.get(hospital, [])
            for taken in self._inputs.get(hospital, []):
                batch = pack([], now, inputs=[taken])
                self._unsent.append(Outgoing(judged_topic(hospital), encode_judged(batch), False))
            if not (readings or clocks or statuses):
                continue
            for start in range(0, max(len(readings), 1), BATCH_ROWS):
                some = readings[start : start + BATCH_ROWS]
                for payload in self._encode(some, now, clocks, statuses):
                    self._unsent.append(Outgoing(judged_topic(hospital), payload, False))
                clocks, statuses = [], []
        self._readings.clear()
        self._clocks.clear()
        self._statuses.clear()
        self._inputs.clear()

    def _encode(
        self,
        readings: list[Reading],
        now: int,
        clocks: list[ClockOffset],
        statuses: list[DeviceStatus],
    ) -> list[bytes]:
        """Return judged batches that the broker will take: one, or more when one is too large."""
        payload = encode_judged(pack(readings, now, clocks, statuses))
        if len(payload) <= self._max_payload or len(readings) < 2:
            return [payload]
        middle = len(readings) // 2
        return self._encode(readings[:middle], now, clocks, statuses) + self._encode(
            readings[middle:], now, [], []
        )

    async def _flush(self, connection: Connection) -> None:
        while True:
            await asyncio.sleep(self._settings.intake.flush_ms / 1000)
            self._close_batches()
            self._send(connection)

    async def _tick(self, connection: Connection) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            events = self._pipeline.tick(now_ns() - TICK_GRACE_NS)
            engine = self._pipeline.engine
            if engine.defect:
                log.error("engine_defect", what=engine.defect, stuck=engine.stuck)
                engine.defect = ""
            if events:
                self._announce(events)
                self._send(connection)

    async def _checkpoints(self, connection: Connection) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.intake.checkpoint_ms / 1000):
                    await self._many.wait()
            except TimeoutError:
                pass
            self._many.clear()
            await self._save(connection)

    async def _save(self, connection: Connection) -> None:
        """Save the state with its outbox, wait for the broker, then acknowledge."""
        self._close_batches()
        self._send(connection)
        mids, self._mids = self._mids, []
        waiting = list(self._sent)
        outbox = [*self._sent.values(), *self._unsent]
        segment = self._journal.rotate()
        content = checkpoint.encode(
            Checkpoint(checkpoint.VERSION, self._pipeline.state, outbox, segment)
        )
        await asyncio.to_thread(checkpoint.write, self._path, content)
        self._journal.forget()
        if waiting:
            await asyncio.gather(*waiting)
        connection.ack(mids)

    async def _report_rejected(self, connection: Connection) -> None:
        while True:
            await asyncio.sleep(REJECTED_PERIOD_S)
            changed = rejects.drain(self._pipeline.state.rejects)
            for payload in encode_rejected(changed, self._max_payload) if changed else []:
                self._unsent.append(Outgoing(REJECTED_TOPIC, payload, False))
            self._send(connection)
