"""Routes of the hub itself: health of every part, delays, devices, refusals, who looks on."""

from typing import Any

from fastapi import APIRouter
from msgspec import to_builtins
from psycopg_pool import AsyncConnectionPool

from dashboard.api_alerts import Services
from dashboard.api_base import Who, database
from dashboard.feed import Feed
from hub.reads import fetch
from schemas.alerts import hospital_place
from schemas.times import MS

LISTED = 500


def make_system_router(feed: Feed, pool: AsyncConnectionPool, services: Services) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/system", tags=["system"])

    @router.get("")
    async def system(person: Who) -> dict[str, Any]:
        """Return broker, database, disk, services with their counters; delays by hospital."""
        found = await services.system()
        found["delays"] = {
            hospital: delays
            for hospital, delays in feed.delays.percentiles().items()
            if person.sees(hospital_place(hospital))
        }
        found["health"] = to_builtins(feed.health())
        found["feed"] = feed.status()
        found["lines"] = {
            hospital: {
                "up": not feed.cut_off(hospital),
                "said": said.at_ns // MS,
                "backlog": said.backlog,
                "oldest": said.oldest_ns // MS,
                "clock_ms": (received_ns - said.at_ns) / MS if received_ns else None,
            }
            for hospital, (said, received_ns) in feed.lines.items()
            if person.sees(hospital_place(hospital))
        }
        database_said = found["database"]
        for listed, bed in (("beds", "name"), ("device_clocks", "bed")):
            database_said[listed] = [
                r for r in database_said.get(listed, []) if person.sees(r[bed])
            ]
        return found

    @router.get("/screens")
    async def screens(person: Who) -> list[dict[str, Any]]:
        """List who has a console open, whether it answers, and how fast it paints."""
        return [s for s in feed.screens() if s["bed"] is None or person.sees(s["bed"])]

    @router.get("/rejected")
    async def rejected(person: Who, device: str | None = None) -> list[dict[str, Any]]:
        """List what was refused: device, reason, how often, the newest example."""
        async with database(pool) as connection:
            rows = await fetch(connection, "select_rejected", device=device, limit=LISTED)
        return [row for row in rows if person.sees(row["topic"].removeprefix("vigil/v1/"))]

    return router
