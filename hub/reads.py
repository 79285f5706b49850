"""What is read from the database, for the console and the command line: named, bounded queries."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from hub.database import query
from schemas.errors import StoreError

Row = dict[str, Any]
EXPORT_CHUNK = 2_000


async def fetch(connection: AsyncConnection, name: str, **parameters: object) -> list[Row]:
    """Return the rows of a named query as dictionaries."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query(name), parameters)
        return await cursor.fetchall()


async def export_rows(
    connection: AsyncConnection, bed: str, start: datetime, end: datetime
) -> AsyncIterator[Row]:
    """Yield a bed's readings between two times in order, a chunk at a time: memory stays flat.

    Raises StoreError when the bed was never seen.
    """
    if not await fetch(connection, "select_bed", bed=bed):
        raise StoreError(f"bed {bed} was never seen; `vigil doctor` lists the beds")
    async with (
        connection.transaction(),
        connection.cursor(name="export", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = EXPORT_CHUNK
        await cursor.execute(query("select_readings"), {"bed": bed, "start": start, "end": end})
        async for row in cursor:
            yield row


def trend_of(span: timedelta) -> tuple[str, int]:
    """Return the query that fits a span, and the width of its rows in seconds (0: raw readings).

    Up to 90 min: raw readings. Up to 48 h: 1 min rollups. Longer: 1 h rollups.
    """
    if span <= timedelta(minutes=90):
        return "select_trend_raw", 0
    if span <= timedelta(hours=48):
        return "select_trend_1m", 60
    return "select_trend_1h", 3600


async def trend(connection: AsyncConnection, bed: str, start: datetime, end: datetime) -> list[Row]:
    """Return mean, min and max of the common vitals over time, at a width that fits the span."""
    name, _ = trend_of(end - start)
    return await fetch(connection, name, bed=bed, start=start, end=end)
