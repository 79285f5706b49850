"""What happens to open alerts beside their condition: muting, people's commands, the ladder.

Nothing here decides whether a condition is there. What a person does is checked first, and refused
with a ``CommandError`` that says why and what to do.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from alerts import escalation
from alerts.escalation import Climb
from alerts.events import follow, from_condition
from alerts.inhibition import ALARM_PAUSED, muted_by
from alerts.lifecycle import Phase
from alerts.rules import Kind
from alerts.rulesets import DEVICE_CLOCK, DEVICE_SILENT
from alerts.sentences import pause_sentence
from alerts.state import BedState, Shelf
from schemas.alerts import AlertEvent, EventKind, Priority, Stages, hospital_place
from schemas.care import BedState as Occupancy
from schemas.errors import CommandError
from schemas.times import S
from schemas.wire import CommandMessage

if TYPE_CHECKING:
    from alerts.engine import Engine

AUDIO_PAUSED = "audio_paused"
PAUSES = (AUDIO_PAUSED, ALARM_PAUSED)
SHELVES_KEPT = 50
MUTE_ROUNDS = 4


def opened(
    engine: "Engine", name: str, bed: BedState, event: AlertEvent, now_ns: int
) -> list[AlertEvent]:
    """Take a fired alert in: mark what mutes it, call the first of the ladder, mute others."""
    by, reason = _muted(engine, name, bed, event)
    if by:
        event = _marked(event, bed, by, reason)
    bed.open[event.alert] = event
    events = call(engine, name, bed, event, now_ns, opening=True)
    events += remute(engine, name, bed, now_ns)
    return events


def drop_gone(engine: "Engine", name: str, bed: BedState, now_ns: int) -> list[AlertEvent]:
    """End what rules raised that do not apply to the bed any more."""
    known = engine.pack(name).rules
    for states in (bed.live, bed.filling):
        for rule in [rule for rule in states if rule not in known]:
            del states[rule]
    gone = [
        event
        for event in bed.open.values()
        if event.rule not in known and event.rule not in bed.technical
    ]
    return [close(bed, event, now_ns, "rule_gone") for event in gone]


def _marked(event: AlertEvent, bed: BedState, by: str, reason: str) -> AlertEvent:
    shelf = _shelf(bed, event.rule)
    until_ns = shelf.until_ns if by == "shelf" and shelf is not None else 0
    return replace(event, muted_by=by, reason=reason, shelved_until_ns=until_ns)


def _shelf(bed: BedState, rule: str) -> Shelf | None:
    return bed.shelves.get(rule) or bed.shelves.get(rule.partition("/")[0])


def _muted(engine: "Engine", name: str, bed: BedState, event: AlertEvent) -> tuple[str, str]:
    place = engine.state.places.get(hospital_place(name.partition("/")[0]))
    return muted_by(event, bed, engine.care(name), engine.pack(name), place, engine.now_ns)


def remute(
    engine: "Engine", name: str, bed: BedState, now_ns: int, key: str = ""
) -> list[AlertEvent]:
    """Look again at what mutes each open alert of a bed; say what changed.

    What is muted by a person mutes nothing itself, so one change may bring another.
    """
    events: list[AlertEvent] = []
    for _ in range(MUTE_ROUNDS if len(bed.open) > 1 else 1):
        changed = _remute_once(engine, name, bed, now_ns, key)
        if not changed:
            break
        events += changed
    return events


def _remute_once(
    engine: "Engine", name: str, bed: BedState, now_ns: int, key: str
) -> list[AlertEvent]:
    events: list[AlertEvent] = []
    for event in list(bed.open.values()):
        by, reason = _muted(engine, name, bed, event)
        if by == event.muted_by and not (by == "shelf" and _shelf_changed(bed, event)):
            continue
        if not by and _recovering(bed, event):
            continue  # nobody is called for what is passing
        if by:
            kind = EventKind.SHELVED if by == "shelf" else EventKind.MUTED
            shelf = _shelf(bed, event.rule) if by == "shelf" else None
            until_ns = shelf.until_ns if shelf else 0
        else:
            kind = EventKind.UNSHELVED if event.muted_by == "shelf" else EventKind.UNMUTED
            until_ns = 0
        who = shelf.by if by == "shelf" and shelf else ""
        after = follow(
            event,
            kind,
            now_ns,
            now_ns,
            f"{key or now_ns}|{by}",
            muted_by=by,
            reason=reason,
            shelved_until_ns=until_ns,
            by=who,
        )
        bed.open[event.alert] = after
        events += [after, *call(engine, name, bed, after, now_ns)]
    return events


def _shelf_changed(bed: BedState, event: AlertEvent) -> bool:
    """Return whether a shelf lasts otherwise than the alert says."""
    shelf = _shelf(bed, event.rule)
    return shelf is not None and shelf.until_ns != event.shelved_until_ns


def forget_device(bed: BedState, device: str, now_ns: int) -> list[AlertEvent]:
    """End what a device said that has left: its clock's alert, its own alarms, its pace."""
    if bed.devices:
        bed.interval_s = bed.shortest_interval_s
    gone = [f"{DEVICE_CLOCK}/{device}"]
    for rule, on in list(bed.alarms.items()):
        left = [one for one in on if not one.startswith(f"{device}|")]
        if left:
            bed.alarms[rule] = left
        else:
            gone.append(rule)
    found = [bed.open.get(bed.technical.get(rule, "")) for rule in gone]
    return [close(bed, event, now_ns, "device_gone") for event in found if event is not None]


