"""Routes of getting in and out: sign-in, one's own password, identity provider, sign-out."""

import asyncio
import hmac
import time
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

import httpx2
import structlog
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from joserfc.errors import JoseError
from psycopg_pool import AsyncConnectionPool

from care.roles import ROLES
from dashboard.gate import COOKIE, Person, Sessions, read_cookie
from dashboard.limits import Failures
from dashboard.pages import language_of, render_page
from dashboard.trail import Trail
from hub import accounts, secret_files
from hub.database import AWAY
from hub.settings import OidcSettings, Settings
from schemas.errors import CareError
from schemas.scopes import check_scope

log = structlog.get_logger()

FORM_BYTES = 4_096
BROWSER_COOKIE = "vigil_browser"
BROWSER_DAYS = 400
BROWSER_PEOPLE = 12
"""So many people are remembered of one browser: a ward station has a shift of them."""
SESSION_KEY = "session.key"
OIDC_WAIT_S = 600


class Browsers:
    """Which people have signed in with a browser before: marks in a cookie, made with our key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _mark(self, username: str) -> str:
        return hmac.new(self._key, b"browser" + username.encode(), sha256).hexdigest()[:20]

    def knows(self, cookie: str | None, username: str) -> bool:
        """Return whether this person has signed in here before."""
        return self._mark(username) in (cookie or "").split(".")

    def add(self, cookie: str | None, username: str) -> str:
        """Return the cookie with this person's mark in front."""
        mark = self._mark(username)
        others = [m for m in (cookie or "").split(".") if m and m != mark and len(m) == len(mark)]
        return ".".join([mark, *others[: BROWSER_PEOPLE - 1]])


def make_signin_router(  # noqa: C901, PLR0915 - one closure over what the routes share
    settings: Settings, pool: AsyncConnectionPool, sessions: Sessions, trail: Trail
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["sign-in"])
    failures = Failures()
    hashing = asyncio.Semaphore(2)
    browsers = Browsers(secret_files.key(settings.data, SESSION_KEY))
    oauth = _provider(settings.oidc)
    hours = settings.dashboard.session_hours
    secure = (settings.dashboard.url or "").startswith("https")

    async def proves(username: str, password: str, key: tuple[str, str]) -> bool:
        """Return whether the password fits; counted before it is tried, for guesses side by side.

        No connection waits for it, and two cores at most work on it.
        """
        failures.add(key, time.monotonic())
        async with pool.connection() as connection:
            stored = await accounts.find_hash(connection, username)
        async with hashing:
            fits = await asyncio.to_thread(accounts.verify, stored, password)
        if fits:
            failures.clear(key)
        return fits

    async def open_session(request: Request, username: str) -> str:
        async with pool.connection() as connection:
            agent = request.headers.get("user-agent", "")
            address = _address(request)
            return await accounts.open_session(connection, username, hours, address, agent)

    def signed_in(request: Request, answer: Response, username: str, token: str) -> Response:
        with_tls = secure or request.url.scheme == "https"
        flags: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": with_tls}
        answer.set_cookie(COOKIE, token, max_age=int(hours * 3600), **flags)
        known = browsers.add(request.cookies.get(BROWSER_COOKIE), username)
        answer.set_cookie(BROWSER_COOKIE, known, max_age=BROWSER_DAYS * 86_400, **flags)
        return answer

    def form(request: Request, problem: str | None = None, status: int = 200) -> HTMLResponse:
        label = settings.oidc.label if settings.oidc.issuer else ""
        demo = [(name, role) for name, (role, _) in accounts.DEMO_ACCOUNTS.items() if settings.demo]
        return _form(request, "login.html", problem, status, provider=label, demo=demo)

    @router.get("/login", response_class=HTMLResponse)
    async def login_page(request: Request) -> HTMLResponse:
        """Show the sign-in form."""
        return form(request)

    @router.post("/login", response_model=None)
    async def login(request: Request) -> Response:
        """Sign in: a session cookie and the wall, or the form again with the reason."""
        fields = await _fields(request)
        username, password = fields.get("username", "")[:64], fields.get("password", "")[:256]
        address = _address(request)
        known = browsers.knows(request.cookies.get(BROWSER_COOKIE), username)
        key = ("a known browser" if known else address, username)
        if failures.wait_s(key, time.monotonic()):
            trail.add(username, "", "sign-in", outcome="wait", address=address)
            return form(request, "sign_in_wait", 429)
        try:
            if not await proves(username, password, key):
                trail.add(username, "", "sign-in", outcome="refused", address=address)
                return form(request, "sign_in_wrong", 401)
            token = await open_session(request, username)
        except AWAY:
            failures.clear(key)
            return form(request, "sign_in_down", 503)
        await _end_old(request, pool, sessions)
        trail.add(username, "", "sign-in", address=address)
        return signed_in(request, RedirectResponse("/", status_code=303), username, token)

    @router.post("/logout", response_model=None)
    async def logout(request: Request) -> RedirectResponse:
        """Sign out and end the session."""
        person = _person(request)
        try:
            await _end_old(request, pool, sessions)
        except AWAY:
            raise HTTPException(503, "the database is away; you are still signed in") from None
        if person is not None:
            trail.add(person.username, person.role, "sign-out", address=_address(request))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    @router.get("/password", response_class=HTMLResponse)
    async def password_page(request: Request) -> HTMLResponse:
        """Show the form for a password of one's own."""
        return _form(request, "password.html")

    @router.post("/password", response_model=None)
    async def password(request: Request) -> Response:
        """Change the password; every other session of the person ends."""
        person = _person(request)
        assert person is not None  # the gate has let nobody else through
        fields = await _fields(request)
        old, new = fields.get("old", "")[:256], fields.get("new", "")[:256]
        address = _address(request)
        key = (address, person.username)
        if failures.wait_s(key, time.monotonic()):
            return _form(request, "password.html", "sign_in_wait", 429)
        if len(new) < accounts.PASSWORD_LEAST or new == old:
            return _form(request, "password.html", "password_short", 422)
        if new != fields.get("again", ""):
            return _form(request, "password.html", "password_differs", 422)
        try:
            if not await proves(person.username, old, key):
                return _form(request, "password.html", "password_wrong", 401)
            async with pool.connection() as connection:
                await accounts.set_password(connection, person.username, new)
            token = await open_session(request, person.username)
        except AWAY:
            failures.clear(key)
            return _form(request, "password.html", "sign_in_down", 503)
        sessions.forget_person(person.username)
        trail.add(person.username, person.role, "password", address=address)
        answer = RedirectResponse("/", status_code=303)
        return signed_in(request, answer, person.username, token)

    if oauth is None:
        return router

    @router.get("/oidc/login", response_model=None)
    async def oidc_login(request: Request) -> Response:
        """Send the person to the identity provider."""
        base = settings.dashboard.url or str(request.base_url)
        try:
            redirect: Response = await oauth.hospital.authorize_redirect(
                request, f"{base.rstrip('/')}/oidc/callback"
            )
        except (httpx2.HTTPError, OAuthError) as error:
            log.warning("oidc_failed", reason=str(error)[:200])
            return form(request, "oidc_down", 503)
        return redirect

    @router.get("/oidc/callback", response_model=None)
    async def oidc_callback(request: Request) -> Response:
        """Take the provider's word on who this is; a role it does not know comes no further."""
        address = _address(request)
        try:
            token = await oauth.hospital.authorize_access_token(request)
            claims = token["userinfo"]
            subject, username, role, scope = _claims(claims, settings.oidc)
            async with pool.connection() as connection:
                await accounts.enter(connection, subject, username, role, scope)
            session = await open_session(request, username)
        except (httpx2.HTTPError, *AWAY) as error:
            log.warning("oidc_failed", reason=str(error)[:200])
            return form(request, "oidc_down", 503)
        except (OAuthError, JoseError, CareError, KeyError, ValueError) as error:
            log.warning("oidc_refused", reason=str(error)[:200])
            trail.add("", "", "sign-in", outcome="provider-refused", address=address)
            return form(request, "oidc_refused", 403)
        await _end_old(request, pool, sessions)
        trail.add(username, role, "sign-in", address=address, detail={"kind": "oidc"})
        # A redirect from elsewhere does not carry a strict cookie; a page of our own does.
        return signed_in(request, _form(request, "enter.html"), username, session)

    return router


