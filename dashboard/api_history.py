"""Routes of one bed's past: trends, what happened, waveforms of any minute. Read-only."""

import base64
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException
from psycopg_pool import AsyncConnectionPool

from alerts.scores import SCORES
from care import annotation_store, consult_store
from dashboard.api_base import Bed, database, known, time_ns
from dashboard.api_consults import encode_annotation
from dashboard.feed import Feed
from dashboard.views import encode_bed, read_observation
from hub.clock import now_ns
from hub.reads import fetch, trend, trend_of
from hub.waves import read_waves
from schemas.times import MS, S, from_datetime, to_datetime

HOUR_NS = 3600 * S
LONGEST_NS = 32 * 24 * HOUR_NS
WAVES_MOST_NS = 120 * S
LISTED = 500


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return rows of a trend as columns: ``t`` in ms, then each vital of which anything came.

    >>> from datetime import UTC, datetime
    >>> columns([{"at": datetime.fromtimestamp(1, UTC), "hr": 70.26, "rr": None}])
    {'t': [1000], 'hr': [70.3]}
    """
    found: dict[str, list[Any]] = {"t": [from_datetime(row["at"]) // MS for row in rows]}
    for name in rows[0] if rows else ():
        if name == "at":
            continue
        values = [None if row[name] is None else round(row[name], 1) for row in rows]
        if any(value is not None for value in values):
            found[name] = values
    return found


def make_history_router(feed: Feed, pool: AsyncConnectionPool) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api", tags=["history"])

    def between(since: str | None, until: str | None, otherwise_ns: int) -> tuple[int, int]:
        last = time_ns(until, now_ns())
        first = time_ns(since, last - otherwise_ns)
        if not 0 < last - first <= LONGEST_NS:
            raise HTTPException(422, "since: must lie before until, by at most 32 days")
        return first, last

    @router.get("/beds/{hospital}/{unit}/{bed}/trend")
    async def trends(name: Bed, since: str | None = None, until: str | None = None) -> Any:
        """Return a bed's vitals as columns: raw to 90 min, by minute to 48 h, by hour beyond.

        ``*_min`` and ``*_max`` come with means. ``step_s``: the width of a row; 0: raw.
        """
        first, last = between(since, until, HOUR_NS)
        async with database(pool) as connection:
            rows = await trend(connection, name, to_datetime(first), to_datetime(last))
        _, step_s = trend_of(timedelta(seconds=(last - first) / S))
        return {"since": first // MS, "until": last // MS, "step_s": step_s, **columns(rows)}

    @router.get("/beds/{hospital}/{unit}/{bed}/events")
    async def events(name: Bed, since: str | None = None, until: str | None = None) -> Any:
        """Return what happened at a bed: alerts, annotations, observations, advice."""
        first, last = between(since, until, 24 * HOUR_NS)
        start, end = to_datetime(first), to_datetime(last)
        async with database(pool) as connection:
            alerts = await fetch(
                connection,
                "select_alerts",
                bed=name,
                since=start,
                until=end,
                open=False,
                scope=None,
                limit=LISTED,
            )
            noted = await annotation_store.read(connection, name, first, last)
            observed = await fetch(
                connection, "select_bed_observations", bed=name, start=start, end=end
            )
            consults = await consult_store.find(connection, bed=name, since_ns=first, limit=50)
        return {
            "alerts": alerts,
            "annotations": [encode_annotation(one) for one in noted],
            "observations": [_observation(row) for row in observed],
            "advice": [
                {
                    "consult": c.id,
                    "what": a.what,
                    "by": a.by,
                    "at": a.at_ns // MS,
                    "state": a.state,
                    "done": a.done_ns // MS,
                }
                for c in consults
                for a in c.advice
            ],
        }

    @router.get("/beds/{hospital}/{unit}/{bed}/scores")
    async def scores(name: Bed) -> Any:
        """Return a bed's NEWS2 now with its components, what is missing, what was observed."""
        view = known(feed, name)
        found = view.score
        return {
            "name": "NEWS2",
            "source": SCORES["news2"].source,
            "at": view.news2_ms,
            "risk": view.news2[1],
            "score": None if found is None else {**asdict(found), "partial": found.partial},
            "observed": {
                kind: {"value": o.value, "at": o.at_ns // MS, "by": o.by}
                for kind, o in view.observed.items()
            },
            "bed": encode_bed(view),
        }

    @router.get("/beds/{hospital}/{unit}/{bed}/waves")
    async def waves(name: Bed, since: str, until: str) -> Any:
        """Return stored waveforms, at most two minutes: int16 samples in base64, by segment."""
        first, last = time_ns(since, 0), time_ns(until, 0)
        if not 0 < last - first <= WAVES_MOST_NS:
            raise HTTPException(422, "until: after since, by at most 2 minutes")
        async with database(pool) as connection:
            found = await read_waves(connection, name, to_datetime(first), to_datetime(last))
        return [
            {
                "channel": s.channel,
                "unit": s.unit,
                "rate": s.rate_hz,
                "scale": s.scale,
                "zero": s.zero,
                "start": s.start_ns / MS,
                "samples": base64.b64encode(s.samples.astype("<i2").tobytes()).decode(),
            }
            for s in found
        ]

    @router.get("/beds/{hospital}/{unit}/{bed}/waves/minutes")
    async def wave_minutes(
        name: Bed, since: str | None = None, until: str | None = None
    ) -> list[int]:
        """List the minutes (ms since the epoch) in which a bed sent waveforms, to 72 h back."""
        first, last = between(since, until, 72 * HOUR_NS)
        async with database(pool) as connection:
            rows = await fetch(
                connection,
                "select_wave_minutes",
                bed=name,
                start=to_datetime(first),
                end=to_datetime(last),
            )
        return [from_datetime(row["minute"]) // MS for row in rows]

    return router


def _observation(row: dict[str, Any]) -> dict[str, Any]:
    by, at_ns, values = read_observation(bytes(row["body"]), from_datetime(row["received_at"]))
    return {"at": at_ns // MS, "by": by, "values": values}
