"""The command line and the composition root: the only place that wires services together."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from rich.markup import escape
from rich.table import Table

from hub import (  # noqa: F401 - their commands register themselves
    cli_access,
    cli_care,
    cli_data,
    cli_export,
    cli_gateway,
    cli_rules,
)
from hub.cli_base import Json, app, call, dump, err, out, read_settings, show
from hub.settings import Settings
from schemas.errors import HubError, StoreError

if TYPE_CHECKING:
    from dashboard.api_alerts import Services
    from dashboard.api_rules import RuleServices
    from hub.sites import Sites


def run_app() -> None:
    """Entry point: errors of ours are one line, not a traceback."""
    try:
        app()
    except (HubError, OSError, UnicodeDecodeError, psycopg.OperationalError) as error:
        err.print(f"[red]vigil:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
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

    settings = read_settings(data)
    if demo and settings.sites is None:
        from importlib.resources import files

        sites = Path(str(files("simulators").joinpath("demo_sites.toml")))
        settings = settings.model_copy(update={"sites": sites})
    run(lambda stop: up(settings, Plan(demo, seconds, recording), stop), fast=False)


@app.command()
def prepare() -> None:
    """Before services that run one by one start: tables, durable sessions, a first account."""
    from hub.up import prepare

    async def work() -> None:
        for line in await prepare(read_settings()):
            out.print(line, highlight=False)

    call(work())


@app.command()
def edge(
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    hub: Annotated[str | None, typer.Option(help="The hub's broker (VIGIL_EDGE__HUB).")] = None,
    hospital: Annotated[
        str | None, typer.Option(help="Whose beds are judged here (VIGIL_EDGE__HOSPITAL).")
    ] = None,
) -> None:
    """Start a hospital's edge: a whole hub of its own that forwards all it judges to another.

    For a hospital on a weak line: its monitors publish here, its nurses are alerted from here,
    line or no line. The hub needs `vigil credential add NAME --kind edge --hospital HOSPITAL`.
    """
    from pydantic import SecretStr

    from hub.process import run
    from hub.up import Plan, up
    from schemas.errors import SettingsError

    settings = read_settings(data)
    given = {"hub": SecretStr(hub) if hub else None, "hospital": hospital}
    told = settings.edge.model_copy(update={k: v for k, v in given.items() if v is not None})
    if told.hub is None or told.hospital is None:
        raise SettingsError("an edge needs --hub mqtts://USER:PASSWORD@HOST:8883 and --hospital")
    settings = settings.model_copy(update={"edge": told})
    run(lambda stop: up(settings, Plan(), stop), fast=False)


@app.command()
def forwarder() -> None:
    """Run the forwarder of an edge: what was judged here, to the hub."""
    from hub.logs import configure
    from hub.process import run
    from ingest.forwarder import Forwarder

    settings = read_settings()
    configure("forwarder", settings.log)
    run(Forwarder(settings).run)


@app.command()
def intake() -> None:
    """Run the intake service: raw messages in, judged readings and alerts out."""
    from hub.logs import configure
    from hub.packs import configured_rules
    from hub.process import run
    from hub.sites import load_sites
    from ingest.intake import Intake

    settings = read_settings()
    configure("intake", settings.log)
    labels = load_sites(settings.sites).labels()
    run(Intake(settings, configured_rules(settings), labels).run)


@app.command()
def recorder() -> None:
    """Run the recorder service: judged readings and alerts into the database."""
    from hub.logs import configure
    from hub.process import run
    from ingest.recorder import Recorder

    settings = read_settings()
    configure("recorder", settings.log)
    run(lambda stop: Recorder(settings).run(stop))


@app.command()
def notifier() -> None:
    """Run the notifier service: alerts to the phones of people on duty."""
    from care.notifier import Notifier, load_people
    from hub.logs import configure
    from hub.process import run

    settings = read_settings()
    configure("notifier", settings.log)
    run(Notifier(settings, load_people(settings.notifier.people)).run)


@app.command()
def dashboard() -> None:
    """Run the console."""
    from dashboard.app import serve
    from hub.logs import configure
    from hub.sites import load_sites

    settings = read_settings()
    configure("dashboard", settings.log)
    sites = load_sites(settings.sites)
    serve(settings, sites, _services(settings, sites), _rule_services(settings))


def _services(settings: Settings, sites: "Sites") -> "Services":
    """Return what the console asks that lies above its layer."""
    from dashboard.api_alerts import Services
    from hub.burden import burden
    from hub.doctor import examine
    from hub.explain import rules_at, why
    from hub.packs import configured_rules
    from schemas.times import to_datetime

    rules = configured_rules(settings)
    labels = sites.labels()
    return Services(
        why=lambda connection, bed, at_ns, rule: why(
            connection, settings, rules, labels, bed, at_ns, rule
        ),
        burden=lambda connection, first, last, bed, scope: burden(
            connection, (to_datetime(first), to_datetime(last)), bed, scope=scope
        ),
        rules=lambda connection, at_ns: rules_at(connection, at_ns, rules),
        system=lambda: examine(settings),
    )


def _rule_services(settings: Settings) -> "RuleServices":
    """Return what the rules' screen asks that lies above the console's layer."""
    from datetime import UTC, datetime

    from dashboard.api_rules import RuleServices
    from hub import trial
    from hub.publish_rules import config_of_files, publish_config

    async def run_trial(
        connection: Any, before: Any, after: Any, wanted: Any, back: Any, advance: Any
    ) -> dict[str, Any]:
        end = datetime.now(UTC)
        start = end - back
        beds = [b for b in await trial.beds_with_data(connection, start) if wanted(b)]
        done = iter(range(1, len(beds) + 1))
        advance(0, len(beds))
        made = await trial.run_trial(
            connection,
            settings,
            (before, after),
            beds,
            (start, end),
            lambda: advance(next(done), len(beds)),
        )
        return trial.summarise(made)

    return RuleServices(
        files=lambda: config_of_files(settings),
        run_trial=run_trial,
        publish=lambda connection, config: publish_config(settings, connection, config),
    )


@app.command()
def migrate() -> None:
    """Bring the database to this version's tables."""
    from hub.database import migrate
    from hub.vault import open_vault

    async def work() -> None:
        settings = read_settings()
        vault = open_vault(settings.data, settings.identity_key)
        applied = await migrate(settings.database_address, vault=vault)
        out.print("\n".join(applied) or "nothing to do")

    call(work())


