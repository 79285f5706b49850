"""``vigil bench``: the product measured on this machine, everything embedded running beside it.

``ingest``: beds at 1 Hz; what was lost, CPU and memory of intake and recorder, publish to commit,
and the time from sending the reading that fires to the alert on its topic. ``wall``: a browser on
the wall; server to paint and main-thread load. Latencies are taken inside one machine's clock.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
from rich.console import Console

from hub.accounts import DEMO_PASSWORD
from hub.broker import Connection
from hub.clock import now_ns
from hub.settings import Settings
from hub.up import read_health
from schemas.alerts import AlertEvent, EventKind
from schemas.codec import encode_json
from schemas.errors import BrokerError, HubError
from schemas.times import MS
from schemas.topics import ALERTS_FILTER, Kind, format_topic

ALERT_BEDS = 300
WARM_S = 8.0
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def run_bench(settings: Settings, what: str, *, beds: int, seconds: float) -> dict[str, Any]:
    """Run one benchmark in a temporary data folder on free ports; return its figures."""
    benches = {"ingest": _ingest, "wall": _wall}
    if what not in benches:
        raise HubError(f"bench {what!r}: one of {', '.join(benches)}")
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder:
        own = _own_settings(settings, Path(folder))
        with _hub(own) as environment:
            figures = asyncio.run(benches[what](own, environment, beds, seconds))
    machine = {"cores": os.cpu_count(), "load_1m": os.getloadavg()[0], "python": sys.version[:6]}
    return {"bench": what, "beds": beds, "seconds": seconds, "machine": machine, **figures}


def _own_settings(settings: Settings, folder: Path) -> Settings:
    ports = []
    for _ in range(4):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    return settings.model_copy(
        update={
            "data": folder,
            "broker": settings.broker.model_copy(
                update={"port": ports[0], "monitor_port": ports[1]}
            ),
            "database": settings.database.model_copy(update={"port": ports[2]}),
            "dashboard": settings.dashboard.model_copy(update={"port": ports[3]}),
        }
    )


@contextmanager
def _hub(settings: Settings) -> Iterator[dict[str, str]]:
    """Run `vigil up` for the time of the benchmark."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VIGIL_")} | {
        "VIGIL_DATA": str(settings.data),
        "VIGIL_BROKER__PORT": str(settings.broker.port),
        "VIGIL_BROKER__MONITOR_PORT": str(settings.broker.monitor_port),
        "VIGIL_DATABASE__PORT": str(settings.database.port),
        "VIGIL_DASHBOARD__PORT": str(settings.dashboard.port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "up"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    else:
        raise HubError("the hub did not start")
    try:
        yield environment
    finally:
        process.terminate()
        process.communicate(timeout=60)


async def _simulate(
    environment: dict[str, str], beds: int, seconds: float, summary: Path
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hub",
        "simulate",
        "--beds",
        str(beds),
        "--seconds",
        str(seconds),
        "--summary",
        str(summary),
        env=environment,
    )


async def _ingest(
    settings: Settings, environment: dict[str, str], beds: int, seconds: float
) -> dict[str, Any]:
    summary = settings.data / "summary.json"
    sender = await _simulate(environment, beds, seconds + 2 * WARM_S, summary)
    await asyncio.sleep(WARM_S)
    health = await read_health(settings, 2.5)
    watched = {name: psutil.Process(health[name].pid) for name in ("intake", "recorder")}
    before = {name: sum(p.cpu_times()[:2]) for name, p in watched.items()}
    began = time.monotonic()
    alerts = await _alert_latencies(settings, seconds)
    lasted = time.monotonic() - began
    processes = {
        name: {
            "cpu_percent_of_a_core": round(
                100 * (sum(p.cpu_times()[:2]) - before[name]) / lasted, 1
            ),
            "rss_mb": round(p.memory_info().rss / 2**20, 1),
        }
        for name, p in watched.items()
    }
    await sender.wait()
    sent = json.loads(summary.read_text("utf-8"))
    stored, latencies = await _settled(settings, sent)
    total = sum(p["cpu_percent_of_a_core"] for p in processes.values())
    rate = beds + 2 * len(alerts) / lasted
    return {
        "published": sent["published"],
        "stored": stored,
        "lost": sent["published"] - stored,
        "rate_per_s": round(rate),
        "processes": processes,
        "cpu_us_per_message": round(total / 100 / rate * 1e6, 1),
        "publish_to_commit_ms": latencies,
        "alerts": len(alerts),
        "reading_to_alert_ms": _percentiles(alerts),
    }


async def _settled(settings: Settings, sent: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """Wait until all is stored; return how many rows and the recorder's own latencies."""
    count = 0
    for _ in range(60):
        async with await psycopg.AsyncConnection.connect(settings.database_address) as connection:
            row = await (
                await connection.execute(
                    "SELECT count(*) FROM numerics JOIN stream ON stream.id = stream_id "
                    "WHERE boot = %s",
                    (sent["boot"],),
                )
            ).fetchone()
        count = row[0] if row else 0
        if count >= sent["published"]:
            break
        await asyncio.sleep(0.5)
    counters = (await read_health(settings, 2.5))["recorder"].counters
    return count, {q: round(counters[f"sent_to_stored_{q}_ms"], 1) for q in ("p50", "p99")}


async def _alert_latencies(settings: Settings, seconds: float) -> list[float]:
    """Under the load, make beds alert one by one; return send-to-topic times in ms."""
    sent: dict[str, int] = {}
    latencies: list[float] = []
    async with (
        Connection(
            settings.broker_address, "vigil-bench-alerts", filters=(ALERTS_FILTER,)
        ) as listener,
        Connection(settings.broker_address, "vigil-bench-beds") as publisher,
    ):

        async def listen() -> None:
            try:
                async for envelopes in listener.batches():
                    for envelope in envelopes:
                        if envelope.payload and not envelope.retain:
                            event = msgspec.json.decode(envelope.payload, type=AlertEvent)
                            if (
                                event.kind is EventKind.FIRED
                                and not event.technical
                                and event.bed in sent
                            ):
                                latencies.append((envelope.received_ns - sent[event.bed]) / MS)
                    listener.ack([envelope.mid for envelope in envelopes])
            except BrokerError:
                return

        listening = asyncio.create_task(listen())
        for number in range(ALERT_BEDS):
            bed = f"bench/icu/alert-{number}"
            for seq in range(2):
                now = now_ns()
                body = {
                    "v": 1,
                    "device": f"bench-{number}",
                    "boot": "b",
                    "seq": seq,
                    "measured_at": now // MS,
                    "sent_at": now // MS,
                    "vitals": {"spo2": 70},
                }
                sent[bed] = now
                await publisher.publish(format_topic(bed, Kind.NUMERICS), encode_json(body))
            await asyncio.sleep(seconds / ALERT_BEDS)
        await asyncio.sleep(0.5)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return latencies


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * q))], 2)
        for name, q in at.items()
    } | {"max": round(ordered[-1], 2)}


