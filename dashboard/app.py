"""The console: one uvicorn worker with FastAPI, the live feed and the gate around it all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from psycopg_pool import AsyncConnectionPool
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dashboard.api import make_router
from dashboard.api_access import make_access_router
from dashboard.api_alerts import Services, make_alert_router
from dashboard.api_base import Who
from dashboard.api_care import make_care_router, publish_care, publish_presence
from dashboard.api_consults import follow_consults, make_annotation_router, make_consult_router
from dashboard.api_fhir import make_fhir_router
from dashboard.api_health import make_health_router
from dashboard.api_history import make_history_router
from dashboard.api_rules import RuleServices, make_rules_router
from dashboard.api_signin import OIDC_WAIT_S, SESSION_KEY, make_signin_router
from dashboard.api_system import make_system_router
from dashboard.api_table import make_table_router
from dashboard.api_ward import make_ward_router
from dashboard.feed import Feed
from dashboard.gate import Gate, Sessions
from dashboard.identity import Guard
from dashboard.pages import NAVIGATION, Assets, Place, language_of, page
from dashboard.trail import Trail
from hub import secret_files
from hub.database import AWAY, OPTIONS
from hub.health import VERSION
from hub.reads import fetch
from hub.settings import Settings
from hub.sites import Sites, bed_number
from hub.vault import open_vault
from schemas.times import from_datetime

log = structlog.get_logger()

POOL_WAIT_S = 3.0
HEADERS_S = 10.0
"""Within so long the headers of a connection's first request are there."""
ABOUT = """The hub's HTTP API: everything that a screen does. It supplements the bedside monitor.

Sign in with `POST /login` (form fields `username`, `password`); the cookie is the session. What
changes anything needs an `Origin` header of the same host. A bed is `hospital/unit/bed`; times in
queries are RFC 3339; `*_ns` are ns since the epoch, UTC, other numbers of time ms. 401: sign in;
403: not for your role or scope; 409: it was otherwise meanwhile; 422: the text says what to mend;
503: broker or database away. Live data: `/ws/wall`, `/ws/bed/{hospital}/{unit}/{bed}` (JSON: a
snapshot, then changes, numbered), `/ws/waves/{hospital}/{unit}/{bed}` (binary, docs/wire.md).
"""


def places(sites: Sites, beds: list[str]) -> dict[str, Place]:
    """Return where each bed is, in words: from sites.toml, else from its address."""
    hospitals = {h.id: (h.zh, h.en) for h in sites.hospital}
    units = {(h.id, u.id): (u.zh, u.en) for h in sites.hospital for u in h.unit}
    found = {}
    for bed in sorted(beds):
        hospital, unit, number = bed.split("/")
        found[bed] = Place(
            hospitals.get(hospital, (hospital, hospital)),
            units.get((hospital, unit), (unit, unit)),
            bed_number(number),
        )
    return found


