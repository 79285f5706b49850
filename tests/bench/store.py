"""``vigil bench store`` and ``query``: bytes on disk of real recordings, and how long reads take.

``store``: the recordings in ../shared go through the pipeline into empty tables; sizes are what the
database says (tables, indexes, TOAST) over the values and samples stored. The columnstore is
TimescaleDB's, in WebAssembly unless VIGIL_TEST_TIMESCALE_URL names a server. ``query``: 30 days of
200 beds in the rollups (made by SQL), the last two hours raw; times of the console's own reads.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from psycopg import AsyncConnection

from hub.database import PLAIN, connect, flavour_of, migrate
from hub.packs import load_rules
from hub.reads import trend
from hub.replay import load
from hub.waves import read_waves
from ingest.batch import columns
from ingest.pipeline import Limits, Pipeline, new_state
from ingest.rerun import Arrival, in_order, rerun
from ingest.store import Retention, Store
from ingest.wave_store import WaveStore
from schemas.errors import HubError
from schemas.judged import pack
from schemas.times import S, to_datetime
from schemas.topics import Kind, Topic
from schemas.waves import WaveChunk
from simulators.recordings import Recording, WaveSource, to_chunks, to_readings
from tests.bench.stack import Stack, percentiles

SHARED = Path(__file__).parents[3] / "shared" / "recordings"
NUMERICS = (
    "cinc2015_1hz_derived.csv.gz",
    "eicu_demo_hourly.csv.gz",
    "mimic3_demo_hourly.csv.gz",
    "mimic3_pap_1min.csv.gz",
    "mimic2_s00001_1min.csv",
)
WAVES = ("ecg", "pleth", "abp", "pap")
BATCH = 2_000
STRIDE_S = 400
"""One record after another: the longest lasts 330 s."""


def _recordings() -> Path:
    if not SHARED.is_dir():
        raise HubError("bench store measures the recordings in ../shared, which is not here")
    return SHARED


def _readings(name: str, start_ns: int, beds: int | None = None) -> list[Any]:
    """Return a recording's readings as intake judges them.

    ``beds``: the records one after another on so many beds, as monitors that go on for days;
    None: each record on a bed of its own.
    """
    found = load(_recordings() / name)
    arrivals = []
    for number, record in enumerate(found.records.values()):
        turn, place = divmod(number, beds) if beds else (0, number)
        bed = f"store/icu/r-{place}"
        topic = Topic("store", bed, Kind.NUMERICS)
        begin = start_ns + turn * STRIDE_S * S
        for reading in to_readings(record, bed, boot="b", start_ns=begin):
            reading.seq += turn * 1000
            reading.device = f"m-{place}"
            # A real line adds some milliseconds, never the same twice: it costs bytes.
            jitter = (reading.measured_ns // S * 7919 + number * 104_729) % 9_000_000
            reading.received_ns = reading.measured_ns + 3_000_000 + jitter // 1000 * 1000
            arrivals.append(Arrival(reading.received_ns, topic, reading))
    limits = Limits(max_beds=10**6, max_devices=10**6)
    line = Pipeline(new_state("bench"), load_rules(None), {}, limits)
    return [o.reading for _, o in rerun(line, in_order(arrivals)) if o.reading is not None]


async def _fill(connection: AsyncConnection, readings: list[Any]) -> tuple[int, int]:
    store = Store(connection, await flavour_of(connection))
    rows = values = 0
    for at in range(0, len(readings), BATCH):
        cols = columns([pack(readings[at : at + BATCH], 0)])
        await store.prepare(cols)
        async with store.transaction():
            rows += await store.insert_readings(cols)
        values += int((~np.isnan(cols.vitals)).sum()) + len(cols.rare)
    return rows, values


async def _plain_bytes(connection: AsyncConnection) -> int:
    row = await (
        await connection.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent IN ('numerics'::regclass, 'numerics_rare'::regclass,"
            " 'numerics_packed'::regclass)"
        )
    ).fetchone()
    return int(row[0]) if row and row[0] else 0


async def _empty(connection: AsyncConnection) -> None:
    await connection.execute("TRUNCATE numerics, numerics_rare, numerics_packed")
    await connection.execute("VACUUM")


async def store(stack: Stack) -> Any:
    """Measure bytes a value and bytes a sample, on recordings."""
    start = (time.time_ns() - 20 * 86_400 * S) // (86_400 * S) * 86_400 * S
    files = {name: _readings(name, start) for name in NUMERICS}
    files[f"{NUMERICS[0]} on 8 beds"] = _readings(NUMERICS[0], start, beds=8)
    out: dict[str, Any] = {"plain": {}, "columnstore": {}, "waves": {}}
    url = stack.settings.database_address
    async with await connect(url) as connection:
        total = [0, 0]
        for name, readings in files.items():
            rows, values = await _fill(connection, readings)
            await connection.execute("VACUUM")
            single = await _plain_bytes(connection)
            await connection.execute(
                "TRUNCATE rollup_due"
            )  # no rollups here: their space is theirs
            packer = Store(connection, PLAIN)
            began = time.perf_counter()
            while await packer.pack(datetime.now(UTC) - timedelta(days=1)):
                pass
            took = time.perf_counter() - began
            await connection.execute("VACUUM")
            size = await _plain_bytes(connection)
            out["plain"][name] = _per(size, rows, values) | {
                "bytes_a_value_before_packing": round(single / values, 2),
                "packing_us_a_row": round(took / rows * 1e6, 1),
            }
            total = [total[0] + size, total[1] + values]
            await _empty(connection)
        out["plain"]["pooled_bytes_a_value"] = round(total[0] / total[1], 2)
        out["waves"] = await _waves(connection, start)
    out["columnstore"] = await asyncio.to_thread(_columnstore, files)
    return out


def _per(size: int, rows: int, values: int) -> dict[str, float]:
    return {
        "rows": rows,
        "values": values,
        "bytes_a_row": round(size / max(rows, 1), 1),
        "bytes_a_value": round(size / max(values, 1), 2),
    }


def _columnstore(files: dict[str, list[Any]]) -> dict[str, Any]:
    from tests.support import timescale

    missing = timescale.prepare()
    if missing:
        return {"not_measured": missing}
    with timescale.serve() as url:
        return asyncio.run(_compressed(url, files))


async def _compressed(url: str, files: dict[str, list[Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    total = [0, 0]
    await migrate(url)
    for name, readings in files.items():
        async with await connect(url) as connection:
            rows, values = await _fill(connection, readings)
            for table in ("numerics", "numerics_rare"):
                await connection.execute(
                    f"SELECT compress_chunk(c, true) FROM show_chunks('{table}') AS c"
                )
            row = await (
                await connection.execute(
                    "SELECT sum(coalesce(after_compression_total_bytes, 0)),"
                    " sum(before_compression_total_bytes) FROM (SELECT * FROM"
                    " hypertable_columnstore_stats('numerics') UNION ALL SELECT * FROM"
                    " hypertable_columnstore_stats('numerics_rare')) AS both_tables"
                )
            ).fetchone()
            assert row is not None
            out[name] = _per(int(row[0]), rows, values) | {
                "bytes_a_value_before": round(int(row[1]) / values, 2)
            }
            total = [total[0] + int(row[0]), total[1] + values]
            for table in ("numerics", "numerics_rare"):
                await connection.execute(
                    f"SELECT drop_chunks('{table}', newer_than => '1970-01-01'::timestamptz)"
                )
    out["pooled_bytes_a_value"] = round(total[0] / total[1], 2)
    return out


def _wave_recordings() -> Iterable[Recording]:
    folder = _recordings() / "waveforms"
    for path in sorted(folder.glob("*.hea")):
        if path.stem not in ("041s01", "041s02"):
            yield next(iter(load(path).records.values()))
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            samples = np.rint(file["PAP"] / PAP_GRID).astype(np.int16)
            rate = float(file["fs_hz"])
        wave = WaveSource("pap", "mm[Hg]", rate, PAP_GRID, 0.0, 0.0, samples)
        yield Recording(path.stem, waves=[wave])


PAP_GRID = 0.12
"""mmHg: the recordings' pressures stand on this grid exactly."""


