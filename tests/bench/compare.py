"""``vigil bench compare``: the yardsticks of ../shared/bench beside the product, interleaved.

Each round measures every candidate once, each on a fresh broker and database of our embedded kind
at the same rate with the same six vitals: the least that Python can cost (``reference``), the flow
that many would build (Node-RED, one INSERT a batch), and the product: everything from raw bytes to
the committed row, with validation, sequence, quality, rules and alerts. CPU is the consumer's; the
product's is intake and recorder together. CPU a message depends on the rate and on the machine:
compare within a round, as a ratio.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import psycopg

from hub import embedded
from hub.settings import BrokerSettings, DatabaseSettings, Settings
from schemas.errors import HubError
from tests.bench import ingest
from tests.bench.stack import free_ports, hub, machine, wait_until

BENCH = Path(__file__).parents[3] / "shared" / "bench"
NODE_RED = Path(sys.prefix) / "node-red"
BEDS = 1000
SETTLE_S = 1.0
DDL = (
    (
        "CREATE TABLE e2e_wide (bed_id int NOT NULL, ts timestamptz NOT NULL, hr real, spo2 real, "
        "rr real, abp_sys real, abp_dia real, temp real)"
    ),
    "CREATE INDEX e2e_wide_bed ON e2e_wide (bed_id, ts DESC)",
)


@contextmanager
def servers() -> Iterator[Settings]:
    """Run an embedded broker and database with nothing of ours beside them."""
    with tempfile.TemporaryDirectory(prefix="vigil-yardstick-") as folder:
        ports = free_ports(3)
        settings = Settings(
            data=Path(folder),
            broker=BrokerSettings(port=ports[0], monitor_port=ports[1]),
            database=DatabaseSettings(port=ports[2]),
        )
        Path(folder).chmod(0o711)
        started = []
        try:
            started += [
                subprocess.Popen(
                    command.args,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    **command.identity(),
                )
                for command in (
                    embedded.nats_command(settings),
                    embedded.postgres_command(settings),
                )
            ]
            wait_until(lambda: _prepared(settings), 20)
            yield settings
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(20)


def _prepared(settings: Settings) -> bool:
    try:
        with psycopg.connect(settings.database_address, autocommit=True) as connection:
            for statement in DDL:
                connection.execute(statement)
    except psycopg.OperationalError:
        return False
    return True


def _publish(settings: Settings, rate: float, seconds: float) -> int:
    """Run the yardsticks' publisher; return how many messages the broker acknowledged."""
    done = subprocess.run(
        [
            sys.executable,
            str(BENCH / "publisher.py"),
            str(settings.broker.port),
            "1",
            str(rate),
            str(seconds),
            str(BEDS),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[4])


def reference(rate: float, seconds: float, *more: str) -> dict[str, Any]:
    """Measure reference.py: raw parser, COPY, acknowledged after the commit."""
    with servers() as settings:
        dsn = f"host=127.0.0.1 port={settings.database.port} user=postgres dbname=postgres"
        environment = os.environ | {"MQPORT": str(settings.broker.port), "REF_DSN": dsn}
        consumer = subprocess.Popen(
            [
                *(sys.executable, str(BENCH / "reference.py"), "raw", "1", "wide", str(seconds)),
                *("late", *more),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert consumer.stdout is not None
        consumer.stdout.readline()
        time.sleep(SETTLE_S)
        sent = _publish(settings, rate, seconds)
        said, _ = consumer.communicate(timeout=60)
        result = json.loads(said.splitlines()[-1])
    return {
        "published": sent,
        "lost": sent - result["committed"],
        "cpu_us": result["cpu_us"],
        "commit_p50_ms": result["p50"],
        "commit_p99_ms": result["p99"],
    }


def _install_node_red() -> str | None:
    """Install Node-RED by name, outside the checkout; return why not, if it cannot be."""
    if shutil.which("npm") is None:
        return "no npm"
    if not (NODE_RED / "node_modules" / "node-red").is_dir():
        NODE_RED.mkdir(exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "node-red@4", "pg@8"],
            cwd=NODE_RED,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.stderr[-300:]
    return None


def node_red(rate: float, seconds: float) -> dict[str, Any]:
    """Measure Node-RED's flow that inserts a batch every quarter of a second."""
    missing = _install_node_red()
    if missing:
        return {"not_measured": missing}
    with servers() as settings, tempfile.TemporaryDirectory(dir=NODE_RED) as user:
        ports = (str(settings.database.port), str(settings.broker.port))
        flow = str(BENCH / "nodered_flow.js")
        subprocess.run(["node", flow, "batch", "1", user, *ports], check=True)
        # Else Node-RED installs pg again at its start, over the network.
        package = '{"name":"flow","private":true,"dependencies":{"pg":"^8"}}'
        (Path(user) / "package.json").write_text(package, "utf-8")
        (Path(user) / "node_modules").symlink_to(NODE_RED / "node_modules")
        web = free_ports(1)[0]
        with (Path(user) / "settings.js").open("a", encoding="utf-8") as file:
            file.write(
                f";module.exports.uiPort={web};module.exports.externalModules="
                "{modules:{allowInstall:false},palette:{allowInstall:false}};"
            )
        start = str(NODE_RED / "node_modules" / "node-red" / "red.js")
        process = subprocess.Popen(
            ["node", start, "-u", user, "-s", str(Path(user) / "settings.js")],
            cwd=NODE_RED,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: _subscribed(settings), 30)
            time.sleep(SETTLE_S)
            _stat(web)
            watched = psutil.Process(process.pid)
            before = sum(watched.cpu_times()[:2])
            sent = _publish(settings, rate, seconds)
            rows = wait_until(lambda: _rows(settings, sent), 20) or _rows(settings, 0)
            used = sum(watched.cpu_times()[:2]) - before
            said = _stat(web)
        finally:
            process.terminate()
            process.wait(20)
    return {
        "published": sent,
        "lost": sent - (rows or 0),
        "cpu_us": round(used / sent * 1e6, 2),
        "commit_p50_ms": round(said.get("p50", 0), 1),
        "commit_p99_ms": round(said.get("p99", 0), 1),
    }


def _subscribed(settings: Settings) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{settings.broker.monitor_port}/connz?subs=1") as answer:
            return b"icu" in answer.read()
    except OSError:
        return False


def _stat(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/stat", timeout=20) as answer:
        return dict(json.load(answer))


def _rows(settings: Settings, wanted: int) -> int | None:
    with psycopg.connect(settings.database_address, autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM e2e_wide").fetchone()
    return row[0] if row and row[0] >= wanted else None


def product(rate: float, seconds: float) -> dict[str, Any]:
    """Measure the product at the same rate, with messages of the same six vitals."""
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder, hub(Path(folder)) as stack:
        found = asyncio.run(
            ingest.ingest(stack, beds=BEDS, rate=rate, seconds=seconds, waves=0, six=True)
        )
    return {
        "published": found["published"],
        "lost": found["lost"],
        "cpu_us": found["cpu_us_per_message"]["services"],
        "commit_p50_ms": found["publish_to_commit_ms"]["p50"],
        "commit_p99_ms": found["publish_to_commit_ms"]["p99"],
        "alert_p99_ms": found["publish_to_alert_ms"].get("p99"),
    }


def compare(*, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure every candidate once a round; return each round, the medians and the ratios."""
    if not BENCH.is_dir():
        raise HubError("bench compare runs the yardsticks in ../shared/bench, which is not here")
    candidates = {
        "reference": lambda: reference(rate, seconds),
        "reference_with_rules": lambda: reference(rate, seconds, "rules"),
        "node_red_batch": lambda: node_red(rate, seconds),
        "vigil": lambda: product(rate, seconds),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name, measure in candidates.items():
            found[name].append(measure())
            sys.stderr.write(f"round {number + 1} {name}: {json.dumps(found[name][-1])}\n")
    cpu = {
        name: statistics.median(result["cpu_us"] for result in results)
        for name, results in found.items()
        if all("cpu_us" in result for result in results)
    }
    ours = cpu["vigil"]
    return {
        "rate_per_s": rate,
        "rounds": found,
        "median_cpu_us": cpu,
        "vigil_over": {n: round(ours / value, 2) for n, value in cpu.items() if n != "vigil"},
        "machine": machine(),
    }
