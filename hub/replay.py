"""``vigil replay``: recordings and stored beds, at 1x onto the wire, else as a run of their own."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hub.broker import Connection
from hub.clock import now_ns
from hub.database import connect
from hub.reads import Row, export_rows, fetch
from hub.runs import Plan, Source, make_run
from hub.settings import Settings
from hub.waves import Segment, read_waves
from ingest.rerun import Arrival
from schemas.codec import (
    decode_care,
    decode_command,
    decode_device_alarm,
    decode_observation,
)
from schemas.errors import BrokerError, HubError, RecordingError
from schemas.times import MS, S, from_datetime, to_datetime
from schemas.topics import Kind, Topic, check_bed
from schemas.vitals import COMMON_NAMES, DEVICE_QUALITIES, Quality, unpack_status
from schemas.waves import WaveChunk, chunk_size
from schemas.wire import Reading, StatusMessage
from simulators.faults import Item
from simulators.recordings import (
    EPOCH_NS,
    Recording,
    Recordings,
    WaveSource,
    bed_name,
    read_csv,
    to_chunks,
    to_readings,
)
from simulators.service import LIVE_CHUNK_S, choose_records, publish_items
from simulators.wfdb_records import read_wfdb

LISTED = 5
MAX_BYTES = 2_000_000_000
RUN_BOOT = "run"
RUN_CHUNK_S = 10.0
WFDB_SUFFIXES = (".hea", ".dat", ".mat")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of a recording goes to which beds."""

    hospital: str = "replay"
    records: tuple[str, ...] = ()
    limit: int | None = None
    ignore: tuple[str, ...] = ()


def load(path: Path, ignore: tuple[str, ...] = ()) -> Recordings:
    """Read a CSV recording (gzipped or not) or a WFDB record.

    Raises RecordingError naming file, line, column and fix; nothing has been done then.
    """
    if path.suffix in WFDB_SUFFIXES or path.with_suffix(".hea").is_file():
        return read_wfdb(path)
    if path.is_dir():
        raise RecordingError(f"{path}: is a directory; name a CSV file or a WFDB header (.hea)")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecordingError(
                f"{path}: {path.stat().st_size / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:g} GB are "
                "read at once: split the file by record"
            )
        opened = (
            gzip.open(  # noqa: SIM115 - entered just below
                path, "rt", encoding="utf-8", newline=""
            )
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", newline="")
        )
        with opened as file:
            return read_csv(file, path.name, ignore)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"{path}: {error}; copy the file again") from None
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: not UTF-8 text; save the CSV as UTF-8") from None


def _chosen(path: Path, choice: Choice, console: Console) -> list[tuple[Recording, str]]:
    """Return the records to replay, each with its bed, and tell of them."""
    found = load(path, choice.ignore)
    chosen = choose_records(found, list(choice.records), choice.limit)
    beds = [check_bed(f"{choice.hospital}/icu/{bed_name(record.name)}") for record in chosen]
    if len(set(beds)) != len(beds):
        twice = next(bed for bed in beds if beds.count(bed) > 1)
        raise RecordingError(f"{path}: two records make the bed {twice}; choose with --record")
    rows = sum(len(record.times) for record in chosen)
    samples = sum(len(wave.samples) for record in chosen for wave in record.waves)
    span = max(record.last_s - record.first_s for record in chosen)
    what = [f"{len(chosen)} records"]
    if rows:
        interval = min(record.interval_s for record in chosen)
        what.append(f"{rows} rows, a row every {interval:g} s")
    if samples:
        what.append(f"{samples} waveform samples")
    console.print(f"{path.name}: {', '.join(what)}; at 1x this takes {span / 60:.1f} min")
    for record, bed in list(zip(chosen, beds, strict=True))[:LISTED]:
        console.print(f"  {record.name} → {bed}")
    if len(beds) > LISTED:
        console.print(f"  … and {len(beds) - LISTED} more")
    for note in found.notes[:LISTED]:
        console.print(f"  note: {note}", highlight=False)
    if len(found.notes) > LISTED:
        console.print(f"  … and {len(found.notes) - LISTED} more notes")
    return list(zip(chosen, beds, strict=True))


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


