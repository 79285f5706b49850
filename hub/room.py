"""How full the journal and the disk are, and how long they last at the pace of late.

The supervisor looks every five seconds and says so like a service does (``broker``); the free space
is remembered for a week, a point each ten minutes, so that ``vigil doctor`` can tell when it ends.

A broker whose disk was full goes on refusing when there is room again (seen with nats-server 2.15:
a block that could not be written stays so); it is started anew then.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from msgspec import Struct, json

from hub.broker import Connection
from hub.clock import now_ns
from hub.health import Reporter
from hub.settings import Settings
from schemas.errors import BrokerError
from schemas.times import S

PERIOD_S, FAILED_S, KEEP_S = 5.0, 2.0, 600.0
"""A service that says nothing for eight seconds counts as silent: so often, not less."""
FULL_BYTES, ROOM_BYTES = 4 << 20, 64 << 20
"""So little is a full disk; so much is room again."""
PATIENCE = 2
"""So many reports in a row that the broker does not take, with room, and it is started anew."""
POINTS = 1_008
REPORT_S = 5.0
LEAST_S = 3_600
"""A pace is told from an hour of points, not less."""
JOURNAL_WARN, DISK_WARN_H, DISK_WARN_FREE = 0.5, 72.0, 0.05
FILE = "disk.json"


class Point(Struct, frozen=True):
    """Free space of the disk at a time."""

    at_s: int
    free: int


def hours_left(points: list[Point]) -> float | None:
    """Return how many hours the disk lasts at the pace between the first and last point.

    None: it does not fill, or is not watched for an hour yet.

    >>> hours_left([Point(0, 100), Point(3600, 90)])
    9.0
    """
    if len(points) < 2 or points[-1].at_s - points[0].at_s < LEAST_S:
        return None
    used = points[0].free - points[-1].free
    if used <= 0:
        return None
    hours = (points[-1].at_s - points[0].at_s) / 3600
    return round(points[-1].free / (used / hours), 1)


def read_points(data: Path) -> list[Point]:
    """Return what is remembered of the disk; nothing when it cannot be read."""
    try:
        return json.decode((data / FILE).read_bytes(), type=list[Point])
    except (OSError, ValueError):
        return []


def remember(data: Path, now_s: int) -> list[Point]:
    """Note the free space now, if the last point is old enough; return all points."""
    points = read_points(data)
    if not points or now_s - points[-1].at_s >= KEEP_S or now_s < points[-1].at_s:
        points = [*points, Point(now_s, shutil.disk_usage(data).free)][-POINTS:]
        (data / FILE).write_bytes(json.encode(points))
    return points


def look_at_broker(port: int) -> dict[str, Any]:
    """Return what the embedded broker says of itself on its monitoring port."""
    with urlopen(f"http://127.0.0.1:{port}/varz", timeout=2) as answer:
        return json.decode(answer.read(), type=dict[str, Any])


def warning(counters: dict[str, float]) -> str:
    """Return what is running out; empty: nothing is."""
    used = counters["journal_mb"] / counters["journal_max_mb"]
    if used > JOURNAL_WARN:
        return f"journal {used:.0%} full: what is published is not stored fast enough"
    hours = counters.get("disk_hours_left")
    if hours is not None and hours < DISK_WARN_H:
        return f"disk full in {hours:.0f} h at the pace of late"
    if counters["disk_free_mb"] < DISK_WARN_FREE * counters["disk_mb"]:
        return f"disk: {counters['disk_free_mb'] / 1024:.1f} GB free"
    return ""


def is_stuck(failed: int, free: int, *, was_full: bool) -> bool:
    """Return whether a broker refuses although its disk, which was full, has room again."""
    return was_full and free > ROOM_BYTES and failed >= PATIENCE


class Room:
    """Looks, and says what it sees as the service ``broker``."""

    def __init__(self, settings: Settings, start_anew: Callable[[], None]) -> None:
        self._settings = settings
        self._start_anew = start_anew
        self._was_full = False
        self._failed = 0
        self._counters: dict[str, float] = {}
        self._reporter = Reporter("broker", lambda: self._counters)

    async def run(self) -> None:
        """Look until told to stop; a look that fails is one that is missing."""
        while True:
            self._was_full |= await asyncio.to_thread(self._free) < FULL_BYTES
            try:
                self._counters = await asyncio.to_thread(self._look)
                self._reporter.detail = warning(self._counters)
                async with (
                    asyncio.timeout(REPORT_S),
                    Connection(self._settings.broker_address, "vigil-room") as connection,
                ):
                    await self._reporter.report(connection)
                self._failed, self._was_full = 0, False
            except (OSError, ValueError, BrokerError, TimeoutError):
                self._failed += 1  # the broker is away: everybody says so already
                free = await asyncio.to_thread(self._free)
                if is_stuck(self._failed, free, was_full=self._was_full):
                    self._was_full, self._failed = False, 0
                    self._start_anew()
            await asyncio.sleep(FAILED_S if self._failed or self._was_full else PERIOD_S)

    def _free(self) -> int:
        """Return the room where the journal is."""
        return shutil.disk_usage(self._settings.data / "broker").free

    def _look(self) -> dict[str, float]:
        data = self._settings.data
        stats = look_at_broker(self._settings.broker.monitor_port).get("jetstream", {})
        stats = stats.get("stats", {})
        points = remember(data, now_ns() // S)
        usage = shutil.disk_usage(data)
        found = {
            "journal_mb": round(stats.get("storage", 0) / 2**20, 1),
            "journal_max_mb": float(self._settings.broker.journal_max_mb),
            "disk_free_mb": round(usage.free / 2**20, 1),
            "disk_mb": round(usage.total / 2**20, 1),
        }
        left = hours_left(points)
        return found if left is None else found | {"disk_hours_left": left}
