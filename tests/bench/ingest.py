"""``vigil bench ingest``, ``alerts`` and ``fanout``: the live path under load.

Numerics come from ``tests.bench.load`` (bytes encoded beforehand), waveforms from ``vigil
simulate``. Latencies are taken on one machine's clock: publish to commit by the recorder (one
reading in 16), publish to alert and to WebSocket by clients of ours while the load runs.
"""

import asyncio
import json
import subprocess
import time
from typing import Any

import httpx
import msgspec
import psycopg
from websockets.asyncio.client import connect as ws_connect

from hub import accounts
from hub.accounts import DEMO_PASSWORD
from hub.broker import Connection
from hub.clock import now_ns
from hub.up import read_health
from schemas.alerts import AlertEvent, EventKind
from schemas.codec import encode_json
from schemas.errors import BrokerError
from schemas.times import MS
from schemas.topics import ALERTS_FILTER, Kind, format_topic
from tests.bench.stack import Stack, percentiles, wait_until

WARM_S = 5.0
ALERTS_PER_S = 5


def start_load(
    stack: Stack, rate: float, seconds: float, beds: int, *, six: bool = False
) -> subprocess.Popen[str]:
    """Start sending numerics; ``six``: only the vitals that the yardsticks' messages hold."""
    port = str(stack.settings.broker.port)
    more = ("six",) if six else ()
    return stack.spawn("-m", "tests.bench.load", port, str(rate), str(seconds), str(beds), *more)


async def ingest(
    stack: Stack, *, beds: int, rate: float, seconds: float, waves: int, six: bool = False
) -> Any:
    """Measure the whole path: what was lost, what it cost, how long it took."""
    whole = seconds + 2 * WARM_S
    load = start_load(stack, rate, whole, beds, six=six)
    waver = None
    summary = stack.settings.data / "waves.json"
    if waves:
        count = str(waves)
        waver = stack.spawn(
            *("simulate", "--beds", count, "--waves", count, "--summary", str(summary)),
            *("--seconds", str(whole)),
        )
    await asyncio.sleep(WARM_S)
    before, began = stack.cpu_s(), time.monotonic()
    alerting = asyncio.create_task(alert_latencies(stack, seconds))
    watching = asyncio.create_task(screen_latencies(stack, 1, seconds))
    (alerts, seen), (screens, _) = await alerting, await watching
    lasted = time.monotonic() - began
    cpu = {name: used - before[name] for name, used in stack.cpu_s().items()}
    memory = stack.rss_mb()
    sent = json.loads((await asyncio.to_thread(load.communicate))[0])
    count = await asyncio.to_thread(_stored, stack, sent["boot"], sent["published"])
    health = await read_health(stack.settings, 2.5)
    recorder = health["recorder"].counters
    actual = sent["rate_per_s"]
    out = {
        "published": sent["published"],
        "acknowledged": sent["acknowledged"],
        "stored": count[0],
        "lost": sent["acknowledged"] - count[0],
        "duplicates": count[0] - count[1],
        "rate_per_s": actual,
        "publisher_behind_s": sent["behind_s"],
        "cpu_us_per_message": {name: round(s / lasted / actual * 1e6, 1) for name, s in cpu.items()}
        | {"services": round((cpu["intake"] + cpu["recorder"]) / lasted / actual * 1e6, 1)},
        "cpu_percent_of_a_core": {n: round(100 * s / lasted, 1) for n, s in cpu.items()},
        "rss_mb": memory,
        "publish_to_commit_ms": {q: round(recorder[f"sent_to_stored_{q}_ms"], 1) for q in PCT},
        "publish_to_alert_ms": percentiles(alerts),
        "alerts": len(alerts),
        "publish_to_alert_on_screen_ms": percentiles(seen),
        "publish_to_websocket_ms": percentiles(screens),
    }
    if waver is not None:
        await asyncio.to_thread(waver.communicate)
        out |= await asyncio.to_thread(_waves, stack, json.loads(summary.read_text("utf-8")))
    return out


PCT = ("p50", "p99")


def _stored(stack: Stack, boot: str, wanted: int) -> tuple[int, int]:
    """Wait until all is stored; return how many rows, and how many different ones."""
    with psycopg.connect(stack.settings.database_address, autocommit=True) as connection:

        def count() -> Any:
            row = connection.execute(
                "SELECT count(*), count(DISTINCT (numerics.bed_id, seq)) FROM numerics"
                " JOIN stream ON stream.id = stream_id"
                " WHERE boot = %s",
                (boot,),
            ).fetchone()
            return row if row and row[0] >= wanted else None

        found = wait_until(count, 60)
        if found is None:
            wanted = 0  # what there is, then
            found = count()
        return int(found[0]), int(found[1])


def _waves(stack: Stack, sent: dict[str, Any]) -> dict[str, Any]:
    """Wait until the waveforms are stored; count samples in blocks and in chunks."""
    with psycopg.connect(stack.settings.database_address, autocommit=True) as connection:

        def count() -> int:
            row = connection.execute(
                "SELECT (SELECT coalesce(sum(samples), 0) FROM wave_block)"
                " + (SELECT coalesce(sum(samples), 0) FROM wave_chunk)"
            ).fetchone()
            return int(row[0]) if row else 0

        wait_until(lambda: count() >= sent["wave_samples"], 30)
        stored = count()
    return {
        "wave_samples_published": sent["wave_samples"],
        "wave_samples_stored": stored,
        "wave_samples_lost": sent["wave_samples"] - stored,
        "wave_chunks": sent["wave_chunks"],
        "numerics_of_wave_beds": sent["published"],
    }