@app.command()
def simulate(
    demo: Annotated[bool, typer.Option(help="The demo's three hospitals.")] = False,
    bed: Annotated[str, typer.Option(help="One bed as hospital/unit/bed.")] = "sim/icu/bed-01",
    scenario: Annotated[str, typer.Option(help="Its story: see --list.")] = "stable",
    beds: Annotated[int, typer.Option(help="This many stable beds instead.")] = 0,
    waves: Annotated[
        int | None,
        typer.Option(help="So many of them send waveforms; all, or with --beds none."),
    ] = None,
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
    settings = read_settings()
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
            with_waves=(0 if beds else len(patients)) if waves is None else waves,
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
        return demo_patients(list(sites.beds()), seed)
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
def doctor(json: Json = False) -> None:
    """Say how every part is: version, address, health, migrations, disk, clocks."""
    from hub.doctor import examine, render

    found: dict[str, Any] = {}

    async def work() -> None:
        found.update(await examine(read_settings()))

    call(work())
    if json:
        dump(found)
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
    for row in rows(read_settings()):
        table.add_row(*row)
    out.print(table)


@app.command()
def vitals(json: Json = False) -> None:
    """List the vitals: name, unit, codes, plausible range, interval, labels."""
    from dataclasses import asdict

    from schemas.vitals import KNOWN

    show(
        [asdict(v) for v in KNOWN.values()],
        json,
        ("name", "unit", "mdc", "loinc", "low", "high", "interval_s", "zh", "en"),
    )


@app.command()
def user(
    name: Annotated[str, typer.Argument(help="Sign-in name.")],
    role: Annotated[
        str,
        typer.Option(help="county-nurse, charge-nurse, county-physician, … (GET /api/care/roles)."),
    ] = "remote-intensivist",
    scope: Annotated[
        list[str] | None, typer.Option(help="A hospital or hospital/unit they see; default: all.")
    ] = None,
    one_time: Annotated[
        bool, typer.Option(help="Print a password for one sign-in, to be changed then.")
    ] = False,
) -> None:
    """Create an account or give it a new password, which is asked for; its sessions end."""
    from secrets import token_urlsafe

    from care.roles import check_role
    from hub import audit
    from hub.accounts import PASSWORD_LEAST, set_account
    from hub.database import connect
    from schemas.scopes import check_scope

    check_role(role)
    seen = check_scope(scope or [])
    if one_time:
        password = token_urlsafe(12)
    else:
        password = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    if len(password) < PASSWORD_LEAST:
        raise StoreError(f"password: at least {PASSWORD_LEAST} characters")

    async def work() -> None:
        settings = read_settings()
        async with await connect(settings.database_address) as connection:
            await set_account(connection, name, password, role, seen, must_change=one_time)
        audit.note(settings.data, audit.by_command("account", name, role=role))

    call(work())
    if one_time:
        typer.echo(f"{name} / {password}  (for one sign-in)")


@app.command()
def bundle(
    into: Annotated[Path, typer.Argument(help="Folder for the bundle and its archive.")],
) -> None:
    """Make an offline installation for hospitals without internet: for machines of this kind."""
    from hub.bundle import make_bundle

    out.print(str(make_bundle(into, err.print)), highlight=False, soft_wrap=True)


@app.command()
def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="rules, ingest, alerts, fanout, store, query, wall, sweep, pages, compare, edge, "
            "hl7, export, fhir"
        ),
    ],
    beds: Annotated[int, typer.Option(help="How many beds.")] = 1000,
    seconds: Annotated[float, typer.Option(help="How long.")] = 30,
    rate: Annotated[float | None, typer.Option(help="Messages a second; a bed's one.")] = None,
    waves: Annotated[int, typer.Option(help="ingest: beds with waveforms beside them.")] = 0,
    clients: Annotated[
        int, typer.Option(help="fanout: browsers on the wall; hl7: connections.")
    ] = 50,
    days: Annotated[int, typer.Option(help="query, export: days stored.")] = 30,
    rounds: Annotated[int, typer.Option(help="compare: how often each is measured.")] = 3,
    json: Json = False,
) -> None:
    """Measure the product on this machine, everything embedded running."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout's tests are not installed
    try:
        from tests.bench.benches import Options, render, run_bench
    except ImportError:
        raise HubError("vigil bench runs from a checkout, after `make env`") from None

    options = Options(beds, seconds, rate, waves, clients, days, rounds)
    result = run_bench(what, options)
    if json:
        dump(result)
    else:
        render(result, out)
