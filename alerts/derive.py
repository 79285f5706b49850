"""Quantities and scores of a bed from the newest values, what people observed, and the past. Pure.

Evaluated every ``PERIOD_NS`` of a bed's own time and whenever somebody enters an observation, not
at every reading: scores and trends do not change within a heartbeat.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from alerts.quantities import SOURCES, TRENDS
from alerts.scores import (
    Inputs,
    Score,
    mews_subbe2001,
    modified_shock_index,
    news2,
    qsofa,
    shock_index,
    sirs_bedside,
)
from schemas.care import BedCare
from schemas.observations import OBSERVATIONS
from schemas.times import S
from schemas.vitals import VITALS

PERIOD_NS = 20 * S
FRESH_S = 60.0
BASELINE_S = 4 * 3600.0
"""Memory of a patient's own baseline: the time constant of its mean."""
BASELINE_MIN_S = 1800.0
"""No trend is told before so much of a baseline is known."""
NOW_S = 60.0
"""Time constant of what is compared with the baseline."""
AIR_PERCENT = 21.5


class Newest(Protocol):
    """The newest usable value of a vital and when it was measured, in hub time."""

    @property
    def value(self) -> float:
        """The value, in the vital's unit."""

    @property
    def hub_ns(self) -> int:
        """When it was measured, by the hub's clock."""


class Observed(Struct, array_like=True):
    """What somebody entered: as a number (``schemas.observations.code``), when, and who."""

    value: float
    at_ns: int
    by: str


class Trend(Struct, array_like=True):
    """A patient's own baseline of one quantity: its mean over hours, and the last minute's."""

    mean: float
    now: float
    since_ns: int
    last_ns: int


_FRESH_NS = {v.name: int(max(FRESH_S, 2 * v.interval_s) * S) for v in VITALS.values()}


def fresh_ns(vital: str, interval_s: float) -> int:
    """Return how old a vital may be to count, for a device that sends every ``interval_s``."""
    return max(_FRESH_NS[vital], int(3 * interval_s * S))


def newest(
    latest: Mapping[str, Newest], names: tuple[str, ...], interval_s: float, now_ns: int
) -> float | None:
    """Return the value of the first of ``names`` that is fresh."""
    for name in names:
        found = latest.get(name)
        if found is not None:
            age_ns = now_ns - found.hub_ns
            if age_ns <= _FRESH_NS[name] or age_ns <= 3 * interval_s * S:
                return found.value
    return None


def observed(known: Mapping[str, Observed], name: str, now_ns: int) -> float | None:
    """Return what somebody entered, unless it has expired."""
    found = known.get(name)
    if found is None or now_ns - found.at_ns > OBSERVATIONS[name].valid_s * S:
        return None
    return found.value


def enter(known: dict[str, Observed], values: Mapping[str, float], at_ns: int, by: str) -> None:
    """Take what somebody entered; an older entry never replaces a newer one."""
    for name, value in values.items():
        before = known.get(name)
        if before is None or before.at_ns <= at_ns:
            known[name] = Observed(value, at_ns, by)


_TEMP, _FIO2, _SPO2 = ("temp",), ("fio2",), ("spo2",)
_RR, _SBP, _MAP, _HR = (SOURCES[name] for name in ("any_rr", "any_sbp", "any_map", "any_hr"))


def score_inputs(
    latest: Mapping[str, Newest],
    known: Mapping[str, Observed],
    care: BedCare,
    interval_s: float,
    now_ns: int,
) -> Inputs:
    """Return what the scores are made of. A device's value wins over an older entry of a person."""
    temp = newest(latest, _TEMP, interval_s, now_ns)
    rr = newest(latest, _RR, interval_s, now_ns)
    fio2, oxygen = newest(latest, _FIO2, interval_s, now_ns), None
    acvpu = gcs = None
    if known:
        temp = observed(known, "temp", now_ns) if temp is None else temp
        rr = observed(known, "rr", now_ns) if rr is None else rr
        fio2 = observed(known, "fio2", now_ns) if fio2 is None else fio2
        oxygen = observed(known, "on_oxygen", now_ns)
        acvpu = observed(known, "acvpu", now_ns)
        gcs = observed(known, "gcs", now_ns)
    on_oxygen = None if oxygen is None else bool(oxygen)
    if fio2 is not None:  # a ventilator's or blender's own word
        on_oxygen = fio2 > AIR_PERCENT or bool(oxygen)
    return Inputs(
        rr,
        newest(latest, _SPO2, interval_s, now_ns),
        on_oxygen,
        newest(latest, _SBP, interval_s, now_ns),
        newest(latest, _MAP, interval_s, now_ns),
        newest(latest, _HR, interval_s, now_ns),
        None if acvpu is None else int(acvpu),
        temp,
        gcs,
        care.spo2_scale,
        care.age,
        care.pregnant,
    )


def scores(inputs: Inputs) -> dict[str, Score]:
    """Return every score, evaluated or not."""
    return {
        "news2": news2(inputs),
        "mews_subbe2001": mews_subbe2001(inputs),
        "qsofa": qsofa(inputs),
        "sirs_bedside": sirs_bedside(inputs),
    }


def quantities(inputs: Inputs, trends: dict[str, Trend], now_ns: int) -> dict[str, float]:
    """Return every derived quantity that is known; carry the baselines on to ``now_ns``."""
    found: dict[str, float] = {}
    sources = {
        "any_hr": inputs.pulse,
        "any_rr": inputs.rr,
        "any_sbp": inputs.sbp,
        "any_map": inputs.map,
        "spo2": inputs.spo2,
    }
    found |= {name: value for name, value in sources.items() if value is not None}
    for name, of in TRENDS.items():
        value = sources[of]
        if value is not None:
            change = _follow(trends, name, value, now_ns)
            if change is not None:
                found[name] = change
    for name, index in (
        ("shock_index", shock_index(inputs)),
        ("modified_shock_index", modified_shock_index(inputs)),
    ):
        if index is not None:
            found[name] = index
    totals = {name: score.total for name, score in scores(inputs).items()}
    return found | {name: total for name, total in totals.items() if total is not None}


def _follow(trends: dict[str, Trend], name: str, value: float, now_ns: int) -> float | None:
    """Take a value into a baseline; return the change against it, None while it is too young."""
    trend = trends.get(name)
    if trend is None or now_ns < trend.last_ns:
        trends[name] = Trend(value, value, now_ns, now_ns)
        return None
    step_s = (now_ns - trend.last_ns) / S
    age_s = (now_ns - trend.since_ns) / S
    trend.now += (value - trend.now) * step_s / (step_s + NOW_S)
    # against the baseline as it was before this value
    change = _change(name, trend) if age_s >= BASELINE_MIN_S else None
    if step_s <= 0:
        return change
    # a plain mean until the baseline is as long as its memory
    trend.mean += (value - trend.mean) * step_s / (step_s + min(age_s, BASELINE_S))
    trend.last_ns = now_ns
    return change


def _change(name: str, trend: Trend) -> float | None:
    if name == "spo2_trend":
        return trend.now - trend.mean
    return 100 * (trend.now - trend.mean) / trend.mean if trend.mean else None
