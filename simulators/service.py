"""The simulator and the replayer as programs: wards or recordings onto the wire, with a summary."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

from hub.clock import now_ns
from schemas.errors import RecordingError
from schemas.times import MS, S
from simulators import faults, recordings
from simulators.faults import Packet
from simulators.patients import Patient
from simulators.publish import Publisher
from simulators.recordings import Recording, Recordings
from simulators.wards import FaultRates, stream


async def simulate(  # noqa: PLR0913 - what a simulation is
    url: str,
    patients: list[Patient],
    *,
    seed: int,
    seconds: float | None,
    rates: FaultRates,
    stop: asyncio.Event,
    summary: Path | None = None,
    period_s: float = 1.0,
) -> dict[str, object]:
    """Publish the patients, a connection a hospital, until ``seconds`` have passed or ``stop``."""
    start = now_ns() // MS * MS
    boot = f"b{start // S:x}"
    publishers = []
    async with asyncio.TaskGroup() as group:
        for number, hospital in enumerate(sorted({p.bed.partition("/")[0] for p in patients})):
            mine = [p for p in patients if p.bed.startswith(f"{hospital}/")]
            publisher = Publisher(url, hospital, count_keys=summary is not None)
            publishers.append(publisher)
            packets = stream(
                mine, seed + number, boot=boot, start_ns=start, rates=rates, period_s=period_s
            )
            group.create_task(
                publisher.run(
                    _until(packets, start, seconds),
                    {p.bed: p.device for p in mine},
                    stop,
                    period_s,
                ),
                name=f"simulate-{hospital}",
            )
    result: dict[str, object] = {
        "boot": boot,
        "beds": len(patients),
        "messages": sum(p.tally.published for p in publishers),
        "acknowledged": sum(p.tally.acknowledged for p in publishers),
        "published": sum(len(p.tally.keys) for p in publishers),
        "seed": seed,
    }
    if summary is not None:
        await asyncio.to_thread(summary.write_text, json.dumps(result), "utf-8")
    return result


def _until(packets: Iterator[Packet], start_ns: int, seconds: float | None) -> Iterator[Packet]:
    if seconds is None:
        return packets
    end_ns = start_ns + int(seconds * S)
    return takewhile(lambda packet: packet.due_ns < end_ns, packets)


def choose_records(found: Recordings, names: list[str], limit: int | None) -> list[Recording]:
    """Return the records to replay: those named, or the first ``limit``."""
    missing = [name for name in names if name not in found.records]
    if missing:
        raise RecordingError(f"no record {', '.join(missing)} in the file")
    chosen = [found.records[n] for n in names] if names else list(found.records.values())
    return chosen[:limit]


async def replay(
    url: str,
    found: Recordings,
    chosen: list[Recording],
    beds: list[str],
    *,
    stop: asyncio.Event,
    on_sent: Callable[[int], None],
    seconds: float | None = None,
) -> dict[str, object]:
    """Publish the chosen records at 1x with their times shifted to now, one bed a record."""
    start = now_ns() // MS * MS
    boot = f"b{start // S:x}-{time.monotonic_ns() % 4096:x}"
    streams = []
    devices = {}
    interval = min(record.interval_s for record in chosen)
    for record, bed in zip(chosen, beds, strict=True):
        rows = recordings.to_readings(found, record, bed, boot=boot, start_ns=start)
        if rows:
            devices[bed] = rows[0].device
            streams.append(faults.packets(rows))
    publisher = Publisher(url, f"replay-{boot}", count_keys=True, on_sent=on_sent)
    await publisher.run(_until(faults.merge(streams), start, seconds), devices, stop, interval)
    tally = publisher.tally
    return {
        "boot": boot,
        "beds": len(devices),
        "messages": tally.published,
        "acknowledged": tally.acknowledged,
        "published": len(tally.keys),
    }
