"""``vigil replay``: a CSV recording onto the wire at 1x, with a progress bar."""

import asyncio
import json
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hub.settings import Settings
from schemas.errors import RecordingError
from schemas.topics import check_bed
from simulators.recordings import Recordings, bed_name, read_csv
from simulators.service import choose_records, replay

LISTED = 5


def load(path: Path) -> Recordings:
    """Read a CSV recording, gzipped or not; raise RecordingError naming file, line, column."""
    import gzip  # noqa: PLC0415

    try:
        opened = (
            gzip.open(  # noqa: SIM115 - entered just below
                path, "rt", encoding="utf-8", newline=""
            )
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", newline="")
        )
        with opened as file:
            return read_csv(file, path.name)
    except (OSError, EOFError) as error:
        raise RecordingError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: not UTF-8 text; save the CSV as UTF-8") from None


async def replay_file(  # noqa: PLR0913
    settings: Settings,
    path: Path,
    *,
    hospital: str,
    names: list[str],
    limit: int | None,
    seconds: float | None,
    summary: Path | None,
    stop: asyncio.Event,
    console: Console,
) -> None:
    """Replay the chosen records, telling what goes where and how long it takes."""
    found = await asyncio.to_thread(load, path)
    chosen = choose_records(found, names, limit)
    beds = [check_bed(f"{hospital}/icu/{bed_name(record.name)}") for record in chosen]
    if len(set(beds)) != len(beds):
        raise RecordingError(f"{path}: two records have the same bed name; choose with --record")
    span = max(max(r.times) - min(r.times) for r in chosen)
    span = span if seconds is None else min(span, seconds)
    rows = sum(len(record.rows) for record in chosen)
    interval = min(record.interval_s for record in chosen)
    console.print(
        f"{path.name}: {len(chosen)} records, {rows} rows, a row every {interval:g} s; "
        f"at 1x this takes {span / 60:.1f} min"
    )
    for record, bed in list(zip(chosen, beds, strict=True))[:LISTED]:
        console.print(f"  {record.name} → {bed}")
    if len(beds) > LISTED:
        console.print(f"  … and {len(beds) - LISTED} more")
    columns = (TextColumn("{task.completed}/{task.total} rows"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("replay", total=rows)
        result = await replay(
            settings.broker_address,
            found,
            chosen,
            beds,
            stop=stop,
            seconds=seconds,
            on_sent=lambda _due: progress.advance(task),
        )
    result["last_s"] = span
    console.print(
        f"{result['acknowledged']} of {result['messages']} messages acknowledged by the broker"
    )
    if summary is not None:
        await asyncio.to_thread(summary.write_text, json.dumps(result), "utf-8")
