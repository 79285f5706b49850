"""What routes share: who asks, which bed, the database, the message bus; errors as answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import psycopg
from fastapi import Depends, HTTPException, Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from care.roles import ALLOWED, May
from dashboard.feed import Feed
from dashboard.gate import Person
from dashboard.views import BedView
from hub.database import AWAY
from schemas.alerts import hospital_place
from schemas.errors import BrokerError, HubError, StoreError, TopicError
from schemas.times import parse_time
from schemas.topics import check_bed


def person_of(request: Request) -> Person:
    """Return who is signed in; the gate has let nobody else through."""
    person: Person = request.state.person
    return person


def bed_of(request: Request, hospital: str, unit: str, bed: str) -> str:
    """Return the bed of a path; 422 naming the level that is wrong, 403 when it is not theirs."""
    return see(person_of(request), f"{hospital}/{unit}/{bed}")


def unit_of(request: Request, hospital: str, unit: str) -> str:
    """Return the unit of a path, as ``hospital/unit``; 422 and 403 as :func:`bed_of`."""
    return see(person_of(request), f"{hospital}/{unit}/x").removesuffix("/x")


def see(person: Person, bed: str) -> str:
    """Return a bed that a person may see; 422 when it is no bed, 403 when it is not theirs."""
    try:
        check_bed(bed)
    except TopicError as error:
        raise HTTPException(422, str(error)) from None
    if not person.sees(bed):
        raise HTTPException(403, f"bed {bed}: not within your hospitals and units")
    return bed


def known(feed: Feed, bed: str) -> BedView:
    """Return a bed as the screens see it; 404 when it was never heard of nor registered."""
    view = feed.views.get(bed)
    if view is None:
        raise HTTPException(404, f"bed {bed} was never heard of")
    return view


def within(person: Person) -> list[str] | None:
    """Return a person's scope as the queries take it: patterns of bed names; None: all."""
    if not person.scope:
        return None
    hospitals = {one.split("/")[0] for one in person.scope}
    return [*(f"{one}/%" for one in person.scope), *map(hospital_place, sorted(hospitals))]


ANSWER_S = 2.0
"""How long a person's command waits for intake's answer; without one it is on its way."""

Who = Annotated[Person, Depends(person_of)]
Bed = Annotated[str, Depends(bed_of)]
Unit = Annotated[str, Depends(unit_of)]


def time_ns(text: str | None, otherwise_ns: int) -> int:
    """Return an RFC 3339 time of a query as ns; 422 saying how to write it."""
    if not text:
        return otherwise_ns
    try:
        return parse_time(text.replace(" ", "+"))  # a plus that was not escaped
    except ValueError as error:
        raise HTTPException(422, f"time {text[:40]!r}: {error}; write RFC 3339") from None


@asynccontextmanager
async def database(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """Yield a connection; what is wrong with the request is 404 or 422, a database away 503."""
    try:
        async with pool.connection() as connection:
            yield connection
    except AWAY:
        raise HTTPException(503, "the database is away; live alerting goes on") from None
    except (psycopg.DataError, OverflowError) as error:
        raise HTTPException(422, f"a value cannot be stored: {error}") from None
    except StoreError as error:
        raise HTTPException(404, str(error)) from None
    except HubError as error:
        raise HTTPException(422, str(error)) from None


async def send(feed: Feed, topic: str, payload: bytes, command: str) -> bool:
    """Publish for a person, and wait for intake's answer; return whether it came in time.

    503 when the message bus is away and nothing was done, 409 with the reason when intake refuses.
    """
    if feed.connection is None:
        raise HTTPException(503, "the message bus is away; nothing was done")
    hospital = topic.split("/")[2]
    if feed.cut_off(hospital):
        raise HTTPException(
            503, f"the line to {hospital} is cut; nothing was done: telephone the ward"
        )
    feed.expect(command)
    try:
        await feed.connection.publish(topic, payload)
    except BrokerError:
        feed.forget(command)
        raise HTTPException(503, "the message bus was lost; try again") from None
    refused = await feed.answer(command, ANSWER_S)
    if refused:
        raise HTTPException(409, refused)
    if refused is None and hospital in feed.lines:
        raise HTTPException(504, f"{hospital} has not confirmed it: telephone the ward")
    return refused is not None


def at_home(person: Person, place: str) -> None:
    """Raise 403 for what break-glass does not open: who lies where, limits, duty, ladders."""
    if not person.at_home(place):
        raise HTTPException(403, f"{place}: break-glass is for seeing, alerts and consults alone")


def require(person: Person, what: May) -> None:
    """Raise 403 unless a person's role may do this, saying which roles may."""
    if not person.may(what):
        roles = ", ".join(role for role, allowed in ALLOWED.items() if what in allowed)
        raise HTTPException(403, f"{what}: for {roles}; you are {person.role or 'nobody'}")
