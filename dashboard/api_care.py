"""Routes of care: stays, states of beds, exceptions, ladders, duty; and what is published of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request
from msgspec import to_builtins
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from alerts.rulesets import RuleSet, refusal
from care import store
from care.publish import Publisher
from care.roles import ROLES, May
from care.store import Patient
from dashboard.api_base import Bed, Unit, Who, at_home, database, require, see, time_ns
from dashboard.feed import Feed
from dashboard.gate import Person
from hub.clock import now_ns
from hub.database import AWAY
from hub.vault import Vault
from schemas.alerts import hospital_place
from schemas.care import PatientException, Rung
from schemas.codec import encode_json
from schemas.errors import BrokerError
from schemas.topics import config_topic

log = structlog.get_logger()

RulesAt = Callable[[AsyncConnection, int], Awaitable[RuleSet]]
CARE_PERIOD_S = 2.0
PRESENCE_PERIOD_S = 5.0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PatientBody(_Body):
    """What rules need of a patient; scale 2 only with who ordered it."""

    age: float | None = Field(None, ge=0, le=130)
    pregnant: bool = False
    spo2_scale: int = Field(1, ge=1, le=2)
    spo2_ordered_by: str = Field("", max_length=64)
    limits: list[str] = Field(default_factory=list, max_length=20)
    name: str | None = Field(None, max_length=80)

    def patient(self) -> Patient:
        """Return it as care knows it."""
        return Patient(
            self.age,
            self.pregnant,
            self.spo2_scale,
            self.spo2_ordered_by,
            tuple(self.limits),
            self.name,
        )


class ChangeBody(PatientBody):
    """What is known of a patient from now on. ``name``: left out, it stays.

    ``was``: what was read before; 409 when somebody has changed it meanwhile.
    """

    was: PatientBody | None = None


class AdmitBody(PatientBody):
    """A patient for a bed. ``at``: RFC 3339, or now."""

    bed: str
    at: str | None = None


class AtBody(_Body):
    """When it happened; now when it is left out."""

    at: str | None = None


class MoveBody(AtBody):
    """Where the patient goes."""

    bed: str


class SwapBody(AtBody):
    """With whom the patient changes beds."""

    other: str


class CorrectBody(_Body):
    """An interval that was entered wrongly, by its beginning, and what is right."""

    begins: str
    bed: str | None = None
    start: str | None = None
    end: str | None = None


class StateBody(_Body):
    """empty, monitored, or standby with a time of return and a reason."""

    state: str
    until: str | None = None
    reason: str = Field("", max_length=300)


class ExceptionBody(_Body):
    """A limit for one patient; exactly one of above, below and off."""

    rule: str = Field(max_length=80)
    reason: str = Field(max_length=300)
    until: str
    above: float | None = None
    below: float | None = None
    off: bool = False


class LadderBody(_Body):
    """The steps of a unit's ladder; none: no escalation."""

    steps: list[dict[str, Any]] = Field(max_length=10)


class DutyBody(_Body):
    """A person on duty between two times."""

    role: str
    username: str = Field(max_length=64)
    start: str
    end: str


