"""Routes of alerts: what people do to them, why they are, what they cost. Parse, call, return."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse
from msgspec import to_builtins
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from alerts.annunciation import SIGNALS
from alerts.rules import Kind, Rule
from alerts.rulesets import RuleSet
from care.roles import May
from dashboard.api_base import Bed, Who, database, known, require, see, send, time_ns, within
from dashboard.feed import Feed
from dashboard.gate import Person
from hub.clock import now_ns
from hub.reads import fetch
from schemas.alerts import Priority
from schemas.codec import encode_json
from schemas.observations import OBSERVATIONS, code
from schemas.times import MS, S, to_datetime
from schemas.topics import Kind as TopicKind
from schemas.topics import format_topic
from schemas.wire import CommandKind, CommandMessage, ObservationMessage

MINUTE_NS = 60 * S


@dataclass(frozen=True, slots=True)
class Services:
    """What the composition root lends the console: answers that lie above its layer."""

    why: Callable[[AsyncConnection, str, int, str | None], Awaitable[dict[str, Any]]]
    burden: Callable[
        [AsyncConnection, int, int, str | None, list[str] | None], Awaitable[dict[str, Any]]
    ]
    rules: Callable[[AsyncConnection, int], Awaitable[RuleSet]]
    system: Callable[[], Awaitable[dict[str, Any]]]


class Command(BaseModel):
    """What a person does to a bed's alerts. ``minutes``: how long a shelf or pause lasts."""

    model_config = ConfigDict(extra="forbid")

    kind: CommandKind
    alert: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")
    rule: str = Field("", max_length=80, pattern=r"^[A-Za-z0-9_./:-]*$")
    reason: str = Field("", max_length=300, pattern=r"^[^\x00-\x1f]*$")
    minutes: float = Field(0, ge=0, le=1440)


class Observations(BaseModel):
    """What a person observed: by name, see ``GET /api/observations``. ``at``: RFC 3339, or now."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, float | str | bool] = Field(min_length=1, max_length=16)
    at: str | None = None


def limits(rules: Iterable[Rule]) -> dict[str, tuple[float | None, float | None]]:
    """Return for each vital the limits, low and high, beyond which a medium alert is raised."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for rule in rules:
        if rule.kind is not Kind.LIMIT or rule.priority is not Priority.MEDIUM:
            continue
        [term] = rule.terms
        low, high = found.get(term.of, (None, None))
        found[term.of] = (low, term.trigger) if term.above else (term.trigger, high)
    return found


