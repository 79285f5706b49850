"""Routes of sockets and of installing. Parse, call, return; no decisions here."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from msgspec import DecodeError, Struct, ValidationError, json
from psycopg_pool import AsyncConnectionPool

from dashboard.feed import SLOW_PERIOD_S, Feed, Screen
from dashboard.gate import Person, Sessions, token_of
from dashboard.pages import HERE, language_of, render_page
from dashboard.wave_feed import stored_frames
from dashboard.words import word
from hub.clock import now_ns
from hub.database import AWAY
from hub.settings import Settings
from hub.waves import read_waves
from schemas.times import to_datetime

SESSION_PERIOD_S = 15.0
"""How often an open socket asks whether its session still holds."""
WAVES_BEFORE = timedelta(seconds=25)
"""What a screen sweeps over in one turn, and some."""


class Alive(Struct):
    """A browser's sign of life. ``phone``: no primary receiver. ``paint``: p50 and p99, ms."""

    phone: bool = False
    paint: tuple[float, float] = (0.0, 0.0)


decode_alive = json.Decoder(Alive).decode


def make_router(  # noqa: C901 - one closure over what the routes share
    settings: Settings,
    feed: Feed,
    pool: AsyncConnectionPool,
    sessions: Sessions,
) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/manifest.webmanifest")
    async def manifest(request: Request) -> Response:
        """Describe the ward station as an application that a phone can install."""
        language = language_of(request)
        about = {
            "name": word("title", language),
            "short_name": "Vigil",
            "description": word("supplement", language),
            "lang": "zh-CN" if language == "zh" else "en",
            "start_url": "/ward",
            "display": "standalone",
            "background_color": "#0a0e13",
            "theme_color": "#111820",
            "icons": [{"src": "/assets/icon.svg", "sizes": "any", "type": "image/svg+xml"}],
        }
        return Response(json.encode(about), media_type="application/manifest+json")

    @router.get("/worker.js")
    async def worker() -> Response:
        """Return the service worker: without a connection it says so, and nothing else."""
        return Response((HERE / "worker.js").read_text("utf-8"), media_type="text/javascript")

    @router.get("/offline", response_class=HTMLResponse)
    async def offline(request: Request) -> HTMLResponse:
        """Show what an installed page shows without a connection."""
        language = language_of(request)
        return HTMLResponse(render_page("offline.html", language))

    @router.websocket("/ws/wall")
    async def wall(socket: WebSocket) -> None:
        """Everything, then changes: all beds."""
        screen = feed.open_screen(_person(socket))
        await _stream(socket, feed, sessions, screen, settings.dashboard.lag_s)

    @router.websocket("/ws/bed/{hospital}/{unit}/{bed}")
    async def one_bed(socket: WebSocket, hospital: str, unit: str, bed: str) -> None:
        """Everything, then changes: one bed."""
        name, person = f"{hospital}/{unit}/{bed}", _person(socket)
        if name not in feed.views or not person.sees(name):
            await socket.close(4404, "no such bed")
            return
        screen = feed.open_screen(person, name)
        await _stream(socket, feed, sessions, screen, settings.dashboard.lag_s)

    @router.websocket("/ws/waves/{hospital}/{unit}/{bed}")
    async def waves(socket: WebSocket, hospital: str, unit: str, bed: str) -> None:
        """One bed's waveforms: the last seconds, then as they come (docs/wire.md)."""
        name = f"{hospital}/{unit}/{bed}"
        if name not in feed.views or not _person(socket).sees(name):
            await socket.close(4404, "no such bed")
            return
        screen = await feed.waves.open_screen(name)
        before: deque[bytes] = deque()

        async def look_back() -> None:
            # Once what came before the subscription is committed; the browser puts it in its place.
            await asyncio.sleep(2 * settings.recorder.wave_flush_ms / 1000)
            before.extend(await _stored_waves(pool, name))
            screen.wake.set()

        async def send() -> None:
            while before:
                await socket.send_bytes(before.popleft())
            while screen.chunks:
                await socket.send_bytes(screen.chunks.popleft())

        looking = asyncio.create_task(look_back(), name="waves-before")
        try:
            await _serve(socket, screen.wake, send, feed, sessions, settings.dashboard.lag_s)
        finally:
            feed.waves.close_screen(screen)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    return router


async def _stored_waves(pool: AsyncConnectionPool, bed: str) -> deque[bytes]:
    """Return what a screen shows before the first chunk arrives; nothing without a database."""
    now = to_datetime(now_ns())
    try:
        async with pool.connection() as connection:
            segments = await read_waves(connection, bed, now - WAVES_BEFORE, now + WAVES_BEFORE)
    except AWAY:
        return deque()
    return deque(stored_frames(segments))


def _person(socket: WebSocket) -> Person:
    person: Person = socket.state.person
    return person


async def _stream(
    socket: WebSocket, feed: Feed, sessions: Sessions, screen: Screen, lag_s: float
) -> None:
    """Send a screen's frames until its browser leaves.

    A browser says every few seconds that it lives (:class:`Alive`), as JSON. One opened with
    ``?numbers=1`` is told every two seconds.
    """
    if socket.query_params.get("numbers"):
        screen.period_s = SLOW_PERIOD_S

    async def send() -> None:
        screen.alert.clear()
        await socket.send_text(feed.take_frame(screen).decode())
        if screen.period_s:  # numbers can wait, an alert does not
            with suppress(TimeoutError):
                await asyncio.wait_for(screen.alert.wait(), screen.period_s)

    def hear(text: str) -> None:
        try:
            said = decode_alive(text)
        except (ValidationError, DecodeError):
            return  # what is no word of ours is no sign of life
        screen.heard = time.monotonic()
        screen.primary, screen.paint_ms = not said.phone, said.paint

    try:
        await _serve(socket, screen.wake, send, feed, sessions, lag_s, hear)
    finally:
        feed.close_screen(screen)


async def _serve(
    socket: WebSocket,
    wake: asyncio.Event,
    send: Callable[[], Awaitable[None]],
    feed: Feed,
    sessions: Sessions,
    lag_s: float,
    hear: Callable[[str], None] = lambda _: None,
) -> None:
    """Send at every ``wake`` until the browser leaves, or takes nothing for ``lag_s``."""
    await socket.accept()
    listening = asyncio.create_task(_until_closed(socket, hear))
    checking = asyncio.create_task(_until_signed_out(socket, sessions))
    try:
        while not listening.done():
            waking = asyncio.create_task(wake.wait())
            await asyncio.wait({waking, listening, checking}, return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()
            if listening.done():
                break
            if checking.done():
                gone = checking.result()  # else: it is signed in, and may see something else now
                await socket.close(4401 if gone else 4409, "signed out" if gone else "anew")
                break
            wake.clear()
            async with asyncio.timeout(lag_s):
                await send()
    except TimeoutError:
        feed.laggards += 1
        await socket.close(4008, "too slow")
    except (WebSocketDisconnect, RuntimeError):
        pass  # it left while we were sending
    finally:
        listening.cancel()
        checking.cancel()
        await asyncio.gather(listening, checking, return_exceptions=True)


async def _until_signed_out(socket: WebSocket, sessions: Sessions) -> bool:
    """Return when the session has ended (True), or may see something else now (False)."""
    token = token_of(socket.headers) or ""
    while (found := await sessions.find(token)) == _person(socket):  # noqa: ASYNC110 - asked
        await asyncio.sleep(SESSION_PERIOD_S)
    return found is None


async def _until_closed(socket: WebSocket, hear: Callable[[str], None]) -> None:
    try:
        while True:
            hear(await socket.receive_text())
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return
