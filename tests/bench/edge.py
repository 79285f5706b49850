"""An edge on a weak line: 10 Mbit/s, 300 ms there and back, 5 % loss, made with network namespaces.

How much of the line the backlog uses after a cut, and how late live readings are meanwhile. Needs
root, ``ip`` and ``tc``. Traffic goes between two namespaces of this machine alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import HubError
from tests.bench.stack import percentiles
from tests.chaos.__main__ import Wall
from tests.support.hub import Hub, free_port
from tests.support.weak_line import INSIDE, NEAR, NEAR_IP

MBIT, DELAY_MS, LOSS = 10, 150, 5
HOSPITAL = "kaihua"
CHUNKS = 60_000


@contextmanager
def weak_line() -> Iterator[Callable[[str], None]]:
    """Have a namespace whose only way out is a weak line; yields how to cut and mend it."""
    if os.geteuid() != 0 or not shutil.which("ip") or not Path("/dev/net/tun").exists():
        raise HubError("bench edge: needs root, ip and /dev/net/tun")
    line = subprocess.Popen(
        [sys.executable, "-m", "tests.support.weak_line", str(MBIT), str(DELAY_MS), str(LOSS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert line.stdin is not None
    assert line.stdout is not None
    told = line.stdin
    if line.stdout.readline() != "ready\n":
        raise HubError("bench edge: the line could not be made")

    def tell(word: str) -> None:
        told.write(f"{word}\n")
        told.flush()

    try:
        yield tell
    finally:
        told.close()
        line.wait(10)


def sent_bytes() -> int:
    """Return how many bytes have arrived from the edge, headers included."""
    return int(Path(f"/sys/class/net/{NEAR}/statistics/rx_bytes").read_text("utf-8"))


def measure() -> dict[str, Any]:
    """Cut the line, fill the backlog, mend it; return the use of the line, and live delays."""
    folder = Path(tempfile.mkdtemp(prefix="vigil-bench-edge-"))
    with weak_line() as tell:
        hub = Hub(folder / "hub", {"VIGIL_BROKER__HOST": "0.0.0.0", "VIGIL_BROKER__ANONYMOUS": "0"})
        hub.start()
        made = hub.json("credential", "add", "edge", "--kind", "edge", "--hospital", HOSPITAL)
        hub.account("chaos")
        port = hub.settings.broker.port
        url = f"mqtt://{made['user']}:{made['password']}@{NEAR_IP}:{port}"
        edge = Hub(folder / "edge", {"VIGIL_EDGE__HUB": url, "VIGIL_EDGE__HOSPITAL": HOSPITAL})
        edge.prefix = INSIDE
        edge.environment["VIGIL_BROKER__PORT"] = str(free_port())
        edge.start()
        try:
            return _measure(hub, edge, tell)
        finally:
            edge.stop()
            hub.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _measure(hub: Hub, edge: Hub, tell: Callable[[str], None]) -> dict[str, Any]:
    load = [*edge.prefix, sys.executable, "-m", "tests.bench.edge"]
    port = edge.environment["VIGIL_BROKER__PORT"]
    live = subprocess.Popen([*load, "live", port], stdin=subprocess.DEVNULL)
    wall = Wall(hub)
    threading.Thread(target=wall.run, daemon=True).start()
    try:
        time.sleep(15)
        calm = [at - measured for at, measured in wall.seen[-60:]]
        tell("cut")
        subprocess.run([*load, "waves", port], check=True)
        tell("mend")
        _until_arriving()
        began, start, seen = time.monotonic(), sent_bytes(), len(wall.seen)
        time.sleep(20)
        lasted, used = time.monotonic() - began, sent_bytes() - start
        busy = [at - measured for at, measured in wall.seen[seen:]]
        samples = hub.json("doctor")["services"]["recorder"]["counters"]
    finally:
        live.terminate()
        live.wait()
        wall.stopping = True
    return {
        "line_mbit": MBIT,
        "round_trip_ms": 2 * DELAY_MS,
        "loss_percent": LOSS,
        "backlog_chunks": CHUNKS,
        "used_mbit": round(8 * used / lasted / 1e6, 2),
        "used_share": round(8 * used / lasted / 1e6 / MBIT, 3),
        "live_calm_ms": percentiles([1000 * d for d in calm]),
        "live_with_backlog_ms": percentiles([1000 * d for d in busy]),
        "live_shown": len(busy),
        "wave_chunks_stored": samples.get("wave_chunks", -1),
    }


def _until_arriving() -> None:
    """Wait until the edge has found the line again and sends in earnest."""
    until = time.monotonic() + 90
    before = sent_bytes()
    while time.monotonic() < until:
        time.sleep(1)
        now = sent_bytes()
        if now - before > 300_000:
            time.sleep(4)
            return
        before = now
    raise HubError("the edge did not come back within 90 s")


def main(what: str, port: int) -> None:
    """Publish within the namespace: ``waves`` of before, or ``live`` readings until stopped."""
    import numpy as np

    from tests.support.publisher import Publisher

    publisher = Publisher(port, f"bench-{what}")
    if what == "live":
        seq = 0
        while True:
            publisher.numerics(f"{HOSPITAL}/icu/live", seq, {"hr": 70 + seq % 9})
            seq += 1
            time.sleep(0.25)
    start = time.time_ns() - 3_000 * 1_000_000_000
    drawn = np.cumsum(np.random.default_rng(1).integers(-9, 10, 250)).astype(np.int16)
    mids: set[int] = set()
    for number in range(CHUNKS):
        bed = f"{HOSPITAL}/icu/bed-{number % 20:02}"
        mids.add(publisher.waves(bed, number // 20, drawn, start_ns=start))
        if len(mids) >= 4_000:
            publisher.drain(mids, 60)
            mids.clear()
    publisher.drain(mids, 60)
    publisher.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