def _recovering(bed: BedState, event: AlertEvent) -> bool:
    state = bed.live.get(event.rule)
    return event.muted_by != "shelf" and state is not None and state.phase is Phase.RECOVERING


def close(bed: BedState, event: AlertEvent, now_ns: int, reason: str) -> AlertEvent:
    """End an open alert for a reason that is not its condition; return the event."""
    bed.open.pop(event.alert, None)
    bed.climbs.pop(event.alert, None)
    bed.alarms.pop(event.rule, None)
    if bed.technical.get(event.rule) == event.alert:
        del bed.technical[event.rule]
    return follow(event, EventKind.RESOLVED, now_ns, now_ns, muted_by="", reason=reason)


# the ladder


def ladder(engine: "Engine", name: str, priority: Priority) -> list[tuple[str, int]]:
    """Return the steps of a bed's unit for a priority; none when its unit has no ladder."""
    for unit in _units(engine, name):
        known = engine.state.units.get(unit)
        if known is not None and known.ladder:
            return escalation.rungs(known.ladder, priority)
    return []


def _units(engine: "Engine", name: str) -> list[str]:
    """Return the unit of a bed; of a hospital's own alerts all its units, for it concerns all."""
    hospital = name.partition("/")[0]
    if name != hospital_place(hospital):
        return [name.rpartition("/")[0]]
    return sorted(unit for unit in engine.state.units if unit.startswith(f"{hospital}/"))


def connected(engine: "Engine", name: str, now_ns: int) -> frozenset[str]:
    """Return the roles of a bed's unit that have a receiver connected."""
    return frozenset(
        role
        for unit in _units(engine, name)
        for role, until_ns in engine.state.presence.get(unit, {}).items()
        if until_ns > now_ns
    )


def call(
    engine: "Engine",
    name: str,
    bed: BedState,
    event: AlertEvent,
    now_ns: int,
    declined: str = "",
    *,
    opening: bool = False,
) -> list[AlertEvent]:
    """Climb the ladder as far as it goes now; return what that gives, a fired event itself first.

    An alert that is quiet or taken climbs no further. A fired event names its first step itself.
    """
    if event.quiet or event.acknowledged_by or not event.is_open:
        bed.climbs.pop(event.alert, None)
        return [event] if opening else []
    events: list[AlertEvent] = []
    steps = ladder(engine, name, event.priority)
    if steps:
        state = bed.climbs.get(event.alert)
        if state is None:
            state = bed.climbs[event.alert] = Climb(now_ns, -1, 0)
        here = connected(engine, name, now_ns)
        for step in escalation.climb(steps, state, here, now_ns, declined=bool(declined)):
            reason = "" if step.reason == "time" else step.reason
            if opening and step.step == 0:
                event = replace(event, role=step.role, reason=reason)
            else:
                event = follow(
                    event,
                    EventKind.ESCALATED,
                    now_ns,
                    now_ns,
                    f"{step.step}|{now_ns}",
                    step=step.step,
                    role=step.role,
                    reason=reason,
                    by=declined,
                )
            events.append(event)
        engine.schedule(name, bed)
    else:
        bed.climbs.pop(event.alert, None)
    if opening and (not events or events[0].kind is not EventKind.FIRED):
        events.insert(0, event)
    bed.open[event.alert] = event
    return events


# what people do


def _require_fields(message: CommandMessage) -> None:
    kind = message.kind
    if kind in ("acknowledge", "decline") and not message.alert:
        raise CommandError(f"{kind}: name the alert")
    if kind in ("shelve", "unshelve") and not message.rule:
        raise CommandError(f"{kind}: name the rule")
    if kind in ("shelve", "audio_pause", "alarm_pause") and not message.reason.strip():
        raise CommandError(f"{kind}: give a reason")


