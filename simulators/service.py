"""The simulator and the replayer as programs: wards or recordings onto the wire, with a summary."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from hub.clock import now_ns
from schemas.errors import RecordingError
from schemas.times import MS, S
from simulators import faults
from simulators.faults import Item, Packet
from simulators.patients import Patient
from simulators.publish import Publisher
from simulators.recordings import Recording, Recordings
from simulators.wards import FaultRates, stream

LIVE_CHUNK_S = 0.5


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
    with_waves: int = 0,
) -> dict[str, object]:
    """Publish the patients, a connection a hospital, until ``seconds`` have passed or ``stop``."""
    start = now_ns() // MS * MS
    boot = f"b{start // S:x}"
    publishers = []
    waving = {patient.bed for patient in patients[:with_waves]}
    async with asyncio.TaskGroup() as group:
        for number, hospital in enumerate(sorted({p.bed.partition("/")[0] for p in patients})):
            mine = [p for p in patients if p.bed.startswith(f"{hospital}/")]
            publisher = Publisher(url, hospital, count_keys=summary is not None)
            publishers.append(publisher)
            packets = stream(
                mine,
                seed + number,
                boot=boot,
                start_ns=start,
                rates=rates,
                period_s=period_s,
                with_waves=len([p for p in mine if p.bed in waving]),
            )
            group.create_task(
                publisher.run(
                    _before(packets, None if seconds is None else start + int(seconds * S)),
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
        "wave_chunks": sum(p.tally.chunks for p in publishers),
        "wave_samples": sum(p.tally.samples for p in publishers),
        "seed": seed,
    }
    if summary is not None:
        await asyncio.to_thread(summary.write_text, json.dumps(result), "utf-8")
    return result


def _before(packets: Iterator[Packet], end_ns: int | None) -> Iterator[Packet]:
    if end_ns is None:
        return packets
    return takewhile(lambda packet: packet.due_ns < end_ns, packets)


def choose_records(found: Recordings, names: list[str], limit: int | None) -> list[Recording]:
    """Return the records to replay: those named, or the first ``limit``."""
    missing = [name for name in names if name not in found.records]
    if missing:
        raise RecordingError(f"no record {', '.join(missing)} in the file")
    chosen = [found.records[n] for n in names] if names else list(found.records.values())
    return chosen[:limit]


async def publish_items(  # noqa: PLR0913 - what a replay is
    url: str,
    streams: list[Iterable[Item]],
    devices: dict[str, str],
    *,
    boot: str,
    until_ns: int | None,
    interval_s: float,
    stop: asyncio.Event,
    on_sent: Callable[[int], None],
) -> dict[str, object]:
    """Publish streams of readings and waveforms, each at its time; return the count.

    ``devices`` maps bed to device, for the status messages.
    """
    packets = faults.merge(faults.packets(stream) for stream in streams)
    publisher = Publisher(url, f"replay-{boot}", count_keys=True, on_sent=on_sent)
    await publisher.run(_before(packets, until_ns), devices, stop, interval_s)
    tally = publisher.tally
    return {
        "boot": boot,
        "beds": len(devices),
        "messages": tally.published,
        "acknowledged": tally.acknowledged,
        "published": len(tally.keys),
        "wave_chunks": tally.chunks,
        "wave_samples": tally.samples,
    }
