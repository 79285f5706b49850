"""Routes of rule sets: what is published, checks, trials, publishing, history, roll back."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import structlog
from fastapi import APIRouter, HTTPException
from msgspec import convert
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from alerts.rulesets import RuleSet, from_config
from care.roles import May
from dashboard.api_base import Who, database, require
from dashboard.gate import Person
from hub.clock import now_ns
from hub.reads import fetch
from schemas.errors import HubError, SettingsError
from schemas.times import S, to_datetime
from schemas.wire import RulesConfig

log = structlog.get_logger()

TRIALS_KEPT = 20
HISTORY = 100
FILES, FILE_BYTES = 200, 200_000

Publish = Callable[[AsyncConnection, RulesConfig], Awaitable[str]]
Try = Callable[
    [AsyncConnection, RuleSet, RuleSet, list[str] | None, timedelta, Callable[[int, int], None]],
    Awaitable[dict[str, Any]],
]


@dataclass(frozen=True, slots=True)
class RuleServices:
    """What the composition root lends: the rules of the files, trials, publishing."""

    files: Callable[[], RulesConfig]
    run_trial: Try
    publish: Publish


@dataclass(slots=True)
class TrialJob:
    """One trial that somebody has begun."""

    by: str
    done: int = 0
    of: int = 0
    result: dict[str, Any] | None = None
    error: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class OverlaysBody(BaseModel):
    """Every overlay that would be in force, by file name, as TOML."""

    model_config = ConfigDict(extra="forbid")

    overlays: dict[str, str] = Field(max_length=FILES)


class TryBody(OverlaysBody):
    """``days`` back from now."""

    days: float = Field(7, gt=0, le=31)
    bed: str | None = None


class PublishBody(OverlaysBody):
    """``reason`` stays in the history. ``on``: the version that was edited."""

    reason: str = Field(min_length=1, max_length=300)
    on: str


class RollBackBody(BaseModel):
    """Publish what was published before, again."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=300)


def make_rules_router(pool: AsyncConnectionPool, services: RuleServices) -> APIRouter:  # noqa: C901, PLR0915 - one closure over what the routes share
    """Return the routes. Whoever may not change rules may read and try them."""
    router = APIRouter(prefix="/api/rule-sets", tags=["rules"])
    trials: OrderedDict[str, TrialJob] = OrderedDict()

    async def current(connection: AsyncConnection) -> RulesConfig:
        rows = await fetch(connection, "select_rule_set", at=to_datetime(now_ns() + S))
        return convert(rows[0]["body"], RulesConfig) if rows else services.files()

    def changed(config: RulesConfig, overlays: dict[str, str]) -> tuple[RulesConfig, RuleSet]:
        for name, text in overlays.items():
            if not name.endswith(".toml") or len(text.encode()) > FILE_BYTES:
                raise SettingsError(f"overlay {name[:80]}: name it *.toml, at most {FILE_BYTES} B")
        after = replace(config, overlays=overlays)
        return after, from_config(after)

    @router.get("/current")
    async def published() -> dict[str, Any]:
        """Return the rule set in force: baseline and overlays as text, by whom, why."""
        async with database(pool) as connection:
            config = await current(connection)
        found = from_config(config)
        return {
            "version": found.version,
            "by": config.by,
            "reason": config.reason,
            "at": config.at_ns,
            "baseline": config.baseline,
            "overlays": config.overlays,
            "regions": config.regions,
            "levels": [
                {"name": overlay.name, "scope": overlay.scope} for overlay in found.overlays
            ],
        }

    @router.get("/history")
    async def history() -> list[dict[str, Any]]:
        """List what was published, newest first."""
        async with database(pool) as connection:
            return await fetch(connection, "select_rule_sets", limit=HISTORY)

    @router.post("/check")
    async def check(body: OverlaysBody) -> dict[str, Any]:
        """Check overlays on the baseline in force: the version they would be, or what is wrong."""
        async with database(pool) as connection:
            config = await current(connection)
        try:
            return {"ok": True, "version": changed(config, body.overlays)[1].version, "error": ""}
        except HubError as error:
            return {"ok": False, "version": "", "error": str(error)}

    @router.post("/trials", status_code=202)
    async def begin(body: TryBody, person: Who) -> dict[str, str]:
        """Begin to replay what is stored under the rules in force and with these overlays."""
        require(person, May.TRY)
        running = sum(job.task is not None and not job.task.done() for job in trials.values())
        if running:
            raise HTTPException(409, "a trial is running; wait for it, it uses much of the machine")
        async with database(pool) as connection:
            config = await current(connection)
            before, (_, after) = from_config(config), changed(config, body.overlays)
        name, job = uuid4().hex[:12], TrialJob(person.username)
        beds = [body.bed] if body.bed else None
        job.task = asyncio.create_task(
            _run(pool, services, job, (before, after), beds, timedelta(days=body.days), person)
        )
        trials[name] = job
        while len(trials) > TRIALS_KEPT:
            trials.popitem(last=False)
        return {"trial": name}

    @router.get("/trials/{trial}")
    async def trial(trial: str) -> dict[str, Any]:
        """Return how far a trial is, and what it found."""
        job = trials.get(trial)
        if job is None:
            raise HTTPException(404, "no such trial: it is forgotten after a restart")
        return {
            "by": job.by,
            "done": job.done,
            "of": job.of,
            "result": job.result,
            "error": job.error,
        }

    @router.post("/publish", status_code=201)
    async def publish(body: PublishBody, person: Who) -> dict[str, str]:
        """Have intake run these overlays on the baseline from now on."""
        require(person, May.RULES)
        async with database(pool) as connection:
            config = await current(connection)
            if from_config(config).version != body.on:
                raise HTTPException(409, "somebody published meanwhile; look at theirs first")
            after, _ = changed(config, body.overlays)
            signed = replace(after, at_ns=now_ns(), by=person.username, reason=body.reason)
            return {"version": await services.publish(connection, signed)}

    @router.post("/history/{number}/roll-back", status_code=201)
    async def roll_back(number: int, body: RollBackBody, person: Who) -> dict[str, str]:
        """Publish what was published before, again; the history keeps both."""
        require(person, May.RULES)
        async with database(pool) as connection:
            rows = await fetch(connection, "select_rule_set_body", number=number)
            if not rows:
                raise HTTPException(404, f"rule set {number}: none of this number")
            config = convert(rows[0]["body"], RulesConfig)
            signed = replace(config, at_ns=now_ns(), by=person.username, reason=body.reason)
            return {"version": await services.publish(connection, signed)}

    return router


async def _run(
    pool: AsyncConnectionPool,
    services: RuleServices,
    job: TrialJob,
    sides: tuple[RuleSet, RuleSet],
    beds: list[str] | None,
    back: timedelta,
    person: Person,
) -> None:
    def advance(done: int, of: int) -> None:
        job.done, job.of = done, of

    try:
        async with pool.connection() as connection:
            found = await services.run_trial(connection, *sides, beds, back, advance)
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and nothing else stops
        log.warning("trial_failed", by=person.username, reason=repr(error))
        job.error = str(error)
        return
    for listed in ("new_alerts", "lost_alerts", "beds_to_look_at"):
        found[listed] = [row for row in found[listed] if person.sees(row["bed"])]
    job.result = found
