"""What a screen shows of a bed, reduced from judged readings and alert events. Pure.

A view holds for each vital its newest value with the time it was measured (ms, hub time: the
device's clock offset taken out), and the alerts that are open. A value that may not be judged is
shown with its reason instead of a number.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from schemas.alerts import AlertEvent, EventKind
from schemas.times import MS
from schemas.vitals import VITALS, Quality
from schemas.wire import Reading

PRIORITY_ORDER = {"high": 0, "medium": 1, "low": 2}
Cell = tuple[float | None, int, str, float]
"""Value, measured ms (hub time), quality, seconds between two measurements."""


@dataclass(slots=True)
class BedView:
    """One bed as the screens see it."""

    bed: str
    received_ms: int = 0
    interval_s: float = 1.0
    vitals: dict[str, Cell] = field(default_factory=dict)
    alerts: dict[str, AlertEvent] = field(default_factory=dict)


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
        vital = VITALS.get(name)
        interval = max(reading.interval_s, vital.interval_s if vital else 1.0)
        view.vitals[name] = (value, measured_ms, quality.value, interval)
        changed = True
    if changed and not reading.late:
        view.received_ms = max(view.received_ms, reading.received_ns // MS)
        view.interval_s = reading.interval_s
    return changed


def apply_alert(view: BedView, event: AlertEvent) -> None:
    """Take an alert event into the view. Applying an event twice changes nothing."""
    if event.kind in (EventKind.FIRED, EventKind.ACKNOWLEDGED):
        view.alerts[event.alert] = event
    else:
        view.alerts.pop(event.alert, None)


def alarm_state(view: BedView) -> str:
    """Return none, low, medium, high or technical: the worst open alert of the bed."""
    physiological = [e.priority for e in view.alerts.values() if not e.technical]
    if physiological:
        return min(physiological, key=lambda p: PRIORITY_ORDER[p]).value
    return "technical" if view.alerts else "none"


def encode_bed(view: BedView) -> dict[str, Any]:
    """Return what goes to the browser for one bed."""
    return {
        "id": view.bed,
        "r": view.received_ms,
        "i": view.interval_s,
        "al": alarm_state(view),
        "ack": bool(view.alerts) and all(e.acknowledged_by for e in view.alerts.values()),
        "v": view.vitals,
    }


def encode_alert(event: AlertEvent) -> dict[str, Any]:
    """Return what goes to the browser for one alert event."""
    return {
        "id": event.alert,
        "bed": event.bed,
        "kind": event.kind.value,
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
    counts = dict.fromkeys(PRIORITY_ORDER, 0)
    for view in views:
        if view.bed != bed and view.alerts:
            for event in view.alerts.values():
                counts[event.priority] += not event.acknowledged_by
    return counts