async def _wall(
    settings: Settings, environment: dict[str, str], beds: int, seconds: float
) -> dict[str, Any]:
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise HubError("bench wall needs playwright: make env") from None
    from hub import accounts

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise HubError("bench wall needs Debian's chromium")
    async with await psycopg.AsyncConnection.connect(settings.database_address) as connection:
        await accounts.set_account(connection, "bench", DEMO_PASSWORD, "remote-intensivist")
    sender = await _simulate(environment, beds, seconds + 3 * WARM_S, settings.data / "s.json")
    await asyncio.sleep(WARM_S)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=list(CHROMIUM_FLAGS)
        )
        page = await browser.new_page(viewport={"width": 1920, "height": 1080})
        await page.goto(f"http://127.0.0.1:{settings.dashboard.port}/login")
        await page.get_by_label("用户名").fill("bench")
        await page.get_by_label("密码").fill(DEMO_PASSWORD)
        await page.get_by_role("button", name="登录").click()
        await page.wait_for_function(f"document.querySelectorAll('.tile').length >= {beds}")
        await asyncio.sleep(3)
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable")
        await page.evaluate("window.vigil.paints.length = 0")
        before = await _task_seconds(session)
        await asyncio.sleep(seconds)
        after = await _task_seconds(session)
        paints = await page.evaluate("window.vigil.paints")
        await browser.close()
    sender.terminate()
    await sender.wait()
    return {
        "frames": len(paints),
        "server_to_paint_ms": _percentiles(paints),
        "main_thread_percent": round(100 * (after - before) / seconds, 1),
    }


async def _task_seconds(session: Any) -> float:
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def render(result: dict[str, Any], console: Console) -> None:
    """Print the figures for a person."""
    console.print_json(json.dumps(result))