async def replay_file(
    settings: Settings,
    path: Path,
    choice: Choice,
    *,
    seconds: float | None,
    summary: Path | None,
    stop: asyncio.Event,
    console: Console,
) -> None:
    """Publish the chosen records at 1x, their times shifted to now, a bed a record."""
    chosen = await asyncio.to_thread(_chosen, path, choice, console)
    start = now_ns() // MS * MS
    boot = _boot(start)
    streams: list[Iterable[Item]] = []
    for record, bed in chosen:
        streams.append(to_readings(record, bed, boot=boot, start_ns=start))
        streams += [
            to_chunks(record, bed, boot=boot, start_ns=start, channel=channel, chunk_s=LIVE_CHUNK_S)
            for channel in _channels(record)
        ]
    span = max(record.last_s - record.first_s for record, _ in chosen)
    interval = min(record.interval_s for record, _ in chosen)
    devices = {bed: f"replay-{bed_name(record.name)}" for record, bed in chosen}
    await _publish(
        settings,
        streams,
        devices,
        boot=boot,
        span_s=span,
        interval_s=interval,
        seconds=seconds,
        summary=summary,
        stop=stop,
        console=console,
    )


def _boot(start_ns: int) -> str:
    """Return a boot id of its own for a replay that starts now: its numbers begin at 0 again."""
    return f"b{start_ns // S:x}-{start_ns // MS % 1000:03}"


def _channels(record: Recording) -> list[str]:
    return list(dict.fromkeys(wave.channel for wave in record.waves))


