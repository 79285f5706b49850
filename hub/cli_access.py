"""Commands about who gets in: credentials of the message bus, accounts, sessions, the audit."""

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli_base import (
    Json,
    app,
    call,
    dump,
    open_tables,
    out,
    parse_when,
    read_settings,
    show,
)
from hub.settings import Settings
from schemas.access import Bearer, Service
from schemas.errors import HubError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.credentials import Credential, Known

credential = typer.Typer(
    help="Credentials of the message bus: a gateway, an edge or a reader of some hospitals.",
    no_args_is_help=True,
)
app.add_typer(credential, name="credential")
Hospitals = Annotated[
    list[str] | None, typer.Option("--hospital", help="Whose beds; may be given several times.")
]


def _installation() -> Settings:
    settings = read_settings()
    if settings.broker.url is not None:
        raise SettingsError(
            "broker.url names a broker of your own: `vigil credential config` prints its part"
        )
    return settings


def _hand_out(make: "Callable[[Known, str], tuple[Credential, str]]", json: bool) -> None:
    """Have a credential made, kept and audited; print it with its password, this once."""
    from hub import audit, credentials
    from hub.clock import now_ns
    from schemas.times import format_time

    settings = _installation()
    known = credentials.load(settings.data)
    made, token = make(known, format_time(now_ns()))
    credentials.save(settings.data, known)
    audit.note(settings.data, audit.by_command("credential", made.user))
    if json:
        dump({"user": made.user, "password": token, "hospitals": made.hospitals})
        return
    out.print(f"user      {made.user}\npassword  {token}", highlight=False)
    out.print(f"{made.bearer} of {', '.join(made.hospitals)}; the password is shown this once")


@credential.command("add")
def add_credential(
    name: Annotated[str, typer.Argument(help="What to call it: kaihua-icu.")],
    hospital: Hospitals = None,
    kind: Annotated[Bearer, typer.Option(help="gateway publishes, edge judges, reader hears.")] = (
        Bearer.GATEWAY
    ),
    json: Json = False,
) -> None:
    """Make a credential; its password is shown once. A running broker knows it within a second."""
    from hub import credentials

    def make(known: credentials.Known, made_at: str) -> tuple[credentials.Credential, str]:
        if any(c.name == name for c in known.credentials):
            raise SettingsError(f"credential {name!r} exists: `vigil credential rotate {name}`")
        return credentials.add(known, name, kind, tuple(hospital or ()), made_at)

    _hand_out(make, json)


@credential.command("rotate")
def rotate_credential(
    name: Annotated[str, typer.Argument(help="Which one.")], json: Json = False
) -> None:
    """Make its successor, valid beside it; revoke the old once the device uses the new."""
    from hub import credentials

    _hand_out(lambda known, made_at: credentials.rotate(known, name, made_at), json)


@credential.command("revoke")
def revoke_credential(
    user: Annotated[str, typer.Argument(help="A user (kaihua-icu.2), or a name: all of it.")],
) -> None:
    """End a credential; whoever uses it is cut off within a second."""
    from hub import audit, credentials

    settings = _installation()
    known = credentials.load(settings.data)
    gone = credentials.revoke(known, user)
    credentials.save(settings.data, known)
    for one in gone:
        audit.note(settings.data, audit.by_command("revoke-credential", one.user))
    out.print(f"revoked: {', '.join(c.user for c in gone)}", highlight=False)


@credential.command("list")
def list_credentials(json: Json = False) -> None:
    """List the credentials; passwords are not kept, so they are not here."""
    from hub import credentials

    rows = [
        {
            "user": c.user,
            "kind": c.bearer.value,
            "hospitals": ", ".join(c.hospitals),
            "made_at": c.made_at,
        }
        for c in credentials.load(read_settings().data).credentials
    ]
    show(rows, json, ("user", "kind", "hospitals", "made_at"))


