"""The live feed: judged batches and alerts from the broker to every browser, newest wins.

One table of views; every ``frame_ms`` what changed is encoded once for all. Each browser has a
``Screen``: the set of beds and alerts it has not been told of yet. A slow browser's set merges
what it missed (newest value wins, no alert is ever skipped, for an alert's newest state is always
sent) and costs nobody else anything; one that takes nothing for ``lag_s`` is disconnected.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from dashboard.views import (
    BedView,
    apply_alert,
    apply_reading,
    encode_alert,
    encode_bed,
    open_elsewhere,
)
from dashboard.wave_feed import WaveFeed
from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.health import Reporter
from hub.mqtt import Envelope
from hub.settings import Settings
from schemas.alerts import AlertEvent
from schemas.codec import decode_alert, decode_health, decode_judged
from schemas.errors import DecodeError
from schemas.judged import unpack
from schemas.times import MS, S
from schemas.topics import ALERTS_FILTER, HEALTH_FILTER, JUDGED_FILTER
from schemas.wire import Health

log = structlog.get_logger()

HEARTBEAT_S = 1.0
HEALTH_STALE_NS = 8 * S
MAX_BEDS = 5_000


@dataclass(eq=False, slots=True)
class Screen:
    """One browser: what it has not been told yet, and a bell."""

    beds: set[str] = field(default_factory=set)
    alerts: dict[str, AlertEvent] = field(default_factory=dict)
    only: str | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    frames: int = 0


class Feed:
    """The table of all beds and the screens that look at it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._screens: set[Screen] = set()
        self._changed: set[str] = set()
        self._events: dict[str, AlertEvent] = {}
        self._health: dict[str, Health] = {}
        self._round = 0
        self._oldest_ns = 0
        self._arrived_ns = 0
        self._frame: tuple[int, frozenset[str], bytes] = (-1, frozenset(), b"")
        self.views: dict[str, BedView] = {}
        self.connection: Connection | None = None
        self.unreadable = 0
        self.laggards = 0
        self.waves = WaveFeed()
        self._reporter = Reporter("dashboard", self._counters)

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
                filters=(JUDGED_FILTER, ALERTS_FILTER, HEALTH_FILTER),
                will=self._reporter.will(),
            )

        framing = asyncio.create_task(self._frames(), name="frames")
        try:
            await stay_connected(connect, self._serve, stop)
        finally:
            framing.cancel()

    async def _serve(self, connection: Connection) -> None:
        for view in self.views.values():
            view.alerts.clear()  # the retained alerts of this connection are the truth
        for screen in self._screens:
            screen.frames = 0  # they start again from everything
            screen.beds.update(self.views if screen.only is None else {screen.only})
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
                for reading in unpack(decode_judged(envelope.payload)):
                    if apply_reading(self._view(reading.bed), reading):
                        self._changed.add(reading.bed)
            elif "/waves/" in envelope.topic:
                self.waves.take(envelope)
            elif "/hub/health/" in envelope.topic:
                health = decode_health(envelope.payload)
                self._health[health.service] = health
            elif envelope.payload:
                self.take_alert(decode_alert(envelope.payload))
        except DecodeError as error:
            self.unreadable += 1
            log.warning("message_unreadable", topic=envelope.topic, reason=str(error))

    def take_alert(self, event: AlertEvent) -> None:
        """Show an alert event on every screen."""
        apply_alert(self._view(event.bed), event)
        self._changed.add(event.bed)
        self._events[event.alert] = event

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
        intake = self._health.get("intake")
        if intake is None or intake.state == "stopped" or now_ns() - intake.at_ns > HEALTH_STALE_NS:
            return "intake_lost"
        return "ok"

    def open_screen(self, only: str | None = None) -> Screen:
        """Register a browser; it first gets everything (of ``only`` one bed), then changes."""
        screen = Screen(set(self.views) if only is None else {only}, only=only)
        for view in self.views.values():
            if only in (None, view.bed):
                screen.alerts.update(view.alerts)
        screen.wake.set()
        self._screens.add(screen)
        return screen

    def close_screen(self, screen: Screen) -> None:
        """Forget a browser."""
        self._screens.discard(screen)

    async def _frames(self) -> None:
        """Every frame tell each screen what changed; at least once a second that we live."""
        period_s = self._settings.dashboard.frame_ms / 1000
        loop = asyncio.get_running_loop()
        beat = loop.time()
        said = self.status()
        while True:
            await asyncio.sleep(period_s)
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
                if screen.only is None:
                    screen.beds |= changed
                    screen.alerts.update(events)
                elif screen.only in changed:
                    screen.beds.add(screen.only)
                    screen.alerts.update({k: e for k, e in events.items() if e.bed == screen.only})
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
            "arrived": self._arrived_ns / MS,
            "a": [encode_alert(event) for event in events.values()],
        }
        if screen.only is not None:
            head["others"] = open_elsewhere(self.views.values(), screen.only)
        return orjson.dumps(head)[:-1] + b',"b":' + self._frame[2] + b"}"
