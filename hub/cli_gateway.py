"""Commands of the HL7 gateway: run it, try a file of messages, list the dialects it speaks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hub.cli_base import Json, app, dump, out, read_settings
from schemas.errors import HubError

if TYPE_CHECKING:
    from asyncio import Event

gateway = typer.Typer(
    help="Bedside monitors over HL7 v2: listen for them, try their messages, list dialects.",
    no_args_is_help=True,
)
app.add_typer(gateway, name="gateway")
Hospital = Annotated[
    str | None, typer.Option(help="Whose monitors (VIGIL_GATEWAY__HOSPITAL; default: local).")
]


@gateway.command()
def hl7(
    hospital: Hospital = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port, 2575 by default.")] = None,
    admissions: Annotated[
        bool, typer.Option(help="Take ADT, too: needs the hub's database.")
    ] = True,
) -> None:
    """Listen for monitors over MLLP, and pass on what they say.

    A message is acknowledged when the broker has it. Next to the hub nothing else is needed;
    elsewhere set VIGIL_BROKER__URL to the hub's broker, with a credential of kind gateway.
    """
    from hub.gateway import admissions as take_admissions
    from hub.gateway import site_of
    from hub.logs import configure
    from hub.process import run
    from ingest.gateway import Gateway
    from ingest.hl7.profiles import load_profiles

    settings = read_settings()
    given = {"host": host, "port": port}
    told = settings.gateway.model_copy(update={k: v for k, v in given.items() if v is not None})
    settings = settings.model_copy(update={"gateway": told})
    site, profiles = site_of(settings, hospital), load_profiles(told.profiles)
    configure("gateway", settings.log)

    async def work(stop: "Event") -> None:
        near = settings.broker.url is None or settings.database.url is not None
        if not (admissions and near):
            await Gateway(settings, profiles, site).run(stop)
            return
        async with take_admissions(settings, site.places.hospital) as admit:
            await Gateway(settings, profiles, site, admit).run(stop)

    run(work)


@gateway.command("try")
def try_file(
    file: Annotated[Path, typer.Argument(help="HL7 messages: framed, or one after the other.")],
    hospital: Hospital = None,
    json: Json = False,
) -> None:
    """Say what each segment of a file would become, what would be dropped, and why.

    Nothing is sent. Ends with 0 when the file was understood, also when parts were dropped.
    """
    from hub.clock import now_ns
    from hub.gateway import site_of
    from ingest.hl7.profiles import load_profiles
    from ingest.hl7.reading import describe, frames_in, read_frame
    from ingest.hl7.translate import Memory

    settings = read_settings()
    site, profiles = site_of(settings, hospital), load_profiles(settings.gateway.profiles)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HubError(f"{file}: {error.strerror}") from None
    memory, now = Memory(), now_ns()
    reads = [read_frame(one, profiles, site, memory, now) for one in frames_in(data)]
    if json:
        dump({"messages": [describe(one) for one in reads]})
    else:
        for number, one in enumerate(reads, 1):
            _show(number, describe(one))
    if not any(one.message is not None for one in reads):
        raise HubError(f"{file}: no HL7 message in it; one starts with MSH")


def _show(number: int, one: dict[str, Any]) -> None:
    """Print what became of one message."""
    bed = one["bed"] or f"no bed named: [yellow]unassigned/{one['device']}[/]"
    out.print(
        f"\n[bold]{number}  {one['type'] or '?'}[/]  {one['profile']}  {one['charset']}  "
        f"bed {bed}  device {one['device']}  answer [bold]{one['ack'] or 'none'}[/]",
        highlight=False,
    )
    for text in (*one["notes"], *([one["error"]] if one["error"] else [])):
        out.print(f"   [yellow]{text}[/]", highlight=False)
    table = Table("segment", "became", box=None, pad_edge=False)
    for segment in one["segments"]:
        colour = "red" if segment["became"].startswith("dropped") else "default"
        table.add_row(segment["segment"], f"[{colour}]{segment['became']}[/]")
    out.print(table)


@gateway.command()
def profiles(json: Json = False) -> None:
    """List the dialects in the order in which they are asked."""
    from ingest.hl7.profiles import load_profiles

    found = load_profiles(read_settings().gateway.profiles)
    rows = [
        {
            "name": p.name,
            "title": p.title,
            "recognised by": ", ".join(f"{k} {v.pattern}" for k, v in p.recognise.items()),
            "codes": len(p.codes) + len(p.text),
        }
        for p in found
    ]
    if json:
        dump(rows)
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    out.print(table)
