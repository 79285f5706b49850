"""Routes of annotations and consults. Parse, call, return; what changes is told to every screen."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from care import annotation_store, consult_store, consults
from care.annotations import LABELS, Annotation
from care.consults import Act, Advised, Consult, Range, Side, State
from care.roles import May
from dashboard.api_base import Bed, Who, database, known, require, time_ns, within
from dashboard.feed import Feed
from dashboard.gate import Person
from hub.clock import now_ns
from hub.database import AWAY
from hub.reads import fetch, trend
from schemas.errors import CareError, HubError
from schemas.times import MS, S, from_datetime, to_datetime

log = structlog.get_logger()

DAY_NS = 86_400 * S
LOOPS_PERIOD_S = 5.0
RESPONSES_TURNS = 6
"""Responses are looked for every so many rounds."""
SHOWN = 200
LATEST_MS = 7_258_118_400_000
"""The year 2200."""


ImageName = Annotated[str, Field(pattern=r"^i[0-9a-f]{16}$")]
Ms = Annotated[int, Field(ge=0, le=LATEST_MS)]


class AnnotationBody(BaseModel):
    """What a person says of a time. ``start``/``end``: ms since the epoch; a point: the same."""

    model_config = ConfigDict(extra="forbid")

    start: Ms
    end: Ms
    label: str = Field(max_length=40)
    note: str = Field("", max_length=500)
    signal: str = Field("", max_length=40, pattern=r"^[a-z0-9_.-]*$")


class RangeBody(BaseModel):
    """A time that a message points at, ms since the epoch."""

    model_config = ConfigDict(extra="forbid")

    start: Ms
    end: Ms
    signal: str = Field("", max_length=40)


class SaidBody(BaseModel):
    """A message: text, times, pictures (ids that an upload gave), an alert."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=consults.TEXT)
    ranges: list[RangeBody] = Field(default_factory=list, max_length=8)
    images: list[ImageName] = Field(default_factory=list, max_length=8)
    alert: str = Field("", max_length=64, pattern=r"^[A-Za-z0-9._:-]*$")


class AdviceBody(BaseModel):
    """What is to be done, why, and by when (minutes from now)."""

    model_config = ConfigDict(extra="forbid")

    what: str = Field(max_length=consults.TEXT)
    why: str = Field(max_length=consults.TEXT)
    within_min: float = Field(gt=0, le=7 * 1440)


class AnswerBody(BaseModel):
    """What becomes of an advice: agreed, done, declined (with a reason), withdrawn."""

    model_config = ConfigDict(extra="forbid")

    answer: Advised
    reason: str = Field("", max_length=consults.TEXT)


def side_of(person: Person) -> Side:
    """Return for which side a person speaks."""
    return Side.EXPERT if person.may(May.ADVISE) else Side.BEDSIDE


def encode_annotation(one: Annotation) -> dict[str, Any]:
    """Return what goes to the browser for an annotation, times in ms."""
    return {
        "id": one.id,
        "bed": one.bed,
        "start": one.start_ns // MS,
        "end": one.end_ns // MS,
        "label": one.label,
        "note": one.note,
        "signal": one.signal,
        "by": one.by,
        "at": one.at_ns // MS,
        "version": one.version,
        "withdrawn": one.withdrawn,
    }


def encode_consult(consult: Consult) -> dict[str, Any]:
    """Return what goes to the browser for a consult, with its turnaround times."""
    return {**to_builtins(consult), "turnaround": consults.turnaround(consult)}


