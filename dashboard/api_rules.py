"""Routes of rule sets: what is published, checks, trials, publishing, history, roll back."""

import asyncio
import tomllib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
from dashboard.api_base import Who, database, require, see
from dashboard.gate import Person
from hub.clock import now_ns
from hub.reads import fetch
from schemas.errors import HubError, SettingsError
from schemas.times import S, to_datetime
from schemas.wire import RulesConfig

log = structlog.get_logger()

TRIALS_KEPT = 20
HISTORY = 100
FILES, FILE_BYTES, ALL_BYTES = 200, 100_000, 400_000
LOCK = 7_470_131
"""Held while rules are compared and published, so that nobody's are lost."""

Publish = Callable[[AsyncConnection, RulesConfig], Awaitable[str]]
Try = Callable[
    [
        AsyncConnection,
        RuleSet,
        RuleSet,
        Callable[[str], bool],
        timedelta,
        Callable[[int, int], None],
    ],
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

    @property
    def running(self) -> bool:
        """Whether it has neither found anything nor failed."""
        return self.result is None and not self.error


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
        if sum(len(text) for text in overlays.values()) > ALL_BYTES:
            raise SettingsError(f"overlays: together at most {ALL_BYTES} characters")
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
    async def check(body: OverlaysBody, person: Who) -> dict[str, Any]:
        """Check overlays on the baseline in force: the version they would be, or what is wrong."""
        require(person, May.TRY)
        async with database(pool) as connection:
            config = await current(connection)
        try:
            _, found = await asyncio.to_thread(changed, config, body.overlays)
        except HubError as error:
            return {"ok": False, "version": "", "error": str(error)}
        return {"ok": True, "version": found.version, "error": ""}

    @router.post("/trials", status_code=202)
    async def begin(body: TryBody, person: Who) -> dict[str, str]:
        """Begin to replay what is stored under the rules in force and with these overlays."""
        require(person, May.TRY)
        if body.bed is not None:
            see(person, body.bed)
        if any(job.running for job in trials.values()):
            raise HTTPException(409, "a trial is running; wait for it, it uses much of the machine")
        name, job = uuid4().hex[:12], TrialJob(person.username)
        trials[name] = job  # before anything is waited for: one at a time
        try:
            async with database(pool) as connection:
                config = await current(connection)
                before = from_config(config)
                _, after = await asyncio.to_thread(changed, config, body.overlays)
        except BaseException:  # whatever the reason, also that nobody waits for the answer any more
            del trials[name]
            raise

        def wanted(bed: str) -> bool:
            return person.sees(bed) and body.bed in (None, bed)

        job.task = asyncio.create_task(
            _run(pool, services, job, (before, after), wanted, timedelta(days=body.days))
        )
        while len(trials) > TRIALS_KEPT:
            trials.popitem(last=False)
        return {"trial": name}

    @router.get("/trials/{trial}")
    async def trial(trial: str, person: Who) -> dict[str, Any]:
        """Return how far one's own trial is, and what it found."""
        job = trials.get(trial)
        if job is None or job.by != person.username:
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
        async with database(pool) as connection, publishing(connection):
            config = await current(connection)
            if from_config(config).version != body.on:
                raise HTTPException(409, "somebody published meanwhile; look at theirs first")
            after, _ = await asyncio.to_thread(changed, config, body.overlays)
            own(person, config, after)
            signed = replace(after, at_ns=now_ns(), by=person.username, reason=body.reason)
            return {"version": await services.publish(connection, signed)}

    @router.post("/history/{number}/roll-back", status_code=201)
    async def roll_back(number: int, body: RollBackBody, person: Who) -> dict[str, str]:
        """Publish what was published before, again (0: the installation's files)."""
        require(person, May.RULES)
        async with database(pool) as connection, publishing(connection):
            rows = await fetch(connection, "select_rule_set_body", number=number)
            if number and not rows:
                raise HTTPException(404, f"rule set {number}: none of this number")
            config = convert(rows[0]["body"], RulesConfig) if number else services.files()
            own(person, await current(connection), config)
            signed = replace(config, at_ns=now_ns(), by=person.username, reason=body.reason)
            return {"version": await services.publish(connection, signed)}

    return router


@asynccontextmanager
async def publishing(connection: AsyncConnection) -> AsyncIterator[None]:
    """Hold the rules: compared, kept and published by one person at a time, or not at all."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        yield


def own(person: Person, before: RulesConfig, after: RulesConfig) -> None:
    """Raise 403 unless all that differs is for hospitals and units that the person sees."""
    if not person.scope:
        return
    if (before.baseline, before.regions) != (after.baseline, after.regions):
        raise HTTPException(403, "the baseline and regions are for accounts that see everything")
    for name in before.overlays.keys() | after.overlays.keys():
        texts = [config.overlays.get(name) for config in (before, after)]
        if texts[0] == texts[1]:
            continue
        for text in filter(None, texts):
            scope = str(tomllib.loads(text).get("for", ""))
            whole = scope in person.scope or any(scope.startswith(f"{s}/") for s in person.scope)
            if not whole:
                raise HTTPException(403, f"overlay {name}: {scope} is not within your scope")


async def _run(
    pool: AsyncConnectionPool,
    services: RuleServices,
    job: TrialJob,
    sides: tuple[RuleSet, RuleSet],
    wanted: Callable[[str], bool],
    back: timedelta,
) -> None:
    def advance(done: int, of: int) -> None:
        job.done, job.of = done, of

    try:
        async with pool.connection() as connection:
            job.result = await services.run_trial(connection, *sides, wanted, back, advance)
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and nothing else stops
        log.warning("trial_failed", by=job.by, reason=repr(error))
        job.error = str(error) or repr(error)
