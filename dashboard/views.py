"""What a screen shows of a bed, reduced from judged readings and alert events. Pure.

A view holds for each vital its newest value with the time it was measured (ms, hub time: the
device's clock offset taken out), and the alerts that are open. A value that may not be judged is
shown with its reason instead of a number.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from alerts.derive import Observed, enter, score_inputs
from alerts.scores import Score, news2, news2_risk
from care.consults import Loops
from schemas.alerts import URGENCY, AlertEvent, Priority
from schemas.care import NOBODY, BedCare
from schemas.codec import decode_observation, time_of
from schemas.observations import code
from schemas.times import MS
from schemas.vitals import KNOWN, VITALS, Quality
from schemas.wire import Reading

Cell = tuple[float | None, int, str, float]
"""Value, measured ms (hub time), quality, seconds between two measurements."""
Spark = tuple[int, float | None, float | None]
"""Measured ms (hub time), heart rate, SpO2."""
SPARK_STEP_MS, SPARK_KEPT = 10_000, 60
"""The sparkline of a tile: ten minutes."""
PAST_STEP_MS, PAST_KEPT = 60_000, 60
"""NEWS2 is compared with the oldest kept of the last hour,"""
NOTHING_OPEN = Loops()
TREND_LEAST_MS = 600_000
"""and with nothing younger than this."""


@dataclass(slots=True)
class BedView:
    """One bed as the screens see it."""

    bed: str
    received_ms: int = 0
    interval_s: float = 1.0
    vitals: dict[str, Cell] = field(default_factory=dict)
    alerts: dict[str, AlertEvent] = field(default_factory=dict)
    care: BedCare = NOBODY
    observed: dict[str, Observed] = field(default_factory=dict)
    news2: tuple[int | None, str] = (None, "not-evaluated")
    news2_ms: int = 0
    news2_past: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=PAST_KEPT))
    sparks: deque[Spark] = field(default_factory=lambda: deque(maxlen=SPARK_KEPT))
    loops: Loops = NOTHING_OPEN
    questions: list[str] = field(default_factory=list)
    watchers: tuple[str, ...] = ()
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class _Newest:
    """A cell as the scores want it."""

    value: float
    hub_ns: int


def score(view: BedView, now_ms: int) -> None:
    """Bring the bed's NEWS2 up to now: total and risk, or why there is none."""
    view.news2_ms = now_ms
    latest = {
        name: _Newest(cell[0], cell[1] * MS)
        for name, cell in view.vitals.items()
        if cell[0] is not None and name in VITALS
    }
    found = news2(score_inputs(latest, view.observed, view.care, view.interval_s, now_ms * MS))
    view.score = found
    view.news2 = (found.total, found.blocked or news2_risk(found))
    past = view.news2_past
    if found.total is not None and (not past or now_ms - past[-1][0] >= PAST_STEP_MS):
        past.append((now_ms, found.total))


def news2_change(view: BedView) -> int | None:
    """Return how NEWS2 has changed within the last hour; None: not known for long enough."""
    total = view.news2[0]
    kept_ms = PAST_STEP_MS * PAST_KEPT
    for at_ms, before in view.news2_past:
        if TREND_LEAST_MS <= view.news2_ms - at_ms <= kept_ms and total is not None:
            return total - before
    return None


def _remember(view: BedView, now_ms: int) -> None:
    """Keep a point of the sparkline every ten seconds; a value that is not new is left out."""
    if view.sparks and now_ms - view.sparks[-1][0] < SPARK_STEP_MS:
        return

    def newest(name: str) -> float | None:
        cell = view.vitals.get(name)
        return cell[0] if cell is not None and now_ms - cell[1] < SPARK_STEP_MS else None

    view.sparks.append((now_ms, newest("hr"), newest("spo2")))


def read_observation(body: bytes, received_ns: int) -> tuple[str, int, dict[str, float]]:
    """Return of a stored observation by whom, of when (ns), and its values as numbers."""
    message = decode_observation(body)
    at_ns = time_of("at", message.at, received_ns)
    return message.by, at_ns, {kind: code(kind, value) for kind, value in message.values.items()}


def apply_observation(view: BedView, by: str, at_ns: int, values: dict[str, float]) -> None:
    """Take what somebody entered; the score is due then."""
    enter(view.observed, values, at_ns, by)
    view.news2_ms = 0


