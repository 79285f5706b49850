"""``vigil bench hl7``: monitors over MLLP, through to the broker's acknowledgement.

The gateway runs pinned to one core. A process of its own holds the connections; each sends a
PCD-01 message of 13 observations, waits for its answer, and goes on at its pace.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from typing import Any

import psutil

from hub.up import read_health
from tests.bench.stack import Stack, free_ports, percentiles

CODES = (
    (147842, "MDC_ECG_HEART_RATE", 70, "264864^MDC_DIM_BEAT_PER_MIN"),
    (150456, "MDC_PULS_OXIM_SAT_O2", 97, "262688^MDC_DIM_PERCENT"),
    (149530, "MDC_PULS_OXIM_PULS_RATE", 70, "264864^MDC_DIM_BEAT_PER_MIN"),
    (150488, "MDC_BLD_PERF_INDEX", 2, "262688^MDC_DIM_PERCENT"),
    (151578, "MDC_TTHOR_RESP_RATE", 16, "264928^MDC_DIM_RESP_PER_MIN"),
    (150037, "MDC_PRESS_BLD_ART_ABP_SYS", 120, "266016^MDC_DIM_MMHG"),
    (150038, "MDC_PRESS_BLD_ART_ABP_DIA", 70, "266016^MDC_DIM_MMHG"),
    (150039, "MDC_PRESS_BLD_ART_ABP_MEAN", 87, "266016^MDC_DIM_MMHG"),
    (150344, "MDC_TEMP", 37, "268192^MDC_DIM_DEGC"),
    (151708, "MDC_CONC_AWAY_CO2_ET", 38, "266016^MDC_DIM_MMHG"),
    (151716, "MDC_CONC_AWAY_CO2_INSP", 0, "266016^MDC_DIM_MMHG"),
    (148066, "MDC_ECG_V_P_C_RATE", 0, "264864^MDC_DIM_BEAT_PER_MIN"),
    (150087, "MDC_PRESS_BLD_VEN_CENT_MEAN", 6, "266016^MDC_DIM_MMHG"),
)
WARM_S = 3.0


def message(bed: int, number: int) -> bytes:
    """Return one framed message."""
    now = time.strftime("%Y%m%d%H%M%S+0000", time.gmtime())
    sender = f"BENCH^00A03700{bed:08X}^EUI-64|BENCH|||{now}"
    control = f"{bed}-{number}|P|2.6|||AL|NE||UNICODE UTF-8"
    lines = [
        f"MSH|^~\\&|{sender}||ORU^R01^ORU_R01|{control}",
        f"PID|||{bed}^^^Hospital^PI",
        f"PV1||I|ICU^^bed-{bed}",
        f"OBR|1|||182777000^monitoring of patient^SCT|||{now}",
        *(
            f"OBX|{i}|NM|{code}^{name}^MDC|1.1.{i}.{code}|{value + number % 5}|{unit}^MDC"
            f"|||||R|||{now}"
            for i, (code, name, value, unit) in enumerate(CODES, 1)
        ),
    ]
    return b"\x0b" + "\r".join(lines).encode() + b"\r\x1c\r"


async def _line(bed: int, port: int, every_s: float, until: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(random.random() * every_s)
    due, number = time.monotonic(), 0
    while time.monotonic() < until:
        began = time.monotonic()
        writer.write(message(bed, number))
        await reader.readuntil(b"\x1c\r")
        took.append((time.monotonic() - began) * 1000)
        number += 1
        due += every_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    writer.close()


async def client(port: int, lines: int, rate: float, seconds: float) -> None:
    """Send, and print what came back as JSON: answers, and the time from sending to each."""
    took: list[float] = []
    until = time.monotonic() + seconds
    every_s = lines / rate
    await asyncio.gather(*(_line(b, port, every_s, until, took) for b in range(lines)))
    sys.stdout.write(json.dumps({"acknowledged": len(took), "took": took}))


async def _reported(stack: Stack) -> None:
    """Return when the gateway has said that it runs."""
    for _ in range(100):
        if "gateway-bench" in await read_health(stack.settings):
            return
        await asyncio.sleep(0.2)


async def hl7(stack: Stack, *, lines: int, rate: float, seconds: float) -> Any:
    """Measure the gateway on one core."""
    (port,) = free_ports(1)
    core = (os.cpu_count() or 1) - 1
    gateway = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
        [sys.executable, "-m", "hub", "gateway", "hl7", "--hospital", "bench", "--port", str(port)],
        env=stack.environment,
    )
    os.sched_setaffinity(gateway.pid, {core})
    try:
        await _reported(stack)
        process = psutil.Process(gateway.pid)
        load = stack.spawn("-m", "tests.bench.hl7", str(port), str(lines), str(rate), str(seconds))
        before = sum(process.cpu_times()[:2])
        text, _ = await asyncio.to_thread(load.communicate)
        used = sum(process.cpu_times()[:2]) - before
        found = json.loads(text)
        await asyncio.sleep(3)
        counters = (await read_health(stack.settings))["gateway-bench"].counters
    finally:
        gateway.terminate()
        await asyncio.to_thread(gateway.wait)
    return {
        "connections": lines,
        "messages_per_s": round(found["acknowledged"] / seconds, 1),
        "values_per_s": round(found["acknowledged"] * len(CODES) / seconds),
        "sent_to_acknowledged_ms": percentiles(found["took"]),
        "gateway_cpu_us_per_message": round(used / max(1, found["acknowledged"]) * 1e6),
        "gateway_core_used": round(used / seconds, 2),
        "gateway_rss_mb": counters["rss_mb"],
        "errors": counters["errors"] + counters["rejected"],
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(
        client(int(arguments[0]), int(arguments[1]), float(arguments[2]), float(arguments[3]))
    )