@credential.command("env")
def credential_env(
    service: Annotated[Service, typer.Argument(help="intake, recorder, notifier, …")],
    host: Annotated[str, typer.Option(help="Where the broker is.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.")] = 8883,
    ca: Annotated[str | None, typer.Option(help="Who signed its certificate (PEM).")] = None,
    plain: Annotated[bool, typer.Option(help="Without TLS, within one machine.")] = False,
) -> None:
    """Print the line of a service's environment that signs it in at a broker of your own."""
    from urllib.parse import quote, urlencode

    from hub import credentials

    password = credentials.load(read_settings().data).services[service]
    tail = f"?{urlencode({'ca': ca})}" if ca else ""
    scheme = "mqtt" if plain else "mqtts"
    who = f"{service.value}:{quote(password, safe='')}"
    typer.echo(f"VIGIL_BROKER__URL={scheme}://{who}@{host}:{port}{tail}")


@credential.command("config")
def credential_config() -> None:
    """Print what a NATS server of your own needs to know: users and what each may do."""
    from hub import credentials

    settings = read_settings()
    text = credentials.authorization(credentials.load(settings.data), anonymous=False)
    typer.echo(text, nl=False)


@app.command("forget-edge")
def forget_edge(
    hospital: Annotated[str, typer.Argument(help="A hospital that has no edge any more.")],
) -> None:
    """At the hub: judge a hospital here again; what its edge left open is taken back."""
    import asyncio
    from contextlib import suppress

    from hub.broker import Connection
    from ingest.forwarder import alerts_filter
    from schemas.topics import config_topic

    async def work() -> None:
        found: set[str] = set()
        async with Connection(
            read_settings().broker_address, "vigil-forget-edge", filters=(alerts_filter(hospital),)
        ) as broker:
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    async for envelopes in broker.batches():
                        found |= {e.topic for e in envelopes if e.retain}
                        broker.ack([e.mid for e in envelopes])
            for topic in found:
                await broker.publish(topic, b"", retain=True)
            await broker.publish(config_topic(hospital, "line"), b"", retain=True)
        out.print(f"{hospital}: judged here; {len(found)} open alert(s) of its edge taken back")

    call(work())


session = typer.Typer(help="Open sign-ins: who, since when, from where.", no_args_is_help=True)
app.add_typer(session, name="session")


@session.command("list")
def list_sessions(
    user: Annotated[str | None, typer.Option(help="Of this account alone.")] = None,
    json: Json = False,
) -> None:
    """List the sessions that are open."""
    from hub import accounts

    async def work() -> None:
        async with open_tables(read_settings()) as connection:
            rows = await accounts.list_sessions(connection, user)
        show(rows, json, ("id", "username", "role", "opened_at", "expires_at", "address", "agent"))

    call(work())


@session.command("revoke")
def revoke_session(
    which: Annotated[str | None, typer.Argument(help="The session's id.")] = None,
    user: Annotated[str | None, typer.Option(help="All of this account's.")] = None,
) -> None:
    """End a session, or all of an account's: within ten seconds it is signed out everywhere."""
    from hub import accounts, audit

    if which is None and user is None:
        raise HubError("say which: an id of `vigil session list`, or --user")

    async def work() -> None:
        settings = read_settings()
        async with open_tables(settings) as connection:
            ended = await accounts.revoke_sessions(connection, session=which, username=user)
        audit.note(settings.data, audit.by_command("revoke-session", user or which or ""))
        out.print(f"{len(ended)} session(s) ended")

    call(work())


auditing = typer.Typer(help="The audit: append-only, hash-chained.", no_args_is_help=True)
app.add_typer(auditing, name="audit")