def make_care_router(  # noqa: C901, PLR0915 - one closure over what the routes share
    pool: AsyncConnectionPool, rules: RulesAt, vault: Vault, *, kept_here: bool = True
) -> APIRouter:
    """Return the routes. What they change is published for intake within seconds.

    ``kept_here``: not at an edge, where stays and duty are the hub's.
    """

    def writable(request: Request) -> None:
        if not kept_here and request.method != "GET":
            raise HTTPException(
                409, "stays, duty and ladders are kept at the hub: change them there"
            )

    router = APIRouter(prefix="/api/care", tags=["care"], dependencies=[Depends(writable)])

    async def own(
        connection: AsyncConnection,
        stay: str,
        person: Person,
        what: May,
        begins_ns: int | None = None,
    ) -> None:
        """Raise 403 unless a person may do this, and sees where the patient lies or lay last.

        ``begins_ns``: or where the interval is that begins then.
        """
        require(person, what)
        mine = [p for p in await store.read_places(connection) if p.stay == stay]
        if begins_ns is not None:
            mine = [p for p in mine if p.start_ns == begins_ns]
        if mine and not person.sees(mine[-1].bed):
            raise HTTPException(403, f"stay {stay}: not within your hospitals and units")
        if mine:
            at_home(person, mine[-1].bed)

    @router.get("")
    async def everything(person: Who) -> dict[str, Any]:
        """Return every hospital one may see: beds, stays, exceptions, ladders, duty."""
        async with database(pool) as connection:
            found = await store.configs(connection, now_ns())
        return {
            hospital: to_builtins(
                replace(
                    config,
                    beds={bed: care for bed, care in config.beds.items() if person.sees(bed)},
                    units={u: unit for u, unit in config.units.items() if person.sees(f"{u}/bed")},
                )
            )
            for hospital, config in found.items()
            if person.sees(hospital_place(hospital))
        }

    @router.get("/roles")
    async def roles() -> dict[str, tuple[str, str]]:
        """List the roles of people, zh and en."""
        return ROLES

    @router.get("/stays")
    async def stays(person: Who, bed: str | None = None) -> list[dict[str, Any]]:
        """List who lay where, when."""
        async with database(pool) as connection:
            found = await store.read_places(connection)
        return [
            {"stay": p.stay, "bed": p.bed, "start_ns": p.start_ns, "end_ns": p.end_ns}
            for p in found
            if bed in (None, p.bed) and person.sees(p.bed)
        ]

    @router.post("/stays", status_code=201)
    async def admit(body: AdmitBody, person: Who) -> dict[str, str]:
        """Put a new patient into a bed."""
        require(person, May.PLACE)
        at_home(person, see(person, body.bed))
        now = now_ns()
        async with database(pool) as connection:
            stay = await store.admit(
                connection,
                body.bed,
                body.patient(),
                by=person.username,
                at_ns=time_ns(body.at, now),
                now_ns=now,
                vault=vault,
            )
        return {"stay": stay}

    @router.put("/stays/{stay}/patient", status_code=204)
    async def patient(stay: str, body: ChangeBody, person: Who) -> None:
        """Set name, age, pregnancy, the order for scale 2, treatment limits."""
        async with database(pool) as connection:
            await own(connection, stay, person, May.PLACE)
            was = None if body.was is None else body.was.patient()
            await store.change_patient(
                connection, stay, body.patient(), by=person.username, was=was, vault=vault
            )

    @router.post("/stays/{stay}/discharge", status_code=204)
    async def discharge(stay: str, body: AtBody, person: Who) -> None:
        """Let a patient leave; the bed is empty then."""
        now = now_ns()
        at = time_ns(body.at, now)
        async with database(pool) as connection:
            await own(connection, stay, person, May.PLACE)
            await store.discharge(connection, stay, by=person.username, at_ns=at, now_ns=now)

    @router.post("/stays/{stay}/move", status_code=204)
    async def move(stay: str, body: MoveBody, person: Who) -> None:
        """Move a patient to a free bed."""
        now = now_ns()
        at = time_ns(body.at, now)
        async with database(pool) as connection:
            await own(connection, stay, person, May.PLACE)
            see(person, body.bed)
            await store.move(connection, stay, body.bed, by=person.username, at_ns=at, now_ns=now)

    @router.post("/stays/{stay}/swap", status_code=204)
    async def swap(stay: str, body: SwapBody, person: Who) -> None:
        """Let two patients change beds."""
        now = now_ns()
        at = time_ns(body.at, now)
        async with database(pool) as connection:
            await own(connection, stay, person, May.PLACE)
            await own(connection, body.other, person, May.PLACE)
            await store.swap(connection, stay, body.other, by=person.username, at_ns=at, now_ns=now)

    @router.post("/stays/{stay}/correct", status_code=204)
    async def correct(stay: str, body: CorrectBody, person: Who) -> None:
        """Correct where a patient lay, afterwards."""
        begins = time_ns(body.begins, 0)
        async with database(pool) as connection:
            await own(connection, stay, person, May.PLACE, begins)
            if body.bed is not None:
                see(person, body.bed)
            await store.correct(
                connection,
                stay,
                begins,
                bed=body.bed,
                new_start_ns=None if body.start is None else time_ns(body.start, 0),
                new_end_ns=None if body.end is None else time_ns(body.end, 0),
                by=person.username,
                now_ns=now_ns(),
            )

    @router.post("/stays/{stay}/exceptions", status_code=204)
    async def add_exception(stay: str, body: ExceptionBody, person: Who) -> None:
        """Change a limit for one patient: with author, reason and end."""
        changed = PatientException(
            body.rule,
            person.username,
            body.reason,
            time_ns(body.until, 0),
            body.above,
            body.below,
            body.off,
        )
        async with database(pool) as connection:
            await own(connection, stay, person, May.EXCEPT)
            found = await rules(connection, now_ns())
            refused = refusal(found.baseline.rules, changed)
            if refused:
                raise HTTPException(422, refused)
            await store.add_exception(connection, stay, changed, now_ns=now_ns())

    @router.delete("/stays/{stay}/exceptions/{rule:path}", status_code=204)
    async def end_exception(stay: str, rule: str, person: Who) -> None:
        """End an exception before its time."""
        async with database(pool) as connection:
            await own(connection, stay, person, May.EXCEPT)
            await store.end_exception(connection, stay, rule, by=person.username, now_ns=now_ns())

    @router.put("/beds/{hospital}/{unit}/{bed}/state", status_code=204)
    async def state(name: Bed, body: StateBody, person: Who) -> None:
        """Say that a bed is empty, monitored, or on standby until a time."""
        require(person, May.PLACE)
        at_home(person, name)
        until = None if body.until is None else time_ns(body.until, 0)
        async with database(pool) as connection:
            await store.set_state(
                connection,
                name,
                body.state,
                by=person.username,
                until_ns=until,
                reason=body.reason,
                now_ns=now_ns(),
            )

    @router.put("/units/{hospital}/{unit}/ladder", status_code=204)
    async def ladder(name: Unit, body: LadderBody, person: Who) -> None:
        """Set a unit's ladder."""
        require(person, May.LEAD)
        at_home(person, name)
        steps = tuple(Rung(str(s.get("role", "")), dict(s.get("after_s", {}))) for s in body.steps)
        async with database(pool) as connection:
            await store.set_ladder(connection, name, steps, by=person.username)

    @router.post("/units/{hospital}/{unit}/duty", status_code=201)
    async def duty(name: Unit, body: DutyBody, person: Who) -> None:
        """Put a person on duty."""
        require(person, May.LEAD)
        at_home(person, name)
        between = (time_ns(body.start, 0), time_ns(body.end, 0))
        async with database(pool) as connection:
            await store.add_duty(
                connection,
                name,
                body.role,
                body.username,
                between,
                by=person.username,
            )

    return router


async def publish_care(feed: Feed, pool: AsyncConnectionPool) -> None:
    """Publish what care knows whenever it changes, by a person or by time, while both are there."""
    publisher = Publisher()
    while True:
        await asyncio.sleep(CARE_PERIOD_S)
        if feed.connection is None:
            publisher = Publisher()  # say everything again to a broker that was away
            continue
        try:
            async with pool.connection() as connection:
                changed = await publisher.publish(connection, feed.connection, now_ns())
            if changed:
                log.info("care_published", hospitals=len(changed))
        except (*AWAY, BrokerError):
            continue  # the next round tries again


async def publish_presence(feed: Feed) -> None:
    """Say every few seconds which roles have a console open."""
    while True:
        if feed.connection is not None:
            for hospital, presence in feed.presence().items():
                feed.connection.publish_soon(
                    config_topic(hospital, "presence"), encode_json(presence)
                )
        await asyncio.sleep(PRESENCE_PERIOD_S)
