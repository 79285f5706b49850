"""How late numbers are when they reach the console, by hospital. Pure."""

from collections import deque

KEPT = 4_000
"""Readings of a hospital, newest: oldest forgotten."""
HOSPITALS = 500


class Delays:
    """From the device's measurement (its clock's offset taken out) to the console, ms."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[float]] = {}

    def add(self, bed: str, delay_ms: float) -> None:
        """Take one reading's delay."""
        hospital = bed.partition("/")[0]
        kept = self._kept.get(hospital)
        if kept is None:
            if len(self._kept) >= HOSPITALS:
                return
            kept = self._kept[hospital] = deque(maxlen=KEPT)
        kept.append(delay_ms)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Return p50, p99 and how many readings, by hospital.

        >>> delays = Delays()
        >>> for ms in range(100):
        ...     delays.add("kaihua/icu/bed-01", ms)
        >>> delays.percentiles()
        {'kaihua': {'p50_ms': 50.0, 'p99_ms': 99.0, 'readings': 100}}
        """
        found = {}
        for hospital in sorted(self._kept):
            kept = sorted(self._kept[hospital])
            p50, p99 = (kept[min(len(kept) - 1, int(len(kept) * q))] for q in (0.5, 0.99))
            found[hospital] = {
                "p50_ms": round(float(p50), 1),
                "p99_ms": round(float(p99), 1),
                "readings": len(kept),
            }
        return found