async def _waves(connection: AsyncConnection, start_ns: int) -> dict[str, Any]:
    """Store the waveform recordings in live-sized pieces; return bytes a sample, all included."""
    keeper = WaveStore(connection, PLAIN)
    samples: dict[str, int] = {}
    for number, record in enumerate(_wave_recordings()):
        bed = f"store/icu/w-{number}"
        for channel in dict.fromkeys(wave.channel for wave in record.waves):
            kind = channel.split("-")[0]
            if kind not in WAVES:
                continue
            pieces: list[WaveChunk] = list(
                to_chunks(record, bed, boot="b", start_ns=start_ns, channel=channel, chunk_s=1.0)
            )
            for at in range(0, len(pieces), 200):
                async with keeper.transaction():
                    await keeper.insert_chunks(pieces[at : at + 200])
            samples[kind] = samples.get(kind, 0) + sum(len(p.samples) for p in pieces)
    for signal in list(keeper.staged):
        await keeper.make_blocks(signal, 0, final=True)
    await connection.execute("VACUUM")
    row = await (
        await connection.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent = 'wave_block'::regclass"
        )
    ).fetchone()
    minute = []
    for _ in range(40):
        began = time.perf_counter()
        found = await read_waves(
            connection,
            "store/icu/w-1",
            to_datetime(start_ns + 90 * S),
            to_datetime(start_ns + 150 * S),
        )
        minute.append((time.perf_counter() - began) * 1000)
        assert found
    assert row is not None
    whole = sum(samples.values())
    return {
        "samples": whole,
        "by_kind": samples,
        "bytes_a_sample": round(int(row[0]) / whole, 3),
        "read_a_minute_of_all_channels_ms": percentiles(minute),
    }