async def _publish(  # noqa: PLR0913 - what a replay is
    settings: Settings,
    streams: list[Iterable[Item]],
    devices: dict[str, str],
    *,
    boot: str,
    span_s: float,
    interval_s: float,
    seconds: float | None,
    summary: Path | None,
    stop: asyncio.Event,
    console: Console,
) -> None:
    try:
        async with Connection(settings.broker_address, f"vigil-replay-{boot}"):
            pass
    except BrokerError as error:
        raise HubError(f"{error}; start `vigil up`, or replay into a run: --speed max") from None
    start = now_ns()
    lasts = min(span_s, span_s if seconds is None else seconds)
    columns = (TextColumn("{task.fields[sent]} messages"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("replay", total=max(lasts, 1.0), sent=0)

        def on_sent(due_ns: int) -> None:
            sent = progress.tasks[0].fields["sent"] + 1
            progress.update(task, completed=(due_ns - start) / S, sent=sent)

        result = await publish_items(
            settings.broker_address,
            streams,
            devices,
            boot=boot,
            until_ns=None if seconds is None else start + int(seconds * S),
            interval_s=interval_s,
            stop=stop,
            on_sent=on_sent,
        )
    result["last_s"] = span_s
    console.print(
        f"{result['acknowledged']} of {result['messages']} messages acknowledged by the broker"
    )
    if summary is not None:
        await asyncio.to_thread(summary.write_text, json.dumps(result), "utf-8")


async def run_file(
    settings: Settings, path: Path, choice: Choice, plan: Plan, console: Console
) -> Row:
    """Replay a recording into a run, by its own clock; return what it gave."""
    chosen = await asyncio.to_thread(_chosen, path, choice, console)
    arrivals: list[Arrival] = []
    chunks: list[Iterator[WaveChunk]] = []
    for record, bed in chosen:
        start = EPOCH_NS if record.began_ns is None else record.began_ns
        arrivals += file_arrivals(record, bed, start)
        chunks += [
            to_chunks(
                record, bed, boot=RUN_BOOT, start_ns=start, channel=channel, chunk_s=RUN_CHUNK_S
            )
            for channel in _channels(record)
        ]
    total = len(arrivals) + _count_chunks(wave for record, _ in chosen for wave in record.waves)
    source = Source(path.name, arrivals, chain.from_iterable(chunks))
    return await _make(settings, plan, source, total, console)


def file_arrivals(record: Recording, bed: str, start_ns: int) -> Iterator[Arrival]:
    """Yield a record's rows, and the word of its device that monitoring ended with the last."""
    hospital = bed.partition("/")[0]
    topic = Topic(hospital, bed, Kind.NUMERICS)
    last: Reading | None = None
    for reading in to_readings(record, bed, boot=RUN_BOOT, start_ns=start_ns):
        last = reading
        yield Arrival(reading.received_ns, topic, reading)
    if last is not None:
        ended = StatusMessage(1, last.device, "ended")
        yield Arrival(
            last.received_ns + int(last.interval_s * S), Topic(hospital, bed, Kind.STATUS), ended
        )


async def _make(
    settings: Settings, plan: Plan, source: Source, total: int, console: Console
) -> Row:
    with _progress(console) as progress:
        task = progress.add_task("run", total=max(total, 1))
        return await make_run(
            settings,
            plan,
            source,
            lambda count: progress.advance(task, count),
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of a bed between two times: what the hub decided from, and its waves."""

    bed: str
    arrivals: list[Arrival]
    segments: list[Segment]


async def read_stored(
    connection: AsyncConnection, bed: str, start: datetime, end: datetime
) -> Stored:
    """Return a bed's inputs and waveforms between two times; raise as :func:`read_inputs` does."""
    arrivals = await read_inputs(connection, bed, start, end)
    return Stored(bed, arrivals, await read_waves(connection, bed, start, end))


async def read_inputs(
    connection: AsyncConnection, bed: str, start: datetime, end: datetime
) -> list[Arrival]:
    """Return what rules decide from of a bed; raise StoreError when the bed was never seen."""
    hospital = bed.partition("/")[0]
    arrivals = [
        Arrival(from_datetime(row["received_at"]), Topic(hospital, bed, Kind.NUMERICS), reading)
        async for row in export_rows(connection, bed, start, end)
        for reading in [_stored_reading(bed, row)]
    ]
    asked = {"bed": bed, "start": start, "end": end}
    for row in await fetch(connection, "select_statuses", **asked):
        status = StatusMessage(1, row["device"], row["state"], None, row["interval_s"])
        at = from_datetime(row["received_at"])
        arrivals.append(Arrival(at, Topic(hospital, bed, Kind.STATUS), status))
    for row in await fetch(connection, "select_inputs", hospital=hospital, **asked):
        arrivals += stored_inputs(bed, row)
    return arrivals


def stored_inputs(bed: str, row: Row) -> list[Arrival]:
    """Return a stored input as it came; a hospital's configuration without its ladders.

    A replay calls nobody: who would have been told depends on who was connected then.
    """
    hospital, at, kind = bed.partition("/")[0], from_datetime(row["received_at"]), row["kind"]
    topic = Topic(hospital, bed, Kind.COMMANDS)
    body = bytes(row["body"])
    if kind == "config/care":
        config = decode_care(body)
        return [Arrival(at, topic, replace(config, units={}))]
    if kind == Kind.COMMANDS:
        return [Arrival(at, topic, decode_command(body))]
    if kind == Kind.OBSERVATIONS:
        return [Arrival(at, topic, decode_observation(body))]
    return [Arrival(at, topic, decode_device_alarm(body))] if kind == Kind.DEVICE_ALARMS else []


def _stored_reading(bed: str, row: dict[str, Any]) -> Reading:
    """Return a stored row as the reading that came: without the hub's own judgement of it."""
    flags = unpack_status(row["status"], row["status2"])
    values = {name: row[name] for name in COMMON_NAMES if row[name] is not None}
    qualities = tuple(Quality)
    for vital, (value, code) in sorted((row["rare"] or {}).items()):
        if value is not None:
            values[vital] = float(value)
        if code:
            flags[vital] = qualities[code]
    measured = from_datetime(row["measured_at"])
    return Reading(
        bed=bed,
        device=row["device"],
        boot=row["boot"],
        seq=row["seq"],
        measured_ns=measured,
        sent_ns=None if row["sent_us"] is None else measured + row["sent_us"] * 1000,
        received_ns=from_datetime(row["received_at"]),
        values=values,
        flags={name: quality for name, quality in flags.items() if quality in DEVICE_QUALITIES},
        interval_s=row["interval_s"],
        numbered=row["numbered"],
    )


def _stored_chunks(stored: Stored, boot: str) -> Iterator[WaveChunk]:
    """Yield stored waveforms in chunks, numbered through each channel."""
    seqs: dict[str, int] = {}
    for segment in stored.segments:
        seq = seqs.get(segment.channel, 0)
        for chunk in segment.chunks(stored.bed, boot, seq, RUN_CHUNK_S):
            yield chunk
            seqs[segment.channel] = chunk.seq + 1


def _count_chunks(waves: Iterable[WaveSource | Segment]) -> int:
    return sum(-(-len(wave.samples) // chunk_size(wave.rate_hz, RUN_CHUNK_S)) for wave in waves)


async def run_stored(
    settings: Settings,
    bed: str,
    between: tuple[datetime, datetime],
    plan: Plan,
    console: Console,
) -> Row:
    """Replay what is stored of a bed into a run: what these rules would have done."""
    async with await connect(settings.database_address) as connection:
        stored = await read_stored(connection, check_bed(bed), *between)
    if not stored.arrivals and not stored.segments:
        raise HubError(f"bed {bed}: nothing is stored between these times")
    console.print(
        f"{bed}: {len(stored.arrivals)} inputs, "
        f"{sum(len(s.samples) for s in stored.segments)} waveform samples"
    )
    name = f"{bed} {between[0]:%Y-%m-%dT%H:%M:%SZ} to {between[1]:%Y-%m-%dT%H:%M:%SZ}"
    total = len(stored.arrivals) + _count_chunks(stored.segments)
    source = Source(name, stored.arrivals, _stored_chunks(stored, RUN_BOOT))
    return await _make(settings, plan, source, total, console)


async def replay_stored(  # noqa: PLR0913 - what a replay is
    settings: Settings,
    bed: str,
    between: tuple[datetime, datetime],
    choice: Choice,
    *,
    seconds: float | None,
    summary: Path | None,
    stop: asyncio.Event,
    console: Console,
) -> None:
    """Publish what is stored of a bed at 1x, its times shifted to now, on a bed of its own."""
    async with await connect(settings.database_address) as connection:
        stored = await read_stored(connection, check_bed(bed), *between)
    readings = [a.what for a in stored.arrivals if isinstance(a.what, Reading)]
    if not readings and not stored.segments:
        raise HubError(f"bed {bed}: nothing is stored between these times")
    start = now_ns() // MS * MS
    boot = _boot(start)
    other = check_bed(f"{choice.hospital}/icu/{bed_name(bed)}")
    chunks = sorted(_stored_chunks(stored, boot), key=lambda chunk: chunk.measured_ns)
    readings.sort(key=lambda reading: reading.measured_ns)
    firsts = [r.measured_ns for r in readings[:1]] + [c.measured_ns for c in chunks[:1]]
    lasts = [r.measured_ns for r in readings[-1:]] + [c.measured_ns for c in chunks[-1:]]
    shift = start - min(firsts)

    def moved(item: Item) -> Item:
        return replace(
            item,
            bed=other,
            boot=boot,
            measured_ns=item.measured_ns + shift,
            sent_ns=None if item.sent_ns is None else item.sent_ns + shift,
        )

    console.print(f"{bed} → {other}, from {to_datetime(start):%H:%M:%S} UTC on")
    await _publish(
        settings,
        [map(moved, readings), map(moved, chunks)],
        {other: readings[0].device if readings else stored.segments[0].device},
        boot=boot,
        span_s=(max(lasts) - min(firsts)) / S,
        interval_s=readings[0].interval_s if readings else 1.0,
        seconds=seconds,
        summary=summary,
        stop=stop,
        console=console,
    )
