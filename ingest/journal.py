"""What intake has taken since its last checkpoint, on disk as it came.

After a kill it goes on exactly. Without it, up to a second of messages would come again from the
broker behind newer ones, and be judged as history. Judging is a function of state and messages, so
checkpoint and journal together give the very state, alerts and ids that were. Appended before
anything is judged, without a sync: it survives the death of the process; after a power cut the
broker's own copies are what is left.

A file is a segment; a checkpoint names the segment that follows it, and older ones are taken away.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from hub.mqtt import Envelope

log = structlog.get_logger()

_NAME = re.compile(r"journal-(\d{12})")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes, int, bool]])
LENGTH_BYTES = 4


class Journal:
    """Segments in a folder; one is open for appending."""

    def __init__(self, folder: Path, segment: int) -> None:
        self._folder = folder
        known = [number for number, _ in _segments(folder)]
        self.segment = max([segment, *known], default=0)
        self.failed = 0
        self._file = (folder / _name(self.segment)).open("ab", buffering=0)

    def append(self, envelopes: list[Envelope]) -> None:
        """Keep messages before they are judged. A full disk costs the journal, never an alert."""
        body = _encoder.encode([(e.topic, e.payload, e.received_ns, e.again) for e in envelopes])
        try:
            self._file.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
        except OSError as error:
            self.failed += 1
            if self.failed == 1:
                log.error("journal_failed", reason=str(error))  # noqa: TRY400

    def rotate(self) -> int:
        """Begin a new segment; return its number, for the checkpoint that is taken now."""
        self._file.close()
        self.segment += 1
        self._file = (self._folder / _name(self.segment)).open("ab", buffering=0)
        return self.segment

    def forget(self) -> None:
        """Take away what the checkpoint on disk contains."""
        for number, path in _segments(self._folder):
            if number < self.segment:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(folder: Path, segment: int) -> Iterator[tuple[str, bytes, int, bool]]:
    """Yield topic, payload, receive time and whether it came again, from a segment on, in order.

    An entry that was only half written ends its segment.
    """
    for number, path in _segments(folder):
        if number < segment:
            continue
        content = path.read_bytes()
        at = 0
        while at + LENGTH_BYTES <= len(content):
            length = int.from_bytes(content[at : at + LENGTH_BYTES], "big")
            at += LENGTH_BYTES
            try:
                yield from _decoder.decode(content[at : at + length])
            except (msgspec.DecodeError, UnicodeDecodeError):
                log.warning("journal_cut", segment=number, at=at)
                break
            at += length


def _name(segment: int) -> str:
    return f"journal-{segment:012}"


def _segments(folder: Path) -> list[tuple[int, Path]]:
    return sorted(
        (int(found.group(1)), path)
        for path in folder.glob("journal-*")
        if (found := _NAME.fullmatch(path.name))
    )
