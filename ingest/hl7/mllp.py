"""The lower layer protocol: where messages begin and end in a stream of bytes. Pure.

A frame is ``VT message FS CR``. Devices forget parts of it; what can be told apart still is: a
message that starts with ``MSH`` needs no VT, the last CR may be missing, and a VT within a frame
says that the one before was never finished. A frame without its end may have lost half a number,
so it is refused, not guessed at. Source: HL7 v2 Implementation Guide, appendix C.
"""

from dataclasses import dataclass
from enum import StrEnum

from ingest.hl7.message import MAX_BYTES

VT, FS = 0x0B, 0x1C
START = b"MSH"
HEAD_BYTES = 2_048
"""So much is kept of a frame that is refused for its size: enough to answer it."""


class FrameKind(StrEnum):
    """What a piece of the stream is."""

    MESSAGE = "message"
    HALF = "no_end_block"
    TOO_LARGE = "too_large"
    NOISE = "not_framed"


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of the stream; ``data`` is only the head of one that is too large."""

    kind: FrameKind
    data: bytes
    size: int


class Framer:
    """Cuts a connection's bytes into frames; holds at most one message of ``limit`` bytes."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._inside = False
        self._searched = 0
        self._skipped = 0
        self._head = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take what has arrived; return the frames that are complete now."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def close(self) -> list[Frame]:
        """Return what was left when the connection ended."""
        frame = self._cut(len(self._buffer), FrameKind.HALF if self._inside else FrameKind.NOISE)
        return [frame] if frame.size else []

    def _next(self) -> Frame | None:
        if not self._inside:
            noise = self._open()
            if noise is not None or not self._inside:
                return noise
        end = self._buffer.find(FS, self._searched)
        start = self._buffer.find(VT, self._searched, end if end >= 0 else len(self._buffer))
        if start >= 0:
            half = self._cut(start, FrameKind.HALF)
            return half if half.size else self._next()
        if end >= 0:
            kind = FrameKind.TOO_LARGE if self._skipped + end > self._limit else FrameKind.MESSAGE
            frame = self._cut(end, kind)
            del self._buffer[:1]
            return frame
        self._searched = len(self._buffer)
        if self._searched > self._limit:
            self._head = self._head or bytes(self._buffer[:HEAD_BYTES])
            self._skipped += self._searched
            self._buffer.clear()
            self._searched = 0
        return None

    def _open(self) -> Frame | None:
        """Go to where a message begins; return the noise before it, if there is any."""
        buffer = self._buffer
        del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n\x1c"))]
        starts = [at for at in (buffer.find(VT), buffer.find(START)) if at >= 0]
        if not starts:
            tail = next((n for n in (2, 1) if buffer.endswith(START[:n])), 0)
            noise = len(buffer) - tail
        else:
            noise = min(starts)
        if noise:
            return self._cut(noise, FrameKind.NOISE)
        if starts:
            self._inside = True
            if buffer[0] == VT:
                del buffer[:1]
        return None

    def _cut(self, at: int, kind: FrameKind) -> Frame:
        """Take the first ``at`` bytes out as a frame; what follows begins outside of one."""
        data, size = bytes(self._buffer[:at]), self._skipped + at
        if self._head or kind is FrameKind.TOO_LARGE:
            kind, data = FrameKind.TOO_LARGE, self._head or data[:HEAD_BYTES]
        del self._buffer[:at]
        self._inside, self._searched, self._skipped, self._head = False, 0, 0, b""
        return Frame(kind, data, size)
