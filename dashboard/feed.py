"""The live feed: judged batches and alerts from the broker to every browser, newest wins.

One table of views; every ``frame_ms`` what changed is encoded once for all. Each browser has a
``Screen``: the set of beds and alerts it has not been told of yet. A slow browser's set merges
what it missed (newest value wins, no alert is ever skipped, for an alert's newest state is always
sent) and costs nobody else anything; one that takes nothing for ``lag_s`` is disconnected.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import structlog

from alerts.signals import LINE_NS
from care.consults import Loops
from dashboard.delays import Delays
from dashboard.gate import Person
from dashboard.views import (
    NOTHING_OPEN,
    BedView,
    apply_alert,
    apply_observation,
    apply_reading,
    encode_alert,
    encode_bed,
    open_elsewhere,
    read_observation,
    score,
)
from dashboard.wave_feed import WaveFeed
from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.health import Reporter
from hub.mqtt import Envelope
from hub.settings import Settings
from schemas.alerts import AlertEvent, is_place
from schemas.care import NOBODY, CareConfig, Line, Presence
from schemas.codec import (
    decode_alert,
    decode_care,
    decode_health,
    decode_judged,
    decode_line,
    message_id,
)
from schemas.deliveries import Delivery
from schemas.errors import DecodeError
from schemas.judged import unpack
from schemas.times import MS, S
from schemas.topics import ALERTS_FILTER, FIVE_LEVELS_FILTER, JUDGED_FILTER, Kind
from schemas.wire import DeviceStatus, Health, JudgedBatch, Reading

log = structlog.get_logger()

HEARTBEAT_S = 1.0
URGENT_S = 0.005
"""An alert does not wait for the next frame, only so long for what comes with it."""
HEALTH_STALE_NS = 8 * S
MAX_BEDS = 5_000
SCORE_MS = 5_000
"""A bed's NEWS2 is computed anew this often at the most."""
SCREEN_DEAD_S = 20.0
"""A screen says every few seconds that it lives; one that does not is no receiver."""
NEWS_KEPT = 200
"""What people did that a screen has not been told; beyond it, the screen reads everything anew."""
SLOW_PERIOD_S = 2.0
"""How often a screen that shows only numbers is told."""
LOOKED_AT_MOST = 5
UNDELIVERED_KEPT = 500
UNDELIVERED_NS = 3_600 * S
"""Notifications that did not arrive are shown for an hour."""


News = dict[str, Any]
"""What somebody did: ``what`` (annotation, consult, question, …), ``bed``, and its id."""
NOBODY_THERE = Person("", "")


class Listener(Protocol):
    """Who is told of everything that comes in, beside the screens."""

    def read(self, reading: Reading) -> None:
        """Take a judged reading."""

    def status(self, said: DeviceStatus) -> None:
        """Take a device's word on itself."""

    def care(self, config: CareConfig) -> None:
        """Take who lies where."""


@dataclass(eq=False, slots=True)
class Screen:
    """One browser: what it has not been told yet, and a bell."""

    beds: set[str] = field(default_factory=set)
    alerts: dict[str, AlertEvent] = field(default_factory=dict)
    only: str | None = None
    person: Person = NOBODY_THERE
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    alert: asyncio.Event = field(default_factory=asyncio.Event)
    frames: int = 0
    news: deque[News] = field(default_factory=lambda: deque(maxlen=NEWS_KEPT))
    news_lost: bool = False
    heard: float = field(default_factory=time.monotonic)
    primary: bool = True
    period_s: float = 0.0
    paint_ms: tuple[float, float] = (0.0, 0.0)

    def wants(self, bed: str) -> bool:
        """Return whether what happens to a bed, unit or hospital belongs on this screen."""
        return self.only == bed if self.only is not None else self.person.sees(bed)

    @property
    def receives(self) -> bool:
        """Whether somebody can be taken to hear an alert here: it answers, and is no phone."""
        return self.primary and time.monotonic() - self.heard < SCREEN_DEAD_S


