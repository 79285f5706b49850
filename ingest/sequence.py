"""Has this reading been seen? What is missing before it? One small state for each device.

Theory of operation: the key of a reading is device, boot id, sequence number, measured time. The
last ``WINDOW`` keys of a device, and all of the last half minute, are remembered with a checksum of
their content, so a repeat is told from a conflict (same key, other content). Sequence numbers that
were jumped over are kept as gaps. A reading behind the newest number that is not among the last
keys is judged as history: it may be late news, and storing is idempotent; to call it a repeat could
lose it.
A new boot id, or a lower number with a later measured time, is a restart.
"""

from array import array
from collections.abc import Callable, Iterable
from enum import StrEnum
from operator import itemgetter
from zlib import crc32

from msgspec import Struct

from schemas.times import S
from schemas.wire import Reading

WINDOW, WINDOW_MOST = 64, 4_096
WINDOW_NS = 30 * S
"""What the broker sends again after a kill, it sends within this: a fast device's are all known."""
MAX_GAPS = 64
ORDERS_CACHED = 10_000
MAX_JUMP = 1_000_000
"""A longer jump of the numbers is a device that counts anew, not a gap."""


class Seen(StrEnum):
    """What ``track`` found: only NEW and FILLS are judged; CONFLICT is stored beside the first."""

    NEW = "new"
    FILLS = "fills"
    REPEAT = "repeat"
    CONFLICT = "conflict"


class SequenceState(Struct):
    """What is remembered of one device's numbering."""

    boot: str = ""
    last_seq: int = -1
    last_measured_ns: int = 0
    recent: dict[tuple[int, int], int] = {}
    gaps: list[tuple[int, int]] = []
    missing: int = 0
    repeats: int = 0
    conflicts: int = 0
    restarts: int = 0


def checksum(reading: Reading) -> int:
    """Return a checksum of what was measured: values and the device's own quality.

    The order of the vitals does not matter. What the names add is kept for each set of names seen.
    """
    values = reading.values
    order = _orders.get(tuple(values))
    if order is None:
        order = _remember_names(tuple(values))
    crc, sort = order
    digest = crc32(array("d", sort(values)), crc)
    if reading.flags:
        digest = crc32(repr(sorted(reading.flags.items())).encode(), digest)
    return digest


_orders: dict[tuple[str, ...], tuple[int, Callable[[dict[str, float]], Iterable[float]]]] = {}


def _remember_names(
    names: tuple[str, ...],
) -> tuple[int, Callable[[dict[str, float]], Iterable[float]]]:
    """Return the CRC of the sorted names, and what gives the values in their order."""
    if len(_orders) >= ORDERS_CACHED:
        _orders.clear()
    ordered = sorted(names)
    crc = crc32("|".join(ordered).encode())
    found = (crc, itemgetter(*ordered) if len(ordered) > 1 else dict[str, float].values)
    _orders[names] = found
    return found


def _fill(state: SequenceState, seq: int) -> bool:
    """Take ``seq`` out of the known gaps; return whether it was in one."""
    for i, (first, last) in enumerate(state.gaps):
        if first <= seq <= last:
            parts = [(first, seq - 1), (seq + 1, last)]
            state.gaps[i : i + 1] = [(a, b) for a, b in parts if a <= b]
            state.missing -= 1
            return True
    return False


def track(state: SequenceState, reading: Reading) -> Seen:
    """Update ``state`` with ``reading`` and return whether it is news.

    For a device that sends no sequence numbers only recent keys and the measured time decide.
    """
    if reading.boot != state.boot:
        if state.boot:
            state.restarts += 1
        state.boot, state.last_seq, state.gaps, state.recent = reading.boot, -1, [], {}
    key = (reading.seq, reading.measured_ns)
    digest = checksum(reading)
    known = state.recent.get(key)
    if known is not None:
        if known == digest:
            state.repeats += 1
            return Seen.REPEAT
        state.conflicts += 1
        return Seen.CONFLICT
    recent = state.recent
    recent[key] = digest
    if len(recent) > WINDOW:
        oldest = next(iter(recent))
        if reading.measured_ns - oldest[1] > WINDOW_NS or len(recent) > WINDOW_MOST:
            del recent[oldest]
    if not reading.numbered:
        return _order_by_time(state, reading)
    if reading.seq == state.last_seq + 1 and state.last_seq >= 0:
        state.last_seq, state.last_measured_ns = reading.seq, reading.measured_ns
        return Seen.NEW
    return _order(state, reading)


def _order_by_time(state: SequenceState, reading: Reading) -> Seen:
    if reading.measured_ns >= state.last_measured_ns:
        state.last_measured_ns = reading.measured_ns
        return Seen.NEW
    return Seen.FILLS


def _order(state: SequenceState, reading: Reading) -> Seen:
    seq = reading.seq
    if seq > state.last_seq:
        if 0 <= state.last_seq < seq - 1 and seq - state.last_seq <= MAX_JUMP:
            state.gaps.append((state.last_seq + 1, seq - 1))
            state.missing += seq - 1 - state.last_seq
            del state.gaps[:-MAX_GAPS]
        state.last_seq, state.last_measured_ns = seq, reading.measured_ns
        return Seen.NEW
    if _fill(state, seq):
        return Seen.FILLS
    if reading.measured_ns > state.last_measured_ns:
        state.restarts += 1
        state.last_seq, state.last_measured_ns, state.gaps = seq, reading.measured_ns, []
        return Seen.NEW
    return Seen.FILLS
