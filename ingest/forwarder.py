"""The forwarder of an edge: everything that its hospital judged, to the hub, over a weak line.

Theory of operation: every message stays in the edge broker's journal until the hub's broker has it.
A *spool* is that journal from its oldest message on, a durable session; the *live* lane is a plain
subscription that sees messages as they are made, on connections of its own. Both ask one
``Register`` before they send: what is on its way, or has arrived, is not sent again. With the line
up, the spools find everything sent already and tick it off. After a cut they work through what
waits, while the live lane goes on beside them.

Order of urgency: alert events (a spool of their own; when the broker sends an older one of an alert
again, the hub gets the newest once more after it, so that what has ended stays ended), then
numerics, then waveforms, which wait while numerics of before do. Within a spool a bed's messages
keep their order. While the line is cut nothing is held here: the sessions are left, and the journal
keeps all.

Down the line come what people at the hub do, who lies where, and the rules.
"""

import asyncio
from collections import OrderedDict, deque
from contextlib import AsyncExitStack
from functools import partial
from hashlib import blake2b
from zlib import crc32

import structlog

from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.health import VERSION, Reporter
from hub.mqtt import Envelope
from hub.settings import Settings
from schemas.alerts import AlertEvent
from schemas.care import Line
from schemas.codec import decode_alert, decode_judged, encode_json
from schemas.errors import BrokerError, DecodeError, SettingsError
from schemas.topics import RULES_TOPIC, Kind, config_topic, format_topic, judged_topic

log = structlog.get_logger()

CLIENT_ID = "vigil-forward"
LINE_PERIOD_S = 5.0
REGISTER_BOUND = 100_000
"""So many messages are known to have been sent; the oldest that arrived are forgotten."""
LIVE_BOUND = 500
"""Live messages of a kind on their way; beyond, they are left to the spool, and counted."""
CONGESTION = "bbr"
"""Uses a line that loses packets; others take each loss for a queue and slow down."""


def alerts_filter(hospital: str) -> str:
    """Return what carries a hospital's alert events."""
    return format_topic(f"{hospital}/+/+", Kind.ALERTS, "+")


def waves_filter(hospital: str) -> str:
    """Return what carries a hospital's waveforms."""
    return format_topic(f"{hospital}/+/+", Kind.WAVES, "+")


def sessions(hospital: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the durable sessions at the edge's broker: client id and filters."""
    return [
        (f"{CLIENT_ID}-alerts", (alerts_filter(hospital),)),
        (f"{CLIENT_ID}-judged", (judged_topic(hospital),)),
        (f"{CLIENT_ID}-waves", (waves_filter(hospital),)),
    ]


def key_of(envelope: Envelope) -> bytes:
    """Return what tells a message from every other of this hospital."""
    key = envelope.topic.encode()[-64:]
    return blake2b(envelope.payload, key=key, digest_size=16).digest()


class Register:
    """What was sent since the line is up, by content, with the hub's word on it."""

    def __init__(self) -> None:
        self._sent: OrderedDict[bytes, asyncio.Future[None]] = OrderedDict()

    def find(self, key: bytes) -> asyncio.Future[None] | None:
        """Return the hub's word, given or not yet, on a message that was sent already."""
        return self._sent.get(key)

    def add(self, key: bytes, done: asyncio.Future[None]) -> None:
        """Note a message that is sent now."""
        self._sent[key] = done
        while len(self._sent) > REGISTER_BOUND and next(iter(self._sent.values())).done():
            self._sent.popitem(last=False)


class Lanes:
    """Connections to the hub on which a topic keeps its order; what was sent is not sent again."""

    def __init__(self, targets: list[Connection], register: Register) -> None:
        self._targets = targets
        self._register = register
        self.sent = 0

    def send(self, key: bytes, envelope: Envelope) -> asyncio.Future[None]:
        """Send a message, unless it is on its way or has arrived; return the hub's word on it."""
        done = self._register.find(key)
        if done is None:
            target = self._targets[crc32(envelope.topic.encode()) % len(self._targets)]
            done = target.publish_soon(envelope.topic, envelope.payload)
            self._register.add(key, done)
            self.sent += 1
        return done


class Newest:
    """The newest event of each alert that was sent, through losses of the line."""

    BOUND = 20_000

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, bytes, bool]] = OrderedDict()

    def take(self, topic: str, event: AlertEvent, payload: bytes) -> tuple[int, bytes, bool] | None:
        """Note an event; return the newer one that was sent before it, if there is one."""
        known = self._of.get(topic)
        if known is not None and known[0] > event.stages.published_ns:
            return known
        self._of[topic] = (event.stages.published_ns, payload, event.is_open)
        self._of.move_to_end(topic)
        if len(self._of) > self.BOUND:
            self._of.popitem(last=False)
        return None

    def ended(self, topic: str) -> bool:
        """Return whether the newest event of an alert ended it."""
        known = self._of.get(topic)
        return known is None or not known[2]


