"""A real hub for tests: embedded servers and services on free ports, stopped at the end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from hub import accounts
from hub.settings import Settings, load_settings


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Hub:
    """`vigil up` in a folder of its own."""

    data: Path
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    output: str = ""
    prefix: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ports = {
            name: str(free_port())
            for name in (
                "VIGIL_BROKER__PORT",
                "VIGIL_BROKER__MONITOR_PORT",
                "VIGIL_DATABASE__PORT",
                "VIGIL_DASHBOARD__PORT",
            )
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VIGIL_")}
        self.environment = {**clean, **ports, "VIGIL_DATA": str(self.data), **self.extra}

    @property
    def settings(self) -> Settings:
        """The settings of this hub, as the services see them."""
        before = {k: v for k, v in os.environ.items() if k.startswith("VIGIL_")}
        for key in before:
            del os.environ[key]
        os.environ.update({k: v for k, v in self.environment.items() if k.startswith("VIGIL_")})
        try:
            return load_settings()
        finally:
            for key in [k for k in os.environ if k.startswith("VIGIL_")]:
                del os.environ[key]
            os.environ.update(before)

    @property
    def address(self) -> str:
        """Where this hub's console is."""
        return f"http://127.0.0.1:{self.settings.dashboard.port}"

    def start(self, *arguments: str) -> None:
        """Start and wait until everything serves."""
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "hub", "up", *arguments],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                self.output = "".join(said)
                return
        self.process.wait()
        self.process.stdout.close()
        raise AssertionError("the hub did not start:\n" + "".join(said))

    def stop(self) -> str:
        """Stop with Ctrl-C and return the rest of what it said."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=60)
        self.process = None
        return rest

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one `vigil` command against this hub."""
        return subprocess.run(
            [sys.executable, "-m", "hub", *arguments],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Return what a command with --json prints; None when it could not answer (and said so)."""
        done = self.run(*arguments, "--json")
        assert done.stdout or done.stderr.startswith("vigil:"), done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def account(
        self,
        name: str,
        password: str = "long enough",
        role: str = "remote-intensivist",
        scope: tuple[str, ...] = (),
    ) -> None:
        """Create an account. In a thread of its own: Playwright keeps a loop in this one."""

        async def create() -> None:
            async with await psycopg.AsyncConnection.connect(self.settings.database_address) as c:
                await accounts.set_account(c, name, password, role, scope)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, create()).result()

    def readings(self, bed: str) -> tuple[int, int]:
        """Return how many readings of a bed are stored, and how many of them are different."""
        with psycopg.connect(self.settings.database_address) as connection:
            row = connection.execute(
                "SELECT count(*), count(DISTINCT (stream_id, seq)) FROM numerics "
                "JOIN bed ON bed.id = bed_id WHERE name = %s",
                (bed,),
            ).fetchone()
        assert row is not None
        return (row[0], row[1])

    def pids(self, name: str) -> list[int]:
        """Return the process ids of one of this hub's processes."""
        import psutil

        assert self.process is not None
        marks = {"broker": "nats-server", "database": "postgres"}
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                line = child.cmdline()
            except (psutil.ZombieProcess, psutil.NoSuchProcess):
                continue  # it has just died
            if marks[name] in " ".join(line) if name in marks else line[-1:] == [name]:
                found.append(child.pid)
        return found

    def wait(self, what: str, ready: Any, timeout: float = 30) -> Any:
        """Poll until ``ready()`` is true; fail naming what did not happen."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                found = ready()
            except psycopg.OperationalError:
                found = None  # the database is starting again
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"within {timeout} s this did not happen: {what}")