async def query(stack: Stack, *, beds: int, days: int) -> Any:
    """Fill the tables with ``days`` of ``beds``, then time the console's own reads."""
    url = stack.settings.database_address
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    began = time.monotonic()
    async with await connect(url) as connection:
        await connection.execute("SET statement_timeout = 0")
        await _populate(connection, beds, days, end)
        await connection.execute("VACUUM ANALYZE")
        size = await (
            await connection.execute("SELECT pg_database_size(current_database())")
        ).fetchone()
        filled = time.monotonic() - began
        rng = np.random.default_rng(1)
        times = {}
        for name, span in (
            ("1 h raw", timedelta(hours=1)),
            ("24 h", timedelta(hours=24)),
            ("7 days", timedelta(days=7)),
            ("30 days", timedelta(days=30)),
        ):
            took = []
            for _ in range(40):
                bed = f"query/icu/bed-{int(rng.integers(beds)) + 1}"
                start = time.perf_counter()
                rows = await trend(connection, bed, end - span, end)
                took.append((time.perf_counter() - start) * 1000)
            times[name] = percentiles(took) | {"rows": len(rows)}
    assert size is not None
    return {
        "days": days,
        "database_mb": round(size[0] / 2**20),
        "filled_in_s": round(filled),
        "trend_ms": times,
    }


async def _populate(connection: AsyncConnection, beds: int, days: int, end: datetime) -> None:
    await connection.execute(
        "INSERT INTO bed (name, hospital) SELECT 'query/icu/bed-' || n, 'query'"
        " FROM generate_series(1, %s) n",
        (beds,),
    )
    await connection.execute(
        "INSERT INTO stream (bed_id, device, boot) SELECT id, 'm' || id, 'b' FROM bed"
    )
    keeper = Store(connection, PLAIN)
    await keeper.set_policies(Retention(30, 730, 3650, 72))
    first = end - timedelta(days=days)
    for day in range(days + 2):
        await keeper.ensure_partitions(int((first + timedelta(days=day)).timestamp()) // 86_400)
    for table, step in (("numerics_1m", "1 minute"), ("numerics_1h", "1 hour")):
        names = ("hr", "pr", "spo2", "rr", "abp_sys", "abp_dia", "abp_mean", "temp")
        into = ", ".join(f"{n}_min, {n}_max, {n}_mean, {n}_n" for n in names)
        what = ", ".join("60 + (m %% 37), 90 + (m %% 31), 75 + (m %% 29), 60" for _ in names)
        for day in range(days):
            await connection.execute(
                f"INSERT INTO {table} (bed_id, bucket, {into})"
                f" SELECT bed.id, bucket, {what} FROM generate_series(%s, %s, interval '{step}')"
                " WITH ORDINALITY AS t (bucket, m), bed",
                (
                    first + timedelta(days=day),
                    first + timedelta(days=day + 1) - timedelta(seconds=1),
                ),
            )
    await connection.execute(
        "INSERT INTO numerics (measured_at, received_at, seq, bed_id, stream_id, offset_ms, late,"
        " hr, pr, spo2, rr, abp_sys, abp_dia, abp_mean) SELECT at, at, m, stream.bed_id, stream.id,"
        " 0, false, 80, 80, 97, 16, 120, 70, 85"
        " FROM generate_series(%s, %s, interval '1 second') WITH ORDINALITY AS t (at, m), stream",
        (end - timedelta(hours=2), end),
    )
