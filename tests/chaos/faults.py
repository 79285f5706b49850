"""The faults: what each does to a running hub, and how it ends. Loopback and own processes only."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hub import mqtt
from tests.support.hub import Hub
from tests.support.line import Line

POISON = (
    b"",
    b"\xff\xfe",
    b"{",
    b"[" * 5000,
    b'{"v":1,"device":"\\u0000","seq":-1}',
    b'{"v":1,"device":"p","boot":"b","seq":99999999999999999999,"measured_at":1,"vitals":{"hr":NaN}}',
    b'{"v":9}',
    b"x" * 400_000,
)


@dataclass
class Scene:
    """What a fault acts on."""

    hub: Hub
    line: Line
    tell: Callable[[str], None]
    seconds: float
    mounts: dict[str, Path] = field(default_factory=dict)

    def pids(self, *names: str) -> list[int]:
        """Return processes of the hub with all that they started."""
        found = []
        for name in names:
            for pid in self.hub.pids(name):
                with suppress(psutil.NoSuchProcess):
                    found += [pid, *(c.pid for c in psutil.Process(pid).children(recursive=True))]
        return found

    def signal(self, number: int, *names: str) -> None:
        """Send a signal to processes of the hub."""
        for pid in self.pids(*names):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


ALL = ("intake", "recorder", "dashboard", "notifier", "broker", "database")
Fault = Callable[[Scene], None]


def kill(*names: str) -> Fault:
    """Return the fault of processes that die at once, without a word."""

    def fault(scene: Scene) -> None:
        for name in names:
            for pid in scene.hub.pids(name):
                os.kill(pid, signal.SIGKILL)

    return fault


def freeze(*names: str, most_s: float = 1e9) -> Fault:
    """Return the fault of processes that are there and do nothing."""

    def fault(scene: Scene) -> None:
        scene.signal(signal.SIGSTOP, *names)
        time.sleep(min(scene.seconds, most_s))
        scene.signal(signal.SIGCONT, *names)

    return fault


def away(name: str) -> Fault:
    """Return the fault of a process that dies again whenever it is back."""

    def fault(scene: Scene) -> None:
        until = time.monotonic() + scene.seconds
        while time.monotonic() < until:
            for pid in scene.hub.pids(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)

    return fault


def oom(scene: Scene) -> None:
    """The kernel's answer to too little memory: the service that holds most of it is killed."""
    services = [psutil.Process(pid) for n in ("intake", "dashboard") for pid in scene.hub.pids(n)]
    largest = max(services, key=lambda p: p.memory_info().rss)
    os.kill(largest.pid, signal.SIGKILL)


def slow_disk(scene: Scene) -> None:
    """Storage that stands still half of the time."""
    until = time.monotonic() + scene.seconds
    while time.monotonic() < until:
        scene.signal(signal.SIGSTOP, "broker", "database")
        time.sleep(0.12)
        scene.signal(signal.SIGCONT, "broker", "database")
        time.sleep(0.12)


def line_cut(scene: Scene) -> None:
    """A line that breaks, and refuses for a while."""
    scene.line.cut()
    time.sleep(scene.seconds)
    scene.line.mend()


def line_half_open(scene: Scene) -> None:
    """A line that swallows everything without a word."""
    scene.line.hang()
    time.sleep(scene.seconds)
    scene.line.mend()


def line_slow(scene: Scene) -> None:
    """A line that lets little through."""
    scene.line.mend(bytes_per_s=200_000)
    time.sleep(scene.seconds)
    scene.line.mend()


def burst(scene: Scene) -> None:
    """Ten times the load."""
    scene.tell("rate x10")
    time.sleep(min(scene.seconds, 8))
    scene.tell("rate x1")


def clock_step(scene: Scene) -> None:
    """The devices' clocks jump an hour ahead, an hour back, and right again."""
    for offset in (3600, -3600, 0):
        scene.tell(f"clock {offset}")
        time.sleep(min(scene.seconds, 5))


