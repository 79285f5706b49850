"""Packets onto the wire at their time, as a device would send them, with a count of what arrived.

What the broker has not acknowledged is sent again after a loss, so ``acknowledged`` is exact.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from schemas.codec import encode_json, encode_numerics
from schemas.times import MS, S
from schemas.topics import Kind, format_topic
from schemas.waves import WaveChunk, encode_chunk
from schemas.wire import StatusMessage
from simulators.faults import Packet

OUTSTANDING = 5_000


@dataclass(slots=True)
class Tally:
    """What was sent, in messages. ``keys``: distinct readings acknowledged, if they are counted.

    ``samples``: of waveforms, acknowledged.
    """

    published: int = 0
    acknowledged: int = 0
    chunks: int = 0
    samples: int = 0
    keys: set[tuple[str, str, int, int]] = field(default_factory=set)


class Publisher:
    """One gateway's connection: sends a merged stream of packets in real time."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        count_keys: bool = False,
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        self._url, self._name = url, name
        self._count_keys = count_keys
        self._on_sent = on_sent
        self._outstanding: dict[asyncio.Future[None], Packet] = {}
        self._again: deque[Packet] = deque()
        self.tally = Tally()

    async def run(
        self,
        stream: Iterator[Packet],
        devices: dict[str, str],
        stop: asyncio.Event,
        interval_s: float = 1.0,
    ) -> Tally:
        """Publish ``stream`` until it ends or ``stop`` is set; then say that monitoring ended.

        ``devices`` maps bed to device, for the status messages.
        """
        connect = lambda: Connection(self._url, f"vigil-sim-{self._name}")  # noqa: E731
        await stay_connected(
            connect,
            lambda connection: self._serve(connection, stream, devices, stop, interval_s),
            stop,
        )
        return self.tally

    async def _serve(
        self,
        connection: Connection,
        stream: Iterator[Packet],
        devices: dict[str, str],
        stop: asyncio.Event,
        interval_s: float,
    ) -> None:
        self._again.extend(self._outstanding.values())
        self._outstanding.clear()
        while self._again:
            self._send(connection, self._again.popleft())
        await self._say(connection, devices, "online", interval_s)
        for packet in stream:
            if not await _sleep_until(packet.due_ns, stop):
                break
            self._send(connection, packet)
            if len(self._outstanding) >= OUTSTANDING:
                await next(iter(self._outstanding))
        if self._outstanding:
            await asyncio.gather(*self._outstanding)
        await self._say(connection, devices, "ended", interval_s)

    async def _say(
        self, connection: Connection, devices: dict[str, str], state: str, interval_s: float
    ) -> None:
        for bed, device in devices.items():
            message = StatusMessage(1, device, state, now_ns() // MS, interval_s)  # type: ignore[arg-type]
            await connection.publish(
                format_topic(bed, Kind.STATUS), encode_json(message), retain=True
            )

    def _send(self, connection: Connection, packet: Packet) -> None:
        item = packet.item
        if item.sent_ns is not None:
            clock_error = item.sent_ns - packet.due_ns
            item = replace(item, sent_ns=now_ns() + clock_error)
        if isinstance(item, WaveChunk):
            topic = format_topic(item.bed, Kind.WAVES, item.channel)
            done = connection.publish_soon(topic, encode_chunk(item))
        else:
            topic = format_topic(item.bed, Kind.NUMERICS)
            done = connection.publish_soon(topic, encode_numerics(item))
        self._outstanding[done] = packet
        self.tally.published += 1
        done.add_done_callback(self._acknowledged)
        if self._on_sent is not None:
            self._on_sent(packet.due_ns)

    def _acknowledged(self, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        packet = self._outstanding.pop(done, None)
        if packet is not None:
            sent = packet.item
            self.tally.acknowledged += 1
            if isinstance(sent, WaveChunk):
                self.tally.chunks += 1
                self.tally.samples += len(sent.samples)
            elif self._count_keys:
                self.tally.keys.add((sent.device, sent.boot, sent.seq, sent.measured_ns // MS))


async def _sleep_until(due_ns: int, stop: asyncio.Event) -> bool:
    """Sleep until ``due_ns``; return False when told to stop before."""
    wait_s = (due_ns - now_ns()) / S
    if wait_s <= 0:
        if stop.is_set():
            return False
        await asyncio.sleep(0)
        return True
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        return True
    return False
