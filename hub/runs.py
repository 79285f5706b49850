"""Runs: recordings and stored beds replayed through the real pipeline into a schema of their own.

A run has the tables of the hub, made by the same migrations, in the schema ``run_ID``: the same
queries answer for it, and nothing of it can be taken for live. It is whole or it is not there: what
ends early takes its schema with it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

import structlog
from msgspec.structs import replace
from psycopg import AsyncConnection, sql

from alerts.rulesets import RuleSet
from alerts.sentences import Label
from hub.database import PLAIN, connect, migrate, query
from hub.reads import Row, fetch
from hub.settings import Settings
from ingest.batch import columns
from ingest.pipeline import Limits, Pipeline, new_state
from ingest.rejects import drain
from ingest.rerun import Arrival, in_order, rerun
from ingest.store import Store
from ingest.wave_store import WaveStore
from schemas.alerts import AlertEvent
from schemas.errors import HubError, StoreError
from schemas.judged import pack as pack_batch
from schemas.times import S, to_datetime
from schemas.waves import WaveChunk
from schemas.wire import Reading

log = structlog.get_logger()

BATCH = 2_000
CHUNKS = 200
RUNS_LISTED = 1_000
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Source:
    """What a run replays: words for people, arrivals in any order, waveforms."""

    name: str
    arrivals: list[Arrival]
    chunks: Iterable[WaveChunk] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is made. ``speed``: times the recording's own; None: as fast as it goes."""

    run: str
    rules: RuleSet
    labels: dict[str, Label]
    speed: float | None = None


def new_id() -> str:
    """Return a name for a run that has none: when, and four digits of chance."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(2)}"


def schema_of(run: str) -> str:
    """Return the schema of a run; raise HubError when that is no name of one."""
    if not _ID.fullmatch(run):
        raise HubError(f"run {run[:60]!r}: use 1-40 of a-z, 0-9 and -")
    return "run_" + run.replace("-", "_")


@asynccontextmanager
async def open_run(url: str, run: str) -> AsyncIterator[AsyncConnection]:
    """Yield a connection whose tables are the run's; raise StoreError when there is no such run."""
    async with await connect(url) as connection:
        there = await (
            await connection.execute(
                "SELECT finished_at IS NOT NULL FROM run WHERE id = %s", (run,)
            )
        ).fetchone()
    if there is None:
        raise StoreError(f"no run {run}; `vigil runs` lists them")
    if not there[0]:
        raise StoreError(f"run {run} has not finished")
    async with await connect(url, schema_of(run)) as connection:
        yield connection


async def list_runs(connection: AsyncConnection) -> list[Row]:
    """Return the runs, newest first."""
    return await fetch(connection, "select_runs", limit=RUNS_LISTED)


async def drop_run(connection: AsyncConnection, run: str) -> None:
    """Take a run away with all that it gave."""
    schema = sql.Identifier(schema_of(run))
    await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
    await connection.execute("DELETE FROM run WHERE id = %s", (run,))


async def make_run(
    settings: Settings,
    plan: Plan,
    source: Source,
    advance: Callable[[int], None],
) -> Row:
    """Replay ``source`` into a run of its own; return what it gave.

    ``advance`` is told how many inputs were taken. Raises StoreError when the name is taken.
    """
    url = settings.database_address
    schema = schema_of(plan.run)
    await migrate(url)
    async with await connect(url) as control:
        await _begin(control, plan, source)
        try:
            await control.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            await migrate(url, schema)
            async with await connect(url, schema) as connection:
                result = await _Run(settings, plan, connection).replay(source, advance)
            await control.execute(query("finish_run"), {"id": plan.run, **result})
            await _drop_oldest(control, settings.recorder.runs_kept)
        except BaseException:
            await asyncio.shield(drop_run(control, plan.run))
            raise
    return {"run": plan.run, **result}


async def _begin(control: AsyncConnection, plan: Plan, source: Source) -> None:
    """Take the run's name; one whose maker died takes it over, with all that was left."""
    locked = await (
        await control.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (schema_of(plan.run),))
    ).fetchone()
    there = await (
        await control.execute("SELECT finished_at FROM run WHERE id = %s", (plan.run,))
    ).fetchone()
    if locked != (True,):
        raise StoreError(f"run {plan.run} is being made; choose another --run")
    if there is not None:
        if there[0] is not None:
            raise StoreError(f"run {plan.run} is there already; choose another --run")
        await drop_run(control, plan.run)
    await control.execute(
        query("insert_run"),
        {
            "id": plan.run,
            "source": source.name,
            "speed": "max" if plan.speed is None else f"{plan.speed:g}",
            "pack": plan.rules.baseline.name,
            "pack_version": plan.rules.version,
        },
    )


