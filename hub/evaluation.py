"""What alerts on recordings are worth: against expert labels, and against plain limits. Pure.

Two questions, with the answer of plain limits beside ours. On recordings with labelled alarms: how
many true and false ones we fire on. On charted recordings: how many alerts a bed-day, and how many
onsets of trouble found an alert in force one row before. What neither shows is in
``docs/alarm-quality.md``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.alerts import AlertEvent, EventKind
from schemas.times import S
from simulators.recordings import Recording

Floats = NDArray[np.float64]
WINDOW_S = 20.0
BOOTSTRAPS = 1000
Z95 = 1.959964
DAY_S = 86_400.0

ALARM_TYPES: Mapping[str, tuple[str, bool, float, tuple[str, ...]]] = {
    "asystole": ("hr", False, 20, ("asystole",)),
    "bradycardia": ("hr", False, 40, ("asystole", "hr_extreme_low")),
    "tachycardia": ("hr", True, 140, ("hr_extreme_high",)),
}
"""By label: the vital, whether above, the plain limit, and the rules of ours that answer to it."""

NAIVE: Mapping[str, tuple[tuple[str, float | None, float | None], ...]] = {
    "usual": (
        ("hr", 50, 120),
        ("spo2", 90, None),
        ("rr", 8, 30),
        ("bp_sys", 90, 180),
        ("bp_mean", 60, None),
        ("temp", 35, 39),
    ),
    "four": (("hr", None, 130), ("rr", None, 30), ("bp_mean", 60, None), ("spo2", 88, None)),
}
"""Plain limits, low and high: those of a monitor as shipped, and the four of the data's summary."""

ONSETS: Mapping[str, tuple[str, float, tuple[str, ...]]] = {
    "map_below_60": ("bp_mean", 60, ("map", "sbp", "shock", "modified_", "circulation_f")),
    "spo2_below_88": ("spo2", 88, ("spo2", "respiratory")),
}
"""Trouble whose onset is looked for: vital, limit, how names of rules of its organ begin."""


@dataclass(frozen=True, slots=True)
class Span:
    """One alert: rule, from when until when it was in force, in the recording's seconds."""

    rule: str
    start_s: float
    end_s: float


def spans(events: Iterable[AlertEvent], origin_ns: int, last_s: float) -> list[Span]:
    """Return the physiological alerts that people would have had, in order of their start.

    One that latched is over when its condition is: no person acknowledges a recording. What is
    muted by another alert from its beginning is not counted until it is not, for nobody is called
    for it; what is muted later was told already, and goes on.
    """
    begun: dict[str, tuple[str, float]] = {}
    found: list[Span] = []

    def end(alert: str, at_s: float) -> None:
        rule, start_s = begun.pop(alert)
        found.append(Span(rule, start_s, at_s))

    for event in events:
        if event.technical:
            continue
        at_s = (event.at_ns - origin_ns) / S
        starts = event.kind in (EventKind.FIRED, EventKind.RECURRED, EventKind.UNMUTED)
        if starts and not event.quiet and event.alert not in begun:
            begun[event.alert] = (event.rule.partition("/")[0], at_s)
        elif event.alert in begun and (event.kind is EventKind.LATCHED or not event.is_open):
            end(event.alert, at_s)
    for alert in list(begun):
        end(alert, last_s + 1)
    return sorted(found, key=lambda span: (span.start_s, span.rule))


def column(record: Recording, vital: str) -> Floats:
    """Return one vital of a record, (n,), NaN where it is missing or not in the recording."""
    if vital in record.vitals:
        return record.values[:, record.vitals.index(vital)]
    return np.full(len(record.times), np.nan)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion by Wilson.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not of:
        return 0.0, 1.0
    share = hits / of
    centre = share + Z95**2 / (2 * of)
    half = Z95 * sqrt(share * (1 - share) / of + Z95**2 / (4 * of * of))
    scale = 1 + Z95**2 / of
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def ratio_interval(ours: Sequence[float], theirs: Sequence[float]) -> list[float | None]:
    """Return the 95 % interval of a ratio of sums, by resampling records with a fixed seed."""
    rng = np.random.default_rng(2024)
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    ratios = []
    for _ in range(BOOTSTRAPS):
        pick = rng.integers(0, len(a), len(a))
        below = b[pick].sum()
        if below:
            ratios.append(a[pick].sum() / below)
    if not ratios:
        return [None, None]
    return [round(float(q), 3) for q in np.quantile(ratios, (0.025, 0.975))]