def make_alert_router(  # noqa: C901, PLR0915 - one closure over what the routes share
    feed: Feed, pool: AsyncConnectionPool, services: Services
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api", tags=["alerts"])

    @router.post("/beds/{hospital}/{unit}/{bed}/alerts/{alert}/acknowledge", status_code=202)
    async def acknowledge(name: Bed, alert: str, person: Who) -> JSONResponse:
        """Acknowledge an open alert. The answer comes to every screen through the feed."""
        return await _command(name, Command(kind="acknowledge", alert=alert), person)

    @router.post("/beds/{hospital}/{unit}/{bed}/alerts/{alert}/decline", status_code=202)
    async def decline(name: Bed, alert: str, person: Who) -> JSONResponse:
        """Hand an alert over at once: "I can't take it"."""
        return await _command(name, Command(kind="decline", alert=alert), person)

    @router.post("/beds/{hospital}/{unit}/{bed}/commands", status_code=202)
    async def command(name: Bed, body: Command, person: Who) -> JSONResponse:
        """Do what a person does to a bed's alerts: shelve, pause, and the rest."""
        return await _command(name, body, person)

    async def _command(name: str, body: Command, person: Person) -> JSONResponse:
        require(person, May.ALERTS)
        if body.kind in ("acknowledge", "decline"):
            event = feed.find_alert(name, body.alert or "")
            if event is None:
                raise HTTPException(404, "no such open alert on this bed: it is over, or elsewhere")
            if event.acknowledged_by:
                raise HTTPException(409, f"already acknowledged by {event.acknowledged_by}")
        if body.kind in ("shelve", "unshelve") and not body.rule:
            raise HTTPException(422, f"{body.kind}: name the rule")
        timed = body.kind in ("shelve", "audio_pause", "alarm_pause")
        if timed and not (body.reason.strip() and body.minutes):
            raise HTTPException(422, f"{body.kind}: give a reason, and an end in minutes")
        now = now_ns()
        message = CommandMessage(
            1,
            uuid4().hex,
            body.kind,
            person.username,
            now,
            body.alert,
            body.rule,
            body.reason,
            now + int(body.minutes * MINUTE_NS) if timed else 0,
        )
        topic = format_topic(name, TopicKind.COMMANDS)
        done = await send(feed, topic, encode_json(message), message.id)
        return JSONResponse({"command": message.id, "done": done}, 202)

    @router.post("/beds/{hospital}/{unit}/{bed}/observations", status_code=202)
    async def observe(name: Bed, body: Observations, person: Who) -> JSONResponse:
        """Enter what somebody observed: it counts in the scores at once, and expires."""
        require(person, May.OBSERVE)
        now = now_ns()
        at = time_ns(body.at, now)
        if at > now + MINUTE_NS:
            raise HTTPException(422, "at: is in the future; enter when it was observed")
        for kind, value in body.values.items():
            try:
                code(kind, value)
            except ValueError as error:
                raise HTTPException(422, str(error)) from None
        message = ObservationMessage(1, uuid4().hex, person.username, at // MS, body.values)
        topic = format_topic(name, TopicKind.OBSERVATIONS)
        done = await send(feed, topic, encode_json(message), message.id)
        return JSONResponse({"observation": message.id, "done": done}, 202)

    @router.get("/observations")
    async def observations() -> list[dict[str, Any]]:
        """List what can be observed: range, unit, how long it holds."""
        return [asdict(kind) for kind in OBSERVATIONS.values()]

    @router.get("/annunciation")
    async def annunciation() -> dict[str, Any]:
        """Say how each priority looks and sounds (IEC 60601-1-8)."""
        return {priority.value: asdict(signal) for priority, signal in SIGNALS.items()}

    @router.get("/alerts")
    async def alerts(
        person: Who,
        bed: str | None = None,
        since: str | None = None,
        until: str | None = None,
        open: bool = False,  # noqa: A002, FBT001, FBT002 - the query's own word
        limit: int = 200,
    ) -> list[dict[str, Any]]:
        """List alerts, newest onset first: of a bed or all, since a time (default: a day)."""
        first = to_datetime(time_ns(since, now_ns() - 24 * 3600 * S))
        async with database(pool) as connection:
            return await fetch(
                connection,
                "select_alerts",
                bed=bed,
                since=first,
                until=to_datetime(time_ns(until, 0)) if until else None,
                open=open,
                scope=within(person),
                limit=min(max(limit, 1), 2000),
            )

    @router.get("/alerts/{alert}")
    async def ledger(alert: str, person: Who) -> list[dict[str, Any]]:
        """Return the life of one alert: every line of the ledger about it."""
        async with database(pool) as connection:
            rows = await fetch(connection, "select_alert", alert=alert)
        if not rows or not person.sees(rows[0]["bed"]):
            raise HTTPException(404, "no such alert")
        return rows

    @router.get("/beds/{hospital}/{unit}/{bed}/why")
    async def why(name: Bed, at: str | None = None, rule: str | None = None) -> Any:
        """Say of every rule on a bed why it did or did not alert at a moment (default: now)."""
        async with database(pool) as connection:
            found = await services.why(connection, name, time_ns(at, now_ns()), rule)
        if rule is not None and not found["rules"]:
            raise HTTPException(404, f"rule {rule[:80]}: none of this name on {name}")
        return found

    @router.get("/burden")
    async def burden(
        person: Who, since: str | None = None, until: str | None = None, bed: str | None = None
    ) -> Any:
        """Alerts a bed-day, time in alarm, time to acknowledge: by hospital, shift, rule, bed."""
        last = time_ns(until, now_ns())
        first = time_ns(since, last - int(timedelta(days=7).total_seconds()) * S)
        if first >= last:
            raise HTTPException(422, "since is not before until")
        async with database(pool) as connection:
            return await services.burden(connection, first, last, bed, within(person))

    @router.get("/rules")
    async def rules(person: Who, bed: str | None = None) -> Any:
        """Return the rules in force: the baseline's, or as they apply to a bed, and from where."""
        if bed is not None:
            see(person, bed)
        async with database(pool) as connection:
            found = await services.rules(connection, now_ns())
        view = feed.views.get(bed or "")
        overlays = found.of_bed(bed) if bed is not None else ()
        exceptions = view.care.exceptions if view is not None else ()
        pack = found.effective(overlays, [e for e in exceptions if e.until_ns > now_ns()])
        return {
            "pack": pack.name,
            "version": found.version,
            "overlays": [overlay.name for overlay in overlays],
            "rules": [asdict(rule) for rule in pack.rules.values()],
            "limits": limits(pack.rules.values()),
        }

    @router.get("/deliveries")
    async def deliveries(
        person: Who,
        since: str | None = None,
        failed: bool = False,  # noqa: FBT001, FBT002 - a query's flag
        limit: int = 200,
    ) -> list[dict[str, Any]]:
        """List notifications and what became of them."""
        first = to_datetime(time_ns(since, now_ns() - 24 * 3600 * S))
        async with database(pool) as connection:
            asked = {"since": first, "failed": failed, "limit": min(max(limit, 1), 2000)}
            return await fetch(connection, "select_deliveries", scope=within(person), **asked)

    @router.get("/beds/{hospital}/{unit}/{bed}")
    async def one_bed(name: Bed) -> Any:
        """Return what is known of a bed now: state, observations, open alerts."""
        view = known(feed, name)
        return {
            "bed": name,
            "care": to_builtins(view.care),
            "observed": {kind: to_builtins(value) for kind, value in view.observed.items()},
            "news2": {"total": view.news2[0], "risk": view.news2[1]},
            "score": None if view.score is None else asdict(view.score),
            "alerts": [to_builtins(event) for event in view.alerts.values()],
        }

    return router
