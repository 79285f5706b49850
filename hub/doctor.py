"""``vigil doctor``: every part's version, address, health; migrations, disk, clocks."""

import asyncio
import shutil
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection
from rich.console import Console
from rich.table import Table

from hub.clock import now_ns
from hub.database import PLAIN, TIMESCALE, applied, connect, flavour_of, migrations
from hub.health import VERSION
from hub.reads import fetch
from hub.room import hours_left, look_at_broker, read_points
from hub.settings import Settings
from hub.up import read_health
from schemas.errors import BrokerError
from schemas.times import S, to_datetime

SERVICES = ("intake", "recorder", "dashboard")
STALE_S = 8
DISK_LOW_GB = 2.0
CLOCKS_SHOWN = 50


async def examine(settings: Settings) -> dict[str, Any]:
    """Return the state of every part; ``ok`` is False when something needs a person."""
    found: dict[str, Any] = {"version": VERSION}
    found["broker"], found["services"] = await _broker(settings)
    found["database"] = await _database(settings)
    found["disk"] = _disk(settings)
    nothing = "error" in found["broker"] and "error" in found["database"]
    problems = [
        *("nothing is running here: start `vigil up`" for _ in [0] if nothing),
        *(f"broker: {found['broker']['error']}" for _ in [0] if "error" in found["broker"]),
        *(f"database: {found['database']['error']}" for _ in [0] if "error" in found["database"]),
        *(
            f"{n}: {s['state']} {s['detail']}".strip()
            for n, s in found["services"].items()
            if s["state"] != "running"
        ),
        *(f"database: migration {m} not applied" for m in found["database"].get("pending", [])),
        *(
            f"TimescaleDB: {found['database']['timescaledb']['missing']}"
            for _ in [0]
            if found["database"].get("timescaledb", {}).get("jobs", {}).get("failed")
        ),
        *(
            f"disk: {found['disk']['free_gb']} GB free"
            for _ in [0]
            if found["disk"]["free_gb"] < DISK_LOW_GB
        ),
        *(found["broker"]["warning"] for _ in [0] if found["broker"].get("warning")),
    ]
    found["problems"] = problems
    found["ok"] = not problems
    return found


async def _broker(settings: Settings) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    parts = urlsplit(settings.broker_address)
    broker: dict[str, Any] = {
        "address": f"{parts.hostname}:{parts.port or 1883}",
        "embedded": settings.broker.url is None,
    }
    try:
        health = await read_health(settings, 1.0)
    except BrokerError as error:
        broker["error"] = str(error)
        health = {}
    if settings.broker.url is None:
        broker |= await asyncio.to_thread(_varz, settings.broker.monitor_port)
        if "broker" in health and (now_ns() - health["broker"].at_ns) / S < STALE_S:
            broker["warning"] = health["broker"].detail
    services: dict[str, dict[str, Any]] = {}
    forwards = ["forwarder"] if settings.is_edge else []
    hospital = settings.gateway.hospital
    own = [] if hospital is None else [f"gateway-{hospital}"]
    others = sorted(n for n in health if n.startswith("gateway-") and n not in own)
    for name in [*SERVICES, *forwards, *own, *others]:
        said = health.get(name)
        if said is None:
            services[name] = {"state": "unknown", "detail": "has never reported", "counters": {}}
            continue
        age_s = (now_ns() - said.at_ns) / S
        state = "silent" if said.state != "stopped" and age_s > STALE_S else said.state
        if name in others and state == "silent":
            continue  # it left, and a broker that was killed just then has forgotten that
        services[name] = {
            "state": state,
            "detail": said.detail,
            "version": said.version,
            "pid": said.pid,
            "started_at": to_datetime(said.started_ns),
            "reported_s_ago": round(age_s, 1),
            "counters": said.counters,
        }
    return broker, services


def _varz(port: int) -> dict[str, Any]:
    """Return what the embedded broker says of itself on its monitoring port."""
    try:
        said = look_at_broker(port)
    except (OSError, ValueError):
        return {"version": "unknown: no answer on the monitoring port"}
    stats = said.get("jetstream", {}).get("stats", {})
    return {
        "version": f"nats-server {said.get('version')}",
        "connections": said.get("connections"),
        "journal_mb": round(stats.get("storage", 0) / 2**20, 1),
    }