# labelled alarms


@dataclass(frozen=True, slots=True)
class Label:
    """What experts said of the monitor's alarm at the end of a record."""

    kind: str
    is_true: bool
    at_s: float


def judge_alarm(record: Recording, label: Label, found: list[Span]) -> tuple[bool, bool]:
    """Return whether the plain limit and whether our rules fire in the last 20 s."""
    vital, above, limit, rules = ALARM_TYPES[label.kind]
    start_s = label.at_s - WINDOW_S
    inside = (record.times >= start_s) & (record.times <= label.at_s)
    values = column(record, vital)[inside]
    naive = bool(np.any(values > limit if above else values < limit))
    ours = any(
        span.rule in rules and span.start_s <= label.at_s and span.end_s > start_s for span in found
    )
    return naive, ours


def count_alarms(judged: Sequence[tuple[str, Label, bool, bool]]) -> dict[str, Any]:
    """Return the table of labelled alarms: by type and pooled."""

    def table(rows: Sequence[tuple[str, Label, bool, bool]]) -> dict[str, Any]:
        true = [row for row in rows if row[1].is_true]
        false = [row for row in rows if not row[1].is_true]
        naive_true, our_true = sum(r[2] for r in true), sum(r[3] for r in true)
        naive_false, our_false = sum(r[2] for r in false), sum(r[3] for r in false)
        return {
            "true": len(true),
            "false": len(false),
            "naive_true_fired": naive_true,
            "naive_false_fired": naive_false,
            "vigil_true_fired": our_true,
            "vigil_false_fired": our_false,
            "missed_that_naive_fired": sorted(r[0] for r in true if r[2] and not r[3]),
            "fired_that_naive_missed": sorted(r[0] for r in true if r[3] and not r[2]),
            "sensitivity_ci95": [round(x, 3) for x in wilson(our_true, len(true))],
            "naive_sensitivity_ci95": [round(x, 3) for x in wilson(naive_true, len(true))],
            "false_fired_ci95": [round(x, 3) for x in wilson(our_false, len(false))],
            "naive_false_fired_ci95": [round(x, 3) for x in wilson(naive_false, len(false))],
            "false_ratio": round(our_false / naive_false, 3) if naive_false else None,
            "false_ratio_ci95": ratio_interval([r[3] for r in false], [r[2] for r in false])
            if false
            else [None, None],
        }

    kinds = [kind for kind in ALARM_TYPES if any(row[1].kind == kind for row in judged)]
    return {"pooled": table(judged)} | {
        kind: table([row for row in judged if row[1].kind == kind]) for kind in kinds
    }


# burden


@dataclass(slots=True)
class Stay:
    """What one record gave, of one way of alerting."""

    days: float
    alerts: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)
    in_alarm: float = 0.0
    onsets: dict[str, int] = field(default_factory=dict)
    announced: dict[str, int] = field(default_factory=dict)
    announced_same_organ: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)
    announced_fresh: dict[str, int] = field(default_factory=dict)


def naive_spans(record: Recording, limits: str) -> list[Span]:
    """Return the alerts of plain limits: one each time that a value crosses, until it is back."""
    found: list[Span] = []
    for vital, low, high in NAIVE[limits]:
        values = column(record, vital)
        for limit, above in ((low, False), (high, True)):
            if limit is None:
                continue
            start: float | None = None
            for time, value in zip(record.times, values, strict=True):
                if np.isnan(value):
                    continue
                broken = value > limit if above else value < limit
                if broken and start is None:
                    start = float(time)
                elif not broken and start is not None:
                    found.append(Span(_organ_name(vital), start, float(time)))
                    start = None
            if start is not None:
                found.append(Span(_organ_name(vital), start, record.last_s + 1))
    return sorted(found, key=lambda span: (span.start_s, span.rule))