def _provider(settings: OidcSettings) -> Any:
    """Return the client of the identity provider; None when there is none."""
    if settings.issuer is None:
        return None
    oauth = OAuth()
    secret = settings.client_secret.get_secret_value() if settings.client_secret else None
    oauth.register(
        "hospital",
        client_id=settings.client_id,
        client_secret=secret,
        server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile", "code_challenge_method": "S256", "timeout": 10},
    )
    return oauth


def _claims(claims: Any, settings: OidcSettings) -> tuple[str, str, str, tuple[str, ...]]:
    """Return subject, account name, role and scope of what the provider says.

    Raises CareError for a role or scope that is none: nobody comes in with a default.
    """
    subject = f"{claims['iss']}|{claims['sub']}"
    username = str(claims.get("preferred_username") or claims["sub"])[:64]
    role = str(claims.get(settings.role_claim, ""))
    if role not in ROLES:
        raise CareError(f"claim {settings.role_claim}: {role[:40]!r} is no role of ours")
    said = claims.get(settings.scope_claim)
    if said is None:
        raise CareError(f'claim {settings.scope_claim}: missing; ["*"] for every hospital')
    listed = [str(one) for one in ([said] if isinstance(said, str) else said)]
    return subject, username, role, () if listed == ["*"] else _scope(listed)


def _scope(listed: list[str]) -> tuple[str, ...]:
    if not listed:
        raise CareError("scope: the provider names no hospital for this person")
    return check_scope(listed)


async def _end_old(request: Request, pool: AsyncConnectionPool, sessions: Sessions) -> None:
    """End the session that this browser had: a sign-in never continues one."""
    token = read_cookie(request.headers.get("cookie", ""), COOKIE)
    if token:
        sessions.forget(token)
        async with pool.connection() as connection:
            await accounts.close_session(connection, token)


def _person(request: Request) -> Person | None:
    person: Person | None = request.state.person
    return person


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields of a form, at most ``FORM_BYTES`` of it."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise HTTPException(413, "the form is too large")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        raise HTTPException(422, "the form has too many fields") from None
    return {name: values[0].replace("\x00", "") for name, values in fields.items()}


def _form(
    request: Request, name: str, problem: str | None = None, status: int = 200, **fields: Any
) -> HTMLResponse:
    language = language_of(request)
    other = "en" if language == "zh" else "zh"
    text = render_page(name, language, other=other, problem=problem, **fields)
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})
