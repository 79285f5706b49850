"""What keeps an alert from people, and why. It stays in state and ledger, marked. Pure.

In this order: a shelf, a pause, standby, another alert. An extreme is never muted.
"""

from alerts.rules import Pack
from alerts.state import BedState
from schemas.alerts import URGENCY, AlertEvent, Priority
from schemas.care import BedCare
from schemas.care import BedState as Occupancy

ALARM_PAUSED = "alarm_paused"
PEOPLE = frozenset({"shelf", ALARM_PAUSED, "standby"})
"""What a person put aside, or what covers a bed as a whole: it mutes nothing else."""
OWN = frozenset({ALARM_PAUSED, "audio_paused", "standby_overdue", "no_data"})
"""Alerts that say what a pause or standby is, or that a patient may be missing."""

Muted = tuple[str, str]
"""What mutes, and the reason: for the ledger and for people."""


def muted_by(
    event: AlertEvent,
    bed: BedState,
    care: BedCare,
    pack: Pack,
    place: BedState | None,
    now_ns: int,
) -> Muted:
    """Return what mutes an open alert and why; ("", "") when nothing does.

    ``place``: the state of the bed's hospital, whose own alerts may mute those of its beds.
    """
    if event.extreme:
        return "", ""
    shelf = bed.shelves.get(event.rule) or bed.shelves.get(event.rule.partition("/")[0])
    if shelf is not None:
        return "shelf", f"{shelf.by}: {shelf.reason}"
    if event.rule not in OWN:
        pause = bed.pauses.get(ALARM_PAUSED)
        if pause is not None:
            return ALARM_PAUSED, f"{pause.by}: {pause.reason}"
        if care.state is Occupancy.STANDBY and now_ns < care.until_ns:
            return "standby", care.reason
    return _by_another(event, bed, pack, place)


def _by_another(event: AlertEvent, bed: BedState, pack: Pack, place: BedState | None) -> Muted:
    for inhibition in pack.inhibitions:
        if event.rule in inhibition.target or event.rule.partition("/")[0] in inhibition.target:
            where = place if inhibition.across else bed
            for other in where.open.values() if where is not None else ():
                if other.rule == inhibition.source and _speaks(other):
                    return other.rule, other.alert
    if event.rule.startswith("monitor/"):
        return _merged(event, bed, pack)
    return "", ""


def _speaks(event: AlertEvent) -> bool:
    """Return whether an alert may stand for others: it is not over, nor put aside by a person."""
    return not event.latched and event.muted_by not in PEOPLE


def _merged(event: AlertEvent, bed: BedState, pack: Pack) -> Muted:
    """Return our own alert that says what the monitor's says. The monitor's red always passes."""
    if event.priority is Priority.HIGH:
        return "", ""
    alarm = event.rule.removeprefix("monitor/")
    ours = {name for m in pack.monitors if alarm in m.alarms for name in m.same_as}
    for other in bed.open.values():
        if (
            other.rule.partition("/")[0] in ours
            and not other.quiet
            and URGENCY[other.priority] >= URGENCY[event.priority]
        ):
            return other.rule, other.alert
    return "", ""
