"""``vigil export``: readings, waveforms and events as files that others read."""

import csv
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hub.cli_base import app, call, err, open_tables, read_settings
from hub.cli_data import FOREVER, Run, between
from schemas.errors import HubError

FORMS = ("csv", "parquet", "wfdb")


@app.command()
def export(
    bed: Annotated[
        list[str] | None, typer.Option(help="hospital/unit/bed; may be given several times.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--all", help="All beds of a hospital, a unit, or `hub`.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="RFC 3339 time, or e.g. -1h.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339 time, or now.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="csv, parquet: readings; wfdb: waves and numbers")
    ] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(help="File, folder, or WFDB record; csv of one bed, default: stdout."),
    ] = None,
    channel: Annotated[str | None, typer.Option(help="wfdb: only this channel.")] = None,
    identified: Annotated[
        bool, typer.Option("--identified", help="Files with beds, devices, true dates.")
    ] = False,
    run: Run = None,
) -> None:
    """Write stored readings (csv, parquet), or waveforms, numbers and annotations (wfdb).

    Files are de-identified: pseudonyms for patients, beds and devices, dates shifted by patient, no
    free text. With --identified they are as it was; so is what one bed's csv prints to stdout.
    Without --from and --to: the last hour, and of a run all of it.
    """
    from hub import audit
    from schemas.topics import check_bed

    if form not in FORMS:
        raise HubError(f"--format {form}: {', '.join(FORMS)}")
    if not bed and every is None:
        raise HubError("say what: --bed HOSPITAL/UNIT/BED, or --all HOSPITAL, HOSPITAL/UNIT or hub")
    for one in bed or ():
        check_bed(one)
    times = between(
        start or ("1970-01-02T00:00:00Z" if run else "-1h"), end or (FOREVER if run else "now")
    )
    to_screen = output is None and form == "csv" and every is None and len(bed or ()) == 1
    if output is None and not to_screen:
        what = "two files: name the record" if form == "wfdb" else "many files: name a folder"
        raise HubError(f"this writes {what} with --output")
    if to_screen:
        assert bed is not None
        call(_print_csv(bed[0], times, run))
    else:
        assert output is not None
        call(_write(bed or [], every, times, (form, channel), output, (run, identified)))
    if run is None:
        about = " ".join(bed or [every or ""])
        told = {"start": times[0].isoformat(), "end": times[1].isoformat(), "kind": form}
        told["identified"] = str(identified or to_screen)
        audit.note(read_settings().data, audit.by_command("export", about[:200], **told))


async def _print_csv(bed: str, times: tuple[datetime, datetime], run: str | None) -> None:
    from hub.export import CSV_COLUMNS, csv_row
    from hub.reads import export_rows

    rows = 0
    writer = csv.writer(sys.stdout)
    async with open_tables(read_settings(), run) as connection:
        async for row in export_rows(connection, bed, *times):
            if not rows:
                writer.writerow(CSV_COLUMNS)
            writer.writerow(csv_row(row))
            rows += 1
    if not rows:
        writer.writerow(CSV_COLUMNS)
    err.print(f"{rows} readings" + ("" if rows else "; waveforms: --format wfdb"))


async def _write(
    beds: list[str],
    every: str | None,
    times: tuple[datetime, datetime],
    what: tuple[str, str | None],
    output: Path,
    how: tuple[str | None, bool],
) -> None:
    """Write files, whole or not at all."""
    from care import store
    from hub import exporting, secret_files
    from hub.dataset import Wanted
    from hub.deidentify import KEY

    settings = read_settings()
    run, identified = how
    form, channel = what
    async with open_tables(settings, run) as connection:
        chosen = await exporting.choose(connection, beds, every)
        places = [] if run is not None else await store.read_places(connection)
        key = None if identified else secret_files.key(settings.data, KEY)
        wanted = Wanted(chosen, *times, key)
        if form == "wfdb":
            await exporting.write_wfdb(connection, err, wanted, places, channel, output)
        elif form == "csv" and output.suffix == ".csv":
            await exporting.write_csv(connection, err, wanted, places, output)
        else:
            await exporting.write_dataset(connection, err, wanted, places, (form, output))
