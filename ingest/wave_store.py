"""SQL of the wave recorder: chunks as they come, blocks when they are whole."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import numpy as np
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation

from hub.arrays import array
from hub.database import PLAIN, query
from ingest.wave_blocks import BLOCK_S, Assembled, Block, Span, Staged, assemble
from schemas.times import S, from_datetime, to_datetime
from schemas.waves import WaveChunk

PARTITION = timedelta(hours=6)
SIGNALS_CACHED = 20_000
NEAR = timedelta(seconds=2 * BLOCK_S)
FORM = ("bed", "channel", "device", "boot", "unit", "rate_hz", "scale", "zero")
"""What makes a signal: the fields of a chunk that do not change from one to the next."""
_form = attrgetter(*FORM)


class WaveStore:
    """One connection's view of the wave tables, with what it knows of signals and partitions."""

    def __init__(self, connection: AsyncConnection, flavour: str) -> None:
        self._connection = connection
        self._partitioned = flavour == PLAIN
        self._signals: dict[tuple[str | float, ...], int] = {}
        self._rates: dict[int, float] = {}
        self._partitions: set[datetime] = set()
        self.staged: dict[int, tuple[float, int]] = {}
        """Signals with chunks that wait: seconds of samples, and when the last was received."""

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Return a transaction: all of it is stored, or nothing."""
        return self._connection.transaction()

    async def load(self) -> None:
        """Learn what waited for its block when the recorder last stopped."""
        cursor = await self._connection.execute(query("select_staged_signals"))
        for signal, samples, received_at in await cursor.fetchall():
            rate = await self._rate(signal)
            self.staged[signal] = (samples / rate, from_datetime(received_at))

    async def insert_chunks(self, chunks: list[WaveChunk]) -> int:
        """Keep chunks inside the caller's transaction; return how many were new."""
        signals = [await self._signal(chunk) for chunk in chunks]
        cursor = await self._connection.execute(
            query("insert_wave_chunks"),
            (
                array("int4", np.array(signals)),
                array("timestamptz", np.array([c.measured_ns // 1000 for c in chunks])),
                array("int8", np.array([c.seq for c in chunks])),
                array("int4", np.array([len(c.samples) for c in chunks])),
                array("timestamptz", np.array([c.received_ns // 1000 for c in chunks])),
                [c.samples.tobytes() for c in chunks],
            ),
        )
        for signal, chunk in zip(signals, chunks, strict=True):
            seconds, received_ns = self.staged.get(signal, (0.0, 0))
            self.staged[signal] = (
                seconds + len(chunk.samples) / chunk.rate_hz,
                max(received_ns, chunk.received_ns),
            )
        return cursor.rowcount

    async def _signal(self, chunk: WaveChunk) -> int:
        key = _form(chunk)
        found = self._signals.get(key)
        if found is not None:
            return found
        if len(self._signals) >= SIGNALS_CACHED:
            self._signals.clear()
        cursor = await self._connection.execute(
            query("insert_wave_signal"),
            {
                "hospital": chunk.bed.partition("/")[0],
                **dict(zip(FORM, key, strict=True)),
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        self._signals[key] = row[0]
        self._rates[row[0]] = chunk.rate_hz
        return int(row[0])

    def forget(self) -> None:
        """After a rollback: signals that were noted may not be there."""
        self._signals.clear()

    async def _rate(self, signal: int) -> float:
        if signal not in self._rates:
            cursor = await self._connection.execute(
                "SELECT rate_hz FROM wave_signal WHERE id = %s", (signal,)
            )
            row = await cursor.fetchone()
            assert row is not None
            self._rates[signal] = row[0]
        return self._rates[signal]

    async def make_blocks(
        self, signal: int, now_ns: int, *, final: bool = False
    ) -> tuple[int, int]:
        """Turn a signal's chunks into blocks; return how many blocks, and repeats."""
        rate = await self._rate(signal)
        cursor = await self._connection.execute(query("select_staged_chunks"), {"signal": signal})
        rows = await cursor.fetchall()
        chunks = [
            Staged(from_datetime(at), seq, np.frombuffer(data, "<i2"), from_datetime(received))
            for at, seq, _, received, data in rows
        ]
        if not chunks:
            self.staged.pop(signal, None)
            return 0, 0
        times = [row[0] for row in rows]
        cursor = await self._connection.execute(
            query("select_block_spans"),
            {"signal": signal, "start": min(times) - NEAR, "end": max(times) + NEAR},
        )
        spans = [
            Span(from_datetime(at), from_datetime(at) + round(n * S / rate), first, last)
            for at, n, first, last in await cursor.fetchall()
        ]
        made = assemble(chunks, spans, rate, now_ns, final=final)
        try:
            await self._move(signal, made)
        except CheckViolation:  # retention has dropped a partition that we knew
            self._partitions.clear()
            await self._move(signal, made)
        done = set(made.done)
        left = [c for c in chunks if (c.start_ns, c.seq) not in done]
        if left:
            seconds = sum(len(c.samples) for c in left) / rate
            self.staged[signal] = (seconds, max(c.received_ns for c in left))
        else:
            self.staged.pop(signal, None)
        return len(made.blocks), made.repeats

    async def _move(self, signal: int, made: Assembled) -> None:
        await self._ensure_partitions(made.blocks)
        async with self._connection.transaction():
            if made.blocks:
                await self._insert(signal, made.blocks)
            if made.done:
                await self._delete(signal, made.done)

    async def _insert(self, signal: int, blocks: list[Block]) -> None:
        await self._connection.execute(
            query("insert_wave_blocks"),
            (
                array("int4", np.full(len(blocks), signal)),
                array("timestamptz", np.array([b.start_ns // 1000 for b in blocks])),
                array("int8", np.array([b.first_seq for b in blocks])),
                array("int8", np.array([b.last_seq for b in blocks])),
                array("int4", np.array([b.samples for b in blocks])),
                [b.data for b in blocks],
            ),
        )

    async def _delete(self, signal: int, done: list[tuple[int, int]]) -> None:
        parameters: tuple[Any, ...] = (
            array("timestamptz", np.array([start_ns // 1000 for start_ns, _ in done])),
            array("int8", np.array([seq for _, seq in done])),
            signal,
        )
        await self._connection.execute(query("delete_wave_chunks"), parameters)

    async def _ensure_partitions(self, blocks: list[Block]) -> None:
        if not self._partitioned:
            return
        for block in blocks:
            at = to_datetime(block.start_ns)
            start = at.replace(hour=at.hour // 6 * 6, minute=0, second=0, microsecond=0)
            if start not in self._partitions:
                await self._connection.execute(
                    "SELECT vigil_add_partition('wave_block', %s, %s)", (start, start + PARTITION)
                )
                self._partitions.add(start)