def command(engine: "Engine", name: str, message: CommandMessage, at_ns: int) -> list[AlertEvent]:
    """Do what a person asked for on a bed; raise CommandError naming why not, and the fix."""
    by, rule, alert = message.by, message.rule, message.alert or ""
    kind = message.kind
    _require_fields(message)
    if name not in engine.state.beds and kind not in ("acknowledge", "decline"):
        raise CommandError(f"bed {name}: has not been heard of; nothing to {kind}")
    if engine.care(name).state is Occupancy.EMPTY:
        raise CommandError(f"bed {name}: is empty; nothing to {kind}")
    match kind:
        case "acknowledge":
            return acknowledge(engine, name, alert, message, at_ns)
        case "decline":
            return decline(engine, name, alert, by, at_ns)
        case "shelve":
            return shelve(engine, name, message, at_ns)
        case "unshelve":
            return unshelve(engine, name, rule, at_ns, message.id)
        case "audio_pause" | "alarm_pause":
            return pause(engine, name, f"{kind}d", message, at_ns)
        case _:
            return unpause(engine, name, kind.replace("resume", "paused"), at_ns, message.id)


def _find(bed: BedState | None, alert: str) -> tuple[BedState, AlertEvent]:
    event = bed.open.get(alert) if bed is not None else None
    if bed is None or event is None:
        raise CommandError(f"alert {alert}: not open on this bed; it is over, or another bed's")
    return bed, event


def acknowledge(
    engine: "Engine", name: str, alert: str, message: CommandMessage, at_ns: int
) -> list[AlertEvent]:
    """Acknowledge an open alert; one that waited only for that is over then."""
    by = message.by
    bed, event = _find(engine.find(name), alert)
    if event.acknowledged_by:
        raise CommandError(f"alert {alert}: {event.acknowledged_by} has acknowledged it already")
    bed.climbs.pop(alert, None)
    event = follow(
        event,
        EventKind.ACKNOWLEDGED,
        at_ns,
        at_ns,
        f"{by}|{message.id}",
        acknowledged_by=by,
        acknowledged_ns=at_ns,
        by=by,
    )
    bed.open[alert] = event
    state = bed.live.get(event.rule)
    if state is not None:
        state.acknowledged_by = by
        if state.phase is Phase.LATCHED:
            del bed.live[event.rule]
            return [event, close(bed, event, at_ns, "acknowledged")]
    condition, _, device = event.rule.partition("/")
    if condition == DEVICE_SILENT:  # it was taken away, and somebody knows
        bed.devices.pop(device, None)
        events = [event, close(bed, event, at_ns, "acknowledged")]
        events += forget_device(bed, device, at_ns)
        return events + remute(engine, name, bed, at_ns)
    return [event]


def decline(engine: "Engine", name: str, alert: str, by: str, at_ns: int) -> list[AlertEvent]:
    """Hand an alert over at once: "I can't take it"."""
    bed, event = _find(engine.find(name), alert)
    if event.acknowledged_by:
        raise CommandError(f"alert {alert}: {event.acknowledged_by} has acknowledged it already")
    if event.quiet:
        raise CommandError(f"alert {alert}: is muted; nobody was called")
    steps = ladder(engine, name, event.priority)
    if not steps:
        raise CommandError(f"alert {alert}: this unit has no ladder; `vigil care ladder`")
    if event.step >= len(steps) - 1:
        raise CommandError(f"alert {alert}: {event.role} is the last step of the ladder")
    return call(engine, name, bed, event, at_ns, declined=by)


def shelve(engine: "Engine", name: str, message: CommandMessage, at_ns: int) -> list[AlertEvent]:
    """Put a rule aside on one bed until a time, for a reason. Extremes cannot be."""
    rule, until_ns = message.rule, message.until_ns
    pack = engine.pack(name)
    found = [r for i, r in pack.rules.items() if rule in (i, r.name)]
    if not found and not rule.startswith("monitor/"):
        raise CommandError(f"rule {rule}: no such rule on this bed; `vigil rules show --bed`")
    if any(r.extreme for r in found) or _extreme_monitor(engine, name, rule):
        raise CommandError(f"rule {rule}: is extreme and is never shelved; treat the patient")
    if any(r.kind is Kind.SILENCE for r in found):
        raise CommandError(f"rule {rule}: silence is not shelved; set the bed to standby or empty")
    longest_s = pack.annunciation.shelve_max_s
    if not at_ns < until_ns <= at_ns + int(longest_s * S):
        raise CommandError(f"until: after now and within {longest_s / 3600:g} h")
    bed = engine.bed(name)
    if len(bed.shelves) >= SHELVES_KEPT and rule not in bed.shelves:
        raise CommandError(f"rule {rule}: {SHELVES_KEPT} rules are shelved here already")
    bed.shelves[rule] = Shelf(until_ns, message.by, message.reason)
    events = remute(engine, name, bed, at_ns, message.id)
    engine.schedule(name, bed)
    return events


