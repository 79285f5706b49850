"""A hub of its own for a benchmark, and what its processes cost."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hub.settings import Settings, load_settings, sign_in
from schemas.errors import HubError

SERVICES = ("intake", "recorder", "dashboard")
MARKS = {"broker": "nats-server", "database": "postgres"}


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the largest of some milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * q))], 2)
        for name, q in at.items()
    } | {"max": round(ordered[-1], 2)}


def machine() -> dict[str, Any]:
    """Return what a figure depends on and a reader cannot see."""
    return {
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }


@dataclass
class Stack:
    """`vigil up` in a folder of its own, on free ports."""

    settings: Settings
    environment: dict[str, str]
    process: subprocess.Popen[str]

    def pid(self, name: str) -> int:
        """Return the process id of a service, the broker or the database."""
        for child in psutil.Process(self.process.pid).children():
            line = child.cmdline()
            if (MARKS[name] in " ".join(line)) if name in MARKS else line[-1:] == [name]:
                return child.pid
        raise HubError(f"{name} is not running")

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time that each process has used, its children included."""
        found = {}
        for name in (*SERVICES, *MARKS):
            root = psutil.Process(self.pid(name))
            used = sum(root.cpu_times()[:2])
            if name == "database":
                used = 0.0
                for process in [root, *root.children(recursive=True)]:
                    times = process.cpu_times()
                    used += times.user + times.system
                used += root.cpu_times().children_user + root.cpu_times().children_system
            found[name] = used
        return found

    def rss_mb(self) -> dict[str, float]:
        """Return the memory of each service."""
        return {
            name: round(psutil.Process(self.pid(name)).memory_info().rss / 2**20, 1)
            for name in SERVICES
        }

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a `vigil` command, or with `-m` any module, against this hub."""
        command = arguments if arguments[0] == "-m" else ("-m", "hub", *arguments)
        return subprocess.Popen(
            [sys.executable, *command],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, all different."""
    import socket

    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def hub(folder: Path) -> Iterator[Stack]:
    """Run `vigil up` for the time of a benchmark."""
    names = ("BROKER__PORT", "BROKER__MONITOR_PORT", "DATABASE__PORT", "DASHBOARD__PORT")
    own = {f"VIGIL_{name}": str(port) for name, port in zip(names, free_ports(4), strict=True)}
    own |= {"VIGIL_DATA": str(folder), "VIGIL_INTAKE__MAX_BEDS": "20000"}
    own["VIGIL_INTAKE__MAX_DEVICES"] = "40000"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VIGIL_")}
    environment = clean | own
    kept = {k: v for k, v in os.environ.items() if k.startswith("VIGIL_")}
    for key in kept:
        del os.environ[key]
    os.environ.update(own)
    try:
        settings = load_settings()
    finally:
        for key in own:
            del os.environ[key]
        os.environ.update(kept)
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "up"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    else:
        raise HubError(f"the hub did not start: {said}")
    try:
        yield Stack(sign_in(settings), environment, process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def wait_until(ready: Any, timeout_s: float) -> Any:
    """Poll until ``ready()`` is true, or the time is over; return what it gave last."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = ready()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.3)
