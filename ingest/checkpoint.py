"""Intake's state on disk: one value, replaced atomically. What it holds may be acknowledged."""

import os
from pathlib import Path
from threading import Lock

import msgspec
import structlog
from msgspec import Struct

from ingest.pipeline import PipelineState

log = structlog.get_logger()

VERSION = 2


class Outgoing(Struct, array_like=True):
    """One message that the broker has not acknowledged yet."""

    topic: str
    payload: bytes
    retain: bool


class Checkpoint(Struct):
    """The pipeline's state and what it has made that may not have arrived.

    ``segment``: the first of the journal that is not in the state.
    """

    v: int
    state: PipelineState
    outbox: list[Outgoing]
    segment: int = 0


_writing = Lock()
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the checkpoint as bytes: the moment that is saved."""
    return _encoder.encode(checkpoint)


def write(path: Path, content: bytes) -> None:
    """Replace the checkpoint; when this returns, it survives a power cut.

    One write at a time: one whose caller was cancelled still ends before the next begins.
    """
    fresh = path.with_suffix(".new")
    with _writing:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)


def read(path: Path) -> Checkpoint | None:
    """Return the last checkpoint; None when there is none. A broken one is set aside and named."""
    try:
        found = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        aside = path.with_suffix(".broken")
        path.replace(aside)
        log.error("checkpoint_broken", path=str(aside), reason=str(error))  # noqa: TRY400
        return None
    if found.v < VERSION:  # its checksums are others: what comes again is stored once by its key
        for device in found.state.devices.values():
            device.sequence.recent.clear()
    return found
