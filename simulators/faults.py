"""What can happen to readings between a patient and the hub: functions from stream to stream.

A packet is a reading and the time at which it is sent. Faults are pure, seeded, and compose.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np
from msgspec.structs import replace

from schemas.times import S
from schemas.waves import WaveChunk
from schemas.wire import Reading

Rng = np.random.Generator
Item = Reading | WaveChunk


@dataclass(frozen=True, slots=True, order=True)
class Packet:
    """A reading or a piece of a waveform that leaves at ``due_ns``. ``order`` breaks ties."""

    due_ns: int
    order: int
    item: Item = field(compare=False)


def packets(items: Iterable[Item]) -> Iterator[Packet]:
    """Yield each reading, or piece of a waveform, as a packet that leaves when it was complete."""
    for order, item in enumerate(items):
        due_ns = item.end_ns if isinstance(item, WaveChunk) else item.measured_ns
        yield Packet(due_ns, order, item)


def drop(stream: Iterable[Packet], rng: Rng, rate: float) -> Iterator[Packet]:
    """Lose a share of the packets for ever."""
    return (p for p in stream if rng.random() >= rate)


def duplicate(stream: Iterable[Packet], rng: Rng, rate: float) -> Iterator[Packet]:
    """Send a share of the packets twice."""
    for packet in stream:
        yield packet
        if rng.random() < rate:
            yield packet


def reorder(stream: Iterable[Packet], rng: Rng, rate: float, by_s: float = 2.0) -> Iterator[Packet]:
    """Hold a share of the packets back by up to ``by_s``, so that later ones overtake them."""
    held: list[Packet] = []
    for packet in stream:
        while held and held[0].due_ns <= packet.due_ns:
            yield heappop(held)
        if rng.random() < rate:
            late = packet.due_ns + int(rng.uniform(0.2, 1.0) * by_s * S)
            heappush(held, Packet(late, packet.order, packet.item))
        else:
            yield packet
    yield from sorted(held)


def outage(stream: Iterable[Packet], from_ns: int, to_ns: int) -> Iterator[Packet]:
    """Hold everything between two times back and send it in one burst when the line is back."""
    for packet in stream:
        if from_ns <= packet.due_ns < to_ns:
            sent = replace(packet.item, sent_ns=to_ns)
            yield Packet(to_ns, packet.order, sent)
        else:
            yield packet


def clock(
    stream: Iterable[Packet], *, step_s: float = 0.0, at_ns: int = 0, drift_ppm: float = 0.0
) -> Iterator[Packet]:
    """Give the device a wrong clock: a step at a time, a drift, or both. Sending is unmoved."""
    first: int | None = None
    for packet in stream:
        item = packet.item
        first = item.measured_ns if first is None else first
        error = int((item.measured_ns - first) * drift_ppm / 1e6)
        if packet.due_ns >= at_ns:
            error += int(step_s * S)
        sent = None if item.sent_ns is None else item.sent_ns + error
        moved = replace(item, measured_ns=item.measured_ns + error, sent_ns=sent)
        yield Packet(packet.due_ns, packet.order, moved)


def reboot(stream: Iterable[Packet], at_ns: int, boot: str) -> Iterator[Packet]:
    """Restart the device at a time: a new boot id, sequence numbers from 0."""
    base: int | None = None
    for packet in stream:
        if packet.due_ns < at_ns:
            yield packet
            continue
        base = packet.item.seq if base is None else base
        again = replace(packet.item, boot=boot, seq=packet.item.seq - base)
        yield Packet(packet.due_ns, packet.order, again)


def merge(streams: Iterable[Iterator[Packet]]) -> Iterator[Packet]:
    """Yield the packets of many devices in the order in which they leave."""
    queue: list[tuple[int, int, Packet, Iterator[Packet]]] = []
    for number, stream in enumerate(streams):
        head = next(stream, None)
        if head is not None:
            queue.append((head.due_ns, number, head, stream))
    heapify(queue)
    while queue:
        _, number, packet, stream = heappop(queue)
        yield packet
        head = next(stream, None)
        if head is not None:
            heappush(queue, (head.due_ns, number, head, stream))
