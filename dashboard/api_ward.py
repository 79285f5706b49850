"""Routes of a unit: who lies there, sound checks, questions of identity, handover."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict

from care import consult_store, store, ward_store
from care.roles import ROLES, May, masked
from dashboard.api_base import Bed, Unit, Who, database, require, time_ns
from dashboard.api_consults import encode_consult
from dashboard.feed import Feed
from dashboard.gate import Person
from dashboard.multiples import multiples
from dashboard.views import encode_alert, encode_bed
from hub.clock import now_ns
from hub.reads import Row, fetch, trend
from hub.vault import Vault
from schemas.alerts import unit_place
from schemas.care import UnitCare
from schemas.times import MS, S, from_datetime, to_datetime

SHIFT_NS = 12 * 3600 * S
LISTED = 500


class SoundBody(BaseModel):
    """Whether the sounds were heard."""

    model_config = ConfigDict(extra="forbid")

    heard: bool


class IdentityBody(BaseModel):
    """``same``: still the same patient; ``other``: another one, admit or move them."""

    model_config = ConfigDict(extra="forbid")

    answer: str


def make_ward_router(feed: Feed, pool: AsyncConnectionPool, vault: Vault) -> APIRouter:  # noqa: C901, PLR0915 - one closure over what the routes share
    """Return the routes."""
    router = APIRouter(prefix="/api", tags=["ward"])

    def encode_patient(row: Row, person: Person) -> dict[str, Any]:
        whole, name = person.may(May.NAMES), store.name_of(row, vault)
        return {
            "stay": row["stay"],
            "name": name if whole else masked(name),
            "masked": not whole,
            "age": row["age"],
            "pregnant": row["pregnant"],
            "spo2_scale": row["spo2_scale"],
            "spo2_ordered_by": row["spo2_ordered_by"],
            "limits": row["limits"],
            "admitted": from_datetime(row["admitted_at"]) // MS,
            "since": from_datetime(row["since"]) // MS,
        }

    async def lying(
        connection: AsyncConnection, beds: list[str], person: Person
    ) -> dict[str, dict[str, Any]]:
        """Return who lies in each bed, names whole only for those who may see them."""
        found = {}
        for bed in beds:
            row = await store.patient_of(connection, bed, now_ns())
            if row is not None:
                found[bed] = encode_patient(row, person)
        return found

    def beds_of(unit: str) -> list[str]:
        beds = sorted(bed for bed in feed.views if bed.startswith(f"{unit}/"))
        if not beds:
            raise HTTPException(404, f"unit {unit}: no bed of it was ever heard of")
        return beds

    @router.get("/me")
    async def me(person: Who) -> dict[str, Any]:
        """Return who is signed in: role, what it may do, and the units within the scope."""
        units = sorted({bed.rpartition("/")[0] for bed in feed.views if person.sees(bed)})
        return {
            "username": person.username,
            "role": person.role,
            "role_name": ROLES.get(person.role, ("", "")),
            "may": [what for what in May if person.may(what)],
            "units": units,
        }

    @router.get("/beds/{hospital}/{unit}/{bed}/patient")
    async def patient(name: Bed, person: Who) -> dict[str, Any] | None:
        """Return who lies in a bed; the name masked unless the role may see it. null: nobody."""
        async with database(pool) as connection:
            return (await lying(connection, [name], person)).get(name)

    @router.get("/units/{hospital}/{unit}")
    async def unit(name: Unit, person: Who) -> dict[str, Any]:
        """Return a unit: beds and patients, ladder, duty, the last sound check, questions."""
        beds = beds_of(name)
        config = feed.care.get(name.split("/")[0])
        care = config.units.get(name) if config is not None else None
        care = care or UnitCare()
        async with database(pool) as connection:
            patients = await lying(connection, beds, person)
            check = await ward_store.last_sound_check(connection, name)
            asked = await ward_store.questions(connection)
        return {
            "unit": name,
            "beds": [encode_bed(feed.views[bed]) for bed in beds],
            "patients": patients,
            "ladder": [{"role": r.role, "after_s": r.after_s} for r in care.ladder],
            "duty": care.duty,
            "sound_check": check,
            "questions": [_question(row) for row in asked if row["bed"].startswith(f"{name}/")],
        }

    @router.post("/units/{hospital}/{unit}/sound-check", status_code=204)
    async def sound_check(name: Unit, body: SoundBody, person: Who) -> None:
        """Keep that somebody listened to this station's alarm sounds, and whether they heard."""
        require(person, May.ALERTS)
        async with database(pool) as connection:
            await ward_store.check_sound(connection, name, person.username, heard=body.heard)

    @router.get("/questions")
    async def questions(person: Who) -> list[dict[str, Any]]:
        """List what the wrong-bed guard asks and nobody has answered."""
        async with database(pool) as connection:
            asked = await ward_store.questions(connection)
        return [_question(row) for row in asked if person.sees(row["bed"])]

    @router.post("/questions/{question}", status_code=204)
    async def answer(question: str, body: IdentityBody, person: Who) -> None:
        """Answer a question of the wrong-bed guard."""
        require(person, May.PLACE)
        async with database(pool) as connection:
            mine = {
                r["id"] for r in await ward_store.questions(connection) if person.sees(r["bed"])
            }
            if question not in mine:
                raise HTTPException(404, "question: there is none, or it was answered already")
            bed = await ward_store.answer(connection, question, body.answer, person.username)
            await show_questions(feed, connection)
        feed.tell({"what": "question", "bed": bed, "id": question, "answer": body.answer})

    @router.get("/units/{hospital}/{unit}/handover")
    async def handover(name: Unit, person: Who, until: str | None = None) -> dict[str, Any]:
        """Return a unit's last 12 h: patients, changes, alerts, open advice, small multiples."""
        beds = beds_of(name)
        last = time_ns(until, now_ns())
        start, end = to_datetime(last - SHIFT_NS), to_datetime(last)
        async with database(pool) as connection:
            patients = await lying(connection, beds, person)
            alerts = await fetch(
                connection,
                "select_alerts",
                bed=None,
                since=start,
                until=end,
                open=False,
                scope=[f"{name}/%"],
                limit=2000,
            )
            changes = await fetch(connection, "select_changes", start=start, end=end)
            recent = await consult_store.find(
                connection, scope=[f"{name}/%"], since_ns=last - SHIFT_NS, limit=LISTED
            )
            still = await consult_store.find(connection, scope=[f"{name}/%"], only_open=True)
            consults = list({c.id: c for c in [*still, *recent]}.values())
            lines = {
                bed: multiples(
                    await trend(connection, bed, start, end), start, timedelta(minutes=10)
                )
                for bed in beds
            }
        return {
            "unit": name,
            "since": start,
            "until": end,
            "patients": patients,
            "beds": [encode_bed(feed.views[bed]) for bed in beds],
            "open": [
                encode_alert(event)
                for bed in [*beds, unit_place(*name.split("/"))]
                if (view := feed.views.get(bed) or feed.places.get(bed)) is not None
                for event in view.alerts.values()
            ],
            "alerts": alerts,
            "changes": [c for c in changes if _about(c["detail"], name, patients)],
            "consults": [encode_consult(c) for c in consults],
            "lines": lines,
        }

    return router


def _question(row: Row) -> dict[str, Any]:
    return {**row, "asked_at": from_datetime(row["asked_at"]) // MS}


def _about(detail: dict[str, Any], unit: str, patients: dict[str, dict[str, Any]]) -> bool:
    """Return whether a change concerns a unit: its beds, or a patient who lies there now."""
    here = {patient["stay"] for patient in patients.values()}
    named = [detail.get("bed"), detail.get("unit")]
    stays = [detail.get("stay"), *(detail.get("stays") or [])]
    mine = any(n == unit or str(n or "").startswith(f"{unit}/") for n in named)
    return mine or bool(here.intersection(stays))


async def show_questions(feed: Feed, connection: AsyncConnection) -> None:
    """Mark the beds that the wrong-bed guard asks about."""
    found: dict[str, list[str]] = {}
    for row in await ward_store.questions(connection):
        found.setdefault(row["bed"], []).append(row["kind"])
    feed.set_questions(found)
