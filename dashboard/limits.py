"""How much one party may ask for: buckets of requests, sizes and times of bodies. Pure but a clock.

A bucket is a session's, or an address's for who has not signed in, so nobody can use up another's.
"""

from collections import OrderedDict
from dataclasses import dataclass

BODY_BYTES = 1_048_576
"""Images of consults are at most 600 kB; nothing else comes near."""
BODY_S = 15.0
SESSION_RATE, SESSION_BURST = 60.0, 600.0
ADDRESS_RATE, ADDRESS_BURST = 20.0, 300.0
BUCKETS_KEPT = 20_000
FAILURES_FREE = 5
FAILURE_WAIT_S, FAILURE_WAIT_MAX_S = 15.0, 900.0
FAILURES_FORGOTTEN_S = 3_600.0


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Buckets:
    """Token buckets by key; the one unused for longest is forgotten first."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.refused = 0

    def take(self, key: str, now: float) -> bool:
        """Return whether one more request is within the rate; ``now`` in seconds, monotonic."""
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
        bucket.level = min(self._burst, bucket.level + (now - bucket.at) * self._rate)
        bucket.at = now
        allowed = bucket.level >= 1
        if allowed:
            bucket.level -= 1
        else:
            self.refused += 1
        self._buckets[key] = bucket
        if len(self._buckets) > BUCKETS_KEPT:
            self._buckets.popitem(last=False)
        return allowed


class Failures:
    """Wrong sign-ins. After five, a wait that doubles, up to a quarter of an hour.

    Counted by name and where from: the address, or a browser that this person has signed in with
    before. So who guesses at a name keeps its owner out nowhere but in the guesser's own place, and
    there not from a known browser.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_s(self, key: tuple[str, str], now: float) -> float:
        """Return how long this name has to wait here; 0: not at all."""
        count, last = self._counts.get(key, (0, 0.0))
        if count < FAILURES_FREE:
            return 0.0
        wait = min(FAILURE_WAIT_MAX_S, FAILURE_WAIT_S * 2.0 ** min(20, count - FAILURES_FREE))
        return max(0.0, last + wait - now)

    def add(self, key: tuple[str, str], now: float) -> None:
        """Count one failure."""
        count, last = self._counts.pop(key, (0, now))
        if now - last > FAILURES_FORGOTTEN_S:
            count = 0
        self._counts[key] = (count + 1, now)
        if len(self._counts) > BUCKETS_KEPT:
            self._counts.popitem(last=False)

    def clear(self, key: tuple[str, str]) -> None:
        """Forget the failures of whoever proved themselves."""
        self._counts.pop(key, None)
