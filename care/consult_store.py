"""Consults in SQL: acts are appended, a consult is read by folding them (``care.consults``)."""

from secrets import token_hex

from msgspec import convert, to_builtins
from psycopg import AsyncConnection
from psycopg.types.json import Json

from care import consults
from care.consults import Act, Advised, Consult, State
from care.store import patient_of
from hub.database import query
from hub.reads import fetch
from schemas.errors import CareError
from schemas.times import S, to_datetime

LOCK = 7_470_129
IMAGE_BYTES = 600_000
MEDIA = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


async def open_consult(connection: AsyncConnection, act: Act) -> Consult:
    """Open a consult about who lies in the bed now."""
    there = await patient_of(connection, act.bed, act.at_ns)
    stay = there["stay"] if there else ""
    act = convert({**to_builtins(act), "stay": stay}, Act)
    async with connection.transaction():
        consult = consults.opened(f"c{token_hex(8)}", act)
        await _append(connection, consult, act)
    return consult


async def do(connection: AsyncConnection, consult: str, act: Act) -> Consult:
    """Do one act in a consult; return the consult after it. Raises CareError."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        after = consults.apply(await read(connection, consult), act)
        await _append(connection, after, act)
    return after


async def read(connection: AsyncConnection, consult: str) -> Consult:
    """Return a consult as it stands; raise CareError when there is none."""
    found = await read_all(connection, [consult])
    if not found:
        raise CareError(f"consult {consult[:40]}: there is none")
    return found[0]


async def read_all(connection: AsyncConnection, names: list[str]) -> list[Consult]:
    """Return some consults in the order asked for."""
    folded: dict[str, Consult] = {}
    for row in await fetch(connection, "select_consult_acts", consults=names):
        name, act = row["consult"], convert(row["body"], Act)
        before = folded.get(name)
        folded[name] = consults.opened(name, act) if before is None else consults.apply(before, act)
    return [folded[name] for name in names if name in folded]


async def find(
    connection: AsyncConnection, bed: str | None, since_ns: int, *, only_open: bool, limit: int
) -> list[Consult]:
    """Return consults, newest change first."""
    rows = await fetch(
        connection,
        "select_consults",
        bed=bed,
        since=to_datetime(since_ns),
        open=only_open,
        limit=limit,
    )
    return await read_all(connection, [row["id"] for row in rows])


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


async def add_image(connection: AsyncConnection, consult: str, body: bytes, by: str) -> str:
    """Keep a picture; return its id. Raises CareError for what is none, or too large."""
    if len(body) > IMAGE_BYTES:
        raise CareError(f"image: {len(body)} bytes; at most {IMAGE_BYTES}")
    media = next((media for magic, media in MEDIA.items() if body.startswith(magic)), None)
    if media is None:
        raise CareError("image: neither PNG, JPEG nor WebP")
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
    left = consults.loops([after])
    await connection.execute(
        query("upsert_consult"),
        {
            "id": after.id,
            "bed": after.bed,
            "stay": after.stay,
            "state": after.state.value,
            "opened": to_datetime(after.opened_ns),
            "changed": to_datetime(act.at_ns),
            "waiting": after.state is State.WAITING,
            "proposed": left.proposed,
            "agreed": left.agreed,
            "due": to_datetime(left.due_ns) if left.due_ns else None,
            "unmeasured": any(a.state is Advised.DONE and not a.response for a in after.advice),
        },
    )


def attach_after_ns(done_ns: int) -> tuple[int, int]:
    """Return the time of which a response is made: the 10 min before, the hour after."""
    return done_ns + consults.POINTS_S[0] * S, done_ns + consults.RESPONSE_NS
