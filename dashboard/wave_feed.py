"""Live waveforms to browsers: only of beds that somebody looks at, as they came from the device.

A bed's wave topics are subscribed to with its first viewer and left with its last, at QoS 0: a late
wave is worth nothing, and a session's allowance of unacknowledged messages is shared by all its
subscriptions. A chunk is checked once and passed on as it is. A browser that does not keep up
loses its oldest chunks, which it draws as a gap, and harms nobody.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from hub.broker import Connection
from hub.mqtt import Envelope
from hub.waves import Segment
from schemas.errors import BrokerError, DecodeError
from schemas.topics import Kind, format_topic, parse_topic
from schemas.waves import decode_chunk, encode_chunk

log = structlog.get_logger()

CHUNKS_KEPT = 256
STORED = 0x80


@dataclass(eq=False, slots=True)
class WaveScreen:
    """One browser on one bed: the chunks that it has not been sent, and a bell."""

    bed: str
    chunks: deque[bytes] = field(default_factory=lambda: deque(maxlen=CHUNKS_KEPT))
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class WaveFeed:
    """Who looks at which bed, and the subscriptions that follow from it."""

    def __init__(self) -> None:
        self._screens: dict[str, set[WaveScreen]] = {}
        self._connection: Connection | None = None
        self.unreadable = 0
        self.dropped = 0

    def counters(self) -> dict[str, float]:
        """Return how many look on, and what could not be passed on."""
        return {
            "wave_screens": sum(map(len, self._screens.values())),
            "wave_chunks_unreadable": self.unreadable,
            "wave_chunks_dropped": self.dropped,
        }

    async def connected(self, connection: Connection | None) -> None:
        """Take a new connection, or None when it was lost; subscribe to what is looked at."""
        self._connection = connection
        if connection is not None:
            for bed in list(self._screens):
                await connection.subscribe(_filter(bed), qos=0)

    async def open_screen(self, bed: str) -> WaveScreen:
        """Register a browser that looks at ``bed``."""
        screen = WaveScreen(bed)
        first = bed not in self._screens
        self._screens.setdefault(bed, set()).add(screen)
        if first and self._connection is not None:
            try:
                await self._connection.subscribe(_filter(bed), qos=0)
            except BrokerError as error:  # the next connection subscribes
                log.warning("waves_not_subscribed", bed=bed, reason=str(error))
        return screen

    def close_screen(self, screen: WaveScreen) -> None:
        """Forget a browser."""
        left = self._screens.get(screen.bed, set())
        left.discard(screen)
        if not left and self._screens.pop(screen.bed, None) is not None and self._connection:
            self._connection.unsubscribe(_filter(screen.bed))

    def take(self, envelope: Envelope) -> None:
        """Pass a chunk on to those who look at its bed."""
        try:
            topic = parse_topic(envelope.topic)
            decode_chunk(topic.bed, topic.tail, envelope.payload, envelope.received_ns)
        except DecodeError as error:
            self.unreadable += 1
            log.warning("message_unreadable", topic=envelope.topic, reason=str(error))
            return
        message = frame(topic.tail, envelope.payload)
        for screen in self._screens.get(topic.bed, ()):
            self.dropped += len(screen.chunks) == CHUNKS_KEPT
            screen.chunks.append(message)
            screen.wake.set()


def frame(channel: str, payload: bytes, *, stored: bool = False) -> bytes:
    """Return what a browser gets: the length of the channel's name, the name, the chunk.

    The highest bit of the length marks what was stored before the browser came.
    """
    name = channel.encode()
    return bytes([len(name) | (STORED if stored else 0)]) + name + payload


def stored_frames(segments: list[Segment]) -> Iterator[bytes]:
    """Yield stored waveforms as frames, in pieces of a second."""
    for segment in segments:
        for chunk in segment.chunks(bed="", boot="-", seq=0, chunk_s=1.0):
            payload = encode_chunk(replace(chunk, sent_ns=None))
            yield frame(segment.channel, payload, stored=True)


def _filter(bed: str) -> str:
    return format_topic(bed, Kind.WAVES, "+")