def make_annotation_router(feed: Feed, pool: AsyncConnectionPool) -> APIRouter:  # noqa: C901 - one closure over what the routes share
    """Return the routes of annotations."""
    router = APIRouter(prefix="/api", tags=["annotations"])

    def tell(one: Annotation) -> dict[str, Any]:
        shown = encode_annotation(one)
        feed.tell({"what": "annotation", "bed": one.bed, "id": one.id, "annotation": shown})
        return shown

    def version(name: str, body: AnnotationBody, person: Person, bed: str) -> Annotation:
        return Annotation(
            name,
            bed,
            body.start * MS,
            body.end * MS,
            body.label,
            person.username,
            now_ns(),
            body.signal,
            body.note.strip(),
        )

    async def theirs(connection: AsyncConnection, name: str, person: Person) -> Annotation:
        newest = (await annotation_store.history(connection, name))[-1]
        if not person.sees(newest.bed):
            raise CareError(f"annotation {name[:40]}: there is none")
        return newest

    @router.get("/annotations/labels")
    async def labels() -> dict[str, tuple[str, str]]:
        """List the labels, zh and en."""
        return LABELS

    @router.get("/beds/{hospital}/{unit}/{bed}/annotations")
    async def read(name: Bed, since: str | None = None, until: str | None = None) -> list[Any]:
        """Return what was annotated on a bed, by default in the last day."""
        last = time_ns(until, now_ns() + S)
        first = time_ns(since, last - DAY_NS)
        async with database(pool) as connection:
            found = await annotation_store.read(connection, name, first, last)
        return [encode_annotation(one) for one in found]

    @router.post("/beds/{hospital}/{unit}/{bed}/annotations", status_code=201)
    async def write(name: Bed, body: AnnotationBody, person: Who) -> dict[str, Any]:
        """Annotate a time on a bed."""
        require(person, May.ANNOTATE)
        async with database(pool) as connection:
            return tell(await annotation_store.write(connection, version("", body, person, name)))

    @router.put("/annotations/{annotation}")
    async def edit(annotation: str, body: AnnotationBody, person: Who) -> dict[str, Any]:
        """Write the next version of one's own annotation; the one before stays in its history."""
        require(person, May.ANNOTATE)
        async with database(pool) as connection:
            bed = (await theirs(connection, annotation, person)).bed
            new = version(annotation, body, person, bed)
            return tell(await annotation_store.edit(connection, new))

    @router.delete("/annotations/{annotation}")
    async def withdraw(annotation: str, person: Who) -> dict[str, Any]:
        """Withdraw one's own annotation; it stays in the history."""
        require(person, May.ANNOTATE)
        async with database(pool) as connection:
            await theirs(connection, annotation, person)
            return tell(
                await annotation_store.withdraw(connection, annotation, person.username, now_ns())
            )

    @router.get("/annotations/{annotation}")
    async def history(annotation: str, person: Who) -> list[dict[str, Any]]:
        """Return every version of an annotation, oldest first."""
        async with database(pool) as connection:
            await theirs(connection, annotation, person)
            found = await annotation_store.history(connection, annotation)
        return [encode_annotation(one) for one in found]

    return router


def make_consult_router(feed: Feed, pool: AsyncConnectionPool) -> APIRouter:  # noqa: C901, PLR0915 - one closure over what the routes share
    """Return the routes of consults."""
    router = APIRouter(prefix="/api", tags=["consults"])

    async def tell(connection: AsyncConnection, consult: Consult) -> dict[str, Any]:
        await show_loops(feed, connection)
        feed.tell(
            {
                "what": "consult",
                "bed": consult.bed,
                "id": consult.id,
                "state": consult.state,
                "by": consult.by,
            }
        )
        return encode_consult(consult)

    async def theirs(connection: AsyncConnection, name: str, person: Person) -> Consult:
        found = await consult_store.read(connection, name)
        if not person.sees(found.bed):
            raise CareError(f"consult {name[:40]}: there is none")
        return found

    async def act(name: str, person: Person, may: May, **fields: Any) -> dict[str, Any]:
        require(person, may)
        fields = {"by": person.username, "side": side_of(person), "at_ns": now_ns(), **fields}
        try:
            made = convert(fields, Act)
        except ValidationError as error:
            raise HTTPException(422, str(error)) from None
        async with database(pool) as connection:
            there = await theirs(connection, name, person)
            after = await consult_store.do(connection, name, made)
            return await tell(connection, replace(after, bed=there.bed))

    def said(body: SaidBody) -> dict[str, Any]:
        return {
            "text": body.text,
            "ranges": [Range(r.start * MS, r.end * MS, r.signal) for r in body.ranges],
            "images": body.images,
            "alert": body.alert,
        }

    @router.get("/consults")
    async def listed(
        person: Who,
        bed: str | None = None,
        open: bool = False,  # noqa: A002, FBT001, FBT002 - the query's own word
        days: float = 7,
    ) -> list[dict[str, Any]]:
        """List consults, newest change first: of a bed or all, those still open or all."""
        since = now_ns() - int(min(max(days, 0), 366) * DAY_NS)
        async with database(pool) as connection:
            found = await consult_store.find(
                connection,
                bed=bed,
                scope=within(person),
                since_ns=since,
                only_open=open,
                limit=SHOWN,
            )
        return [encode_consult(c) for c in found]

    @router.post("/beds/{hospital}/{unit}/{bed}/consults", status_code=201)
    async def open_consult(name: Bed, body: SaidBody, person: Who) -> dict[str, Any]:
        """Ask for a consult, or offer one: about a bed, often from an alert."""
        require(person, May.CONSULT)
        known(feed, name)
        made = Act(
            "opened",
            person.username,
            side_of(person),
            now_ns(),
            bed=name,
            text=body.text,
            ranges=tuple(said(body)["ranges"]),
            images=tuple(body.images),
            alert=body.alert,
        )
        async with database(pool) as connection:
            return await tell(connection, await consult_store.open_consult(connection, made))

    @router.get("/consults/{consult}")
    async def one(consult: str, person: Who) -> dict[str, Any]:
        """Return a consult: thread, advice with what became of it, turnaround times."""
        async with database(pool) as connection:
            return encode_consult(await theirs(connection, consult, person))

    @router.post("/consults/{consult}/accept")
    async def accept(consult: str, person: Who) -> dict[str, Any]:
        """Accept a consult: the other side than the one that opened it."""
        return await act(consult, person, May.CONSULT, kind="accepted")

    @router.post("/consults/{consult}/withdraw")
    async def withdraw(consult: str, person: Who) -> dict[str, Any]:
        """Withdraw a consult that nobody has accepted."""
        return await act(consult, person, May.CONSULT, kind="withdrawn")

    @router.post("/consults/{consult}/close")
    async def close(consult: str, person: Who) -> dict[str, Any]:
        """Close a consult in which no advice is open."""
        return await act(consult, person, May.CONSULT, kind="closed")

    @router.post("/consults/{consult}/messages")
    async def say(consult: str, body: SaidBody, person: Who) -> dict[str, Any]:
        """Say something, with times and pictures."""
        return await act(consult, person, May.CONSULT, kind="said", **said(body))

    @router.post("/consults/{consult}/advice")
    async def advise(consult: str, body: AdviceBody, person: Who) -> dict[str, Any]:
        """Recommend something: what, why, by when."""
        return await act(
            consult,
            person,
            May.ADVISE,
            kind="advised",
            advice=f"r{uuid4().hex[:12]}",
            what=body.what,
            why=body.why,
            due_ns=now_ns() + int(body.within_min * 60 * S),
        )

    @router.post("/consults/{consult}/advice/{advice}")
    async def answer(consult: str, advice: str, body: AnswerBody, person: Who) -> dict[str, Any]:
        """Agree, decline with a reason, or mark done (the bedside); withdraw (the expert)."""
        may = May.ADVISE if body.answer is Advised.WITHDRAWN else May.ANSWER
        return await act(
            consult,
            person,
            may,
            kind="answered",
            advice=advice,
            answer=body.answer,
            reason=body.reason,
        )

    @router.post("/consults/{consult}/images", status_code=201)
    async def add_image(consult: str, request: Request, person: Who) -> dict[str, str]:
        """Upload a picture (PNG, JPEG, WebP; at most 600 kB) for a message."""
        require(person, May.CONSULT)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > consult_store.IMAGE_BYTES:
                raise HTTPException(413, f"image: at most {consult_store.IMAGE_BYTES} bytes")
        async with database(pool) as connection:
            there = await theirs(connection, consult, person)
            if there.state not in (State.WAITING, State.ACTIVE):
                raise CareError(f"consult {consult[:40]}: is {there.state}; open another")
            name = await consult_store.add_image(connection, consult, body, person.username)
        return {"image": name}

    @router.get("/consults/{consult}/images/{image}")
    async def image(consult: str, image: str, person: Who) -> Response:
        """Return a picture of a consult."""
        async with database(pool) as connection:
            await theirs(connection, consult, person)
            rows = await fetch(connection, "select_consult_image", id=image, consult=consult)
        if not rows:
            raise HTTPException(404, "no such picture")
        return Response(bytes(rows[0]["body"]), media_type=rows[0]["media"])

    return router