async def _database(settings: Settings) -> dict[str, Any]:
    parts = urlsplit(settings.database_address)
    out: dict[str, Any] = {
        "address": f"{parts.hostname}:{parts.port or 5432}{parts.path}",
        "embedded": settings.database.url is None,
    }
    try:
        async with await connect(settings.database_address) as connection:
            row = await (
                await connection.execute(
                    "SELECT current_setting('server_version'), pg_database_size(current_database())"
                )
            ).fetchone()
            assert row is not None
            out |= {"version": row[0], "size_mb": round(row[1] / 2**20, 1)}
            known = await applied(connection)
            flavour = await flavour_of(connection) if known else PLAIN
            out["tables"] = flavour
            out["timescaledb"] = await _timescaledb(connection, flavour)
            names = [name for name, _, _ in migrations(flavour)]
            out["migration"] = max(known, default="none")
            out["pending"] = [name for name in names if name not in known]
            if not out["pending"]:
                out["beds"] = await fetch(connection, "select_beds")
                out["device_clocks"] = await fetch(connection, "select_clocks", limit=CLOCKS_SHOWN)
    except psycopg.OperationalError as error:
        out["error"] = str(error).strip().splitlines()[0]
    return out


async def _timescaledb(connection: AsyncConnection, flavour: str) -> dict[str, Any]:
    """Return which TimescaleDB there is, whether it is used, and what is missing for that."""
    row = await (
        await connection.execute(
            "SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),"
            " (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb')"
        )
    ).fetchone()
    assert row is not None
    out: dict[str, Any] = {"installed": row[0], "offered": row[1], "used": flavour == TIMESCALE}
    if flavour == TIMESCALE:
        jobs = await (
            await connection.execute(
                "SELECT count(*) FILTER (WHERE last_run_status = 'Failed'),"
                " count(*) FILTER (WHERE last_run_started_at IS NULL), count(*)"
                " FROM timescaledb_information.job_stats WHERE job_id >= 1000"
            )
        ).fetchone()
        assert jobs is not None
        out["jobs"] = {"failed": jobs[0], "never_run": jobs[1], "all": jobs[2]}
        out["missing"] = f"{jobs[0]} of its jobs failed when last run" if jobs[0] else None
    elif row[1] is None:
        out["missing"] = "not offered by this server: see docs/timescaledb.md for an installation"
    else:
        out["missing"] = (
            "offered, but these tables were made plain: see docs/timescaledb.md for a move"
        )
    return out


def _disk(settings: Settings) -> dict[str, Any]:
    folder = settings.data.resolve()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return {
        "data": str(settings.data.resolve()),
        "free_gb": round(usage.free / 2**30, 1),
        "total_gb": round(usage.total / 2**30, 1),
        "full_in_hours": hours_left(read_points(settings.data)),
    }


def render(found: dict[str, Any], console: Console) -> None:
    """Print the findings for a person."""
    table = Table("part", "state", "about")
    broker, database = found["broker"], found["database"]
    about = f"{broker['address']}  {broker.get('version', '')}"
    table.add_row("broker", broker.get("error", "ok"), about)
    table.add_row(
        "database",
        database.get("error", "ok"),
        f"{database['address']}  PostgreSQL {database.get('version', '?')}, "
        f"tables {database.get('tables', '?')}, migration {database.get('migration')}",
    )
    timescale = database.get("timescaledb", {})
    table.add_row(
        "TimescaleDB",
        f"{timescale.get('installed')}, used" if timescale.get("used") else "not used",
        timescale.get("missing") or "all there",
    )
    for name, service in found["services"].items():
        about = ", ".join(f"{k} {v:g}" for k, v in list(service["counters"].items())[:9])
        table.add_row(name, service["state"], about or service["detail"])
    disk = found["disk"]
    left = disk["full_in_hours"]
    lasts = "" if left is None else f"; full in {left / 24:.1f} days at the pace of late"
    table.add_row("disk", f"{disk['free_gb']} GB free{lasts}", disk["data"])
    for clock in database.get("device_clocks", [])[:5]:
        table.add_row(
            "device clock", f"{clock['offset_ms']} ms", f"{clock['device']} on {clock['bed']}"
        )
    console.print(table)
    for problem in found["problems"]:
        console.print(f"[red]![/] {problem}", highlight=False)
