"""Alarm burden from the ledger: alerts a bed-day, time in alarm, time to acknowledge."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hub.reads import Row, fetch

DAY_S = 86_400.0
TOP = 10


async def burden(
    connection: AsyncConnection,
    between: tuple[datetime, datetime],
    bed: str | None = None,
    zone: str = "Asia/Shanghai",
) -> dict[str, Any]:
    """Return the burden between two times: in all, by hospital and shift, top rules and beds.

    What was muted from its beginning is counted apart: nobody was called for it.
    """
    asked = {"start": between[0], "end": between[1], "bed": bed}
    days = {r["bed"]: float(r["days"]) for r in await fetch(connection, "select_bed_days", **asked)}
    rows = await fetch(connection, "select_burden", zone=zone, **asked)
    told = [row for row in rows if not row["muted"]]
    hospitals = sorted({row["hospital"] for row in told})
    return {
        "from": between[0],
        "to": between[1],
        **_sums(told, sum(days.values())),
        "muted": sum(row["alerts"] for row in rows if row["muted"]),
        "by_hospital": {
            hospital: _sums(
                [row for row in told if row["hospital"] == hospital],
                sum(d for name, d in days.items() if name.startswith(f"{hospital}/")),
            )
            for hospital in hospitals
        },
        "by_shift": {
            shift: _sums([row for row in told if row["shift"] == shift], sum(days.values()) / 3)
            for shift in ("night", "day", "evening")
        },
        "top_rules": _top(told, "rule"),
        "top_beds": _top(told, "bed"),
    }


def _sums(rows: list[Row], days: float) -> dict[str, Any]:
    alerts = sum(row["alerts"] for row in rows)
    acknowledged = sum(row["acknowledged"] for row in rows)
    waits = [
        (float(row["acknowledged_after_s"]), row["acknowledged"])
        for row in rows
        if row["acknowledged_after_s"] is not None
    ]
    in_alarm = sum(float(row["in_alarm_s"] or 0) for row in rows)
    return {
        "bed_days": round(days, 3),
        "alerts": alerts,
        "alerts_per_bed_day": round(alerts / days, 2) if days else None,
        "physiological": sum(row["alerts"] for row in rows if not row["technical"]),
        "alarm_hours_per_bed_day": round(in_alarm / 3600 / days, 3) if days else None,
        "acknowledged": acknowledged,
        "acknowledged_after_median_s": _weighted_median(waits),
    }


def _weighted_median(waits: list[tuple[float, int]]) -> float | None:
    """Return the median of group medians, each weighing as much as its group is large."""
    total, so_far = sum(count for _, count in waits), 0
    for wait, count in sorted(waits):
        so_far += count
        if 2 * so_far >= total:
            return round(wait, 1)
    return None


def _top(rows: list[Row], key: str) -> list[dict[str, Any]]:
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row[key]] += row["alerts"]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return [{key: name, "alerts": count} for name, count in ordered]
