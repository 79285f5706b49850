"""The command line and the composition root: the only place that wires services together."""

import asyncio
import csv
import os
import sys
from collections.abc import Coroutine
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import psycopg
import typer
from rich.console import Console
from rich.table import Table

from hub.settings import Settings, load_settings
from schemas.errors import HubError, StoreError

app = typer.Typer(
    help="Vigil 守望: a hub for real-time ICU vital signs. It supplements the bedside alarm.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_options: dict[str, Any] = {}
err = Console(stderr=True)
out = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
LAST_DAY = timedelta(days=1)


@app.callback()
def main(
    data: Annotated[Path | None, typer.Option(help="Data folder (VIGIL_DATA).")] = None,
    settings: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
) -> None:
    """Options that every command takes."""
    _options.update(data=data, file=settings)


def _settings(data: Path | None = None) -> Settings:
    from hub.environment import check_names

    check_names(os.environ)
    return load_settings(_options.get("file"), data=data or _options.get("data"))


def _call(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine; our own errors become one line and exit code 1."""
    import uvloop

    uvloop.run(work)


def run_app() -> None:
    """Entry point: errors of ours are one line, not a traceback."""
    try:
        app()
    except (HubError, OSError, psycopg.OperationalError) as error:
        err.print(f"[red]vigil:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


@app.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    demo: Annotated[
        bool, typer.Option(help="Three simulated hospitals and demo sign-ins.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(help="End the demo after this long.")] = None,
    recording: Annotated[Path | None, typer.Option(help="Replay this CSV in the demo too.")] = None,
) -> None:
    """Start everything on this machine: broker, database, intake, recorder, console."""
    from hub.process import run
    from hub.up import Plan, up

    settings = _settings(data)
    if demo and settings.sites is None:
        from importlib.resources import files

        sites = Path(str(files("simulators").joinpath("demo_sites.toml")))
        settings = settings.model_copy(update={"sites": sites})
    run(lambda stop: up(settings, Plan(demo, seconds, recording), stop), fast=False)


@app.command()
def intake() -> None:
    """Run the intake service: raw messages in, judged readings and alerts out."""
    from hub.logs import configure
    from hub.packs import load_pack
    from hub.process import run
    from hub.sites import load_sites
    from ingest.intake import Intake

    settings = _settings()
    configure("intake", settings.log)
    labels = load_sites(settings.sites).labels()
    service = Intake(settings, load_pack(settings.intake.pack), labels)
    run(service.run)


@app.command()
def recorder() -> None:
    """Run the recorder service: judged readings and alerts into the database."""
    from hub.logs import configure
    from hub.process import run
    from ingest.recorder import Recorder

    settings = _settings()
    configure("recorder", settings.log)
    run(lambda stop: Recorder(settings).run(stop))


@app.command()
def dashboard() -> None:
    """Run the console."""
    from dashboard.app import serve
    from hub.logs import configure
    from hub.sites import load_sites

    settings = _settings()
    configure("dashboard", settings.log)
    serve(settings, load_sites(settings.sites))


@app.command()
def migrate() -> None:
    """Bring the database to this version's tables."""
    from hub.database import migrate

    async def work() -> None:
        applied = await migrate(_settings().database_address)
        out.print("\n".join(applied) or "nothing to do")

    _call(work())


@app.command()
def simulate(
    demo: Annotated[bool, typer.Option(help="The demo's three hospitals.")] = False,
    bed: Annotated[str, typer.Option(help="One bed as hospital/unit/bed.")] = "sim/icu/bed-01",
    scenario: Annotated[str, typer.Option(help="Its story: see --list.")] = "stable",
    beds: Annotated[int, typer.Option(help="This many stable beds instead.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same patients.")] = 1,
    seconds: Annotated[float | None, typer.Option(help="End after this long.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="name=value: drop, duplicate, reorder (shares), outage_from_s, "
            "outage_to_s, clock_step_s, clock_drift_ppm, reboot_at_s."
        ),
    ] = None,
    summary: Annotated[Path | None, typer.Option(help="Write a JSON summary here.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
) -> None:
    """Publish synthetic patients as devices would."""
    from hub.process import run
    from simulators.scenarios import SCENARIOS
    from simulators.service import simulate
    from simulators.wards import FaultRates

    if list_:
        for story in SCENARIOS.values():
            out.print(f"{story.name:14}{', '.join(sorted(story.expects)) or 'no alert'}")
        return
    if scenario not in SCENARIOS:
        raise HubError(f"no scenario {scenario!r}; one of {', '.join(SCENARIOS)}")
    settings = _settings()
    rates = FaultRates(duplicate=0.005, reorder=0.005) if demo else _fault_rates(fault or [])
    patients = _patients(demo, bed, scenario, beds, seed)

    async def work(stop: asyncio.Event) -> None:
        await simulate(
            settings.broker_address,
            patients,
            seed=seed,
            seconds=seconds,
            rates=rates,
            stop=stop,
            summary=summary,
        )

    run(work)


def _patients(demo: bool, bed: str, scenario: str, beds: int, seed: int) -> list[Any]:
    import numpy as np

    from hub.sites import load_sites
    from schemas.topics import check_bed
    from simulators.patients import make_patient
    from simulators.wards import demo_patients

    if demo:
        from importlib.resources import files

        sites = load_sites(Path(str(files("simulators").joinpath("demo_sites.toml"))))
        return demo_patients(list(sites.labels()), seed)
    names = [f"sim/icu/bed-{i + 1:04}" for i in range(beds)] or [check_bed(bed)]
    return [
        make_patient(name, scenario if not beds else "stable", np.random.default_rng([seed, i]))
        for i, name in enumerate(names)
    ]


def _fault_rates(faults: list[str]) -> Any:
    from simulators.wards import FaultRates

    values: dict[str, float] = {}
    for text in faults:
        name, _, number = text.partition("=")
        try:
            values[name] = float(number)
            FaultRates(**{name: values[name]})
        except (ValueError, TypeError):
            raise HubError(
                f"--fault {text!r}: write name=number, see `vigil simulate --help`"
            ) from None
    return FaultRates(**values)


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="CSV: t_seconds, a record name, vitals.")],
    hospital: Annotated[str, typer.Option(help="Beds are HOSPITAL/icu/RECORD.")] = "replay",
    record: Annotated[list[str] | None, typer.Option(help="Only these records.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many records.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write a JSON summary here.")] = None,
) -> None:
    """Publish a recording at 1x with its times shifted to now, one bed a record."""
    from hub.process import run
    from hub.replay import replay_file

    settings = _settings()
    run(
        lambda stop: replay_file(
            settings,
            path,
            hospital=hospital,
            names=record or [],
            limit=limit,
            seconds=seconds,
            summary=summary,
            stop=stop,
            console=err,
        )
    )


@app.command()
def export(
    bed: Annotated[str, typer.Option(help="hospital/unit/bed")],
    start: Annotated[str, typer.Option("--from", help="RFC 3339 time, or e.g. -1h.")] = "-1h",
    end: Annotated[str, typer.Option("--to", help="RFC 3339 time, or now.")] = "now",
    form: Annotated[str, typer.Option("--format", help="csv")] = "csv",
    output: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
) -> None:
    """Write a bed's stored readings, usable or not, with the quality of each."""
    from hub.database import connect
    from hub.export import CSV_COLUMNS, csv_row
    from hub.reads import export_rows

    if form != "csv":
        raise HubError(f"--format {form}: this version writes csv")
    first, last = parse_when(start), parse_when(end)

    async def work() -> None:
        rows = 0
        async with await connect(_settings().database_address) as connection:
            with (
                nullcontext(sys.stdout)
                if output is None
                else output.open("w", encoding="utf-8", newline="") as file
            ):
                writer = csv.writer(file)
                writer.writerow(CSV_COLUMNS)
                async for row in export_rows(connection, bed, first, last):
                    writer.writerow(csv_row(row))
                    rows += 1
        err.print(f"{rows} readings")

    _call(work())


def parse_when(text: str) -> datetime:
    """Return the time that a person means: RFC 3339, ``now``, or ``-90s``, ``-5m``, ``-1h``."""
    from schemas.times import parse_time, to_datetime

    now = datetime.now(UTC)
    if text == "now":
        return now
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    try:
        if text.startswith("-") and text[-1] in units:
            return now - timedelta(**{units[text[-1]]: float(text[1:-1])})
        return to_datetime(parse_time(text))
    except ValueError as error:
        raise HubError(
            f"time {text!r}: {error}; write 2026-11-23T07:00:00+08:00, now, or -1h"
        ) from None


@app.command()
def alerts(
    bed: Annotated[str | None, typer.Option(help="Only this bed.")] = None,
    since: Annotated[str, typer.Option(help="RFC 3339 time, or e.g. -1d.")] = "-1d",
    only_open: Annotated[bool, typer.Option("--open", help="Only those still open.")] = False,
    events: Annotated[bool, typer.Option(help="The ledger, a line a transition.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 1000,
    json: Json = False,
) -> None:
    """List alerts, or with --events the ledger they are made of."""
    name = "select_alert_events" if events else "select_alerts"
    rows = _fetch(
        name,
        bed=bed,
        since=parse_when(since),
        limit=limit,
        **({} if events else {"open": only_open}),
    )
    _print(rows, json, ("onset_at", "bed", "priority", "kind", "zh", "acknowledged_by"))


@app.command()
def rejected(
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many kinds.")] = 200,
    json: Json = False,
) -> None:
    """List what was refused: device, reason, count, and the newest example."""
    rows = _fetch("select_rejected", device=device, limit=limit)
    _print(rows, json, ("last_at", "device", "reason", "count", "detail", "sample"))


def _fetch(name: str, **parameters: Any) -> list[dict[str, Any]]:
    from hub.database import connect
    from hub.reads import fetch

    found: list[dict[str, Any]] = []

    async def work() -> None:
        async with await connect(_settings().database_address) as connection:
            found.extend(await fetch(connection, name, **parameters))

    _call(work())
    return found


def _print(rows: list[dict[str, Any]], json: bool, columns: tuple[str, ...]) -> None:
    if json:
        sys.stdout.write(
            orjson.dumps(rows, option=orjson.OPT_INDENT_2, default=str).decode() + "\n"
        )
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    out.print(table)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone().strftime("%m-%d %H:%M:%S")
    return "" if value is None else str(value)


@app.command()
def doctor(json: Json = False) -> None:
    """Say how every part is: version, address, health, migrations, disk, clocks."""
    from hub.doctor import examine, render

    found: dict[str, Any] = {}

    async def work() -> None:
        found.update(await examine(_settings()))

    _call(work())
    if json:
        sys.stdout.write(
            orjson.dumps(found, option=orjson.OPT_INDENT_2, default=str).decode() + "\n"
        )
    else:
        render(found, out)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command()
def settings(markdown: Annotated[bool, typer.Option(help="As a table for docs.")] = False) -> None:
    """List every setting, its value and what it means; secrets are masked."""
    from hub.environment import rows

    if markdown:
        out.print("| setting | default | meaning |\n| --- | --- | --- |", highlight=False)
        for key, value, meaning in rows(Settings()):
            sys.stdout.write(f"| `{key}` | `{value}` | {meaning} |\n")
        return
    table = Table("setting", "value", "meaning")
    for row in rows(_settings()):
        table.add_row(*row)
    out.print(table)


@app.command()
def vitals(json: Json = False) -> None:
    """List the vitals: name, unit, codes, plausible range, interval, labels."""
    from dataclasses import asdict

    from schemas.vitals import VITALS

    _print(
        [asdict(v) for v in VITALS.values()],
        json,
        ("name", "unit", "mdc", "loinc", "low", "high", "interval_s", "zh", "en"),
    )


@app.command()
def user(
    name: Annotated[str, typer.Argument(help="Sign-in name.")],
    role: Annotated[str, typer.Option(help="Role.")] = "remote-intensivist",
) -> None:
    """Create an account or give it a new password, which is asked for."""
    from hub.accounts import set_account
    from hub.database import connect

    password = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    if len(password) < 8:
        raise StoreError("password: at least 8 characters")

    async def work() -> None:
        async with await connect(_settings().database_address) as connection:
            await set_account(connection, name, password, role)

    _call(work())


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="ingest | wall")],
    beds: Annotated[int, typer.Option(help="How many beds.")] = 1000,
    seconds: Annotated[float, typer.Option(help="How long.")] = 60,
    json: Json = False,
) -> None:
    """Measure the product on this machine, everything embedded running."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout's tests are not installed
    try:
        from tests.bench.benches import render, run_bench
    except ImportError:
        raise HubError("vigil bench runs from a checkout, after `make env`") from None

    result = run_bench(_settings(), what, beds=beds, seconds=seconds)
    if json:
        sys.stdout.write(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        render(result, out)