class Feed:
    """The table of all beds and the screens that look at it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._screens: set[Screen] = set()
        self._changed: set[str] = set()
        self._events: dict[str, AlertEvent] = {}
        self._health: dict[str, Health] = {}
        self._round = 0
        self._urgent = asyncio.Event()
        self._oldest_ns = 0
        self._arrived_ns = 0
        self._frame: tuple[int, frozenset[str], bytes] = (-1, frozenset(), b"")
        self.views: dict[str, BedView] = {}
        self.places: dict[str, BedView] = {}
        self.care: dict[str, CareConfig] = {}
        self.lines: dict[str, tuple[Line, int]] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._undelivered: deque[Delivery] = deque(maxlen=UNDELIVERED_KEPT)
        self.connection: Connection | None = None
        self.unreadable = 0
        self.laggards = 0
        self.waves = WaveFeed()
        self._reporter = Reporter("dashboard", self._counters)
        self.delays = Delays()
        self.listener: Listener | None = None

    def _counters(self) -> dict[str, float]:
        return {
            "screens": len(self._screens),
            "beds": len(self.views),
            "unreadable": self.unreadable,
            "laggards_disconnected": self.laggards,
            **self.waves.counters(),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the broker until told to stop; frames go out whether it is there or not."""

        def connect() -> Connection:
            return Connection(
                self._settings.broker_address,
                "vigil-dashboard",
                filters=(JUDGED_FILTER, ALERTS_FILTER, FIVE_LEVELS_FILTER),
                will=self._reporter.will(),
            )

        framing = asyncio.create_task(self._frames(), name="frames")
        try:
            await stay_connected(connect, self._serve, stop)
        finally:
            framing.cancel()

    async def _serve(self, connection: Connection) -> None:
        for view in [*self.views.values(), *self.places.values()]:
            view.alerts.clear()  # the retained alerts of this connection are the truth
        for screen in self._screens:
            screen.frames = 0  # they start again from everything
            screen.beds.update(filter(screen.wants, self.views))
        self.connection = connection
        await self.waves.connected(connection)
        reporting = asyncio.create_task(self._reporter.run(connection), name="health")
        try:
            async for envelopes in connection.batches():
                for envelope in envelopes:
                    self._take(envelope)
                connection.ack([envelope.mid for envelope in envelopes])
        finally:
            self.connection = None
            await self.waves.connected(None)
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def _take(self, envelope: Envelope) -> None:
        self._oldest_ns = self._oldest_ns or envelope.received_ns
        try:
            if envelope.topic.endswith("/judged"):
                self._take_judged(decode_judged(envelope.payload))
            elif envelope.topic.endswith("/config/care"):
                self._take_care(envelope.topic.split("/")[2], decode_care(envelope.payload))
            elif envelope.topic.endswith("/config/line"):
                self._take_line(envelope.topic.split("/")[2], envelope)
            elif "/waves/" in envelope.topic:
                self.waves.take(envelope)
            elif "/hub/health/" in envelope.topic and not envelope.payload:
                self._health.pop(envelope.topic.rpartition("/")[2], None)  # gone on purpose
            elif "/hub/health/" in envelope.topic:
                health = decode_health(envelope.payload)
                self._health[health.service] = health
            elif envelope.payload and "/alerts/" in envelope.topic:
                self.take_alert(decode_alert(envelope.payload))
        except (DecodeError, ValueError) as error:
            self.unreadable += 1
            log.warning("message_unreadable", topic=envelope.topic, reason=str(error))

    def _take_judged(self, batch: JudgedBatch) -> None:
        for reading in unpack(batch):
            view = self._view(reading.bed)
            self._listen(reading)
            if apply_reading(view, reading):
                now_ms = (reading.measured_ns + reading.offset_ns) // MS
                if abs(now_ms - view.news2_ms) > SCORE_MS:
                    score(view, now_ms)
                self._changed.add(reading.bed)
        for refusal in batch.refusals:
            self._answer(refusal.id, refusal.detail)
        for taken in batch.inputs:
            if taken.kind in (Kind.COMMANDS, Kind.OBSERVATIONS) and self._waiting:
                self._answer(message_id(taken.body), "")
            if taken.kind == Kind.OBSERVATIONS:
                self.take_observation(taken.scope, taken.received_ns, taken.body)
        if self.listener is not None:
            for status in batch.statuses:
                self.listener.status(status)
        self._undelivered.extend(d for d in batch.deliveries if d.state != "sent")

    def _listen(self, reading: Reading) -> None:
        if not reading.late:
            self.delays.add(reading.bed, (now_ns() - reading.measured_ns - reading.offset_ns) / MS)
        if self.listener is not None:
            self.listener.read(reading)

    def _answer(self, command: str, refused: str) -> None:
        waiting = self._waiting.pop(command, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(refused)

    async def answer(self, command: str, within_s: float) -> str | None:
        """Return what intake made of a command: "" done, else why not; None: no answer in time."""
        waiting = self._waiting.setdefault(command, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(within_s):
                return await waiting
        except TimeoutError:
            return None
        finally:
            self.forget(command)

    def forget(self, command: str) -> None:
        """Wait no longer for the answer to a command."""
        self._waiting.pop(command, None)

    def expect(self, command: str) -> None:
        """Keep the answer to a command that is about to be sent."""
        self._waiting[command] = asyncio.get_running_loop().create_future()

    def take_observation(self, bed: str, received_ns: int, body: bytes) -> None:
        """Take what somebody entered about a bed, as intake took it."""
        observed = read_observation(body, received_ns)
        view = self._view(bed)
        apply_observation(view, *observed)
        score(view, max(received_ns, now_ns()) // MS)
        self._changed.add(bed)

    def _take_care(self, hospital: str, config: CareConfig) -> None:
        """Show what care published: states of beds, exceptions, treatment limits."""
        before = self.care.get(hospital)
        self.care[hospital] = config
        if self.listener is not None:
            self.listener.care(config)
        for bed in config.beds.keys() | (before.beds.keys() if before else set()):
            view = self._view(bed)
            care = config.beds.get(bed, NOBODY)
            if view.care.stay and view.care.stay != care.stay:  # nothing of the last patient stays
                view.observed.clear()
                view.news2_past.clear()
                view.sparks.clear()
            view.care, view.news2_ms = care, 0
            self._changed.add(bed)
            if care != (before.beds.get(bed, NOBODY) if before else NOBODY):
                self.tell({"what": "care", "bed": bed})

    def _take_line(self, hospital: str, envelope: Envelope) -> None:
        """Note what a hospital that judges for itself says of its line."""
        if envelope.payload:
            heard_ns = 0 if envelope.retain else envelope.received_ns  # kept: of whatever time
            self.lines[hospital] = (decode_line(envelope.payload), heard_ns)
        else:
            self.lines.pop(hospital, None)

    def cut_off(self, hospital: str) -> bool:
        """Return whether a hospital judges for itself and is not reached now."""
        said = self.lines.get(hospital)
        return said is not None and now_ns() - said[1] > LINE_NS

    def find_alert(self, bed: str, alert: str) -> AlertEvent | None:
        """Return an open alert of a bed, unit or hospital."""
        view = self.views.get(bed) or self.places.get(bed)
        return view.alerts.get(alert) if view is not None else None

    def take_alert(self, event: AlertEvent) -> None:
        """Show an alert event on every screen."""
        if is_place(event.bed):
            view = self.places.get(event.bed)
            if view is None:
                if len(self.places) >= MAX_BEDS:
                    raise DecodeError("too_many_beds", f"{event.bed}: {MAX_BEDS} places are shown")
                view = self.places[event.bed] = BedView(event.bed)
            apply_alert(view, event)
        else:
            apply_alert(self._view(event.bed), event)
            self._changed.add(event.bed)
        self._events[event.alert] = event
        self._urgent.set()

    def presence(self) -> dict[str, Presence]:
        """Return, by hospital, which roles have a console open in units that have a ladder."""
        there = [screen.person for screen in self._screens if screen.receives]

        def count(unit: str, role: str) -> int:
            return sum(p.role == role and p.sees(f"{unit}/bed") for p in there)

        return {
            hospital: Presence(
                1,
                now_ns(),
                {
                    unit: {rung.role: count(unit, rung.role) for rung in known.ladder}
                    for unit, known in config.units.items()
                    if known.ladder
                },
            )
            for hospital, config in self.care.items()
        }

    def _view(self, bed: str) -> BedView:
        view = self.views.get(bed)
        if view is None:
            if len(self.views) >= MAX_BEDS:
                raise DecodeError("too_many_beds", f"bed {bed}: the wall holds {MAX_BEDS}")
            view = self.views[bed] = BedView(bed)
        return view

    def know(self, beds: Iterable[str]) -> None:
        """Show these beds even before they send anything."""
        for bed in beds:
            self._view(bed)

    def status(self) -> str:
        """Return ``ok``, ``broker_lost`` or ``intake_lost``: what the screens must say aloud."""
        if self.connection is None:
            return "broker_lost"
        return "ok" if self.lives("intake") else "intake_lost"

    def lives(self, service: str) -> bool:
        """Return whether a service says that it serves."""
        said = self._health.get(service)
        return (
            said is not None and said.state != "stopped" and now_ns() - said.at_ns < HEALTH_STALE_NS
        )

    def open_screen(self, person: Person, only: str | None = None) -> Screen:
        """Register a browser; it first gets everything (of ``only`` one bed), then changes.

        ``person``: whose it is, and so what it may show; a console that is open is a receiver of
        that person's role.
        """
        screen = Screen(only=only, person=person)
        screen.beds = set(filter(screen.wants, self.views))
        for view in [*self.views.values(), *self.places.values()]:
            if screen.wants(view.bed):
                screen.alerts.update(view.alerts)
        screen.wake.set()
        self._screens.add(screen)
        self._look(only)
        return screen

    def close_screen(self, screen: Screen) -> None:
        """Forget a browser."""
        self._screens.discard(screen)
        self._look(screen.only)

    def _look(self, bed: str | None) -> None:
        """Show on every screen who looks at a bed now."""
        if bed is None:
            return
        names = sorted({s.person.username for s in self._screens if s.only == bed})
        self._view(bed).watchers = tuple(names[:LOOKED_AT_MOST])
        self._changed.add(bed)

    def tell(self, news: News) -> None:
        """Tell every screen of whoever may see the bed what somebody did."""
        for screen in self._screens:
            if screen.person.sees(news["bed"]):
                screen.news_lost |= len(screen.news) == NEWS_KEPT
                screen.news.append(news)
                screen.wake.set()

    def set_loops(self, found: dict[str, Loops]) -> None:
        """Show what is open of each bed's consults; of a bed that is not named, nothing."""
        for view in self.views.values():
            open_loops = found.get(view.bed, NOTHING_OPEN)
            if view.loops != open_loops:
                view.loops = open_loops
                self._changed.add(view.bed)

    def set_questions(self, found: dict[str, list[str]]) -> None:
        """Show which beds the wrong-bed guard asks about, and what kinds of question."""
        for view in self.views.values():
            kinds = found.get(view.bed, [])
            if view.questions != kinds:
                view.questions = kinds
                self._changed.add(view.bed)

    def screens(self) -> list[dict[str, Any]]:
        """Return who has a console open, and whether it answers."""
        return [
            {
                "username": screen.person.username,
                "role": screen.person.role,
                "bed": screen.only,
                "receives": screen.receives,
                "waiting_alerts": len(screen.alerts),
                "paint_p50_ms": screen.paint_ms[0],
                "paint_p99_ms": screen.paint_ms[1],
            }
            for screen in self._screens
        ]

    def health(self) -> list[Health]:
        """Return what each service last said of itself."""
        return [self._health[name] for name in sorted(self._health)]

    async def _frames(self) -> None:
        """Every frame tell each screen what changed; at least once a second that we live."""
        period_s = self._settings.dashboard.frame_ms / 1000
        loop = asyncio.get_running_loop()
        beat = loop.time()
        said = self.status()
        while True:
            try:
                async with asyncio.timeout(period_s):
                    await self._urgent.wait()
                await asyncio.sleep(URGENT_S)
            except TimeoutError:
                pass
            self._urgent.clear()
            status = self.status()
            changed, self._changed = self._changed, set()
            events, self._events = self._events, {}
            self._arrived_ns, self._oldest_ns = self._oldest_ns or now_ns(), 0
            self._round += 1
            alive = loop.time() - beat >= HEARTBEAT_S or status != said
            said = status
            if alive:
                beat = loop.time()
            if not (changed or events or alive):
                continue
            for screen in self._screens:
                if screen.only is None and not screen.person.scope:
                    screen.beds |= changed
                    screen.alerts.update(events)
                else:
                    screen.beds.update(filter(screen.wants, changed))
                    screen.alerts.update({k: e for k, e in events.items() if screen.wants(e.bed)})
                if screen.alerts:
                    screen.alert.set()
                if alive or screen.beds or screen.alerts:
                    screen.wake.set()

    def take_frame(self, screen: Screen) -> bytes:
        """Return what the screen has not been told yet, and mark it as told."""
        beds, screen.beds = screen.beds, set()
        events, screen.alerts = screen.alerts, {}
        first = screen.frames == 0
        screen.frames += 1
        key = frozenset(beds)
        if self._frame[:2] != (self._round, key):
            views = [encode_bed(self.views[bed]) for bed in sorted(beds) if bed in self.views]
            self._frame = (self._round, key, orjson.dumps(views))
        head: dict[str, Any] = {
            "seq": screen.frames,
            "t": now_ns() / MS,
            "full": first,
            "status": self.status(),
            "kept": self.lives("recorder"),
            "room": self._health["broker"].detail if "broker" in self._health else "",
            "arrived": self._arrived_ns / MS,
            "a": [encode_alert(event) for event in events.values()],
        }
        recent_ns = now_ns() - UNDELIVERED_NS
        head["undelivered"] = sum(d.at_ns > recent_ns for d in self._undelivered)
        if screen.news or screen.news_lost:
            head["news"], head["news_lost"] = list(screen.news), screen.news_lost
            screen.news.clear()
            screen.news_lost = False
        if first and screen.only is None and not screen.period_s:
            head["sparks"] = {bed: list(self.views[bed].sparks) for bed in beds}
        if screen.only is not None:
            seen = (view for view in self.views.values() if screen.person.sees(view.bed))
            head["others"] = open_elsewhere(seen, screen.only)
        return orjson.dumps(head)[:-1] + b',"b":' + self._frame[2] + b"}"
