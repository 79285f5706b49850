"""Commands that read and write data: alerts, refusals, exports, replays and their runs."""

import asyncio
import sys
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from hub.cli_base import (
    Json,
    app,
    call,
    dump,
    err,
    open_tables,
    out,
    parse_when,
    read_settings,
    show,
)
from schemas.errors import HubError

Run = Annotated[str | None, typer.Option("--run", help="Of this run, not of the live beds.")]
FOREVER = "2200-01-01T00:00:00Z"


@app.command()
def backup(
    into: Annotated[
        Path, typer.Argument(help="Folder that gets the backup as a folder of its own.")
    ],
    keep: Annotated[int | None, typer.Option(min=1, help="So many newest backups stay.")] = None,
    json: Json = False,
) -> None:
    """Back up database, secrets, state and configuration while everything goes on.

    It holds every key: keep it as safe as the hub.
    """
    from hub.backup import backup, check

    async def work() -> None:
        made = await backup(read_settings(), into, err.print, keep=keep)
        if json:
            dump({"backup": str(made), **check(made)})
        else:
            out.print(f"backup: {made}", highlight=False, soft_wrap=True)

    call(work())


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `vigil backup` made.")],
    check_only: Annotated[bool, typer.Option("--check", help="Only verify the checksums.")] = False,
) -> None:
    """Restore a backup into an empty data folder; then `vigil up`."""
    from hub import backup

    async def work() -> None:
        if check_only:
            manifest = backup.check(source)
        else:
            manifest = await backup.restore(read_settings(), source, err.print)
        out.print(f"{manifest['made_at']}, Vigil {manifest['vigil']}: whole", highlight=False)

    call(work())


@app.command()
def alerts(
    bed: Annotated[str | None, typer.Option(help="Only this bed.")] = None,
    since: Annotated[str | None, typer.Option(help="RFC 3339 time, or e.g. -1d.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those still open.")] = False,
    events: Annotated[bool, typer.Option(help="The ledger, a line a transition.")] = False,
    canonical: Annotated[
        bool, typer.Option(help="The ledger as JSON lines, without what a clock on a wall decided.")
    ] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 1000,
    run: Run = None,
    json: Json = False,
) -> None:
    """List alerts, or with --events or --canonical the ledger they are made of.

    Without --since: of the last day, and of a run all of it.
    """
    first = parse_when(since or ("1970-01-02T00:00:00Z" if run or canonical else "-1d"))
    if canonical:
        rows = _fetch("select_ledger", run, bed=bed, since=first, until=parse_when(FOREVER))
        for row in rows:
            sys.stdout.write(orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode() + "\n")
        return
    name = "select_alert_events" if events else "select_alerts"
    rows = _fetch(
        name,
        run,
        bed=bed,
        since=first,
        limit=limit,
        **({} if events else {"open": only_open, "scope": None, "until": None}),
    )
    if events:
        columns: tuple[str, ...] = (
            "at",
            "bed",
            "rule",
            "kind",
            "role",
            "muted_by",
            "reason",
            "done_by",
            "zh",
            "alert",
        )
    else:
        columns = ("onset_at", "bed", "priority", "kind", "rule", "zh", "acknowledged_by", "alert")
    show(rows, json, columns)


@app.command()
def rejected(
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many kinds.")] = 200,
    run: Run = None,
    json: Json = False,
) -> None:
    """List what was refused: device, reason, count, and the newest example."""
    rows = _fetch("select_rejected", run, device=device, limit=limit)
    show(rows, json, ("last_at", "device", "reason", "count", "detail", "sample"))


def _fetch(name: str, run: str | None = None, **parameters: Any) -> list[dict[str, Any]]:
    from hub.reads import fetch

    found: list[dict[str, Any]] = []

    async def work() -> None:
        async with open_tables(read_settings(), run) as connection:
            found.extend(await fetch(connection, name, **parameters))

    call(work())
    return found