def make_app(
    settings: Settings, sites: Sites, services: Services, rule_services: RuleServices
) -> Any:
    """Return the ASGI application."""
    pool = AsyncConnectionPool(
        settings.database_address,
        min_size=1,
        max_size=settings.database.pool_size,
        open=False,
        kwargs={"options": OPTIONS, "autocommit": True},
        timeout=POOL_WAIT_S,
        check=AsyncConnectionPool.check_connection,
    )
    feed = Feed(settings)
    feed.know(sites.beds())
    guard = feed.listener = Guard(feed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        await pool.open(wait=False)
        tasks = [
            asyncio.create_task(feed.run(stop), name="feed"),
            asyncio.create_task(_know_beds(feed, pool), name="beds"),
            asyncio.create_task(publish_presence(feed), name="presence"),
            asyncio.create_task(follow_consults(feed, pool), name="consults"),
            asyncio.create_task(guard.run(pool), name="guard"),
            asyncio.create_task(trail.run(pool), name="audit"),
        ]
        if not settings.is_edge:  # there the hub's word on who lies where holds
            tasks.append(asyncio.create_task(publish_care(feed, pool), name="care"))
        yield
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.close()

    server = FastAPI(
        title="Vigil",
        version=VERSION,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    sessions = Sessions(pool)
    trail = Trail(settings)
    vault = open_vault(settings.data, settings.identity_key)
    assets = Assets()

    def counters() -> dict[str, float]:
        return {**trail.counters(), **gate.counters()}

    server.include_router(make_router(settings, feed, pool, sessions))
    server.include_router(make_signin_router(settings, pool, sessions, trail))
    server.include_router(make_access_router(settings, feed, pool, sessions))
    server.include_router(make_health_router(feed, pool, counters))
    server.include_router(make_alert_router(feed, pool, services))
    server.include_router(
        make_care_router(pool, services.rules, vault, kept_here=not settings.is_edge)
    )
    server.include_router(make_history_router(feed, pool))
    server.include_router(make_table_router(pool, settings.database_address))
    server.include_router(make_fhir_router(feed, pool, vault, kept_here=not settings.is_edge))
    server.include_router(make_annotation_router(feed, pool))
    server.include_router(make_consult_router(feed, pool))
    server.include_router(make_ward_router(feed, pool, vault))
    server.include_router(make_rules_router(pool, rule_services))
    server.include_router(make_system_router(feed, pool, services))
    server.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)
    server.include_router(make_page_router(feed, sites, assets, demo=settings.demo))
    server.mount("/assets", assets)
    if settings.oidc.issuer is not None:
        key = secret_files.key(settings.data, SESSION_KEY).hex()
        server.add_middleware(
            SessionMiddleware, secret_key=key, max_age=OIDC_WAIT_S, path="/oidc", same_site="lax"
        )
    gate = Gate(server, sessions, trail, settings.dashboard)
    return gate


async def _know_beds(feed: Feed, pool: AsyncConnectionPool) -> None:
    """Learn the beds that the database has seen, once it is there."""
    while True:
        try:
            async with pool.connection() as connection:
                feed.know(row["name"] for row in await fetch(connection, "select_beds"))
                for row in await fetch(connection, "select_observations"):
                    at = from_datetime(row["received_at"])
                    feed.take_observation(row["scope"], at, bytes(row["body"]))
        except AWAY:
            await asyncio.sleep(5)
        else:
            return


def make_page_router(feed: Feed, sites: Sites, assets: Assets, *, demo: bool = False) -> APIRouter:
    """Return the pages: the wall, a bed, and each screen."""
    router = APIRouter(tags=["pages"], default_response_class=HTMLResponse)

    async def show(request: Request, person: Who) -> HTMLResponse:
        """Return a page in the person's language, or with ``X-Part`` what stands inside it."""
        seen = [bed for bed in feed.views if person.sees(bed)]
        cookies = request.cookies
        return HTMLResponse(
            page(
                assets,
                person,
                language_of(request),
                request.url.path,
                places(sites, seen),
                numbers=bool(cookies.get("vigil_numbers")),
                part="x-part" in request.headers,
                demo=demo,
            ),
            headers={"Cache-Control": "no-store", "Vary": "X-Part"},
        )

    paths = ["/", "/bed/{bed:path}", *(href for href, _ in NAVIGATION[1:])]
    for path in [
        *paths,
        "/consults/{consult}",
        "/ward/{unit:path}",
        "/handover/{unit:path}",
        "/access/{scope:path}",
    ]:
        router.get(path, include_in_schema=False)(show)
    return router


class PatientProtocol(HttpToolsProtocol):
    """HTTP whose headers come within some seconds: nobody holds a line by a trickle."""

    def connection_made(self, transport: Any) -> None:
        """Start the clock of a new connection."""
        super().connection_made(transport)
        self._hurry: asyncio.TimerHandle | None = self.loop.call_later(HEADERS_S, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Start the clock of a further request."""
        if self._hurry is None and (self.cycle is None or self.cycle.response_complete):
            self._hurry = self.loop.call_later(HEADERS_S, self._too_slow)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop the clock: the request is there."""
        self._calm()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock of a connection that is over."""
        self._calm()
        super().connection_lost(exc)

    def _calm(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def serve(
    settings: Settings, sites: Sites, services: Services, rule_services: RuleServices
) -> None:
    """Run the console until it is told to stop."""
    config = uvicorn.Config(
        make_app(settings, sites, services, rule_services),
        host=settings.dashboard.host,
        port=settings.dashboard.port,
        log_level="warning",
        ws_max_size=65_536,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        http=PatientProtocol,
        server_header=False,
        proxy_headers=bool(settings.dashboard.proxies),
        forwarded_allow_ips=settings.dashboard.proxies,
    )
    log.info("dashboard_started", host=settings.dashboard.host, port=settings.dashboard.port)
    uvicorn.Server(config).run()
