"""``vigil rules try``: what a changed rule set would have done to what is stored."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection
from rich.console import Console
from rich.table import Table

from alerts.rulesets import RuleSet
from hub.evaluation import DAY_S, Span, spans
from hub.reads import Row, fetch
from hub.replay import read_inputs
from hub.runs import limits_of
from hub.settings import Settings
from ingest.pipeline import Pipeline, new_state
from ingest.rerun import Arrival, in_order, rerun
from schemas.times import S
from schemas.wire import Reading

PIECE = timedelta(days=1)
"""A bed is replayed a day at a time, so that memory stays flat."""
TOGETHER_S = 120.0
"""Alerts of one rule on one bed that overlap, or begin within this, are the same alert."""
LISTED = 10


@dataclass(slots=True)
class Side:
    """What one rule set did."""

    rules: RuleSet
    alerts: dict[str, list[Span]] = field(default_factory=dict)


@dataclass(slots=True)
class Trial:
    """Both rule sets over the same beds and time."""

    before: Side
    after: Side
    bed_days: dict[str, float] = field(default_factory=dict)


async def run_trial(
    connection: AsyncConnection,
    settings: Settings,
    sides: tuple[RuleSet, RuleSet],
    beds: list[str],
    between: tuple[datetime, datetime],
    advance: Callable[[], None],
) -> Trial:
    """Replay what is stored of ``beds`` under the rules as they are and as they would be."""
    trial = Trial(Side(sides[0]), Side(sides[1]))
    for bed in beds:
        lines = [Pipeline(new_state("try"), r, {}, limits_of(settings)) for r in sides]
        found: list[list[Any]] = [[], []]
        days, start, last_ns = 0.0, between[0], 0
        while start < between[1]:
            end = min(start + PIECE, between[1])
            arrivals = in_order(await read_inputs(connection, bed, start, end))
            days += _days(arrivals)
            last_ns = max([last_ns, *(a.received_ns for a in arrivals)])
            for line, gave in zip(lines, found, strict=True):
                gave.extend(await asyncio.to_thread(_replay, line, arrivals))
            start = end
        trial.bed_days[bed] = days
        for side, gave in zip((trial.before, trial.after), found, strict=True):
            side.alerts[bed] = spans(gave, 0, last_ns / S)
        advance()
    return trial


def _replay(line: Pipeline, arrivals: list[Arrival]) -> list[Any]:
    return [event for _, outcome in rerun(line, arrivals) for event in outcome.events]


def _days(arrivals: list[Arrival]) -> float:
    """Return how long a bed was monitored: the sum of its readings' intervals, by time covered."""
    seconds = {int(a.received_ns // (60 * S)) for a in arrivals if isinstance(a.what, Reading)}
    slow = [a.what.interval_s for a in arrivals if isinstance(a.what, Reading)]
    width = max(60.0, min(slow)) if slow else 60.0
    return len(seconds) * width / DAY_S


async def beds_with_data(connection: AsyncConnection, since: datetime) -> list[str]:
    """Return the beds that were heard since a time."""
    return [
        row["name"]
        for row in await fetch(connection, "select_beds")
        if row["last_received"] is not None and row["last_received"] >= since
    ]


def _same(one: Span, other: Span) -> bool:
    near = abs(one.start_s - other.start_s) <= TOGETHER_S
    return one.rule == other.rule and (
        near or (one.start_s < other.end_s and other.start_s < one.end_s)
    )


def _only(mine: list[Span], theirs: list[Span]) -> list[Span]:
    return [span for span in mine if not any(_same(span, other) for other in theirs)]


def summarise(trial: Trial) -> dict[str, Any]:
    """Return alerts a bed-day before and after, by rule and hospital; what is new, what is lost."""
    days = sum(trial.bed_days.values())

    def rate(count: int) -> float | None:
        return round(count / days, 3) if days else None

    def counted(side: Side) -> dict[str, Any]:
        rules = Counter(span.rule for some in side.alerts.values() for span in some)
        hospitals: Counter[str] = Counter()
        for bed, some in side.alerts.items():
            hospitals[bed.partition("/")[0]] += len(some)
        return {
            "version": side.rules.version,
            "alerts": rules.total(),
            "alerts_per_bed_day": rate(rules.total()),
            "by_rule": {rule: rate(count) for rule, count in rules.most_common()},
            "by_hospital": {name: rate(count) for name, count in hospitals.most_common()},
        }

    changed: dict[str, list[Row]] = {"new": [], "lost": []}
    for bed in trial.bed_days:
        before, after = trial.before.alerts[bed], trial.after.alerts[bed]
        for name, some in (("new", _only(after, before)), ("lost", _only(before, after))):
            changed[name] += [
                {
                    "bed": bed,
                    "rule": s.rule,
                    "at": s.start_s,
                    "lasted_s": round(s.end_s - s.start_s),
                }
                for s in some
            ]
    return {
        "beds": len(trial.bed_days),
        "bed_days": round(days, 3),
        "before": counted(trial.before),
        "after": counted(trial.after),
        "new": len(changed["new"]),
        "lost": len(changed["lost"]),
        "new_alerts": changed["new"],
        "lost_alerts": changed["lost"],
        "beds_to_look_at": [
            {"bed": bed, "lost": count}
            for bed, count in Counter(row["bed"] for row in changed["lost"]).most_common(LISTED)
        ],
    }


def render(result: dict[str, Any], console: Console) -> None:
    """Print a trial as a table."""
    before, after = result["before"], result["after"]
    table = Table(
        "rule",
        f"before {before['version']}",
        f"after {after['version']}",
        title=f"alerts a bed-day over {result['bed_days']} bed-days of {result['beds']} beds",
    )
    table.add_row("all", str(before["alerts_per_bed_day"]), str(after["alerts_per_bed_day"]))
    for rule in dict.fromkeys([*before["by_rule"], *after["by_rule"]]):
        table.add_row(rule, str(before["by_rule"].get(rule, 0)), str(after["by_rule"].get(rule, 0)))
    console.print(table)
    console.print(f"{result['new']} new, {result['lost']} lost", highlight=False)
    for row in result["beds_to_look_at"]:
        console.print(f"  look at {row['bed']}: {row['lost']} lost", highlight=False)


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the before and after picture."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    before, after = result["before"]["by_rule"], result["after"]["by_rule"]
    rules = list(dict.fromkeys([*before, *after]))[::-1]
    figure, axis = plt.subplots(figsize=(9, 1.5 + 0.35 * len(rules)), layout="constrained")
    where = range(len(rules))
    for shift, rates, colour, name in (
        (0.2, before, "#9aa5b1", "before"),
        (-0.2, after, "#0b6e99", "after"),
    ):
        heights = [rates.get(rule, 0) for rule in rules]
        bars = axis.barh([i + shift for i in where], heights, 0.38, color=colour, label=name)
        axis.bar_label(bars, padding=3)
    axis.set_yticks(where, rules)
    axis.set_xlabel("alerts a bed-day")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    axis.set_title(
        f"{result['before']['alerts_per_bed_day']} → {result['after']['alerts_per_bed_day']} "
        f"alerts a bed-day over {result['bed_days']} bed-days"
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write(result: dict[str, Any], path: Path) -> None:
    """Write the whole result as JSON, or its picture as PNG, by the file's ending."""
    if path.suffix == ".png":
        draw(result, path)
    else:
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
