"""The one-machine supervisor: broker, database, intake, recorder, console, each its own process.

What crashes is started again, with a growing pause, and the terminal says so. Stopping goes in
order: what sends, then what judges, what stores, what shows, then database and broker.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import psycopg
from rich.console import Console

from care import notifier
from hub import accounts, credentials, demo, embedded
from hub.broker import Connection
from hub.clock import now_ns
from hub.database import connect, migrate
from hub.process import die_with_parent
from hub.reads import Row, fetch
from hub.refusals import watch
from hub.room import Room
from hub.settings import Settings, sign_in
from hub.sites import load_sites
from hub.vault import open_vault
from ingest import forwarder, intake, recorder, wave_recorder
from schemas.access import Service
from schemas.codec import decode_health
from schemas.errors import BrokerError, DecodeError, HubError, SettingsError
from schemas.times import to_datetime
from schemas.topics import HEALTH_FILTER, RAW_FILTERS, WAVES_FILTER
from schemas.wire import Health

READY_S = 60.0
STOP_S = 15.0
BACKOFF_MAX_S = 10.0
STEADY_S = 30.0
LOG_MAX_BYTES = 20_000_000
RELOAD_PERIOD_S = 0.5


@dataclass(slots=True)
class Child:
    """One supervised process. Its output goes to ``log``. ``once``: a clean end is an end."""

    name: str
    command: embedded.Command
    log: Path
    stop_signal: int = signal.SIGTERM
    signs_in_as: Service | None = None
    once: bool = False
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """Starts, watches and stops the processes of one machine."""

    settings: Settings
    console: Console
    environment: dict[str, str]
    children: list[Child] = field(default_factory=list)
    helpers: list[asyncio.Task[None]] = field(default_factory=list)
    stopping: bool = False

    async def start(self, child: Child, ready: Callable[[], Awaitable[None]]) -> None:
        """Start a process and wait until it serves; raise HubError with its last words if not."""
        began = time.monotonic()
        self.children.append(child)
        child.task = asyncio.create_task(self._watch(child), name=f"watch-{child.name}")
        while True:
            if child.task.done() and not child.once:
                child.task.result()  # the watch itself failed: say why
            try:
                async with asyncio.timeout(5):
                    await ready()
                break
            except (OSError, TimeoutError, HubError, psycopg.OperationalError):
                if time.monotonic() - began > READY_S or child.restarts > 2:
                    raise HubError(
                        f"{child.name} did not start; the end of {child.log}:\n{_tail(child.log)}"
                    ) from None
                await asyncio.sleep(0.05)
        self.say(f"[green]✓[/] {child.name} ({time.monotonic() - began:.1f} s)")

    def _environment(self, child: Child) -> dict[str, str]:
        """Return what a process is told: every setting, and the credential that is its own."""
        broker = self.settings.broker
        if broker.url is not None or child.signs_in_as is None:
            return self.environment
        known = credentials.load(self.settings.data)
        return self.environment | {
            "VIGIL_BROKER__USER": child.signs_in_as.value,
            "VIGIL_BROKER__PASSWORD": known.services[child.signs_in_as],
        }

    def sign_in(self) -> Settings:
        """Take note of the secrets that have been made meanwhile; return the settings with them."""
        self.settings = sign_in(self.settings)
        self.environment = _environment(self.settings)
        return self.settings

    def say(self, text: str) -> None:
        """Print one line for the person at the terminal."""
        self.console.print(text, highlight=False)

    async def _watch(self, child: Child) -> None:
        pause = 0.5
        while True:
            started = time.monotonic()
            _rotate(child.log)
            with child.log.open("a", encoding="utf-8") as out:
                child.process = await _spawn(child, out, self._environment(child))
                code = await child.process.wait()
            if self.stopping or (child.once and code == 0):
                return
            pause = 0.5 if time.monotonic() - started > STEADY_S else min(BACKOFF_MAX_S, pause * 2)
            child.restarts += 1
            self.say(
                f"[yellow]! {child.name} ended ({_ending(code)}); "
                f"starting again in {pause:.1f} s[/]"
            )
            await asyncio.sleep(pause)

    def start_anew(self, name: str, why: str) -> None:
        """End a process that no longer does its work; the watch starts it again."""
        for child in self.children:
            if child.name == name and child.process is not None:
                self.say(f"[yellow]! {name} is started anew: {why}[/]")
                child.process.kill()

    async def stop(self, child: Child) -> None:
        """Stop one process: ask, wait, then insist."""
        process = child.process
        if process is not None and process.returncode is None:
            process.send_signal(child.stop_signal)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
                self.say(f"[yellow]! {child.name} had to be killed[/]")
        if child.task is not None:
            child.task.cancel()
            await asyncio.gather(child.task, return_exceptions=True)

    async def stop_all(self) -> None:
        """Stop everything, last started first."""
        self.stopping = True
        for helper in self.helpers:
            helper.cancel()
        await asyncio.gather(*self.helpers, return_exceptions=True)
        for child in reversed(self.children):
            await self.stop(child)
        self.children.clear()


async def _spawn(
    child: Child, out: TextIO, environment: dict[str, str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *child.command.args,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(child.stop_signal),
        **child.command.identity(),
    )


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"


def _rotate(path: Path) -> None:
    """Keep at most two files of ``LOG_MAX_BYTES`` a process."""
    if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
        path.replace(path.with_suffix(".log.1"))


def _tail(path: Path, lines: int = 15) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, lines))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start beside the hub: the demo, for how long, with which recording."""

    demo: bool = False
    seconds: float | None = None
    recording: Path | None = None


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the services: every setting, resolved, as VIGIL_* variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VIGIL_")}
    for key, value in settings.model_dump().items():
        if isinstance(value, dict):
            for inner, setting in value.items():
                if setting is not None:
                    secret = getattr(setting, "get_secret_value", None)
                    environment[f"VIGIL_{key}__{inner}".upper()] = str(
                        secret() if secret else setting
                    )
        elif value is not None:
            environment[f"VIGIL_{key}".upper()] = str(value)
    return environment


