"""FHIR R4 over HTTP: what the hub knows, searched and read; some of it written."""

from collections.abc import Awaitable
from urllib.parse import urlencode
from uuid import uuid4

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from care import store
from care.roles import May, masked
from care.store import Patient
from dashboard import fhir
from dashboard.api_base import at_home, database, person_of, require, see, send, time_ns
from dashboard.feed import Feed
from dashboard.fhir import Resource
from dashboard.fhir_in import observed_in, patient_of, read_resource, reference_to
from dashboard.fhir_pages import (
    Beds,
    chosen_of,
    encounters,
    observation_page,
    read_beds,
    read_observation,
    spans_of,
)
from dashboard.fhir_search import SEARCH, Search, SearchError, capability, cursor, read_search
from dashboard.gate import Person
from hub.clock import now_ns
from hub.reads import fetch
from hub.vault import Vault
from schemas.codec import encode_json
from schemas.times import MS, S, from_datetime
from schemas.topics import Kind, format_topic
from schemas.wire import ObservationMessage

MEDIA = "application/fhir+json"
ISSUES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    422: "processing",
    503: "transient",
}


def _answer(body: Resource, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type=MEDIA)


async def _within(work: Awaitable[Response]) -> Response:
    """Return what a route gives; what goes wrong is an OperationOutcome."""
    try:
        return await work
    except SearchError as error:
        return _answer(fhir.outcome("invalid", str(error)), 400)
    except HTTPException as error:
        issue = ISSUES.get(error.status_code, "exception")
        return _answer(fhir.outcome(issue, str(error.detail)), error.status_code)