def _extreme_monitor(engine: "Engine", name: str, rule: str) -> bool:
    alarm = rule.removeprefix("monitor/")
    return any(m.extreme and alarm in m.alarms for m in engine.pack(name).monitors)


def unshelve(engine: "Engine", name: str, rule: str, at_ns: int, key: str = "") -> list[AlertEvent]:
    """Take a rule back from the shelf before its time."""
    bed = engine.find(name)
    if bed is None or bed.shelves.pop(rule, None) is None:
        raise CommandError(f"rule {rule}: is not shelved on this bed")
    return remute(engine, name, bed, at_ns, key)


def pause(
    engine: "Engine", name: str, kind: str, message: CommandMessage, at_ns: int
) -> list[AlertEvent]:
    """Pause sound, or sound and sight, of a bed's alerts until a time: itself shown as an alert."""
    by, until_ns = message.by, message.until_ns
    settings = engine.pack(name).annunciation
    longest_s = settings.audio_pause_max_s if kind == AUDIO_PAUSED else settings.alarm_pause_max_s
    if not at_ns < until_ns <= at_ns + int(longest_s * S):
        raise CommandError(f"until: after now and within {longest_s:g} s")
    bed = engine.bed(name)
    before = bed.open.get(bed.technical.get(kind, ""))
    events = [] if before is None else [close(bed, before, at_ns, "replaced")]
    bed.pauses[kind] = Shelf(until_ns, by, message.reason)
    event = from_condition(
        name,
        kind,
        engine.pack(name),
        pause_sentence(engine.label(name), kind, by, until_ns - at_ns),
        at_ns,
        priority=Priority.LOW,
        onset=(at_ns, message.id),
        stages=Stages(
            measured_ns=at_ns, sent_ns=None, received_ns=at_ns, judged_ns=at_ns, fired_ns=at_ns
        ),
    )
    bed.technical[kind] = event.alert
    events += opened(engine, name, bed, event, at_ns)
    engine.schedule(name, bed)
    return events


def unpause(engine: "Engine", name: str, kind: str, at_ns: int, key: str = "") -> list[AlertEvent]:
    """End a pause, by a person or by its time."""
    bed = engine.find(name)
    if bed is None or bed.pauses.pop(kind, None) is None:
        raise CommandError(f"{kind}: is not on for this bed")
    events = []
    alert = bed.technical.get(kind)
    event = bed.open.get(alert or "")
    if event is not None:
        events.append(close(bed, event, at_ns, ""))
    return events + remute(engine, name, bed, at_ns, key)


# time


def deadlines(engine: "Engine", name: str, bed: BedState) -> list[int]:
    """Return when shelves, pauses, exceptions and steps of the ladder are due."""
    times = [shelf.until_ns for shelf in bed.shelves.values()]
    times += [shelf.until_ns for shelf in bed.pauses.values()]
    times += [climb.next_ns for climb in bed.climbs.values() if climb.next_ns]
    care = engine.state.care.get(name)
    if care is not None:
        times += [e.until_ns for e in care.exceptions if e.until_ns > bed.excepted_ns]
    return times


def elapse(engine: "Engine", name: str, bed: BedState, at_ns: int) -> list[AlertEvent]:
    """Let shelves, pauses and exceptions end and the ladder's next step be reached."""
    events: list[AlertEvent] = []
    for rule in [rule for rule, shelf in bed.shelves.items() if shelf.until_ns <= at_ns]:
        events += unshelve(engine, name, rule, at_ns)
    for kind in [kind for kind, shelf in bed.pauses.items() if shelf.until_ns <= at_ns]:
        events += unpause(engine, name, kind, at_ns)
    for alert in [a for a, climb in bed.climbs.items() if 0 < climb.next_ns <= at_ns]:
        event = bed.open.get(alert)
        if event is None:
            del bed.climbs[alert]
        else:
            events += call(engine, name, bed, event, at_ns)
    care = engine.state.care.get(name)
    if care is not None and any(bed.excepted_ns < e.until_ns <= at_ns for e in care.exceptions):
        bed.excepted_ns = at_ns
        engine.forget_pack(name)
    return events
