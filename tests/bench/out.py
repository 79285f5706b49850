"""``vigil bench export`` and ``fhir``: data leaving the hub, from a database filled beforehand."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyarrow.dataset as ds

from hub import accounts
from tests.bench.stack import Stack, percentiles

DAY_S = 86_400
PAGES = 30
FILL = """
INSERT INTO bed (name, hospital) SELECT 'out/icu/b' || n, 'out' FROM generate_series(1, %(beds)s) n;
INSERT INTO stream (bed_id, device, boot) SELECT id, 'mon-' || id, 'b' FROM bed
    WHERE hospital = 'out';
SELECT vigil_add_partition('numerics', day, day + interval '1 day') FROM generate_series(
    date_trunc('day', now()) - %(days)s * interval '1 day', date_trunc('day', now()),
    interval '1 day') day;
INSERT INTO numerics (measured_at, received_at, seq, bed_id, stream_id, offset_ms, late, hr, pr,
    spo2, pi, rr, abp_sys, abp_dia, abp_mean, temp, etco2, status)
SELECT date_trunc('day', now()) - %(days)s * interval '1 day' + s * interval '1 second', now(), s,
    bed_id, id, 3, false, 60 + s %% 40, 61 + s %% 40, 90 + s %% 10, 1.5, 16, 120 + s %% 7, 70, 88,
    36.5 + (s %% 10) / 10.0, 37.5, CASE WHEN s %% 50 = 0 THEN 32 END
FROM stream, generate_series(0, %(days)s * 86400 - 1) s WHERE device LIKE 'mon-%%';
"""


def _fill(stack: Stack, beds: int, days: int) -> None:
    """Store so many days of beds that send once a second, ten values each time."""
    with psycopg.connect(stack.settings.database_address, autocommit=True) as connection:
        for statement in FILL.strip().split(";\n"):
            connection.execute(statement.encode(), {"beds": beds, "days": days})


async def measure(stack: Stack, what: str, *, beds: int, days: int) -> Any:
    """Run one of the two."""
    if what == "fhir":
        return await fhir(stack, beds=beds)
    return await export(stack, beds=beds, days=days)


async def export(stack: Stack, *, beds: int, days: int) -> Any:
    """Measure a Parquet data set as a user makes it; and the command's largest memory."""
    await asyncio.to_thread(_fill, stack, beds, days)
    out = stack.settings.data / "set"
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _MEASURED),
        *("export", "--all", "out", "--from", f"-{days + 1}d", "--format", "parquet"),
        *("--output", str(out)),
        env=stack.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    took = time.monotonic() - began
    table = ds.dataset(out / "numerics", partitioning="hive")
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert table.count_rows() == beds * days * DAY_S
    return {
        "values": manifest["values"],
        "seconds": round(took, 1),
        "values_per_s": round(manifest["values"] / took),
        "peak_rss_mb": json.loads(said.splitlines()[-1]),
        "bytes_per_value": round(_size(out) / manifest["values"], 2),
    }


_MEASURED = """
import resource, sys
from hub.cli import run_app
sys.argv[0] = "vigil"
try:
    run_app()
except SystemExit as end:
    assert not end.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


async def fhir(stack: Stack, *, beds: int) -> Any:
    """Measure pages of 1 000 observations: of one vital, and of all."""
    await asyncio.to_thread(_fill, stack, beds, 1)
    async with await psycopg.AsyncConnection.connect(stack.settings.database_address) as c:
        await accounts.set_account(c, "bench", "long enough", "integrator")
        token = await accounts.open_session(c, "bench", 1)
    base = f"http://127.0.0.1:{stack.settings.dashboard.port}/fhir"
    found: dict[str, Any] = {}
    head = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=head, timeout=60) as client:
        beds_there = (await client.get(f"{base}/Location")).json()["entry"]
        bed = next(e["resource"]["id"] for e in beds_there if "out/" in e["resource"]["name"])
        for what, more in (("one vital", {"code": "8867-4"}), ("all vitals", {})):
            address = f"{base}/Observation"
            asked: dict[str, str] | None = {"subject": f"Location/{bed}", "_count": "1000", **more}
            took = []
            for _ in range(PAGES):
                began = time.monotonic()
                answer = await client.get(address, params=asked)
                took.append((time.monotonic() - began) * 1000)
                page = answer.json()
                assert len(page["entry"]) == 1000
                address = next(x["url"] for x in page["link"] if x["relation"] == "next")
                asked = None
            found[f"page of 1000, {what}, ms"] = percentiles(took)
    return found
