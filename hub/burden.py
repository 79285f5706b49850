"""Alarm burden from the ledger: alerts a bed-day, time in alarm, time to acknowledge."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import AsyncConnection

from hub.reads import Row, fetch
from schemas.errors import HubError

DAY_MINUTES = 1440.0
TOP = 10
SHIFTS = {"night": range(8), "day": range(8, 16), "evening": range(16, 24)}
"""Hours of the day: shifts of eight hours from midnight."""


async def burden(
    connection: AsyncConnection,
    between: tuple[datetime, datetime],
    bed: str | None = None,
    zone: str = "Asia/Shanghai",
) -> dict[str, Any]:
    """Return the burden between two times: all, by hospital and shift; top rules and beds.

    What was muted from its beginning is counted apart: nobody was called for it. Time in alarm is
    the time in which a bed had any alert, however many at once. Raises HubError for a wrong zone.
    """
    if between[0] >= between[1]:
        raise HubError("since is not before until")
    try:
        here = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise HubError(f"zone {zone[:40]!r}: there is none; write e.g. Asia/Shanghai") from None
    asked = {"start": between[0], "end": between[1], "bed": bed}
    minutes = await fetch(connection, "select_bed_days", zone=zone, **asked)
    rows = await fetch(connection, "select_burden", **asked)
    for row in rows:
        row["hospital"] = row["bed"].partition("/")[0]
        row["hour"] = row["fired_at"].astimezone(here).hour
    told = [row for row in rows if not row["muted"]]

    def days(hospital: str | None = None, hours: Iterable[int] = range(24)) -> float:
        wanted = set(hours)
        return float(
            sum(
                m["minutes"]
                for m in minutes
                if m["hour"] in wanted and (hospital is None or m["bed"].startswith(f"{hospital}/"))
            )
            / DAY_MINUTES
        )

    return {
        "from": between[0],
        "to": between[1],
        **_sums(told, days()),
        "muted": len(rows) - len(told),
        "by_hospital": {
            hospital: _sums([row for row in told if row["hospital"] == hospital], days(hospital))
            for hospital in sorted({row["hospital"] for row in told})
        },
        "by_shift": {
            shift: _sums([row for row in told if row["hour"] in hours], days(hours=hours))
            for shift, hours in SHIFTS.items()
        },
        "top_rules": _top(told, "rule"),
        "top_beds": _top(told, "bed"),
    }


def _sums(rows: list[Row], days: float) -> dict[str, Any]:
    waits = [
        (row["acknowledged_at"] - row["fired_at"]).total_seconds()
        for row in rows
        if row["acknowledged_at"] is not None
    ]
    hours = in_alarm(rows).total_seconds() / 3600
    return {
        "bed_days": round(days, 3),
        "alerts": len(rows),
        "alerts_per_bed_day": round(len(rows) / days, 2) if days else None,
        "physiological": sum(not row["technical"] for row in rows),
        "alarm_hours_per_bed_day": round(hours / days, 3) if days else None,
        "acknowledged": len(waits),
        "acknowledged_after_median_s": round(median(waits), 1) if waits else None,
    }


def in_alarm(rows: list[Row]) -> timedelta:
    """Return for how long beds had any alert, each bed's overlaps counted once."""
    by_bed: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in rows:
        by_bed.setdefault(row["bed"], []).append((row["fired_at"], row["ended_at"]))
    total = timedelta()
    for spans in by_bed.values():
        until: datetime | None = None
        for start, end in sorted(spans):
            begin = start if until is None or start > until else until
            if end > begin:
                total += end - begin
                until = end
    return total


def _top(rows: list[Row], key: str) -> list[dict[str, Any]]:
    ordered = sorted(
        Counter(row[key] for row in rows).items(), key=lambda item: (-item[1], item[0])
    )
    return [{key: name, "alerts": count} for name, count in ordered[:TOP]]