def _organ_name(vital: str) -> str:
    return {"bp_mean": "map", "bp_sys": "sbp"}.get(vital, vital)


def measure(record: Recording, found: list[Span]) -> Stay:
    """Return the burden of a record's alerts and what they announced."""
    times = record.times
    stay = Stay(days=len(times) * record.interval_s / DAY_S, alerts=len(found))
    for span in found:
        stay.by_rule[span.rule] = stay.by_rule.get(span.rule, 0) + 1
    if len(times):
        forced = np.zeros(len(times), bool)
        for span in found:
            forced |= (times >= span.start_s) & (times < span.end_s)
        stay.in_alarm = float(forced.sum()) * record.interval_s / DAY_S
    for name, (vital, limit, organ) in ONSETS.items():
        values = column(record, vital)
        known = np.flatnonzero(~np.isnan(values))
        onsets = [
            int(i) for before, i in pairwise(known) if values[i] < limit and values[before] >= limit
        ]
        stay.onsets[name] = len(onsets)
        stay.announced[name] = sum(_in_force(found, float(times[i - 1]), None) for i in onsets)
        stay.announced_same_organ[name] = sum(
            _in_force(found, float(times[i - 1]), organ) for i in onsets
        )
        fresh = [i for i in onsets if not np.any(values[_day_before(times, i)] < limit)]
        stay.fresh[name] = len(fresh)
        stay.announced_fresh[name] = sum(_in_force(found, float(times[i - 1]), None) for i in fresh)
    return stay


def _day_before(times: Floats, i: int) -> NDArray[np.bool_]:
    """Return which rows lie in the 24 h before row ``i``."""
    found: NDArray[np.bool_] = (times < times[i]) & (times >= times[i] - DAY_S)
    return found


def _in_force(found: list[Span], at_s: float, organ: tuple[str, ...] | None) -> bool:
    """Return whether an alert that fired by ``at_s`` was still in force after it."""
    return any(
        span.start_s <= at_s < span.end_s and (organ is None or span.rule.startswith(organ))
        for span in found
    )


def summarise(stays: Sequence[Stay]) -> dict[str, Any]:
    """Return alerts a bed-day, time in alarm, and the share of onsets announced."""
    days = sum(stay.days for stay in stays)
    rules: dict[str, int] = {}
    for stay in stays:
        for rule, count in stay.by_rule.items():
            rules[rule] = rules.get(rule, 0) + count
    onsets: dict[str, Any] = {}
    for name in ONSETS:
        total = sum(stay.onsets[name] for stay in stays)
        any_rule = sum(stay.announced[name] for stay in stays)
        same = sum(stay.announced_same_organ[name] for stay in stays)
        fresh = sum(stay.fresh[name] for stay in stays)
        announced_fresh = sum(stay.announced_fresh[name] for stay in stays)
        onsets[name] = {
            "onsets": total,
            "announced": any_rule,
            "announced_share": round(any_rule / total, 3) if total else None,
            "announced_ci95": [round(x, 3) for x in wilson(any_rule, total)],
            "announced_same_organ_share": round(same / total, 3) if total else None,
            "first_in_24_h": fresh,
            "first_in_24_h_announced_share": round(announced_fresh / fresh, 3) if fresh else None,
        }
    return {
        "bed_days": round(days, 2),
        "alerts": sum(stay.alerts for stay in stays),
        "alerts_per_bed_day": round(sum(stay.alerts for stay in stays) / days, 3) if days else None,
        "share_of_time_in_alarm": round(sum(s.in_alarm for s in stays) / days, 3) if days else None,
        "by_rule": dict(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
        "onsets": onsets,
    }


def compare_burden(ours: Sequence[Stay], theirs: Sequence[Stay]) -> dict[str, Any]:
    """Return how our burden and what it announces stand to that of plain limits."""
    a, b = sum(stay.alerts for stay in ours), sum(stay.alerts for stay in theirs)
    return {
        "alerts_ratio": round(a / b, 3) if b else None,
        "alerts_ratio_ci95": ratio_interval([s.alerts for s in ours], [s.alerts for s in theirs]),
    }