class AlertLane:
    """Alert events: each to the ledger once by its id; on screens the newest of an alert stays."""

    def __init__(self, target: Connection, newest: Newest) -> None:
        self._target = target
        self._newest = newest
        self.sent = 0

    def send(self, _: bytes, envelope: Envelope) -> asyncio.Future[None]:
        """Send an event, and after an older one the newest anew; return the hub's word on it."""
        self.sent += 1
        target, topic = self._target, envelope.topic
        if not envelope.payload:  # takes back what the broker kept, if it is over
            if self._newest.ended(topic):
                return target.publish_soon(topic, b"", retain=True)
            return _done()
        try:
            event = decode_alert(envelope.payload)
        except DecodeError:
            return target.publish_soon(topic, envelope.payload)  # the hub says why not
        newer = self._newest.take(topic, event, envelope.payload)
        if newer is None:
            return target.publish_soon(topic, envelope.payload, retain=event.is_open)
        target.publish_soon(topic, envelope.payload)
        done = target.publish_soon(topic, newer[1], retain=newer[2])
        return done if newer[2] else target.publish_soon(topic, b"", retain=True)


def _done() -> asyncio.Future[None]:
    """Return the word on what need not be sent."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


class Spool:
    """One durable session at the edge, worked off in order; what the hub has is acknowledged."""

    def __init__(
        self,
        source: Connection,
        sender: Lanes | AlertLane,
        window_bytes: int,
        *,
        after: "Spool | None" = None,
    ) -> None:
        self._source = source
        self._sender = sender
        self._window = window_bytes
        self._after = after
        self.follower: Spool | None = None
        if after is not None:
            after.follower = self
        self._queue: deque[tuple[bytes, Envelope]] = deque()
        self._mids: dict[int, bytes] = {}
        self._waiting = 0
        self._under_way = 0

    @property
    def waiting(self) -> int:
        """How many messages wait or are on their way."""
        return self._waiting

    @property
    def oldest(self) -> Envelope | None:
        """What has waited longest and is not on its way."""
        return self._queue[0][1] if self._queue else None

    @property
    def sent(self) -> int:
        """How many messages went to the hub."""
        return self._sender.sent

    async def run(self) -> None:
        """Take what the journal has, until a broker is lost."""
        async for envelopes in self._source.batches():
            for envelope in envelopes:
                key = key_of(envelope)
                if envelope.again and self._mids.get(envelope.mid) == key:
                    continue  # the broker says again what waits here
                self._mids[envelope.mid] = key
                self._waiting += 1
                self._queue.append((key, envelope))
            self.push()

    def push(self) -> None:
        """Send what fits into the window; waveforms wait while numerics of before do."""
        while self._queue and self._under_way < self._window:
            if self._after is not None and self._after.oldest is not None:
                return
            key, envelope = self._queue.popleft()
            self._under_way += len(envelope.payload)
            done = self._sender.send(key, envelope)
            done.add_done_callback(partial(self._arrived, key, envelope))

    def _arrived(self, key: bytes, envelope: Envelope, done: asyncio.Future[None]) -> None:
        self._under_way -= len(envelope.payload)
        self._waiting -= 1
        if self._mids.get(envelope.mid) == key:
            del self._mids[envelope.mid]
        if done.cancelled() or done.exception() is not None:
            return  # the line is lost: the journal sends it again
        self._source.ack([envelope.mid])
        self.push()
        if self.follower is not None and self.oldest is None:
            self.follower.push()


class Live:
    """Messages as they are made, on a connection of their own; too many are left to the spool."""

    def __init__(self, source: Connection, target: Connection, register: Register) -> None:
        self._source = source
        self._target = target
        self._register = register
        self._under_way = 0
        self.sent = self.left = 0

    async def run(self) -> None:
        """Send what is made, until a broker is lost."""
        async for envelopes in self._source.batches():
            for envelope in envelopes:
                self._send(envelope)
            self._source.ack([envelope.mid for envelope in envelopes])

    def _send(self, envelope: Envelope) -> None:
        key = key_of(envelope)
        if self._register.find(key) is not None:
            return
        if self._under_way >= LIVE_BOUND:
            self.left += 1
            return
        done = self._target.publish_soon(envelope.topic, envelope.payload)
        self._register.add(key, done)
        self._under_way += 1
        self.sent += 1
        done.add_done_callback(self._arrived)

    def _arrived(self, _: asyncio.Future[None]) -> None:
        self._under_way -= 1


class Forwarder:
    """The shell: connections to both brokers, lanes between them, the word on the line."""

    def __init__(self, settings: Settings) -> None:
        edge = settings.edge
        if edge.hub is None or edge.hospital is None:
            raise SettingsError("edge.hub and edge.hospital: an edge needs both; see `vigil edge`")
        self._settings = settings
        self._hub = edge.hub.get_secret_value()
        self._hospital = edge.hospital
        self._spools: list[Spool] = []
        self._lives: list[Live] = []
        self._newest = Newest()
        self._cuts = self._down = 0
        self._totals = {"forwarded_live": 0, "forwarded_spool": 0, "left_to_spool": 0}
        self._up = False
        self._reporter = Reporter("forwarder", self._counters)

    def _counters(self) -> dict[str, float]:
        return {
            "line_up": float(self._up),
            "line_cuts": self._cuts,
            "spool_messages": sum(spool.waiting for spool in self._spools),
            "forwarded_live": self._totals["forwarded_live"] + sum(x.sent for x in self._lives),
            "forwarded_spool": self._totals["forwarded_spool"] + sum(x.sent for x in self._spools),
            "left_to_spool": self._totals["left_to_spool"] + sum(x.left for x in self._lives),
            "passed_down": self._down,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, through any number of losses of either broker."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._report(stop), name="health"),
                group.create_task(self._forward(stop), name="forward"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
        log.info("forwarder_stopped", **self._counters())

    async def _report(self, stop: asyncio.Event) -> None:
        def connect() -> Connection:
            url = self._settings.broker_address
            return Connection(url, CLIENT_ID, will=self._reporter.will())

        await stay_connected(connect, self._reporter.run, stop)

    async def _forward(self, stop: asyncio.Event) -> None:
        def connect() -> Connection:
            return self._at_hub("live")

        await stay_connected(connect, self._serve, stop)

    def _at_hub(self, name: str, *filters: str) -> Connection:
        client = f"vigil-edge-{self._hospital}-{name}"
        return Connection(self._hub, client, filters=filters, congestion=CONGESTION)

    def _at_home(self, name: str, *filters: str, durable: bool = False) -> Connection:
        url = self._settings.broker_address
        return Connection(url, name, filters=filters, durable=durable)

    async def _serve(self, live: Connection) -> None:
        """Forward while both brokers are there; what ends one lane ends all, to begin anew."""
        edge, hospital = self._settings.edge, self._hospital
        numerics, waves = judged_topic(hospital), waves_filter(hospital)
        async with AsyncExitStack() as stack:
            open_line = stack.enter_async_context
            alerts_up = await open_line(self._at_hub("alerts"))
            numerics_up = await open_line(self._at_hub("spool"))
            waves_live = await open_line(self._at_hub("waves"))
            lanes = [await open_line(self._at_hub(f"lane-{n}")) for n in range(edge.lanes)]
            people = await open_line(
                self._at_hub("people", *self._of_beds(Kind.COMMANDS, Kind.OBSERVATIONS))
            )
            config = await open_line(
                self._at_hub("config", config_topic(hospital, "care"), RULES_TOPIC)
            )
            home = await open_line(self._at_home(f"{CLIENT_ID}-down"))
            made = await open_line(self._at_home(f"{CLIENT_ID}-live", numerics))
            drawn = await open_line(self._at_home(f"{CLIENT_ID}-live-waves", waves))
            durable = [
                await open_line(self._at_home(name, *filters, durable=True))
                for name, filters in sessions(hospital)
            ]
            register, window = Register(), edge.window_kb * 1024
            alerts = Spool(durable[0], AlertLane(alerts_up, self._newest), window)
            judged = Spool(durable[1], Lanes([numerics_up], register), window)
            drawings = Spool(durable[2], Lanes(lanes, register), window, after=judged)
            self._spools = [alerts, judged, drawings]
            self._lives = [Live(made, live, register), Live(drawn, waves_live, register)]
            self._up = True
            log.info("line_up")
            try:
                async with asyncio.TaskGroup() as group:
                    for spool in self._spools:
                        group.create_task(spool.run(), name="spool")
                    for one in self._lives:
                        group.create_task(one.run(), name="live")
                    for source in (people, config):
                        group.create_task(self._pass_down(source, home), name="down")
                    group.create_task(self._say(live), name="line")
                    for line in (live, alerts_up, numerics_up, waves_live, home, *lanes):
                        group.create_task(_until_lost(line), name="watch")
            finally:
                self._note_totals()
                self._up = False
                self._cuts += 1
                log.info("line_down", **self._totals)

    def _of_beds(self, *kinds: Kind) -> list[str]:
        return [format_topic(f"{self._hospital}/+/+", kind) for kind in kinds]

    def _note_totals(self) -> None:
        self._totals["forwarded_live"] += sum(lane.sent for lane in self._lives)
        self._totals["forwarded_spool"] += sum(lane.sent for lane in self._spools)
        self._totals["left_to_spool"] += sum(lane.left for lane in self._lives)
        self._spools, self._lives = [], []

    async def _say(self, live: Connection) -> None:
        """Say every few seconds that the line is there, and what waits."""
        topic = config_topic(self._hospital, "line")
        while True:
            backlog = sum(spool.waiting for spool in self._spools)
            said = Line(1, now_ns(), backlog, _made_ns(self._spools[1].oldest), VERSION)
            await live.publish(topic, encode_json(said), retain=True)
            await asyncio.sleep(LINE_PERIOD_S)

    async def _pass_down(self, source: Connection, home: Connection) -> None:
        """Hand to the edge what people at the hub do and configure."""
        async for envelopes in source.batches():
            for envelope in envelopes:
                retain = "/config/" in envelope.topic
                await home.publish(envelope.topic, envelope.payload, retain=retain)
                self._down += 1
            source.ack([envelope.mid for envelope in envelopes])


async def _until_lost(connection: Connection) -> None:
    """Wait until a connection is lost: BrokerError."""
    async for envelopes in connection.batches():
        connection.ack([envelope.mid for envelope in envelopes])
    raise BrokerError("lost")


def _made_ns(oldest: Envelope | None) -> int:
    """Return when a batch of readings was judged; 0: there is none, or it cannot be read."""
    if oldest is None:
        return 0
    try:
        return decode_judged(oldest.payload).judged_ns
    except DecodeError:
        return 0
