"""What a ward station asks in SQL: sound checks, and the questions of the wrong-bed guard."""

from psycopg import AsyncConnection
from psycopg.types.json import Json

from care.guard import Question
from hub.database import query
from hub.reads import Row, fetch
from schemas.alerts import make_id
from schemas.errors import CareError
from schemas.times import to_datetime


async def check_sound(connection: AsyncConnection, unit: str, by: str, *, heard: bool) -> None:
    """Keep that somebody listened, and whether they heard it."""
    await connection.execute(query("insert_sound_check"), {"unit": unit, "by": by, "heard": heard})


async def last_sound_check(connection: AsyncConnection, unit: str) -> Row | None:
    """Return the last sound check of a unit."""
    rows = await fetch(connection, "select_sound_check", unit=unit)
    return rows[0] if rows else None


async def ask(connection: AsyncConnection, question: Question) -> bool:
    """Keep a question, unless the same one is open; return whether it is new."""
    cursor = await connection.execute(
        query("insert_question"),
        {
            "id": make_id("guard", question.bed, question.kind, str(question.at_ns)),
            "bed": question.bed,
            "stay": question.stay,
            "kind": question.kind,
            "detail": Json(question.detail),
            "at": to_datetime(question.at_ns),
        },
    )
    return bool(cursor.rowcount)


async def answer(connection: AsyncConnection, question: str, said: str, by: str) -> str:
    """Keep an answer, "same" or "other" patient; return the bed. Raises CareError."""
    if said not in ("same", "other"):
        raise CareError(f"answer {said[:20]!r}: same or other")
    cursor = await connection.execute(
        query("answer_question"), {"id": question, "answer": said, "by": by}
    )
    row = await cursor.fetchone()
    if row is None:
        raise CareError("question: there is none, or it was answered already")
    return str(row[0])


async def questions(connection: AsyncConnection) -> list[Row]:
    """Return the questions that nobody has answered."""
    return await fetch(connection, "select_questions")