async def _see_alerts(base: str, cookie: str, sent: dict[str, int], latencies: list[float]) -> None:
    """Watch the wall as a nurse does; note when each alert of ``sent`` arrives."""
    url = base.replace("http", "ws") + "/ws/wall"
    async with ws_connect(
        url, origin=base, additional_headers={"Cookie": cookie}, max_size=None
    ) as socket:
        while True:
            text = await socket.recv()
            now = now_ns()
            latencies.extend(
                (now - sent[alert["bed"]]) / MS
                for alert in json.loads(text)["a"]
                if alert["kind"] == "fired" and not alert["tech"] and alert["bed"] in sent
            )


async def alert_latencies(stack: Stack, seconds: float) -> tuple[list[float], list[float]]:
    """While a load runs, make beds alert one by one; return send-to-topic and send-to-socket ms."""
    sent: dict[str, int] = {}
    latencies: list[float] = []
    seen: list[float] = []
    watching = asyncio.create_task(_see_alerts(*await sign_in(stack), sent, seen))
    url = stack.settings.broker_address
    async with (
        Connection(url, "vigil-bench-alerts", filters=(ALERTS_FILTER,)) as listener,
        Connection(url, "vigil-bench-beds") as publisher,
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
        for number in range(int(seconds * ALERTS_PER_S)):
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
            await asyncio.sleep(1 / ALERTS_PER_S)
        await asyncio.sleep(0.5)
        for task in (listening, watching):
            task.cancel()
        await asyncio.gather(listening, watching, return_exceptions=True)
    return latencies, seen


async def alerts(stack: Stack, *, beds: int, rate: float, seconds: float) -> Any:
    """Measure publish to alert under a load of numerics."""
    load = start_load(stack, rate, seconds + 2 * WARM_S, beds)
    await asyncio.sleep(WARM_S)
    found, seen = await alert_latencies(stack, seconds)
    sent = json.loads((await asyncio.to_thread(load.communicate))[0])
    return {
        "rate_per_s": sent["rate_per_s"],
        "fired": len(found),
        "wanted": int(seconds * ALERTS_PER_S),
        "publish_to_alert_ms": percentiles(found),
        "seen": len(seen),
        "publish_to_screen_ms": percentiles(seen),
    }


def _cookie(stack: Stack) -> tuple[str, str]:
    """Return the console's address and the cookie of a session."""
    base = f"http://127.0.0.1:{stack.settings.dashboard.port}"
    with httpx.Client(base_url=base, headers={"Origin": base}) as browser:
        form = {"username": "bench", "password": DEMO_PASSWORD}
        browser.post("/login", data=form)
        return base, f"vigil_session={browser.cookies['vigil_session']}"


async def sign_in(stack: Stack) -> tuple[str, str]:
    """Create an account and sign in with it."""
    url = stack.settings.database_address
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await accounts.set_account(connection, "bench", DEMO_PASSWORD, "remote-intensivist")
    return await asyncio.to_thread(_cookie, stack)


async def screen_latencies(stack: Stack, count: int, seconds: float) -> tuple[list[float], int]:
    """Watch the wall with ``count`` clients; return measured-to-arrival times of one, and bytes."""
    base, cookie = await sign_in(stack)
    latencies: list[float] = []
    received = 0

    async def watch(number: int) -> None:
        nonlocal received
        url = base.replace("http", "ws") + "/ws/wall"
        headers = {"Cookie": cookie}
        async with ws_connect(
            url, origin=base, additional_headers=headers, max_size=None
        ) as socket:
            first = True
            while True:
                text = await socket.recv()
                now = now_ns() / MS
                received += len(text)
                if number == 0 and not first:
                    latencies.extend(
                        now - max(cell[1] for cell in bed["v"].values())
                        for bed in json.loads(text)["b"]
                        if bed["id"].startswith("bench-") and bed["r"]
                    )
                first = False

    watching = [asyncio.create_task(watch(number)) for number in range(count)]
    await asyncio.wait(watching, timeout=seconds)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    return latencies, received


async def fanout(stack: Stack, *, beds: int, rate: float, seconds: float, clients: int) -> Any:
    """Measure the console with many screens on the wall."""
    load = start_load(stack, rate, seconds + 2 * WARM_S, beds)
    await asyncio.sleep(WARM_S)
    before, began = stack.cpu_s(), time.monotonic()
    latencies, received = await screen_latencies(stack, clients, seconds)
    lasted = time.monotonic() - began
    used = stack.cpu_s()["dashboard"] - before["dashboard"]
    await asyncio.to_thread(load.communicate)
    return {
        "clients": clients,
        "publish_to_websocket_ms": percentiles(latencies),
        "dashboard_cpu_percent": round(100 * used / lasted, 1),
        "kib_per_s_a_client": round(received / clients / lasted / 1024, 1),
    }
