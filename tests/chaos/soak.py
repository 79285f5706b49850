"""``python -m tests.chaos.soak``: hours of load; the last line is JSON.

Every minute the memory of each service, the delay of an alert, the size of the journal. Memory is
flat when its second half grows by less than ``GROWTH`` an hour over its middle.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.chaos.__main__ import Wall, stored
from tests.support.hub import Hub

SERVICES = ("intake", "recorder", "dashboard", "notifier", "broker")
GROWTH = 0.03


def resident_mb(hub: Hub) -> dict[str, float]:
    """Return the memory of each service."""
    found = {}
    for name in SERVICES:
        for pid in hub.pids(name):
            found[name] = round(psutil.Process(pid).memory_info().rss / 2**20, 1)
    return found


def growth_an_hour(minutes: list[float]) -> float:
    """Return by which share a series grows an hour, from its middle third to its last."""
    third = len(minutes) // 3
    if third < 2:
        return 0.0
    middle, last = median(minutes[third : 2 * third]), median(minutes[2 * third :])
    return round((last / middle - 1) / (third / 60), 4)


def main() -> None:
    """Run the load; exit 1 when memory grows or anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--rate", type=float, default=1_000)
    parser.add_argument("--beds", type=int, default=500)
    asked = parser.parse_args()
    hub = Hub(Path(tempfile.mkdtemp(prefix="vigil-soak-")) / "data")
    hub.start()
    hub.account("chaos")
    wall = Wall(hub)
    threading.Thread(target=wall.run, daemon=True).start()
    publisher = subprocess.Popen(
        [
            sys.executable,
            *("-m", "tests.chaos.publisher", str(hub.settings.broker.port)),
            *(str(asked.rate), str(asked.beds)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    minutes: list[dict[str, Any]] = []
    try:
        until = time.monotonic() + 60 * asked.minutes
        while time.monotonic() < until:
            wall.seen.clear()
            time.sleep(60)
            delays = sorted(at - measured for at, measured in list(wall.seen))
            p99 = round(1000 * delays[int(len(delays) * 0.99)]) if delays else None
            minutes.append({"memory_mb": resident_mb(hub), "shown_p99_ms": p99})
            sys.stderr.write(f"{len(minutes)}: {json.dumps(minutes[-1])}\n")
        out, _ = publisher.communicate("stop\n", timeout=200)
        said = json.loads(out)
        time.sleep(20)
        rows, distinct = stored(hub, said["boot"])
    finally:
        wall.stopping = True
        if publisher.poll() is None:
            publisher.kill()
        hub.stop()
    grows = {
        name: growth_an_hour([m["memory_mb"][name] for m in minutes if name in m["memory_mb"]])
        for name in SERVICES
    }
    result = {
        "minutes": len(minutes),
        "rate": asked.rate,
        "published": said["acknowledged"],
        "lost": said["acknowledged"] - distinct,
        "doubled": rows - distinct,
        "growth_an_hour": grows,
        "first_mb": minutes[0]["memory_mb"],
        "last_mb": minutes[-1]["memory_mb"],
        "shown_p99_ms": [m["shown_p99_ms"] for m in minutes],
    }
    sys.stdout.write(json.dumps(result) + "\n")
    flat = all(value < GROWTH for value in grows.values())
    sys.exit(not (flat and result["lost"] == 0 and result["doubled"] == 0))


if __name__ == "__main__":
    main()