async def _drop_oldest(control: AsyncConnection, kept: int) -> None:
    for row in (await list_runs(control))[kept:]:
        await drop_run(control, row["id"])
        log.info("run_dropped", run=row["id"], kept=kept)


def limits_of(settings: Settings) -> Limits:
    """Return the settings that judging depends on, without bounds on beds and devices."""
    return Limits(
        late_ns=int(settings.intake.late_s * S),
        clock_bound_ns=int(settings.intake.clock_bound_s * S),
        max_beds=1_000_000,
        max_devices=1_000_000,
    )


class _Run:
    """One run while it is made."""

    def __init__(self, settings: Settings, plan: Plan, connection: AsyncConnection) -> None:
        self._beds: set[str] = set()
        self._first_ns: int | None = None
        self._last_ns = 0
        state = new_state(f"run-{plan.run}")
        self._plan = plan
        self._pipeline = Pipeline(state, plan.rules, plan.labels, limits_of(settings))
        self._store = Store(connection, PLAIN)
        self._waves = WaveStore(connection, PLAIN)
        self._readings: list[Reading] = []
        self._events: list[AlertEvent] = []
        self._counts = {"readings": 0, "samples": 0, "alert_events": 0}

    async def replay(self, source: Source, advance: Callable[[int], None]) -> Row:
        """Take everything, store what it gave, and count it."""
        arrivals = in_order(source.arrivals)
        for arrival in arrivals:
            self._note(arrival.topic.bed, arrival.received_ns, arrival.received_ns)
        first_ns = self._first_ns or 0
        loop = asyncio.get_running_loop()
        began = loop.time()
        taken = 0

        def counted() -> Iterator[Arrival]:
            nonlocal taken
            for arrival in arrivals:
                taken += 1
                yield arrival

        for at_ns, outcome in rerun(self._pipeline, counted()):
            self._last_ns = max(self._last_ns, at_ns)
            if outcome.reading is not None:
                self._readings.append(outcome.reading)
            self._events += outcome.events
            due = began
            if self._plan.speed is not None:
                due += (at_ns - first_ns) / S / self._plan.speed
            if len(self._readings) >= BATCH or due > loop.time():
                await self._flush()
                advance(taken)
                taken = 0
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
        await self._flush()
        advance(taken)
        await self._store_waves(source.chunks, advance)
        end = to_datetime(self._last_ns + 7200 * S)
        while await self._store.roll(end):
            pass
        rejected = self._pipeline.state.rejects
        await self._store.upsert_rejected(drain(rejected))
        return {
            **self._counts,
            "beds": len(self._beds),
            "rejected": rejected.total,
            "first_at": None if self._first_ns is None else to_datetime(self._first_ns),
            "last_at": None if self._first_ns is None else to_datetime(self._last_ns),
        }

    def _note(self, bed: str, first_ns: int, last_ns: int) -> None:
        self._beds.add(bed)
        self._first_ns = first_ns if self._first_ns is None else min(self._first_ns, first_ns)
        self._last_ns = max(self._last_ns, last_ns)

    async def _flush(self) -> None:
        readings, self._readings = self._readings, []
        events, self._events = self._events, []
        if readings:
            cols = columns([pack_batch(readings, 0)])
            await self._store.prepare(cols)
        async with self._store.transaction():
            if readings:
                self._counts["readings"] += await self._store.insert_readings(cols)
            for event in events:
                stages = replace(event.stages, published_ns=event.stages.fired_ns)
                self._counts["alert_events"] += await self._store.insert_alert(
                    replace(event, stages=stages)
                )

    async def _store_waves(
        self, chunks: Iterable[WaveChunk], advance: Callable[[int], None]
    ) -> None:
        some: list[WaveChunk] = []
        for chunk in chunks:
            some.append(chunk)
            if len(some) >= CHUNKS:
                await self._insert(some)
                advance(len(some))
                some = []
        if some:
            await self._insert(some)
            advance(len(some))
        for signal in list(self._waves.staged):
            await self._waves.make_blocks(signal, 0, final=True)

    async def _insert(self, chunks: list[WaveChunk]) -> None:
        for chunk in chunks:
            self._note(chunk.bed, chunk.measured_ns, chunk.end_ns)
        async with self._waves.transaction():
            await self._waves.insert_chunks(chunks)
        self._counts["samples"] += sum(len(chunk.samples) for chunk in chunks)
