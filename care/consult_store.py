"""Consults in SQL: acts are appended, a consult is read by folding them (``care.consults``)."""

from secrets import token_hex

from msgspec import convert, to_builtins
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.types.json import Json

from care import consults
from care.consults import Act, Advised, Consult
from care.store import read_places, stay_at
from hub.database import query
from hub.reads import fetch
from schemas.errors import CareError
from schemas.times import S, to_datetime

LOCK = 7_470_129
IMAGE_BYTES = 600_000
IMAGES_MOST = 40
"""Pictures of one consult."""
OPEN_MOST = 5_000
MEDIA = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


async def open_consult(connection: AsyncConnection, act: Act) -> Consult:
    """Open a consult about who lies in the bed now."""
    act = replace(act, stay=await stay_at(connection, act.bed, act.at_ns))
    async with connection.transaction():
        consult = consults.opened(f"c{token_hex(8)}", act)
        await _append(connection, consult, act)
    return consult


async def do(connection: AsyncConnection, consult: str, act: Act) -> Consult:
    """Do one act in a consult; return the consult after it. Raises CareError."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        before = await read_all(connection, [consult])
        if not before:
            raise CareError(f"consult {consult[:40]}: there is none")
        after = consults.apply(before[0], act)
        await _append(connection, after, act)
    return after


async def read(connection: AsyncConnection, consult: str) -> Consult:
    """Return a consult as it stands, with the bed of its patient now; CareError: there is none."""
    found = await find(connection, consult=consult)
    if not found:
        raise CareError(f"consult {consult[:40]}: there is none")
    return found[0]


async def read_all(connection: AsyncConnection, names: list[str]) -> list[Consult]:
    """Return some consults in the order asked for, as they were opened: with that bed."""
    folded: dict[str, Consult] = {}
    for row in await fetch(connection, "select_consult_acts", consults=names):
        name, act = row["consult"], convert(row["body"], Act)
        before = folded.get(name)
        folded[name] = consults.opened(name, act) if before is None else consults.apply(before, act)
    return [folded[name] for name in names if name in folded]


async def find(
    connection: AsyncConnection,
    *,
    consult: str | None = None,
    bed: str | None = None,
    scope: list[str] | None = None,
    since_ns: int = 0,
    only_open: bool = False,
    limit: int = OPEN_MOST,
) -> list[Consult]:
    """Return consults, newest change first, each with the bed where its patient lies or lay last.

    ``only_open``: those still open, of patients who still lie there.
    """
    rows = await fetch(
        connection,
        "select_consults",
        id=consult,
        bed=bed,
        scope=scope,
        since=to_datetime(since_ns),
        open=only_open,
        limit=limit,
    )
    beds = {row["id"]: row["bed"] for row in rows}
    return [replace(c, bed=beds[c.id]) for c in await read_all(connection, list(beds))]


async def unmeasured(connection: AsyncConnection, now_ns: int) -> list[tuple[Consult, str, int]]:
    """Return consult, advice and when it was done, of each whose response is complete by now."""
    names = [row["id"] for row in await fetch(connection, "select_unmeasured")]
    return [
        (consult, advice.id, advice.done_ns)
        for consult in await read_all(connection, names)
        for advice in consult.advice
        if advice.state is Advised.DONE
        and not advice.response
        and advice.done_ns + consults.RESPONSE_NS <= now_ns
    ]


async def response_place(
    connection: AsyncConnection, consult: Consult, done_ns: int
) -> tuple[str, int, int]:
    """Return of which bed and time a response is made: where the patient lay when it was done.

    From 10 min before to an hour after, cut to the time that the patient lay in that bed.
    """
    first, last = done_ns + consults.POINTS_S[0] * S, done_ns + consults.RESPONSE_NS
    for place in await read_places(connection):
        if place.stay == consult.stay and place.holds(done_ns):
            return place.bed, max(first, place.start_ns), min(last, place.end_ns or last)
    return consult.bed, first, last


async def add_image(connection: AsyncConnection, consult: str, body: bytes, by: str) -> str:
    """Keep a picture; return its id. Raises CareError for what is none, or too large."""
    if len(body) > IMAGE_BYTES:
        raise CareError(f"image: {len(body)} bytes; at most {IMAGE_BYTES}")
    media = next((media for magic, media in MEDIA.items() if body.startswith(magic)), None)
    if media is None:
        raise CareError("image: neither PNG, JPEG nor WebP")
    count = await connection.execute(
        "SELECT count(*) FROM consult_image WHERE consult = %s", (consult,)
    )
    row = await count.fetchone()
    if row is not None and row[0] >= IMAGES_MOST:
        raise CareError(f"image: the consult has {IMAGES_MOST} already")
    name = f"i{token_hex(8)}"
    await connection.execute(
        query("insert_consult_image"),
        {"id": name, "consult": consult, "media": media, "body": body, "by": by},
    )
    return name


async def _append(connection: AsyncConnection, after: Consult, act: Act) -> None:
    await connection.execute(
        query("insert_consult_act"),
        {
            "consult": after.id,
            "at": to_datetime(act.at_ns),
            "by": act.by,
            "kind": act.kind,
            "body": Json(to_builtins(act)),
        },
    )
    await connection.execute(
        query("upsert_consult"),
        {
            "id": after.id,
            "bed": after.bed,
            "stay": after.stay,
            "state": after.state.value,
            "opened": to_datetime(after.opened_ns),
            "changed": to_datetime(act.at_ns),
            "unmeasured": any(a.state is Advised.DONE and not a.response for a in after.advice),
        },
    )
