"""Chunks of one signal to blocks: consecutive samples of about a minute, without a gap. Pure.

Theory of operation. Chunks wait as they came until they make a block of ``BLOCK_S``, or until no
more come (``IDLE_NS``). In the order of their numbers, a chunk continues the samples before it when
its number is the next and its time is where they end, give or take ``SLACK_NS``: devices stamp
chunks with some jitter, and a rate that is a little off moves a block's end until it is cut.
A jump of the number or of the time is a gap: a new block. What stands in a block already is a
repeat. Samples whose time overlaps others' (a clock that was set back) are kept in blocks of their
own; a reader takes the block that begins first.
"""

from dataclasses import dataclass, field

import numpy as np

from schemas.times import S
from schemas.wave_codec import Samples, encode_block
from schemas.waves import SLACK_NS

BLOCK_S = 60
IDLE_NS = 15 * S


@dataclass(frozen=True, slots=True)
class Staged:
    """A chunk that waits for its block."""

    start_ns: int
    seq: int
    samples: Samples
    received_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """What a stored block covers: its time, and the numbers of its chunks."""

    start_ns: int
    end_ns: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block to store."""

    start_ns: int
    first_seq: int
    last_seq: int
    samples: int
    data: bytes


@dataclass(slots=True)
class Assembled:
    """Blocks, the chunks (time and number) that need not wait any longer, and repeats."""

    blocks: list[Block] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)
    repeats: int = 0


def assemble(
    chunks: list[Staged], stored: list[Span], rate_hz: float, now_ns: int, *, final: bool = False
) -> Assembled:
    """Return what of one signal's ``chunks`` can be stored now. ``final``: all of it."""
    out = Assembled()
    run: list[Staged] = []
    for chunk in sorted(chunks, key=lambda c: (c.seq, c.start_ns)):
        if any(_covers(span, chunk) for span in stored):
            out.repeats += 1
            out.done.append((chunk.start_ns, chunk.seq))
            continue
        if run and not _continues(run, chunk, rate_hz):
            _close(out, run, now_ns, final=final)
            run = []
        run.append(chunk)
        if _samples(run) >= BLOCK_S * rate_hz:
            _store(out, run)
            run = []
    _close(out, run, now_ns, final=final)
    return out


def _covers(span: Span, chunk: Staged) -> bool:
    """Return whether a chunk stands in a block: its number does, and its time fits the number."""
    if not span.first_seq <= chunk.seq <= span.last_seq:
        return False
    length_ns = (span.end_ns - span.start_ns) / (span.last_seq - span.first_seq + 1)
    expected_ns = span.start_ns + (chunk.seq - span.first_seq) * length_ns
    return abs(chunk.start_ns - expected_ns) < length_ns / 2 + SLACK_NS


def _continues(run: list[Staged], chunk: Staged, rate_hz: float) -> bool:
    end_ns = run[0].start_ns + round(_samples(run) * S / rate_hz)
    return chunk.seq == run[-1].seq + 1 and abs(chunk.start_ns - end_ns) <= SLACK_NS


def _samples(run: list[Staged]) -> int:
    return sum(len(chunk.samples) for chunk in run)


def _close(out: Assembled, run: list[Staged], now_ns: int, *, final: bool) -> None:
    """Store a run that has ended; one that may still grow waits."""
    if run and (final or now_ns - max(chunk.received_ns for chunk in run) > IDLE_NS):
        _store(out, run)


def _store(out: Assembled, run: list[Staged]) -> None:
    samples = np.concatenate([chunk.samples for chunk in run])
    out.blocks.append(
        Block(run[0].start_ns, run[0].seq, run[-1].seq, len(samples), encode_block(samples))
    )
    out.done += [(chunk.start_ns, chunk.seq) for chunk in run]
