"""Commands about who gets in: credentials of the message bus, accounts, sessions, the audit."""

from typing import Annotated, Any

import typer

from hub.cli_base import Json, app, dump, out, read_settings, show
from hub.settings import Settings
from schemas.access import Bearer
from schemas.errors import SettingsError

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


def _hand_out(made: Any, token: str, json: bool) -> None:
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
    from hub.clock import now_ns
    from schemas.times import format_time

    settings = _installation()
    known = credentials.load(settings.data)
    if any(c.name == name for c in known.credentials):
        raise SettingsError(f"credential {name!r} exists: `vigil credential rotate {name}`")
    made, token = credentials.add(known, name, kind, tuple(hospital or ()), format_time(now_ns()))
    credentials.save(settings.data, known)
    _hand_out(made, token, json)


@credential.command("rotate")
def rotate_credential(
    name: Annotated[str, typer.Argument(help="Which one.")], json: Json = False
) -> None:
    """Make its successor, valid beside it; revoke the old once the device uses the new."""
    from hub import credentials
    from hub.clock import now_ns
    from schemas.times import format_time

    settings = _installation()
    known = credentials.load(settings.data)
    made, token = credentials.rotate(known, name, format_time(now_ns()))
    credentials.save(settings.data, known)
    _hand_out(made, token, json)


@credential.command("revoke")
def revoke_credential(
    user: Annotated[str, typer.Argument(help="A user (kaihua-icu.2), or a name: all of it.")],
) -> None:
    """End a credential; whoever uses it is cut off within a second."""
    from hub import credentials

    settings = _installation()
    known = credentials.load(settings.data)
    gone = credentials.revoke(known, user)
    credentials.save(settings.data, known)
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


@credential.command("config")
def credential_config() -> None:
    """Print what a NATS server of your own needs to know: users and what each may do."""
    from hub import credentials

    settings = read_settings()
    text = credentials.authorization(credentials.load(settings.data), anonymous=False)
    typer.echo(text, nl=False)