def poison(scene: Scene) -> None:
    """Messages that nobody should have to read, on topics of devices, hub and people."""
    name = b"vigil/v1/chaos-0/icu/bed-0000/"
    with socket.create_connection(("127.0.0.1", scene.hub.settings.broker.port), timeout=5) as line:
        line.sendall(mqtt.connect("poisoner", clean=True, keepalive_s=60))
        line.recv(4)
        for mid, (kind, body) in enumerate(
            [(k, b) for k in (b"numerics", b"status", b"observations", b"x") for b in POISON], 1
        ):
            topic = (name + kind).decode()
            with suppress(OSError):
                line.sendall(mqtt.publish(topic, body, mid, retain=False))
        line.settimeout(3)
        with suppress(OSError):
            while line.recv(65_536):
                pass


def deaf_client(scene: Scene) -> None:
    """Clients that ask for everything and read nothing."""
    lines = []
    for number in range(3):
        line = socket.create_connection(("127.0.0.1", scene.hub.settings.broker.port), timeout=5)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(mqtt.connect(f"deaf-{number}", clean=True, keepalive_s=60))
        line.sendall(mqtt.subscribe(1, "vigil/v1/+/+/+/+", number % 2))
        lines.append(line)
    time.sleep(scene.seconds)
    for line in lines:
        line.close()


def full_disk(part: str) -> Fault:
    """Return the fault of a disk without room under the broker or the database."""

    def fault(scene: Scene) -> None:
        folder = scene.mounts[part]
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for piece in (1 << 20, 4096):
                with suppress(OSError):
                    while file.write(bytes(piece)) == piece:
                        pass
        time.sleep(scene.seconds)
        ballast.unlink()

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "none": (lambda _: None, ""),
    "kill_intake": (kill("intake"), ""),
    "kill_recorder": (kill("recorder"), ""),
    "kill_dashboard": (kill("dashboard"), ""),
    "kill_notifier": (kill("notifier"), ""),
    "kill_broker": (kill("broker"), ""),
    "kill_database": (kill("database"), ""),
    "kill_all": (kill(*ALL), ""),
    "oom_kill": (oom, ""),
    "database_away": (away("database"), ""),
    "database_frozen": (freeze("database"), ""),
    "broker_paused": (freeze("broker", most_s=15), ""),
    "intake_frozen": (freeze("intake", most_s=15), ""),
    "slow_disk": (slow_disk, ""),
    "disk_full_database": (full_disk("database"), "mount"),
    "disk_full_broker": (full_disk("broker"), "mount"),
    "line_cut": (line_cut, ""),
    "line_half_open": (line_half_open, ""),
    "line_slow": (line_slow, ""),
    "burst_10x": (burst, ""),
    "clock_step": (clock_step, ""),
    "poison": (poison, ""),
    "deaf_client": (deaf_client, ""),
}
"""By name: what it does, and what it needs (``mount``: a small disk of its own, so root)."""
CLOCKS = frozenset({"clock_step"})
"""Faults in which the time of an onset is no longer the true one."""


def mount_small(folder: Path, megabytes: int) -> bool:
    """Put a disk of a few megabytes under a folder; return whether that was possible."""
    folder.mkdir(parents=True, exist_ok=True)
    command = shutil.which("mount")
    if os.geteuid() != 0 or command is None:
        return False
    arguments = [command, "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)]
    return subprocess.run(arguments, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Take the small disk away again."""
    command = shutil.which("umount")
    if command is not None:
        subprocess.run([command, "-l", str(folder)], check=False, capture_output=True)


def in_own_mounts() -> bool:
    """Give this process mounts that nobody else sees; return whether the kernel allowed it."""
    clone_newns, ms_rec, ms_private = 0x00020000, 0x4000, 1 << 18
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(clone_newns) != 0:
        return False
    return bool(libc.mount(b"none", b"/", None, ms_rec | ms_private, None) == 0)
