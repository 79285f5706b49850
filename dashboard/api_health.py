"""Routes for whoever watches the hub: does it live, is it ready, its figures."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from psycopg_pool import AsyncConnectionPool

from dashboard.feed import Feed
from dashboard.metrics import Figures, exposition
from hub.database import AWAY


def make_health_router(
    feed: Feed, pool: AsyncConnectionPool, counters: Callable[[], dict[str, float]]
) -> APIRouter:
    """Return the routes; the first two are open to anybody and say nothing of patients."""
    router = APIRouter(tags=["health"])
    figures = Figures(feed, counters)

    async def database_up() -> bool:
        try:
            async with pool.connection(timeout=1.0) as connection:
                await connection.execute("SELECT 1")
        except AWAY:
            return False
        return True

    @router.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Say that the process serves."""
        return "ok"

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """Say whether everything is there that a screen needs; 503 naming what is not."""
        said = {
            "broker": feed.connection is not None,
            "intake": feed.status() == "ok",
            "database": await database_up(),
        }
        return JSONResponse(said, 200 if all(said.values()) else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Return the figures for Prometheus."""
        figures.database_up = await database_up()
        return Response(exposition(figures), media_type=CONTENT_TYPE_LATEST)

    return router