@auditing.command("list")
def list_audit(
    start: Annotated[str, typer.Option("--from", help="RFC 3339, or -1h.")] = "-1d",
    end: Annotated[str, typer.Option("--to", help="RFC 3339, or now.")] = "now",
    who: Annotated[str | None, typer.Option(help="Of this account alone.")] = None,
    target: Annotated[str | None, typer.Option("--object", help="A bed; may end in %.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 200,
    json: Json = False,
) -> None:
    """List who did, saw, changed and exported what, newest first."""
    from hub.reads import fetch

    async def work() -> None:
        asked = {"start": parse_when(start), "end": parse_when(end), "who": who, "object": target}
        async with open_tables(read_settings()) as connection:
            rows = await fetch(connection, "select_audit", **asked, beds=None, limit=limit)
        show(rows, json, ("number", "at", "who", "what", "object", "outcome", "address", "detail"))

    call(work())


@auditing.command("verify")
def verify_audit(json: Json = False) -> None:
    """Check that no line was changed, taken away or exchanged; exit 1 when one was."""
    from msgspec import to_builtins

    from hub import audit

    found: list[audit.Verdict] = []

    async def work() -> None:
        settings = read_settings()
        async with open_tables(settings) as connection:
            found.append(await audit.verify(connection, settings.data))

    call(work())
    [verdict] = found
    if json:
        dump(to_builtins(verdict) | {"ok": verdict.ok})
    else:
        for problem in verdict.problems:
            out.print(f"[red]![/] {problem}", highlight=False)
        words = "every line is as it was written" if verdict.ok else "the audit was changed"
        span = f"{verdict.lines} lines, {verdict.first} to {verdict.last}"
        out.print(f"{span}: {words}", highlight=False)
        if not verdict.checked_end:
            out.print("the end could not be checked: secrets/audit.head is not here")
    if not verdict.ok:
        raise typer.Exit(1)


identity = typer.Typer(help="The key that seals patients' names.", no_args_is_help=True)
app.add_typer(identity, name="identity")


@identity.command("rotate")
def rotate_identity() -> None:
    """Seal every name with a new key; then restart the console. Backups of before need the old."""
    from care.store import seal_anew
    from hub import audit
    from hub.vault import rotate_key

    async def work() -> None:
        settings = read_settings()
        async with open_tables(settings) as connection:
            vault = rotate_key(settings.data, settings.identity_key)
            count = await seal_anew(connection, vault)
        audit.note(settings.data, audit.by_command("rotate-identity-key", lines=count))
        out.print(f"{count} name(s) sealed with a new key")

    call(work())


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="The account that it is for.")],
    days: Annotated[float, typer.Option(help="It holds so long.", min=0.01, max=730)] = 365,
) -> None:
    """Print a token with which a program acts for an account: `Authorization: Bearer TOKEN`.

    It is a session like any other: the console lists it, and ends it.
    """
    from hub import accounts, audit
    from hub.database import connect

    async def work() -> None:
        settings = read_settings()
        async with await connect(settings.database_address) as connection:
            if await accounts.find_hash(connection, name) is None:
                raise HubError(f"account {name}: there is none; `vigil user {name} --role …`")
            made = await accounts.open_session(connection, name, days * 24, agent="vigil token")
        audit.note(settings.data, audit.by_command("token", name))
        typer.echo(made)

    call(work())


@app.command()
def reader(
    name: Annotated[str, typer.Argument(help="What the database account is called.")],
    revoke: Annotated[bool, typer.Option(help="Take it away.")] = False,
) -> None:
    """Make a database account that may read the views in `report` and nothing else.

    For Grafana and other tools of the hospital: docs/integration.md lists the views.
    """
    import re
    from secrets import token_urlsafe

    from psycopg import sql

    from hub import audit
    from hub.database import connect

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or name.startswith(("pg_", "vigil_")):
        raise HubError(f"{name!r}: a-z, 0-9 and _, a letter first; not pg_… or vigil_…")
    password = token_urlsafe(24)

    async def work() -> None:
        settings = read_settings()
        who = sql.Identifier(name)
        async with await connect(settings.database_address) as connection:
            rows = await connection.execute(
                "SELECT NOT rolsuper AND EXISTS (SELECT FROM pg_auth_members"
                " WHERE member = pg_roles.oid AND roleid = 'vigil_report'::regrole)"
                " FROM pg_roles WHERE rolname = %s",
                (name,),
            )
            there = await rows.fetchone()
            if there is not None and not there[0]:
                raise HubError(f"{name}: is another account of the database; choose another name")
            if revoke:
                await connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(who))
            else:
                verb = sql.SQL("CREATE" if there is None else "ALTER")
                await connection.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT 10").format(
                        verb, who, sql.Literal(password)
                    )
                )
                await connection.execute(sql.SQL("GRANT vigil_report TO {}").format(who))
                for setting in (
                    "statement_timeout = '30s'",
                    "search_path = report",
                    "default_transaction_read_only = on",
                ):
                    await connection.execute(
                        sql.SQL("ALTER ROLE {} SET ").format(who) + sql.SQL(setting)
                    )
        audit.note(settings.data, audit.by_command("reader", name, revoke=str(revoke)))
        if not revoke:
            where = settings.database_address.rpartition("@")[2]
            typer.echo(f"postgresql://{name}:{password}@{where}")

    call(work())
