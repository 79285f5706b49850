"""Annotations in SQL. Every version is decided by ``care.annotations`` first; none is changed."""

from dataclasses import asdict, replace
from secrets import token_hex

from psycopg import AsyncConnection

from care import annotations
from care.annotations import Annotation
from care.store import stay_at
from hub.database import query
from hub.reads import Row, fetch
from schemas.errors import CareError
from schemas.times import from_datetime, to_datetime

LOCK = 7_470_128


async def write(connection: AsyncConnection, new: Annotation) -> Annotation:
    """Keep a new annotation; return it with its id and the stay that lay there then."""
    stay = await stay_at(connection, new.bed, new.start_ns)
    named = replace(new, id=f"n{token_hex(8)}", stay=stay)
    return await _insert(connection, annotations.write(named))


async def edit(connection: AsyncConnection, new: Annotation) -> Annotation:
    """Keep the next version of ``new.id``."""
    async with connection.transaction():
        old = await _newest(connection, new.id)
        stay = await stay_at(connection, old.bed, new.start_ns)
        return await _insert(connection, annotations.edit(old, replace(new, stay=stay)))


async def withdraw(connection: AsyncConnection, name: str, by: str, at_ns: int) -> Annotation:
    """Withdraw an annotation."""
    async with connection.transaction():
        old = await _newest(connection, name)
        return await _insert(connection, annotations.withdraw(old, by, at_ns))


async def read(
    connection: AsyncConnection, bed: str, start_ns: int, end_ns: int
) -> list[Annotation]:
    """Return the annotations of a bed that touch a time."""
    asked = {"bed": bed, "start": to_datetime(start_ns), "end": to_datetime(end_ns)}
    return [_annotation(row) for row in await fetch(connection, "select_annotations", **asked)]


async def history(connection: AsyncConnection, name: str) -> list[Annotation]:
    """Return every version of an annotation; raise CareError when there is none."""
    rows = await fetch(connection, "select_annotation", id=name)
    if not rows:
        raise CareError(f"annotation {name[:40]}: there is none")
    return [_annotation(row) for row in rows]


async def _newest(connection: AsyncConnection, name: str) -> Annotation:
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    return (await history(connection, name))[-1]


async def _insert(connection: AsyncConnection, one: Annotation) -> Annotation:
    row = asdict(one)
    row["start"], row["end"] = (to_datetime(row.pop(k)) for k in ("start_ns", "end_ns"))
    row["at"] = to_datetime(row.pop("at_ns"))
    await connection.execute(query("insert_annotation"), row)
    return one


def _annotation(row: Row) -> Annotation:
    return Annotation(
        row["id"],
        row["bed"],
        from_datetime(row["start_at"]),
        from_datetime(row["end_at"]),
        row["label"],
        row["by"],
        from_datetime(row["at"]),
        row["signal"],
        row["note"],
        row["stay"],
        row["version"],
        row["withdrawn"],
    )
