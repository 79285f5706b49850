"""Stored waveforms: what a bed's channel showed between two times, gaps as gaps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from psycopg import AsyncConnection

from hub.reads import fetch
from schemas.times import S, from_datetime
from schemas.wave_codec import Samples, decode_block
from schemas.waves import SLACK_NS, WaveChunk, split


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive samples of one channel, (n,) int16, from ``start_ns`` (device's clock) on."""

    channel: str
    device: str
    unit: str
    rate_hz: float
    scale: float
    zero: float
    start_ns: int
    samples: Samples

    @property
    def end_ns(self) -> int:
        """When the sample after the last one would have been measured."""
        return self.start_ns + round(len(self.samples) * S / self.rate_hz)

    def cut(self, start_ns: int, end_ns: int) -> "Segment | None":
        """Return the part whose samples were measured in [start, end); None when there is none."""
        first = max(0, -(-(start_ns - self.start_ns) * self.rate_hz // S))
        last = min(len(self.samples), -(-(end_ns - self.start_ns) * self.rate_hz // S))
        if last <= first:
            return None
        return self._with(
            self.start_ns + round(first * S / self.rate_hz), self.samples[int(first) : int(last)]
        )

    def follows(self, other: "Segment") -> bool:
        """Return whether this goes on where ``other`` ended, in the same form."""
        same = ("channel", "device", "unit", "rate_hz", "scale", "zero")
        return (
            all(getattr(self, name) == getattr(other, name) for name in same)
            and abs(self.start_ns - other.end_ns) <= SLACK_NS
        )

    def joined(self, others: "list[Segment]") -> "Segment":
        """Return this and those that follow it as one."""
        return self._with(
            self.start_ns, np.concatenate([self.samples, *(other.samples for other in others)])
        )

    def chunks(self, bed: str, boot: str, seq: int, chunk_s: float) -> Iterator[WaveChunk]:
        """Yield this as a device would have sent it, numbered from ``seq`` on."""
        whole = WaveChunk(
            bed=bed,
            channel=self.channel,
            device=self.device,
            boot=boot,
            unit=self.unit,
            seq=seq,
            measured_ns=self.start_ns,
            sent_ns=None,
            received_ns=self.start_ns,
            rate_hz=self.rate_hz,
            scale=self.scale,
            zero=self.zero,
            samples=self.samples,
        )
        return split(whole, chunk_s)

    def _with(self, start_ns: int, samples: Samples) -> "Segment":
        return Segment(
            self.channel,
            self.device,
            self.unit,
            self.rate_hz,
            self.scale,
            self.zero,
            start_ns,
            samples,
        )


def join(pieces: Iterable[Segment]) -> list[Segment]:
    """Return pieces in order of channel and time as segments without gaps or overlaps. Pure.

    Where two overlap, the one that begins first stands; the rest of the other follows it.
    """
    out: list[Segment] = []
    run: list[Segment] = []
    for piece in sorted(pieces, key=lambda p: (p.channel, p.start_ns)):
        last = run[-1] if run else None
        if last is not None and last.channel == piece.channel:
            if piece.follows(last):
                run.append(piece)
                continue
            rest = piece.cut(max(last.end_ns, piece.start_ns), piece.end_ns + 1)
            if rest is None:
                continue
        else:
            rest = piece
        if run:
            out.append(run[0].joined(run[1:]))
        run = [rest]
    if run:
        out.append(run[0].joined(run[1:]))
    return out


async def read_waves(
    connection: AsyncConnection,
    bed: str,
    start: datetime,
    end: datetime,
    channel: str | None = None,
) -> list[Segment]:
    """Return what is stored of a bed's channels (or one) between two times, device's clock."""
    rows = await fetch(connection, "select_waves", bed=bed, start=start, end=end, channel=channel)
    first, last = from_datetime(start), from_datetime(end)
    pieces = []
    for row in rows:
        samples = (
            decode_block(row["data"], row["samples"])
            if row["codec"]
            else np.frombuffer(row["data"], "<i2")
        )
        whole = Segment(
            row["channel"],
            row["device"],
            row["unit"],
            row["rate_hz"],
            row["scale"],
            row["zero"],
            from_datetime(row["start_at"]),
            samples,
        )
        cut = whole.cut(first, last)
        if cut is not None:
            pieces.append(cut)
    return join(pieces)
