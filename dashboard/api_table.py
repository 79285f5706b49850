"""Routes for programs: a bed's readings and waveforms as Arrow streams, for ``hub.client``."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse
from psycopg_pool import AsyncConnectionPool

from dashboard.api_base import Bed, database, time_ns
from hub.arrow import NUMERICS, TIME, Readings
from hub.clock import now_ns
from hub.reads import fetch
from hub.waves import read_waves
from schemas.times import S, to_datetime

MEDIA = "application/vnd.apache.arrow.stream"
HOUR_NS = 3600 * S
NUMERICS_MOST, WAVES_MOST = timedelta(days=400), timedelta(hours=1)
AT_ONCE = 2
"""Streams that are read at the same time; others wait their turn."""
WAVES = pa.schema(
    [
        ("start", TIME),
        ("device", pa.string()),
        ("unit", pa.string()),
        ("rate_hz", pa.float64()),
        ("scale", pa.float64()),
        ("zero", pa.float64()),
        ("samples", pa.list_(pa.int16())),
    ]
)


def make_table_router(pool: AsyncConnectionPool, url: str) -> APIRouter:
    """Return the routes. ``url``: the database's, for connections of their own."""
    router = APIRouter(prefix="/api", tags=["table"])
    turn = asyncio.Semaphore(AT_ONCE)

    def between(since: str | None, until: str | None, most: timedelta) -> tuple[datetime, datetime]:
        last = time_ns(until, now_ns())
        first = time_ns(since, last - HOUR_NS)
        start, end = to_datetime(first), to_datetime(last)
        if not timedelta(0) < end - start <= most:
            raise HTTPException(422, f"since: must lie before until, by at most {most}")
        return start, end

    @router.get("/beds/{hospital}/{unit}/{bed}/table/numerics", response_class=StreamingResponse)
    async def numerics(
        name: Bed, since: str | None = None, until: str | None = None
    ) -> StreamingResponse:
        """Stream a bed's readings as Arrow, a column a vital; without ``since`` an hour."""
        times = between(since, until, NUMERICS_MOST)
        async with database(pool) as connection:
            rows = await fetch(connection, "select_bed", bed=name)
        if not rows:
            raise HTTPException(404, f"bed {name} was never seen")
        return StreamingResponse(numerics_stream(turn, url, name, times), media_type=MEDIA)

    @router.get("/beds/{hospital}/{unit}/{bed}/table/waves", response_class=StreamingResponse)
    async def waves(
        name: Bed, channel: str, since: str | None = None, until: str | None = None
    ) -> StreamingResponse:
        """Return one channel's samples as Arrow: a row a segment without a gap; an hour at most."""
        times = between(since, until, WAVES_MOST)
        async with database(pool) as connection:
            segments = await read_waves(connection, name, *times, channel)
        table = pa.table(
            {
                "start": pa.array([s.start_ns // 1000 for s in segments], pa.int64()).cast(TIME),
                "device": [s.device for s in segments],
                "unit": [s.unit for s in segments],
                "rate_hz": [s.rate_hz for s in segments],
                "scale": [s.scale for s in segments],
                "zero": [s.zero for s in segments],
                "samples": pa.array([s.samples for s in segments], pa.list_(pa.int16())),
            },
            schema=WAVES,
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, WAVES) as writer:
            writer.write_table(table)
        return StreamingResponse(iter([sink.getvalue().to_pybytes()]), media_type=MEDIA)

    return router


class _Pipe(io.RawIOBase):
    """What an Arrow writer has written and nobody has taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Keep a piece."""
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def numerics_stream(
    turn: asyncio.Semaphore, url: str, bed: str, times: tuple[datetime, datetime]
) -> AsyncIterator[bytes]:
    """Yield an Arrow stream, a few hours of a bed at a time."""
    async with turn:
        readings = await asyncio.to_thread(Readings, url)
        try:
            number = await asyncio.to_thread(readings.bed_id, bed)
            windows = readings.windows(number, *times)
            pipe = _Pipe()
            with pa.ipc.new_stream(pa.PythonFile(pipe, "w"), NUMERICS) as writer:
                while (window := await asyncio.to_thread(next, windows, None)) is not None:
                    table = await asyncio.to_thread(readings.numerics, number, *window)
                    writer.write_table(table)
                    yield pipe.take()
            yield pipe.take()
        finally:  # an error breaks the body off: a stream that merely ends would look whole
            readings.close()
