"""``python -m tests.chaos``: every fault under load; the last line is JSON.

For each fault: a publisher that keeps its own count, the fault after some seconds, its end, some
seconds more; then what is in the table and in the ledger is compared with what was published.
``recovered_s``: from the fault to the first reading on the wall that was measured after it (of a
fault that lasts, after its end).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from websockets.exceptions import WebSocketException

from tests.chaos import faults
from tests.chaos.faults import FAULTS, Scene
from tests.support.browser import browser, open_socket, sign_in
from tests.support.hub import Hub, free_port
from tests.support.line import Line

BEFORE_S, AFTER_S = 8.0, 22.0
STORED_S = 240.0
RULE = "spo2_extreme_low/spo2"
DISK_MB = {"database": 2_200, "broker": 900}


@dataclass
class Wall:
    """A browser on the wall: when each new reading of one bed was shown."""

    hub: Hub
    seen: list[tuple[float, float]] = field(default_factory=list)
    statuses: set[str] = field(default_factory=set)
    stopping: bool = False

    def run(self) -> None:
        """Sign in, look, and come back when the console is gone."""
        with browser(self.hub.address, timeout=3) as client:
            while not self.stopping:
                try:
                    if "vigil_session" not in client.cookies:
                        sign_in(client, "chaos")
                    with open_socket(client, "/ws/wall", max_size=None, open_timeout=3) as socket:
                        while not self.stopping:
                            self._take(json.loads(socket.recv(timeout=5)))
                except (OSError, WebSocketException, TimeoutError, httpx.HTTPError):
                    time.sleep(0.2)

    def _take(self, frame: dict[str, Any]) -> None:
        self.statuses.add(frame["status"])
        newest = max((bed["v"]["hr"][1] for bed in frame["b"] if "hr" in bed["v"]), default=0)
        if newest:
            self.seen.append((time.time(), newest / 1000))

    def after(self, moment: float) -> float | None:
        """Return how long after a moment the first reading measured after it was shown."""
        for at, measured in self.seen:
            if measured > moment and at > moment:
                return round(at - moment, 2)
        return None


def sql(hub: Hub, query: str, *values: Any) -> list[Any]:
    """Ask the database, waiting for it to be back."""
    until = time.monotonic() + STORED_S
    while True:
        try:
            with psycopg.connect(hub.settings.database_address, connect_timeout=5) as connection:
                return connection.execute(query, values).fetchall()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def stored(hub: Hub, boot: str) -> tuple[int, int]:
    """Return how many readings of a boot are in the table, and how many different ones."""
    [row] = sql(
        hub,
        "SELECT count(*), count(DISTINCT (stream_id, seq)) FROM numerics WHERE stream_id IN"
        " (SELECT id FROM stream WHERE boot = %s)",
        boot,
    )
    return row[0], row[1]


def ledger(hub: Hub, said: dict[str, Any]) -> tuple[int, int]:
    """Return how many episodes have no alert or no end, and how many more than one of either."""
    rows = sql(
        hub,
        "SELECT bed, alert, extract(epoch FROM min(onset_at)),"
        " count(*) FILTER (WHERE kind IN ('fired', 'finding')),"
        " count(*) FILTER (WHERE kind IN ('resolved', 'finding'))"
        " FROM alert_event WHERE rule = %s AND bed = ANY(%s) GROUP BY bed, alert",
        RULE,
        sorted({bed for bed, _, _ in said["episodes"]}),
    )
    lost = doubled = 0
    for bed, begins, ends in said["episodes"]:
        mine = [r for r in rows if r[0] == bed and begins - 1 <= float(r[2]) <= ends + 1]
        lost += not mine or sum(r[4] for r in mine) == 0
        doubled += len(mine) > 1 or any(r[3] > 1 or r[4] > 1 for r in mine)
    return lost, doubled


def try_fault(
    hub: Hub, name: str, asked: argparse.Namespace, mounts: dict[str, Path]
) -> dict[str, Any]:
    """Run one fault; return its counts."""
    fault, needs = FAULTS[name]
    if needs == "mount" and not mounts:
        return {"fault": name, "skipped": "a small disk could not be mounted here"}
    line = Line(hub.settings.broker.port, free_port())
    line.start()
    wall = Wall(hub)
    watching = threading.Thread(target=wall.run, daemon=True)
    watching.start()
    publisher = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.chaos.publisher",
            str(line.port),
            str(asked.rate),
            str(asked.beds),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert publisher.stdin is not None

    def tell(word: str) -> None:
        assert publisher.stdin is not None
        rate = {"rate x10": 10 * asked.rate, "rate x1": asked.rate}.get(word)
        publisher.stdin.write(f"rate {rate}\n" if rate is not None else f"{word}\n")
        publisher.stdin.flush()

    time.sleep(BEFORE_S)
    began = time.time()
    fault(Scene(hub, line, tell, asked.seconds, mounts))
    over = time.time()
    time.sleep(asked.after)
    tell("stop")
    out, _ = publisher.communicate(timeout=STORED_S)
    said = json.loads(out)
    until = time.monotonic() + STORED_S
    rows = distinct = 0
    while time.monotonic() < until:
        rows, distinct = stored(hub, said["boot"])
        if rows >= said["acknowledged"]:
            break
        time.sleep(1)
    time.sleep(8)  # what ends five seconds after the last reading, and its way into the ledger
    rows, distinct = stored(hub, said["boot"])
    lost, doubled = ledger(hub, said) if name not in faults.CLOCKS else (0, 0)
    wall.stopping = True
    watching.join(10)
    line.stop()
    lasted = over - began > 1
    return {
        "fault": name,
        "published": said["acknowledged"],
        "stored": distinct,
        "lost": said["acknowledged"] - distinct,
        "doubled": rows - distinct,
        "unacknowledged": said["sent"] - said["acknowledged"],
        "episodes": len(said["episodes"]) if name not in faults.CLOCKS else 0,
        "alerts_lost": lost,
        "alerts_doubled": doubled,
        "recovered_s": wall.after(over if lasted else began),
        "screen_said": sorted(wall.statuses),
    }


def main() -> None:
    """Run the faults that are named, or all; exit 1 when anything was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rate", type=float, default=5_000, help="messages a second")
    parser.add_argument("--beds", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20, help="how long a lasting fault lasts")
    parser.add_argument("--after", type=float, default=AFTER_S, help="load after a fault's end")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    asked = parser.parse_args()
    names = asked.faults or list(FAULTS)
    unknown = set(names) - FAULTS.keys()
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    folder = Path(tempfile.mkdtemp(prefix="vigil-chaos-"))
    wants = any(FAULTS[name][1] == "mount" for name in names) and faults.in_own_mounts()
    mounts = {
        part: folder / "data" / part
        for part, size in DISK_MB.items()
        if wants and faults.mount_small(folder / "data" / part, size)
    }
    hub = Hub(folder / "data", {"VIGIL_INTAKE__MAX_BEDS": "20000"})
    results: list[dict[str, Any]] = []
    try:
        hub.start()
        hub.account("chaos")
        threading.Thread(target=_swallow, args=(hub,), daemon=True).start()
        for name in names:
            sys.stderr.write(f"{name} …\n")
            results.append(try_fault(hub, name, asked, mounts))
            sys.stderr.write(f"  {json.dumps(results[-1])}\n")
    finally:
        if hub.process is not None:
            hub.process.terminate()
            hub.process.wait(60)
        for mounted in mounts.values():
            faults.unmount(mounted)
    keys = ("lost", "doubled", "unacknowledged", "alerts_lost", "alerts_doubled")
    total = {key: sum(r.get(key, 0) for r in results) for key in ("published", "stored", *keys)}
    found = {"rate": asked.rate, "beds": asked.beds, "faults": results, "total": total}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.exit(any(total[key] for key in keys))


def _swallow(hub: Hub) -> None:
    """Read what the supervisor says, so that it never waits for us; show what went wrong."""
    assert hub.process is not None
    assert hub.process.stdout is not None
    for line in hub.process.stdout:
        sys.stderr.write(f"    {line}")


if __name__ == "__main__":
    # With threads beside it, vfork was seen to fail with "Bad address" (Python 3.11).
    subprocess._USE_VFORK = False  # type: ignore[attr-defined]  # noqa: SLF001
    main()