async def up(settings: Settings, plan: Plan, stop: asyncio.Event) -> None:
    """Run the hub until ``stop`` is set (or the demo's time is over)."""
    settings = settings.model_copy(update={"data": settings.data.resolve(), "demo": plan.demo})
    if settings.broker.url is None:
        credentials.load(settings.data)
    settings = sign_in(settings)
    console = Console(stderr=False)
    logs = settings.data / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    lock = _lock(settings.data)
    supervisor = Supervisor(settings, console, _environment(settings))
    try:
        work = asyncio.create_task(_up(supervisor, plan, stop, began), name="up")
        halt = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({work, halt}, return_when=asyncio.FIRST_COMPLETED)
        halt.cancel()
        summary = None
        if work.done():
            summary = work.result()
        else:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
    finally:
        supervisor.say("stopping …")
        await supervisor.stop_all()
        lock.close()
    supervisor.say("stopped; nothing is left running")
    if summary is not None:
        sys.stdout.write(json.dumps(summary) + "\n")
        sys.stdout.flush()


def _lock(data: Path) -> TextIO:
    """Take the data folder for ourselves; raise SettingsError if another `vigil up` has it."""
    import fcntl  # noqa: PLC0415 - not on Windows, and only needed here

    file = (data / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise SettingsError(
            f"data folder {data} is in use by another `vigil up`; stop it or set VIGIL_DATA"
        ) from None
    return file


async def _up(
    supervisor: Supervisor, plan: Plan, stop: asyncio.Event, began: float
) -> dict[str, object] | None:
    await _start_embedded(supervisor)
    settings = supervisor.settings
    vault = open_vault(settings.data, settings.identity_key)
    applied = await migrate(settings.database_address, vault=vault)
    if applied:
        supervisor.say(f"[green]✓[/] database migrated ({len(applied)} applied)")
    await _prepare_sessions(settings)
    if settings.broker.url is None:
        log = settings.data / "logs" / "broker.log"
        watching = asyncio.create_task(watch(settings.broker_address, log, stop), name="refusals")
        supervisor.helpers.append(watching)
        room = Room(settings, lambda: supervisor.start_anew("broker", "its disk had been full"))
        supervisor.helpers.append(asyncio.create_task(room.run(), name="room"))
    await _start_services(supervisor)
    signins = await _accounts(settings, demo=plan.demo)
    if plan.demo:
        async with await connect(settings.database_address) as connection:
            await demo.seed(settings, connection, load_sites(settings.sites), vault)
    url = f"http://{settings.dashboard.host}:{settings.dashboard.port}/"
    supervisor.say(f"\n[bold]Vigil 守望[/] is up after {time.monotonic() - began:.1f} s")
    supervisor.say(f"  console   [bold]{url}[/]")
    for line in signins:
        supervisor.say(f"  sign-in   {line}")
    if settings.edge.hub is not None:
        hub = urlsplit(settings.edge.hub.get_secret_value())
        supervisor.say(f"  edge of   {hub.hostname}:{hub.port}, for {settings.edge.hospital}")
    for line in _broker_lines(settings):
        supervisor.say(f"  broker    {line}")
    told = settings.gateway
    if told.hospital is not None:
        supervisor.say(f"  hl7       mllp://{told.host}:{told.port}, monitors of {told.hospital}")
    supervisor.say(f"  data      {settings.data}\n")
    if plan.demo:
        return await _demo(supervisor, plan, url, stop)
    supervisor.say("Ctrl-C stops everything.")
    await stop.wait()
    return None


def _broker_lines(settings: Settings) -> list[str]:
    """Return the broker's address and what a device needs to sign in."""
    parts = urlsplit(settings.broker_address)
    broker = settings.broker
    reached_at = parts.hostname if broker.url is not None else broker.host
    lines = [f"{parts.scheme}://{reached_at}:{parts.port}"]
    if broker.url is None:
        if credentials.lets_anybody(broker):
            lines[0] += "  (devices on this machine need no credential)"
        else:
            lines[0] += "  (devices need one: vigil credential add NAME --hospital HOSPITAL)"
        if parts.scheme == "mqtt" and broker.host not in credentials.OWN_ADDRESSES:
            lines.append("[yellow]! without TLS: set VIGIL_BROKER__TLS_CERT and TLS_KEY[/]")
    return lines


async def _reload(supervisor: Supervisor, child: Child) -> None:
    """Have the broker read its credentials anew whenever they change: nobody else is cut off."""
    settings = supervisor.settings
    written = credentials.written_ns(settings.data)
    while True:
        await asyncio.sleep(RELOAD_PERIOD_S)
        now = credentials.written_ns(settings.data)
        if now == written:
            continue
        written = now
        try:
            embedded.nats_command(settings)
        except (SettingsError, OSError) as error:
            supervisor.say(f"[red]! credentials not read: {error}[/]")
            continue
        if child.process is not None and child.process.returncode is None:
            child.process.send_signal(signal.SIGHUP)
            supervisor.say("[green]✓[/] broker: credentials read anew")


async def _start_embedded(supervisor: Supervisor) -> None:
    settings, logs = supervisor.settings, supervisor.settings.data / "logs"
    if settings.broker.url is None:
        embedded.check_port_free("broker", "VIGIL_BROKER__PORT", settings.broker.port)
        embedded.check_port_free(
            "broker's monitor", "VIGIL_BROKER__MONITOR_PORT", settings.broker.monitor_port
        )
        command = embedded.nats_command(settings)

        async def broker_ready() -> None:
            async with Connection(settings.broker_address, "vigil-up"):
                pass

        child = Child("broker", command, logs / "broker.log")
        await supervisor.start(child, broker_ready)
        supervisor.helpers.append(asyncio.create_task(_reload(supervisor, child), name="reload"))
    if settings.database.url is None:
        await _start_database(supervisor)


async def _start_database(supervisor: Supervisor) -> None:
    settings, logs = supervisor.settings, supervisor.settings.data / "logs"
    embedded.check_port_free("database", "VIGIL_DATABASE__PORT", settings.database.port)
    command = await asyncio.to_thread(embedded.postgres_command, settings)
    settings = supervisor.sign_in()

    async def database_ready() -> None:
        async with await connect(settings.database_address):
            pass

    child = Child("database", command, logs / "database.log", stop_signal=signal.SIGINT)
    await supervisor.start(child, database_ready)


@asynccontextmanager
async def database_there(settings: Settings, *, migrated: bool = True) -> AsyncIterator[Settings]:
    """Have the embedded database serve while a command needs it, when nothing else runs it.

    With a database URL, or while ``vigil up`` runs, there is nothing to do. Yields the settings
    that reach it.
    """
    if settings.database.url is not None or await _answers(settings):
        yield settings
        return
    settings = settings.model_copy(update={"data": settings.data.resolve()})
    (settings.data / "logs").mkdir(parents=True, exist_ok=True)
    lock = _lock(settings.data)
    supervisor = Supervisor(settings, Console(quiet=True), _environment(settings))
    try:
        await _start_database(supervisor)
        now = supervisor.settings
        if migrated:
            await migrate(now.database_address, vault=open_vault(now.data, now.identity_key))
        yield supervisor.settings
    finally:
        await supervisor.stop_all()
        lock.close()


async def _answers(settings: Settings) -> bool:
    try:
        async with await connect(settings.database_address):
            return True
    except psycopg.OperationalError:
        return False


async def _prepare_sessions(settings: Settings) -> None:
    """Make the durable sessions exist before the first publisher: the broker keeps for them."""
    marker = settings.data / "broker" / "sessions"
    sessions: list[tuple[str, tuple[str, ...]]] = [
        (intake.CLIENT_ID, RAW_FILTERS),
        (recorder.CLIENT_ID, recorder.FILTERS),
        (wave_recorder.CLIENT_ID, (WAVES_FILTER,)),
        (notifier.CLIENT_ID, notifier.FILTERS),
    ]
    if settings.edge.hospital is not None:
        sessions += forwarder.sessions(settings.edge.hospital)
    there = "".join(f"{client_id} {' '.join(filters)}\n" for client_id, filters in sessions)
    if marker.exists() and marker.read_text("utf-8") == there:
        return
    for client_id, filters in sessions:
        async with Connection(settings.broker_address, client_id, filters=filters, durable=True):
            pass
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(there, "utf-8")


async def prepare(settings: Settings) -> list[str]:
    """Make what must be there before anybody publishes; return what a person must know of it."""
    applied = await migrate(
        settings.database_address, vault=open_vault(settings.data, settings.identity_key)
    )
    await _prepare_sessions(settings)
    said = [f"database: {len(applied)} migration(s) applied", "broker: durable sessions are there"]
    signins = await _accounts(settings, demo=False)
    return said + [f"sign-in: {line}" for line in signins]


async def _start_services(supervisor: Supervisor) -> None:
    settings, logs = supervisor.settings, supervisor.settings.data / "logs"
    embedded.check_port_free("console", "VIGIL_DASHBOARD__PORT", settings.dashboard.port)
    since = now_ns()

    def healthy(service: str) -> Callable[[], Awaitable[None]]:
        async def ready() -> None:
            found = (await read_health(settings)).get(service)
            if found is None or found.at_ns < since or found.state == "stopped":
                raise HubError(f"{service} has not reported yet")

        return ready

    async def listening() -> None:
        _, writer = await asyncio.open_connection(settings.dashboard.host, settings.dashboard.port)
        writer.close()

    starts = [
        ("recorder", healthy("recorder")),
        ("intake", healthy("intake")),
        ("notifier", healthy("notifier")),
        ("dashboard", listening),
    ]
    if settings.is_edge:
        starts.append(("forwarder", healthy("forwarder")))
    for name, ready in starts:
        await supervisor.start(service_child(name, logs), ready)
    hospital = settings.gateway.hospital
    if hospital is not None:
        ready = healthy(f"gateway-{hospital}")
        await supervisor.start(service_child("gateway", logs, "hl7"), ready)


def service_child(name: str, logs: Path, *arguments: str) -> Child:
    """Return the child process of one of our own commands."""
    command = embedded.Command((sys.executable, "-m", "hub", name, *arguments))
    who = Service.SIMULATOR if name in ("simulate", "replay") else Service(name)
    return Child(name, command, logs / f"{name}.log", signs_in_as=who)


async def read_health(settings: Settings, wait_s: float = 0.3) -> dict[str, Health]:
    """Return what each service last said of itself."""
    found: dict[str, Health] = {}
    async with Connection(
        settings.broker_address, f"vigil-health-{os.getpid()}", filters=(HEALTH_FILTER,)
    ) as connection:
        try:
            async with asyncio.timeout(wait_s):
                async for envelopes in connection.batches():
                    for envelope in envelopes:
                        with suppress(DecodeError):  # forged: who listens counts it
                            health = decode_health(envelope.payload)
                            found[health.service] = health
        except (TimeoutError, BrokerError):
            pass
    return found


async def _accounts(settings: Settings, *, demo: bool) -> list[str]:
    """Have accounts to sign in with; those of the demo are there in the demo alone."""
    async with await connect(settings.database_address) as connection:
        known = accounts.DEMO_ACCOUNTS.items()
        if not demo:
            await accounts.drop_demo(connection)
            password = await accounts.first_account(connection)
            return [f"admin / {password}  (for one sign-in)"] if password else []
        for name, (role, scope) in known:
            if await accounts.find_hash(connection, name) is None:
                await accounts.set_account(connection, name, accounts.DEMO_PASSWORD, role, scope)
        return [
            f"{name} / {accounts.DEMO_PASSWORD}  ({', '.join([role, *scope])})"
            for name, (role, scope) in known
        ]


async def _demo(
    supervisor: Supervisor, plan: Plan, url: str, stop: asyncio.Event
) -> dict[str, object] | None:
    """Run the simulated hospitals; with a time limit, end with a count of what arrived."""
    settings = supervisor.settings
    since = now_ns()
    before = (await read_health(settings, 2.5)).get("intake")
    folder = settings.data / "demo"
    folder.mkdir(exist_ok=True)
    senders: list[tuple[Child, Path]] = []
    commands: list[tuple[str, ...]] = [("simulate", "--demo")]
    if plan.recording is not None:
        commands.append(("replay", str(plan.recording.resolve())))
    for name, *arguments in commands:
        summary = folder / f"{name}.json"
        summary.unlink(missing_ok=True)
        child = service_child(name, settings.data / "logs", *arguments, "--summary", str(summary))
        child.once = True
        await supervisor.start(child, _at_once)
        senders.append((child, summary))
    supervisor.say("three simulated hospitals are sending; two patients will deteriorate.")
    if plan.seconds is None:
        supervisor.say("Ctrl-C stops everything.")
        await stop.wait()
        return None
    for left in range(int(plan.seconds), 0, -1):
        if left % 15 == 0:
            supervisor.say(f"  {left} s to go")
        await asyncio.sleep(1)
    supervisor.stopping = True
    for child, _ in senders:
        await supervisor.stop(child)
    results = [json.loads(path.read_text("utf-8")) for _, path in senders if path.exists()]
    return await _count(supervisor, results, since, before, url)


async def _at_once() -> None:
    """Nothing to wait for."""


async def _count(
    supervisor: Supervisor,
    results: list[dict[str, int]],
    since_ns: int,
    before: Health | None,
    url: str,
) -> dict[str, object]:
    """Wait until what was published is stored, then count."""
    settings = supervisor.settings
    published = sum(result["published"] for result in results)
    boots = [str(result["boot"]) for result in results]
    deadline = time.monotonic() + 30
    stored: Row = {"stored": 0, "beds": 0}
    since = to_datetime(since_ns)
    async with await connect(settings.database_address) as connection:
        while time.monotonic() < deadline:
            stored = (await fetch(connection, "select_run_counts", boots=boots, since=since))[0]
            if stored["stored"] >= published:
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(2.5)  # the services report every two seconds
        events = await fetch(
            connection, "select_alert_events", bed=None, since=since, limit=100_000
        )
    after = (await read_health(settings, 2.5)).get("intake")

    def grown(counter: str) -> int:
        then = before.counters.get(counter, 0) if before else 0
        return int(after.counters.get(counter, 0) - then) if after else -1

    return {
        "published": published,
        "stored": stored["stored"],
        "lost": published - stored["stored"],
        "duplicates_ignored": grown("duplicates_ignored"),
        "rejected": grown("rejected"),
        "alerts_fired": sum(event["kind"] == "fired" for event in events),
        "beds": stored["beds"],
        "console_url": url,
    }