def make_fhir_router(  # noqa: C901, PLR0915 - one closure over what the routes share
    feed: Feed, pool: AsyncConnectionPool, vault: Vault, *, kept_here: bool = True
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/fhir", tags=["fhir"], default_response_class=Response)

    def base(request: Request) -> str:
        return str(request.base_url).rstrip("/") + "/fhir"

    def page(
        request: Request,
        search: Search,
        found: list[Resource],
        following: str | None,
        total: int | None,
    ) -> Response:
        """Return a page with its links."""
        address = f"{base(request)}/{search.kind}"
        plain = [(n, v) for n, vs in search.given.items() if n != "_page" for v in vs]
        links = {"self": f"{address}?{urlencode(request.query_params.multi_items())}".rstrip("?")}
        if following is not None:
            links["next"] = f"{address}?{urlencode([*plain, ('_page', following)])}"
        return _answer(fhir.bundle(base(request), links, found, total))

    def cut(search: Search, found: list[Resource]) -> tuple[list[Resource], str | None]:
        """Return a page of a list that is all there."""
        first = search.cursor[0] if search.cursor is not None else 0
        if not isinstance(first, int):
            raise SearchError("_page: take it from the link `next`, as it is")
        last = first + search.count
        return found[first:last], cursor(last) if len(found) > last else None

    async def patients(
        connection: AsyncConnection, beds: Beds, person: Person, ids: list[str]
    ) -> list[Resource]:
        whole = person.may(May.NAMES)
        lying = {p.stay for p in beds.places if p.end_ns is None}
        out = []
        for row in await fetch(connection, "select_stays", ids=ids):
            name = store.name_of(row, vault)
            out.append(
                fhir.patient(
                    row,
                    name if whole else masked(name),
                    masked=not whole,
                    lying=row["stay"] in lying,
                )
            )
        return out

    async def listed(
        connection: AsyncConnection, beds: Beds, person: Person, search: Search
    ) -> list[Resource]:
        """Return all resources of a kind that a search of it finds; of what is few."""
        chosen = chosen_of(search)
        if search.kind == "Patient":
            ids = sorted({p.stay for p in beds.places if chosen is None or p.stay in chosen})
            return await patients(connection, beds, person, ids)
        if search.kind == "Encounter":
            return encounters(beds, search, chosen)
        if search.kind == "Location":
            name = (search.one("name") or "").lower()
            return [
                fhir.location(bed, number)
                for bed, number in sorted(beds.ids.items())
                if (chosen is None or chosen & {bed, f"b{number}"}) and name in bed.lower()
            ]
        rows = await fetch(connection, "select_devices")
        return [
            fhir.device(row["device"], (row["bed"], row["bed_id"]))
            for row in rows
            if row["bed"] in beds.ids
            and (chosen is None or chosen & {row["device"], fhir.device_id(row["device"])})
        ]

    async def flags(connection: AsyncConnection, beds: Beds, search: Search) -> list[Resource]:
        found = []
        for span in spans_of(beds, search):
            rows = await fetch(
                connection,
                "select_alerts",
                bed=span.whose.bed,
                scope=None,
                since=span.start,
                until=span.end,
                open=False,
                limit=5_000,
            )
            found += [fhir.flag(row, span.whose) for row in rows]
        return sorted(found, key=lambda f: f["period"]["start"], reverse=search.newest)

    async def one(
        connection: AsyncConnection, beds: Beds, person: Person, kind: str, name: str
    ) -> Resource:
        """Return one resource; 404 when there is none that the person may see."""
        found: list[Resource] = []
        if kind == "Observation":
            found = await read_observation(connection, beds, name)
        elif kind == "Flag":
            rows = await fetch(connection, "select_alert", alert=name)
            if rows and rows[0]["bed"] in beds.ids:
                newest = next((r for r in rows if r["kind"] in ("resolved", "finding")), rows[-1])
                onset = from_datetime(newest["onset_at"])
                found = [fhir.flag(newest, beds.whose(newest["bed"], onset))]
        else:
            search = Search(kind, {"_id": [name]})
            found = await listed(connection, beds, person, search)
        if not found:
            raise HTTPException(404, f"{kind}: there is none of this id, or it is not yours to see")
        return found[0]

    @router.get("/metadata")
    async def metadata(request: Request) -> Response:
        """Return the CapabilityStatement."""
        return _answer(capability(base(request)))

    def make_routes(kind: str) -> None:
        """Make search and read of a kind of resource."""

        async def find(request: Request) -> Response:
            """Search."""

            async def work() -> Response:
                person = person_of(request)
                search = read_search(kind, request.query_params.multi_items())
                async with database(pool) as connection:
                    beds = await read_beds(connection, person)
                    if kind == "Observation":
                        found, following = await observation_page(connection, beds, search)
                        return page(request, search, found, following, None)
                    if kind == "Flag":
                        every = await flags(connection, beds, search)
                    else:
                        every = await listed(connection, beds, person, search)
                    found, following = cut(search, every)
                    return page(request, search, found, following, len(every))

            return await _within(work())

        async def read(request: Request, name: str) -> Response:
            """Read one."""

            async def work() -> Response:
                person = person_of(request)
                async with database(pool) as connection:
                    beds = await read_beds(connection, person)
                    return _answer(await one(connection, beds, person, kind, name))

            return await _within(work())

        router.get(f"/{kind}", name=f"fhir-search-{kind}")(find)
        router.get(f"/{kind}/{{name}}", name=f"fhir-read-{kind}")(read)

    for kind in SEARCH:
        make_routes(kind)

    def writable() -> None:
        if not kept_here:
            raise HTTPException(409, "stays are kept at the hub: change them there")

    def created(request: Request, kind: str, name: str, body: Resource) -> Response:
        return _answer(body, 201, {"Location": f"{base(request)}/{kind}/{name}"})

    @router.post("/Patient", status_code=201)
    async def add_patient(request: Request) -> Response:
        """Open a stay without a bed: an Encounter puts it into one."""

        async def work() -> Response:
            person = person_of(request)
            require(person, May.PLACE)
            writable()
            body = await read_resource(request, "Patient")
            at = now_ns()
            async with database(pool) as connection:
                stay = await store.register(
                    connection, patient_of(body, at), by=person.username, at_ns=at, vault=vault
                )
            return created(request, "Patient", stay, {**body, "id": stay})

        return await _within(work())

    @router.put("/Patient/{name}")
    async def change_patient(request: Request, name: str) -> Response:
        """Set what is known of a patient: name and age."""

        async def work() -> Response:
            person = person_of(request)
            require(person, May.PLACE)
            writable()
            body = await read_resource(request, "Patient")
            async with database(pool) as connection:
                await _own(connection, person, name)
                rows = await fetch(connection, "select_stay", id=name)
                if not rows:
                    raise HTTPException(404, f"Patient/{name[:64]}: there is none")
                known = rows[0]
                told = patient_of(body, now_ns())
                changed = Patient(
                    told.age if told.age is not None else known["age"],
                    known["pregnant"],
                    known["scale"],
                    known["ordered_by"],
                    tuple(known["limits"]),
                    told.name,
                )
                await store.change_patient(
                    connection, name, changed, by=person.username, vault=vault
                )
            return _answer({**body, "id": name})

        return await _within(work())

    @router.post("/Encounter", status_code=201)
    async def add_encounter(request: Request) -> Response:
        """Put a patient into a bed: subject Patient/…, location Location/…, period.start."""

        async def work() -> Response:
            person = person_of(request)
            require(person, May.PLACE)
            writable()
            body = await read_resource(request, "Encounter")
            stay = reference_to(body.get("subject"), "Patient", "subject")
            now = now_ns()
            start = time_ns((body.get("period") or {}).get("start"), now)
            async with database(pool) as connection:
                await _own(connection, person, stay)
                beds = await read_beds(connection, person)
                bed = _bed(beds, body, person)
                await store.place(
                    connection, stay, bed, by=person.username, at_ns=start, now_ns=now
                )
                after = await read_beds(connection, person)
                made = fhir.encounter(stay, after.rows(after.of_stay(stay)))
            return created(request, "Encounter", stay, made)

        return await _within(work())

    @router.put("/Encounter/{name}")
    async def change_encounter(request: Request, name: str) -> Response:
        """Move a patient (another location) or let them leave (status finished, period.end)."""

        async def work() -> Response:
            person = person_of(request)
            require(person, May.PLACE)
            writable()
            body = await read_resource(request, "Encounter")
            now = now_ns()
            async with database(pool) as connection:
                await _own(connection, person, name)
                beds = await read_beds(connection, person)
                here = next((p for p in beds.of_stay(name) if p.end_ns is None), None)
                if here is None:
                    raise HTTPException(409, f"Encounter/{name[:64]}: lies in no bed of yours now")
                if body.get("status") == "finished":
                    end = time_ns((body.get("period") or {}).get("end"), now)
                    await store.discharge(
                        connection, name, by=person.username, at_ns=end, now_ns=now
                    )
                else:
                    bed = _bed(beds, body, person)
                    if bed != here.bed:
                        await store.move(
                            connection, name, bed, by=person.username, at_ns=now, now_ns=now
                        )
                after = await read_beds(connection, person)
                return _answer(fhir.encounter(name, after.rows(after.of_stay(name))))

        return await _within(work())

    @router.post("/Observation", status_code=201)
    async def observe(request: Request) -> Response:
        """Enter what somebody observed: it counts in the scores at once, and expires."""

        async def work() -> Response:
            person = person_of(request)
            require(person, May.OBSERVE)
            body = await read_resource(request, "Observation")
            stay = reference_to(body.get("subject"), "Patient", "subject")
            kind, value = observed_in(body)
            at = time_ns(body.get("effectiveDateTime"), now_ns())
            if at > now_ns() + 60 * S:
                raise HTTPException(422, "effectiveDateTime: is in the future")
            async with database(pool) as connection:
                beds = await read_beds(connection, person)
            place = next((p for p in beds.of_stay(stay) if p.holds(at)), None)
            if place is None:
                raise HTTPException(
                    422, f"subject: Patient/{stay[:64]} lay in no bed of yours then"
                )
            message = ObservationMessage(1, uuid4().hex, person.username, at // MS, {kind: value})
            topic = format_topic(place.bed, Kind.OBSERVATIONS)
            await send(feed, topic, encode_json(message), message.id)
            return created(request, "Observation", message.id, {**body, "id": message.id})

        return await _within(work())

    return router


async def _own(connection: AsyncConnection, person: Person, stay: str) -> None:
    """Raise 403 unless the patient lies or lay last where the person may see, and is at home."""
    mine = [p for p in await store.read_places(connection) if p.stay == stay]
    if mine:
        at_home(person, see(person, mine[-1].bed))


def _bed(beds: Beds, body: Resource, person: Person) -> str:
    """Return the bed of an encounter: the location that is active, else the last."""
    given = [one for one in body.get("location") or [] if isinstance(one, dict)]
    active = [one for one in given if one.get("status") == "active"] or given
    if not active:
        raise HTTPException(422, "location: name the bed, as Location/b12")
    where = active[-1].get("location") or {}
    name = reference_to(where, "Location", "location")
    number = name.removeprefix("b")
    bed = beds.names.get(int(number)) if number.isdecimal() else None
    if bed is None:
        raise HTTPException(422, f"location: Location/{name[:64]}: there is none that is yours")
    at_home(person, bed)
    return str(bed)