def apply_reading(view: BedView, reading: Reading) -> bool:
    """Take a judged reading into the view; return whether anything on the screen changes.

    Older values never replace newer ones, so backlog that arrives late moves nothing. A contested
    value never replaces the bed's own.
    """
    changed = False
    for name in reading.values.keys() | reading.flags.keys():
        quality = reading.flags.get(name, Quality.OK)
        if quality is Quality.CONTESTED:
            continue
        measured_ms = (reading.measured_ns + reading.offset_ns) // MS
        current = view.vitals.get(name)
        if current is not None and current[1] > measured_ms:
            continue
        value = reading.values.get(name) if quality is Quality.OK else None
        vital = KNOWN.get(name)
        interval = max(reading.interval_s, vital.interval_s if vital else 1.0)
        view.vitals[name] = (value, measured_ms, quality.value, interval)
        changed = True
    if changed and not reading.late:
        view.received_ms = max(view.received_ms, reading.received_ns // MS)
        view.interval_s = reading.interval_s
        _remember(view, (reading.measured_ns + reading.offset_ns) // MS)
    return changed


def apply_alert(view: BedView, event: AlertEvent) -> None:
    """Take an alert event into the view. Applying an event twice changes nothing."""
    if event.is_open:
        view.alerts[event.alert] = event
    else:
        view.alerts.pop(event.alert, None)


def alarm_state(view: BedView) -> str:
    """Return none, low, medium, high or technical: the worst open alert of the bed."""
    loud = [e for e in view.alerts.values() if not e.quiet]
    physiological = [e.priority for e in loud if not e.technical]
    if physiological:
        return max(physiological, key=URGENCY.__getitem__).value
    return "technical" if loud else "none"


def encode_bed(view: BedView) -> dict[str, Any]:
    """Return what goes to the browser for one bed."""
    care = view.care
    loud = [e for e in view.alerts.values() if not e.quiet]
    return {
        "id": view.bed,
        "r": view.received_ms,
        "i": view.interval_s,
        "al": alarm_state(view),
        "ack": bool(loud) and all(e.acknowledged_by for e in loud),
        "st": care.state.value,
        "until": care.until_ns // MS,
        "why": care.reason,
        "limits": care.limits,
        "ex": [
            [e.rule, e.by, e.reason, e.until_ns // MS, e.off, e.above, e.below]
            for e in care.exceptions
        ],
        "news2": [*view.news2, view.news2_ms, news2_change(view)],
        "v": view.vitals,
        **_where_any(view),
    }


def offending(view: BedView) -> dict[str, str]:
    """Return which vitals are in alarm now, each with the worst priority; NEWS2 as ``news2``."""
    found: dict[str, Priority] = {}
    for event in view.alerts.values():
        if event.quiet or event.technical or not event.vital or event.latched:
            continue
        known = found.get(event.vital)
        if known is None or URGENCY[event.priority] > URGENCY[known]:
            found[event.vital] = event.priority
    return {vital: priority.value for vital, priority in found.items()}


def _where_any(view: BedView) -> dict[str, Any]:
    """Return what is in alarm, and what people are doing about a bed, where there is anything."""
    found: dict[str, Any] = {}
    bad = offending(view)
    if bad:
        found["bad"] = bad
    if view.watchers:
        found["w"] = view.watchers
    if view.questions:
        found["q"] = view.questions
    if view.loops != NOTHING_OPEN:
        open_ = view.loops
        found["lo"] = [
            open_.waiting,
            open_.active,
            open_.proposed,
            open_.agreed,
            open_.due_ns // MS,
            open_.consult,
        ]
    return found


def encode_alert(event: AlertEvent) -> dict[str, Any]:
    """Return what goes to the browser for one alert event."""
    return {
        "id": event.alert,
        "bed": event.bed,
        "kind": event.kind.value,
        "open": event.is_open,
        "rule": event.rule,
        "muted": event.muted_by,
        "reason": event.reason,
        "until": event.shelved_until_ns // MS,
        "latched": event.latched,
        "extreme": event.extreme,
        "role": event.role,
        "step": event.step,
        "pri": event.priority.value,
        "tech": event.technical,
        "vital": event.vital,
        "zh": event.zh,
        "en": event.en,
        "onset": event.onset_ns // MS,
        "delayed": event.delayed,
        "ack": event.acknowledged_by,
    }


def open_elsewhere(views: Iterable[BedView], bed: str) -> dict[str, int]:
    """Return how many alerts that nobody has acknowledged are open on other beds, by priority."""
    counts = {priority.value: 0 for priority in Priority}
    for view in views:
        if view.bed != bed and view.alerts:
            for event in view.alerts.values():
                counts[event.priority] += not event.acknowledged_by and not event.quiet
    return counts
