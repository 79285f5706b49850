"""What is odd about the chunks of a channel as they come: counted, and named once each. Pure.

Nothing is refused here: every chunk is kept. A jump of the number is a gap, a chunk that begins
before the last one ended overlaps it (or the device's clock was set back), a changed rate, scale or
unit begins a new signal.
"""

from collections import OrderedDict

from msgspec import Struct

from schemas.times import MS
from schemas.waves import WaveChunk

CHANNELS_KNOWN = 20_000
SLACK_NS = 20 * MS


class Last(Struct):
    """The last chunk of one channel of one device."""

    boot: str
    seq: int
    end_ns: int
    form: tuple[float, float, float, str]


class WaveTrack:
    """The channels that were heard lately, bounded, and what was odd about them."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str, str], Last] = OrderedDict()
        self.missing = self.overlaps = self.changes = 0

    def see(self, chunk: WaveChunk) -> str | None:
        """Take a chunk; return what to tell people of it, None when it is as it should be."""
        key = (chunk.bed, chunk.channel, chunk.device)
        form = (chunk.rate_hz, chunk.scale, chunk.zero, chunk.unit)
        last = self._last.pop(key, None)
        now = Last(chunk.boot, chunk.seq, chunk.end_ns, form)
        if last is None or last.boot != chunk.boot:
            self._remember(key, now)
            return None
        if chunk.seq <= last.seq:
            self._remember(key, last)
            return None  # out of order, or a repeat: storing finds out
        self._remember(key, now)
        self.missing += chunk.seq - last.seq - 1
        if form != last.form:
            self.changes += 1
            return (
                f"{chunk.channel}: rate, scale, zero or unit changed in mid-stream from "
                f"{last.form} to {form}; kept as a signal of its own"
            )
        early_ns = last.end_ns - chunk.measured_ns
        if early_ns > SLACK_NS:
            self.overlaps += 1
            return (
                f"{chunk.channel} seq {chunk.seq}: begins {early_ns / MS:.0f} ms before seq "
                f"{last.seq} ended; kept beside it, the first shows"
            )
        return None

    def _remember(self, key: tuple[str, str, str], last: Last) -> None:
        self._last[key] = last
        if len(self._last) > CHANNELS_KNOWN:
            self._last.popitem(last=False)
