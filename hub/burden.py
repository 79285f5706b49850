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
WITHIN_S = (15, 30, 60, 120, 300, 900)
"""Times to acknowledge that are counted apart."""
SHIFTS = {"night": range(8), "day": range(8, 16), "evening": range(16, 24)}
"""Hours of the day: shifts of eight hours from midnight."""


async def burden(
    connection: AsyncConnection,
    between: tuple[datetime, datetime],
    bed: str | None = None,
    zone: str = "Asia/Shanghai",
    scope: list[str] | None = None,
) -> dict[str, Any]:
    """Return the burden between two times: all, by hospital, shift and day; top rules and beds.

    What was muted from its beginning is counted apart: nobody was called for it. Time in alarm is
    the time in which a bed had any alert, however many at once. Raises HubError for a wrong zone.
    """
    if between[0] >= between[1]:
        raise HubError("since is not before until")
    try:
        here = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise HubError(f"zone {zone[:40]!r}: there is none; write e.g. Asia/Shanghai") from None
    asked = {"start": between[0], "end": between[1], "bed": bed, "scope": scope}
    minutes = await fetch(connection, "select_bed_days", zone=zone, **asked)
    rows = await fetch(connection, "select_burden", **asked)
    for row in rows:
        row["hospital"] = row["bed"].partition("/")[0]
        local = row["fired_at"].astimezone(here)
        row["hour"], row["day"] = local.hour, f"{local:%Y-%m-%d}"
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
        "by_day": _by_day(told),
        "waits": _waits(told),
        "top_rules": _top(told, "rule"),
        "top_beds": _top(told, "bed"),
    }


def _by_day(rows: list[Row]) -> dict[str, dict[str, int]]:
    """Return how many alerts fired on each day, by priority; technical ones apart."""
    days: dict[str, Counter[str]] = {}
    for row in rows:
        level = "technical" if row["technical"] else row["priority"]
        days.setdefault(row["day"], Counter())[level] += 1
    return {day: dict(days[day]) for day in sorted(days)}


def _waits(rows: list[Row]) -> dict[str, int]:
    """Return how many alerts were acknowledged within each of some times, and how many never."""
    counts = dict.fromkeys([*(str(s) for s in WITHIN_S), "later", "never"], 0)
    for row in rows:
        if row["acknowledged_at"] is None:
            counts["never"] += 1
            continue
        waited = (row["acknowledged_at"] - row["fired_at"]).total_seconds()
        counts[next((str(s) for s in WITHIN_S if waited <= s), "later")] += 1
    return counts


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