@app.command()
def replay(
    path: Annotated[
        Path | None, typer.Argument(help="CSV (t_seconds, a record name, vitals) or WFDB record.")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(help="1: onto the wire. Another number, or max: a run.")
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Name of the run.")] = None,
    bed: Annotated[str | None, typer.Option(help="Replay this stored bed instead.")] = None,
    start: Annotated[str, typer.Option("--from", help="RFC 3339 time, or e.g. -8h.")] = "-1h",
    end: Annotated[str, typer.Option("--to", help="RFC 3339 time, or now.")] = "now",
    hospital: Annotated[str, typer.Option(help="Beds are HOSPITAL/icu/RECORD.")] = "replay",
    record: Annotated[list[str] | None, typer.Option(help="Only these records.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave this CSV column out.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many records.")] = None,
    seconds: Annotated[float | None, typer.Option(help="At 1x, stop after this long.")] = None,
    pack: Annotated[Path | None, typer.Option(help="Rules to try in the run (TOML).")] = None,
    summary: Annotated[Path | None, typer.Option(help="At 1x, write a JSON summary here.")] = None,
    json: Json = False,
) -> None:
    """Replay a recording or a stored bed.

    At 1x (the default for files) as a device on the wire, its times shifted to now. At any other
    speed, or with --run, through the same rules by the recording's own clock, into a run of its
    own: `vigil alerts --run ID`, `vigil export --run ID`.
    """
    from hub.packs import configured_rules
    from hub.replay import Choice, replay_file, replay_stored, run_file, run_stored
    from hub.runs import Plan, new_id, schema_of
    from hub.sites import load_sites
    from hub.up import database_there

    if (path is None) == (bed is None):
        raise HubError("give a file to replay, or --bed with --from and --to")
    times = _speed(speed or ("1" if bed is None and run_id is None and pack is None else "max"))
    if run_id is not None:
        schema_of(run_id)
    choice = Choice(hospital, tuple(record or ()), limit, tuple(ignore or ()))
    settings = read_settings()
    times_between = between(start, end)

    async def wire(stop: asyncio.Event) -> None:
        more: dict[str, Any] = {
            "seconds": seconds,
            "summary": summary,
            "stop": stop,
            "console": err,
        }
        if path is not None:
            await replay_file(settings, path, choice, **more)
        else:
            assert bed is not None
            await replay_stored(settings, bed, times_between, choice, **more)

    async def make(stop: asyncio.Event) -> None:
        rules = configured_rules(settings, pack)
        plan = Plan(run_id or new_id(), rules, load_sites(settings.sites).labels(), times)
        async with database_there(settings) as there:
            work = (
                run_file(there, path, choice, plan, err)
                if path is not None
                else run_stored(there, bed or "", times_between, plan, err)
            )
            result = await _until_stopped(work, stop)
        if json:
            sys.stdout.write(orjson.dumps(result, default=str).decode() + "\n")
        elif result is not None:
            out.print(
                f"run {result['run']}: {result['readings']} readings, {result['samples']} waveform "
                f"samples, {result['alert_events']} alert events, {result['rejected']} rejected",
                highlight=False,
                soft_wrap=True,
            )

    from hub.process import run as run_process

    on_the_wire = times == 1 and run_id is None and pack is None
    run_process(wire if on_the_wire else make, fast=on_the_wire)


def between(start: str, end: str) -> tuple[datetime, datetime]:
    """Return two times in their order; raise HubError when they are not."""
    first, last = parse_when(start), parse_when(end)
    if first >= last:
        raise HubError(f"--from {start} is not before --to {end}")
    return first, last


def _speed(text: str) -> float | None:
    """Return the speed as a number; None for max."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < inf:
        raise HubError(f"--speed {text!r}: a number above 0, or max")
    return speed


async def _until_stopped(work: Any, stop: asyncio.Event) -> Any:
    """Return what ``work`` gives; when ``stop`` is set first, cancel it and let it clean up."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise HubError("stopped; the run was taken away")
    return task.result()


@app.command()
def runs(
    delete: Annotated[str | None, typer.Option(help="Take this run away.")] = None,
    json: Json = False,
) -> None:
    """List the runs that replays made, or take one away."""
    from hub.runs import drop_run, list_runs, schema_of

    found: list[dict[str, Any]] = []

    async def work() -> None:
        async with open_tables(read_settings(), None) as connection:
            if delete is not None:
                schema_of(delete)
                if delete not in {row["id"] for row in await list_runs(connection)}:
                    raise HubError(f"no run {delete}; `vigil runs` lists them")
                await drop_run(connection, delete)
                err.print(f"run {delete} was taken away")
            found.extend(await list_runs(connection))

    call(work())
    for row in found:
        row["state"] = "finished" if row["finished_at"] else "unfinished"
    columns = ("id", "created_at", "state", "source", "speed", "pack")
    show(found, json, (*columns, "readings", "samples", "alert_events", "rejected"))
