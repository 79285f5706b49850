"""How an open alert looks and sounds, by IEC 60601-1-8 as vendors apply it. Pure: time is given.

Looks default to what monitors sold in China show (EDAN X8, Comen N10, Mindray uMEC manuals);
pulse lengths and intervals are the standard's ranges. Vigil supplements the bedside alarm.
"""

from dataclasses import dataclass

from alerts.rules import Annunciation
from schemas.alerts import AlertEvent, EventKind, Priority
from schemas.times import S


@dataclass(frozen=True, slots=True)
class Signal:
    """What a priority looks and sounds like. Hz, ms, s; ``pulses`` a burst."""

    mark: str
    colour: str
    flash_hz: float
    duty: float
    pulses: int
    pulse_ms: int
    gap_ms: int
    repeat_s: float


SIGNALS: dict[Priority, Signal] = {
    Priority.HIGH: Signal("***", "red", 2.0, 0.5, 10, 150, 75, 10),
    Priority.MEDIUM: Signal("**", "yellow", 0.6, 0.5, 3, 200, 200, 25),
    Priority.LOW: Signal("*", "cyan", 0.0, 1.0, 1, 200, 0, 30),
}


@dataclass(frozen=True, slots=True)
class Now:
    """What people see and hear of an alert at one time."""

    visual: bool
    audio: bool
    reminder: bool
    signal: Signal


def annunciate(
    event: AlertEvent,
    settings: Annunciation,
    now_ns: int,
    *,
    audio_paused: bool = False,
    alarm_paused: bool = False,
) -> Now:
    """Return how an open alert is annunciated at ``now_ns``.

    Acknowledged: no sound, until the condition has lasted ``reminder_s`` longer; then one burst
    every ``reminder_s``. Latched: as before, until somebody acknowledges. A pause holds for all
    but extremes; a muted or shelved alert is neither seen nor heard, and stays in the lists.
    """
    signal = SIGNALS[event.priority]
    if event.quiet or (alarm_paused and not event.extreme):
        return Now(visual=False, audio=False, reminder=False, signal=signal)
    silent = audio_paused and not event.extreme
    if event.acknowledged_by:
        since_ns = now_ns - event.acknowledged_ns
        reminds = event.priority is Priority.HIGH and settings.reminder_s > 0
        due = (
            reminds
            and since_ns >= settings.reminder_s * S
            and (since_ns % int(settings.reminder_s * S) < signal.repeat_s * S)
        )
        return Now(visual=True, audio=False, reminder=due and not silent, signal=signal)
    audible = not silent and event.kind is not EventKind.FINDING
    return Now(visual=True, audio=audible, reminder=False, signal=signal)
