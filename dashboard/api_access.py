"""Routes about access: sessions, break-glass, the audit. Parse, call, return; no decisions here."""

import asyncio
import time
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from care.roles import May
from dashboard.api_base import Who, at_home, database, require, time_ns, within
from dashboard.feed import Feed
from dashboard.gate import Person, Sessions, token_of
from hub import accounts, audit
from hub.clock import now_ns
from hub.reads import Row, fetch
from hub.settings import Settings
from schemas.alerts import hospital_place
from schemas.times import MS, S, from_datetime, to_datetime

SHOWN = timedelta(days=7)
DAY_NS = 86_400 * S
VERDICT_S = 600.0


class BreakGlassBody(BaseModel):
    """A hospital or unit beyond one's scope, why, and for how long."""

    model_config = ConfigDict(extra="forbid")

    scope: str = Field(max_length=97)
    reason: str = Field(min_length=4, max_length=300)
    minutes: int = Field(60, ge=1, le=accounts.BREAK_GLASS_MINUTES)


def make_access_router(  # noqa: C901, PLR0915 - one closure over what the routes share
    settings: Settings, feed: Feed, pool: AsyncConnectionPool, sessions: Sessions
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/access", tags=["access"])
    checking = asyncio.Lock()
    verdicts: list[tuple[float, audit.Verdict]] = []

    def tell(scope: str) -> None:
        feed.tell({"what": "break_glass", "bed": hospital_place(scope.split("/", maxsplit=1)[0])})

    @router.get("/sessions")
    async def list_sessions(person: Who) -> list[dict[str, Any]]:
        """List one's own open sessions; for who administers, everybody's."""
        whose = None if person.may(May.ADMINISTER) else person.username
        async with database(pool) as connection:
            rows = await accounts.list_sessions(connection, whose)
        return [_times(row, "opened_at", "expires_at") for row in rows]

    @router.delete("/sessions/{session}", status_code=204)
    async def revoke(session: str, person: Who) -> None:
        """End one of one's own sessions; for who administers, anybody's."""
        whose = None if person.may(May.ADMINISTER) else person.username
        async with database(pool) as connection:
            ended = await accounts.revoke_sessions(connection, session=session, username=whose)
        if not ended:
            raise HTTPException(404, f"session {session[:20]!r}: none of yours is open")
        for username in ended:
            sessions.forget_person(username)

    @router.delete("/sessions", status_code=204)
    async def revoke_others(request: Request, person: Who) -> None:
        """End all of one's own sessions but this one."""
        token = token_of(request.headers) or ""
        async with database(pool) as connection:
            await accounts.revoke_others(connection, person.username, token)
        sessions.forget_person(person.username)

    @router.get("/break-glass")
    async def list_open(person: Who) -> list[dict[str, Any]]:
        """List who saw beyond their scope within the last week, of what one sees oneself."""
        async with database(pool) as connection:
            since = to_datetime(now_ns()) - SHOWN
            rows = await accounts.list_break_glass(connection, since)
        return [_times(row, "from_at", "until_at") for row in rows if _concerns(person, row)]

    @router.post("/break-glass", status_code=201)
    async def open_break_glass(body: BreakGlassBody, person: Who) -> dict[str, str]:
        """See a hospital or unit beyond one's scope, with a reason, for a time, and visibly so."""
        require(person, May.BREAK_GLASS)
        async with database(pool) as connection:
            found = await accounts.break_glass(
                connection, person.username, body.scope, body.reason, body.minutes
            )
        sessions.forget_person(person.username)
        tell(body.scope)
        return {"id": found}

    @router.delete("/break-glass/{found}", status_code=204)
    async def end_break_glass(found: str, person: Who) -> None:
        """End it before its time: one's own, or for who leads there anybody's."""
        async with database(pool) as connection:
            since = to_datetime(now_ns())
            rows = await accounts.list_break_glass(connection, since)
            row = next((r for r in rows if r["id"] == found and _concerns(person, r)), None)
            if row is None:
                raise HTTPException(404, f"break-glass {found[:20]!r}: there is none open")
            if row["username"] != person.username:
                require(person, May.LEAD)
                at_home(person, row["scope"])
            await accounts.end_break_glass(connection, found, person.username)
        sessions.forget_person(row["username"])
        tell(row["scope"])

    @router.get("/audit")
    async def read_audit(
        person: Who,
        start: str | None = None,
        end: str | None = None,
        who: Annotated[str | None, Query(max_length=200)] = None,
        target: Annotated[str | None, Query(alias="object", max_length=300)] = None,
        limit: Annotated[int, Query(ge=1, le=2000)] = 200,
    ) -> list[dict[str, Any]]:
        """Return who did, saw, changed what, newest first, of the beds within one's scope."""
        require(person, May.AUDIT)
        now = now_ns()
        beds = within(person)
        async with database(pool) as connection:
            rows = await fetch(
                connection,
                "select_audit",
                start=to_datetime(time_ns(start, now - DAY_NS)),
                end=to_datetime(time_ns(end, now + S)),
                who=who,
                object=None if target is None else _like(target),
                beds=beds,
                limit=limit,
            )
        return [_times(row, "at") for row in rows]

    @router.get("/audit/verdict")
    async def verify_audit(person: Who) -> dict[str, Any]:
        """Check the chain, at most every ten minutes; `vigil audit verify` checks it now."""
        require(person, May.AUDIT)
        async with checking:  # one at a time, and not again for a while: it reads every line
            if not verdicts or time.monotonic() - verdicts[-1][0] > VERDICT_S:
                async with database(pool) as connection:
                    found = await audit.verify(connection, settings.data)
                verdicts[:] = [(time.monotonic(), found)]
        verdict = verdicts[-1][1]
        return {
            "ok": verdict.ok,
            "lines": verdict.lines,
            "first": verdict.first,
            "last": verdict.last,
            "problems": verdict.problems,
        }

    return router


def _like(text: str) -> str:
    """Return a pattern for what begins so: a hospital, a unit, a bed."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def _concerns(person: Person, row: Row) -> bool:
    """Return whether somebody's break-glass is this person's to know of."""
    mine = row["username"] == person.username
    return mine or person.sees(hospital_place(row["scope"].split("/")[0]))


def _times(row: Row, *names: str) -> dict[str, Any]:
    """Return a row with its times as ms."""
    return row | {name: from_datetime(row[name]) // MS for name in names}
