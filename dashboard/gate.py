"""The one gate in front of everything, HTTP and WebSocket: who is this, and may they come in?

Pure ASGI, outermost. A session cookie is opaque, HttpOnly and SameSite=Strict; what changes
anything, and every socket, must also come from our own origin. A session that was verified stays
good for a minute, and through an absence of the database, so that the wall does not go dark.
"""

import time
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from care.roles import May, may, sees
from hub import accounts

COOKIE = "vigil_session"
OPEN_PATHS = frozenset(
    {
        "/login",
        "/healthz",
        "/assets/style.css",
        "/favicon.ico",
        "/_favicon.ico",
        "/manifest.webmanifest",
        "/worker.js",
        "/offline",
        "/assets/icon.svg",
        "/assets/login.js",
    }
)
PAGES = ("bed", "consults", "ward", "review", "rules", "handover", "system")
"""The first level of each page's path: without a sign-in it leads there."""
OPEN_FOLDER = "/assets/fonts/"
VERIFIED_S = 60.0
CACHED = 2_000
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-eval'; img-src 'self' blob: data:; "
    b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""No script of ours evaluates text; drivers of browsers that wait for an expression do."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", POLICY),
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in. ``scope``: the hospitals and units they may see; none: all."""

    username: str
    role: str
    scope: tuple[str, ...] = ()

    def sees(self, bed: str) -> bool:
        """Return whether a bed is theirs to see."""
        return sees(self.scope, bed)

    def may(self, what: May) -> bool:
        """Return whether their role may do something."""
        return may(self.role, what)


class Sessions:
    """Verifies tokens against the database, with a bounded memory of those verified."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._verified: dict[str, tuple[Person, float, float]] = {}

    async def find(self, token: str) -> Person | None:
        """Return who the token belongs to, or None."""
        now = time.time()
        known = self._verified.get(token)
        if known is not None and now - known[1] < VERIFIED_S and now < known[2]:
            return known[0]
        try:
            async with self._pool.connection() as connection:
                found = await accounts.find_session(connection, token)
        except (psycopg.OperationalError, PoolTimeout):
            return known[0] if known is not None and now < known[2] else None
        if found is None:
            self._verified.pop(token, None)
            return None
        if len(self._verified) >= CACHED:
            self._verified.clear()
        person = Person(found[0], found[1], found[2])
        self._verified[token] = (person, now, found[3].timestamp())
        return person

    def forget(self, token: str) -> None:
        """Stop trusting a token at once."""
        self._verified.pop(token, None)


class Gate:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, send to the sign-in, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        path = scope["path"]
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes and not _own_origin(headers):
            await _refuse(scope, send, 403, "wrong origin")
            return
        token = read_cookie(headers.get("cookie", ""), COOKIE)
        person = await self._sessions.find(token) if token else None
        if person is None and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER):
            if scope["type"] == "http" and _is_page(path):
                await _redirect(send, "/login")
            else:
                await _refuse(scope, send, 401, "sign in first")
            return
        scope.setdefault("state", {})["person"] = person

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def read_cookie(header: str, name: str) -> str | None:
    """Return one cookie's value from a Cookie header; None when absent or malformed."""
    try:
        morsel = SimpleCookie(header).get(name)
    except Exception:  # noqa: BLE001 - http.cookies raises CookieError subclasses at will
        return None
    return morsel.value if morsel else None


def _own_origin(headers: dict[str, str]) -> bool:
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host")


def _is_page(path: str) -> bool:
    return path == "/" or path.split("/")[1] in PAGES


async def _redirect(send: Send, to: str) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 303,
            "headers": [(b"location", to.encode()), *HEADERS],
        }
    )
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4000 + status, "reason": why})
        return
    body: dict[str, Any] = {"type": "http.response.body", "body": why.encode()}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS],
        }
    )
    await send(body)
