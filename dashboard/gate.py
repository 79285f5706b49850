"""The one gate in front of everything, HTTP and WebSocket: who is this, and may they come in?

Pure ASGI, outermost. A session cookie is opaque, HttpOnly and SameSite=Strict; what changes
anything, and every socket, must also come from our own origin. Requests are bounded in rate, size
and time; what the audit asks is kept here, so that no route can forget it. A session that was
verified stays good for ten seconds, and through an absence of the database, so that the wall does
not go dark.
"""

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from psycopg_pool import AsyncConnectionPool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from care.roles import May, may
from dashboard.limits import (
    ADDRESS_BURST,
    ADDRESS_RATE,
    BODY_BYTES,
    BODY_S,
    SESSION_BURST,
    SESSION_RATE,
    Buckets,
)
from dashboard.trail import Trail
from hub import accounts
from hub.database import AWAY
from hub.settings import DashboardSettings
from schemas.scopes import sees

COOKIE = "vigil_session"
OPEN_PATHS = frozenset(
    {
        "/login",
        "/healthz",
        "/readyz",
        "/metrics",
        "/oidc/login",
        "/oidc/callback",
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
PAGES = ("bed", "consults", "ward", "review", "rules", "handover", "system", "access")
"""The first level of each page's path: without a sign-in it leads there."""
OPEN_FOLDER = "/assets/fonts/"
VERIFIED_S = 10.0
CACHED = 2_000
OUTAGE_GRACE_S = 60.0
"""Through an absence of the database holds what was verified so shortly before it."""
TOO_LARGE = f"the body is larger than {BODY_BYTES} bytes"
BODY_KEPT = 65_536
"""So much of a body is looked at for the audit."""
FIRST_PATHS = frozenset({"/password", "/logout", "/assets/style.css", "/assets/login.js"})
"""Where a person with a password for one sign-in may go."""
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    b"connect-src 'self'; img-src 'self' blob: data:; manifest-src 'self'; worker-src 'self'; "
    b"media-src 'self'; "
    b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
SECURE_HEADERS = (*HEADERS, (b"strict-transport-security", b"max-age=31536000"))


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in. ``scope``: the hospitals and units they may see; none: all.

    ``extra``: what of it is theirs by break-glass. ``must_change``: first a password of their own.
    """

    username: str
    role: str
    scope: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    must_change: bool = False

    def sees(self, bed: str) -> bool:
        """Return whether a bed is theirs to see."""
        return sees(self.scope, bed)

    def at_home(self, place: str) -> bool:
        """Return whether a bed or unit is theirs without break-glass."""
        own = tuple(one for one in self.scope if one not in self.extra)
        return not self.extra or sees(own, f"{place}/")

    def may(self, what: May) -> bool:
        """Return whether their role may do something."""
        return may(self.role, what)


class Sessions:
    """Verifies tokens against the database, with a bounded memory of those verified."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._verified: dict[str, tuple[Person, float, float]] = {}
        self._answered = 0.0

    def knows(self, token: str) -> bool:
        """Return whether this token was somebody's when it was last asked."""
        return token in self._verified

    async def find(self, token: str) -> Person | None:
        """Return who the token belongs to, or None."""
        now = time.time()
        known = self._verified.get(token)
        if known is not None and now - known[1] < VERIFIED_S and now < known[2]:
            return known[0]
        try:
            async with self._pool.connection() as connection:
                found = await accounts.find_session(connection, token)
        except AWAY:
            if known is None or known[1] < self._answered - OUTAGE_GRACE_S or now >= known[2]:
                return None  # it may have been revoked before the database went away
            return known[0]
        self._answered = now
        if found is None:
            self._verified.pop(token, None)
            return None
        if len(self._verified) >= CACHED:
            self._verified.clear()
        person = Person(
            found.username, found.role, found.scope, found.extra, must_change=found.must_change
        )
        self._verified[token] = (person, now, found.until.timestamp())
        return person

    def forget(self, token: str) -> None:
        """Stop trusting a token at once."""
        self._verified.pop(token, None)

    def forget_person(self, username: str) -> None:
        """Ask anew whose every session of a person's is."""
        for token in [t for t, known in self._verified.items() if known[0].username == username]:
            del self._verified[token]


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    """A request that is answered here: with which status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class _Body:
    """A request's body as it passes: bounded in size and time, its beginning kept for the audit."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self._until = time.monotonic() + BODY_S
        self._whole = False
        self.kept = b""
        self.refused: _Refused | None = None

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.001, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise self._refuse(408, f"the body did not come within {BODY_S:g} s") from None
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self._size += len(body)
            if self._size > BODY_BYTES:
                raise self._refuse(413, TOO_LARGE)
            if len(self.kept) < BODY_KEPT:
                self.kept += body[: BODY_KEPT - len(self.kept)]
            self._whole = not message.get("more_body", False)
        return message

    def _refuse(self, status: int, why: str) -> _Refused:
        self.refused = _Refused(status, why)
        return self.refused


class Gate:
    """The outermost ASGI application."""

    def __init__(
        self, app: ASGIApp, sessions: Sessions, trail: Trail, settings: DashboardSettings
    ) -> None:
        self.app = app
        self._sessions = sessions
        self._trail = trail
        self._settings = settings
        self._own = urlsplit(settings.url).netloc if settings.url else None
        self._headers = SECURE_HEADERS if (settings.url or "").startswith("https") else HEADERS
        self._by_session = Buckets(SESSION_RATE, SESSION_BURST)
        self._by_address = Buckets(ADDRESS_RATE, ADDRESS_BURST)

    def counters(self) -> dict[str, float]:
        """Return how many requests were refused because there were too many."""
        return {"requests_refused": self._by_session.refused + self._by_address.refused}

    async def __call__(  # noqa: C901 - one gate, one decision
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let through, send to the sign-in, or refuse."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        body = _Body(receive)
        status = 0
        person: Person | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if body.refused is not None and not status:
                return  # whatever the routes make of half a body, this is the answer
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *self._headers]
            elif message["type"] == "websocket.accept":
                status = 101
                self._trail.request(scope, person, 101, b"")  # when it begins, not when it ends
            elif message["type"] == "websocket.close" and not status:
                status = 403
            await send(message)

        http = scope["type"] == "http"
        try:
            person = await self._admit(scope, headers)
            scope.setdefault("state", {})["person"] = person
            await self.app(scope, body if http else receive, answer)
            if body.refused is not None and not status:
                raise body.refused
        except _Refused as refused:
            if status:
                raise  # the answer has begun: the connection ends
            status = refused.status
            if refused.status == 303:
                await _redirect(send, refused.why, self._headers)
            else:
                await _refuse(scope, send, refused, self._headers)
        if http or status != 101:
            self._trail.request(scope, person, status, body.kept)

    async def _admit(self, scope: Scope, headers: dict[str, str]) -> Person | None:
        """Return who is asking, or None where anybody may; raise what is answered instead."""
        path = scope["path"]
        bearer = "" if path == "/metrics" else _bearer(headers)
        token = token_of(headers)
        client = scope.get("client") or ("", 0)
        known = token is not None and self._sessions.knows(token)
        bucket, key = (self._by_session, token) if known else (self._by_address, client[0])
        if not bucket.take(key or "", time.monotonic()):
            raise _Refused(429, "too many requests; wait a moment")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        # who shows a token by hand is no browser that another page has sent here
        if changes and not bearer and not self._own_origin(headers):
            raise _Refused(403, "wrong origin")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES:
            raise _Refused(413, TOO_LARGE)
        person = await self._sessions.find(token) if token else None
        if path == "/metrics":
            self._scrape(headers, client[0], person)
        if person is None and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER):
            if scope["type"] == "http" and _is_page(path):
                raise _Refused(303, "/login")
            raise _Refused(401, "sign in first")
        if person is not None and person.must_change and path not in FIRST_PATHS:
            if scope["type"] == "http" and _is_page(path):
                raise _Refused(303, "/password")
            if not path.startswith(OPEN_FOLDER):
                raise _Refused(403, "first choose a password of your own: /password")
        return person

    def _scrape(self, headers: dict[str, str], address: str, person: Person | None) -> None:
        """Let read the figures: who has the token, or without one whoever is on this machine."""
        token = self._settings.metrics_token
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if token is not None and hmac.compare_digest(
            given.encode("latin-1"), token.get_secret_value().encode()
        ):
            return
        if token is None and address in ("127.0.0.1", "::1"):
            return
        if person is None or not person.may(May.ADMINISTER):
            raise _Refused(401, "figures: the token of VIGIL_DASHBOARD__METRICS_TOKEN, or sign in")

    def _own_origin(self, headers: dict[str, str]) -> bool:
        try:
            origin = urlsplit(headers["origin"]).netloc
        except (KeyError, ValueError):
            return False
        return origin == (self._own or headers.get("host"))


def _bearer(headers: Mapping[str, str]) -> str:
    """Return the token that a program shows by hand; empty: none."""
    said = headers.get("authorization", "")
    return said.removeprefix("Bearer ") if said.startswith("Bearer ") else ""


def token_of(headers: Mapping[str, str]) -> str | None:
    """Return the session's token: shown by hand, or a browser's cookie."""
    return _bearer(headers) or read_cookie(headers.get("cookie", ""), COOKIE)


def read_cookie(header: str, name: str) -> str | None:
    """Return one cookie's value from a Cookie header; None when absent or malformed."""
    try:
        morsel = SimpleCookie(header).get(name)
    except Exception:  # noqa: BLE001 - http.cookies raises CookieError subclasses at will
        return None
    return morsel.value if morsel else None


def _is_page(path: str) -> bool:
    return path == "/" or path.removeprefix("/").split("/")[0] in PAGES


async def _redirect(send: Send, to: str, headers: Any) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 303,
            "headers": [(b"location", to.encode()), *headers],
        }
    )
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, refused: _Refused, headers: Any) -> None:
    if scope["type"] == "websocket":
        reason = {"code": 4000 + refused.status, "reason": refused.why}
        await send({"type": "websocket.close", **reason})
        return
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send(
        {
            "type": "http.response.start",
            "status": refused.status,
            "headers": [*kind, *headers],
        }
    )
    await send({"type": "http.response.body", "body": refused.why.encode()})
