"""Small multiples: a few vitals over a shift, thinned to one mean for each step. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

VITALS = ("hr", "spo2", "rr", "abp_mean", "nibp_mean", "temp")


def multiples(
    rows: Iterable[dict[str, Any]], start: datetime, step: timedelta
) -> dict[str, list[tuple[int, float]]]:
    """Return for each vital (number of the step since ``start``, mean), where anything came."""
    sums: dict[str, dict[int, list[float]]] = {vital: {} for vital in VITALS}
    for row in rows:
        at = int((row["at"] - start) / step)
        for vital in VITALS:
            if row.get(vital) is not None:
                sums[vital].setdefault(at, []).append(row[vital])
    return {
        vital: [(at, round(sum(some) / len(some), 1)) for at, some in sorted(steps.items())]
        for vital, steps in sums.items()
        if steps
    }