async def show_loops(feed: Feed, connection: AsyncConnection) -> None:
    """Bring every tile up to what is open of the consults of whoever lies there."""
    by_bed: dict[str, list[Consult]] = {}
    for consult in await consult_store.find(connection, only_open=True):
        by_bed.setdefault(consult.bed, []).append(consult)
    feed.set_loops({bed: consults.loops(some) for bed, some in by_bed.items()})


async def follow_consults(feed: Feed, pool: AsyncConnectionPool) -> None:
    """Keep tiles up to the open loops, also when patients move; attach responses when due."""
    turns = 0
    while True:
        try:
            async with pool.connection() as connection:
                await show_loops(feed, connection)
                if turns % RESPONSES_TURNS == 0:
                    await attach_responses(feed, connection, now_ns())
        except AWAY:
            pass  # the next round tries again
        except HubError as error:
            log.warning("loops_not_shown", reason=str(error))
        turns += 1
        await asyncio.sleep(LOOPS_PERIOD_S)


async def attach_responses(feed: Feed, connection: AsyncConnection, at_ns: int) -> None:
    """Attach the vitals of the hour after each advice that was done, once the hour is over."""
    for consult, advice, done_ns in await consult_store.unmeasured(connection, at_ns):
        bed, *between = await consult_store.response_place(connection, consult, done_ns)
        start, end = map(to_datetime, between)
        rows = await trend(connection, bed, start, end)
        readings = [
            (from_datetime(row["at"]), {v: row.get(v) for v in consults.MEASURED}) for row in rows
        ]
        response = consults.response(readings, done_ns) or {"none": []}
        measured = Act("measured", "vigil", Side.EXPERT, at_ns, advice=advice, response=response)
        try:
            await consult_store.do(connection, consult.id, measured)
        except HubError as error:  # one consult that cannot be measured stops no other
            log.warning("response_not_attached", consult=consult.id, reason=str(error))
            continue
        log.info("response_attached", consult=consult.id, advice=advice)
        feed.tell({"what": "consult", "bed": consult.bed, "id": consult.id})
