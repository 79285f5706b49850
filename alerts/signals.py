"""Technical conditions that are no limit's: silence, clocks, contested beds, missing receivers.

And the monitor's own alarms, which are carried through. Each is open or not, with one alert.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from alerts import handling
from alerts.escalation import PRESENT_NS
from alerts.events import follow, from_condition
from alerts.rulesets import DEVICE_CLOCK, DEVICE_SILENT, HOSPITAL_SILENT, NO_DATA
from alerts.sentences import (
    clock_sentence,
    contested_sentence,
    device_silence_sentence,
    hospital_sentence,
    line_sentence,
    monitor_sentence,
    no_receiver_sentence,
    silence_sentence,
    standby_sentence,
)
from alerts.state import BedState
from schemas.alerts import (
    URGENCY,
    AlertEvent,
    EventKind,
    Priority,
    Stages,
    hospital_place,
    is_place,
    is_unit_place,
    unit_place,
)
from schemas.care import NOBODY, BedCare, CareConfig, Presence
from schemas.care import BedState as Occupancy
from schemas.errors import DecodeError
from schemas.times import S
from schemas.wire import DeviceAlarmMessage, Reading

if TYPE_CHECKING:
    from alerts.engine import Engine

CONTESTED = "bed_contested"
STANDBY_OVERDUE, NO_RECEIVER, LINE_LOST = "standby_overdue", "no_receiver", "line_lost"
LINE_NS = 20 * S
"""A hospital that judges for itself says so every few seconds; after this its line is cut."""
CONTESTED_CLEAR_NS = 60 * S
TOGETHER, TOGETHER_LEAST = 0.8, 3
"""So many of a hospital's beds silent, and at least three, are the hospital's own silence."""
APART = 0.5
"""The hospital's silence is over when no more than this share is still silent."""
ALARMS_KEPT = 50
EPISODES_KEPT = 20


def _open(  # noqa: PLR0913 - what a condition is
    engine: "Engine",
    name: str,
    bed: BedState,
    rule: str,
    words: tuple[str, str],
    at_ns: int,
    *,
    priority: Priority,
    onset: tuple[int, str] | None = None,
    device: str = "",
) -> list[AlertEvent]:
    stages = Stages(
        measured_ns=bed.last_measured_ns or at_ns,
        sent_ns=None,
        received_ns=bed.heard_ns or at_ns,
        judged_ns=at_ns,
        fired_ns=at_ns,
    )
    event = from_condition(
        name,
        rule,
        engine.pack(name),
        words,
        at_ns,
        priority=priority,
        onset=onset or (at_ns, f"{bed.last_key}|{at_ns}"),
        stages=stages,
        device=device or bed.device,
    )
    bed.technical[rule] = event.alert
    return handling.opened(engine, name, bed, event, at_ns)


def _close(
    engine: "Engine", name: str, bed: BedState, rule: str, at_ns: int, now_ns: int
) -> list[AlertEvent]:
    event = bed.open.pop(bed.technical.pop(rule, ""), None)
    if event is None:
        return []
    bed.climbs.pop(event.alert, None)
    events = [follow(event, EventKind.RESOLVED, at_ns, now_ns, muted_by="")]
    return events + handling.remute(engine, name, bed, now_ns)


# silence


def recount(engine: "Engine", name: str, bed: BedState) -> None:
    """Count a bed among its hospital's monitored and silent ones, or not."""
    hospital = name.partition("/")[0]
    monitored = engine.monitored.setdefault(hospital, set())
    silent = engine.silent.setdefault(hospital, set())
    counts = bool(bed.heard_ns) and not bed.ended and _watched(engine, name)
    (monitored.add if counts else monitored.discard)(name)
    (silent.add if counts and NO_DATA in bed.technical else silent.discard)(name)


def _watched(engine: "Engine", name: str) -> bool:
    """Return whether a bed's silence means something: not while its patient is away or none is."""
    care = engine.state.care.get(name)
    if care is None or care.state is Occupancy.MONITORED:
        return True
    return care.state is Occupancy.STANDBY and engine.now_ns >= care.until_ns


def _silent_ns(engine: "Engine", name: str, bed: BedState) -> int | None:
    """Return when a bed counts as silent; None: it does already, or cannot."""
    if bed.ended or not bed.heard_ns or NO_DATA in bed.technical or not _watched(engine, name):
        return None
    patience_ns = int(max(engine.pack(name).silence.after_s, 3 * bed.interval_s) * S)
    return _watched_from(engine, name, bed, bed.heard_ns) + patience_ns


def _watched_from(engine: "Engine", name: str, bed: BedState, heard_ns: int) -> int:
    """Return from when silence counts: since it was heard, and since it means something."""
    care = engine.care(name)
    back_ns = care.until_ns if care.state is Occupancy.STANDBY else 0
    return max(heard_ns, bed.watched_ns, back_ns, engine.state.listening_ns)


def _overdue_ns(engine: "Engine", name: str, bed: BedState) -> int | None:
    """Return when a patient on standby is overdue; None: is so already, or not on standby."""
    care = engine.care(name)
    if care.state is not Occupancy.STANDBY or STANDBY_OVERDUE in bed.technical:
        return None
    return max(care.until_ns, bed.watched_ns)


def _device_silent_ns(engine: "Engine", name: str, bed: BedState) -> dict[str, int]:
    """Return when each device of a bed with several counts as silent, of those that do not yet."""
    rule = engine.pack(name).device_silence
    if rule is None or len(bed.devices) < 2 or bed.ended or not _watched(engine, name):
        return {}
    return {
        device: _watched_from(engine, name, bed, heard.at_ns)
        + int(max(rule.after_s, 3 * heard.interval_s) * S)
        for device, heard in bed.devices.items()
        if f"{DEVICE_SILENT}/{device}" not in bed.technical
    }


def heard(
    engine: "Engine", name: str, bed: BedState, reading: Reading, now_ns: int
) -> list[AlertEvent]:
    """Close what a fresh reading ends: the silence of its bed and its device."""
    events: list[AlertEvent] = []
    at_ns = reading.measured_ns
    if NO_DATA in bed.technical:
        events += _close(engine, name, bed, NO_DATA, at_ns, now_ns)
        recount(engine, name, bed)
        events += _hospital(engine, name, now_ns)
        engine.schedule(name, bed)
    silent = f"{DEVICE_SILENT}/{reading.device}"
    if silent in bed.technical:
        events += _close(engine, name, bed, silent, at_ns, now_ns)
        engine.schedule(name, bed)
    return events


def _hospital(engine: "Engine", name: str, now_ns: int) -> list[AlertEvent]:
    """Open or close the silence of a whole hospital after one of its beds changed."""
    hospital = name.partition("/")[0]
    silent = len(engine.silent.get(hospital, ()))
    beds = len(engine.monitored.get(hospital, ()))
    where = hospital_place(hospital)
    is_open = where in engine.state.places and (
        HOSPITAL_SILENT in engine.state.places[where].technical
    )
    rule = engine.pack(where).hospital_silence
    events: list[AlertEvent] = []
    if rule is None:
        if is_open:
            events = _close(engine, where, engine.place(where), HOSPITAL_SILENT, now_ns, now_ns)
    elif not is_open and silent >= max(TOGETHER_LEAST, TOGETHER * beds):
        words = hospital_sentence(rule, engine.label(where), silent, beds)
        place = engine.place(where)
        events += _open(
            engine,
            where,
            place,
            HOSPITAL_SILENT,
            words,
            now_ns,
            priority=rule.priority,
            onset=(now_ns, f"{where}|{now_ns}"),
        )
    elif is_open and silent <= APART * beds:
        place = engine.place(where)
        events += _close(engine, where, place, HOSPITAL_SILENT, now_ns, now_ns)
    else:
        return []
    for bed_name in sorted(engine.silent.get(hospital, ())):
        events += handling.remute(engine, bed_name, engine.state.beds[bed_name], now_ns)
    return events


# time


def deadlines(engine: "Engine", name: str, bed: BedState) -> list[int]:
    """Return when silence, contests, standby and presence are due."""
    times: list[int] = []
    if is_place(name):
        ends_ns = (_presence_ends_ns if is_unit_place(name) else _line_ends_ns)(engine, name)
        return [] if ends_ns is None else [ends_ns]
    if CONTESTED in bed.technical:
        times.append(bed.contested_ns + CONTESTED_CLEAR_NS)
    silent_ns = _silent_ns(engine, name, bed)
    if silent_ns is not None:
        times.append(silent_ns)
    if len(bed.devices) > 1:
        times += _device_silent_ns(engine, name, bed).values()
    overdue_ns = _overdue_ns(engine, name, bed)
    return times if overdue_ns is None else [*times, overdue_ns]


def elapse(engine: "Engine", name: str, bed: BedState, at_ns: int) -> list[AlertEvent]:
    """Open and close what time alone opens and closes."""
    if is_place(name):
        if is_unit_place(name):
            return receivers(engine, name.rpartition("/")[0], at_ns)
        return _line_lost(engine, name, at_ns)
    events: list[AlertEvent] = []
    if CONTESTED in bed.technical and bed.contested_ns + CONTESTED_CLEAR_NS <= at_ns:
        events += _close(engine, name, bed, CONTESTED, at_ns, at_ns)
    silent_ns = _silent_ns(engine, name, bed)
    if silent_ns is not None and silent_ns <= at_ns:
        rule = engine.pack(name).silence.rule
        words = silence_sentence(
            rule, engine.label(name), at_ns - bed.heard_ns, offline=bed.offline
        )
        onset = (bed.last_measured_ns, f"{bed.last_key}|{at_ns}")
        events += _open(
            engine, name, bed, NO_DATA, words, at_ns, priority=rule.priority, onset=onset
        )
        recount(engine, name, bed)
        events += _hospital(engine, name, at_ns)
    elif len(bed.devices) > 1:
        events += _devices(engine, name, bed, at_ns)
    overdue_ns = _overdue_ns(engine, name, bed)
    if overdue_ns is not None and overdue_ns <= at_ns:
        words = standby_sentence(engine.label(name), at_ns - overdue_ns)
        events += _open(engine, name, bed, STANDBY_OVERDUE, words, at_ns, priority=Priority.MEDIUM)
        bed.watched_ns = at_ns
        recount(engine, name, bed)
        events += _hospital(engine, name, at_ns)
        events += handling.remute(engine, name, bed, at_ns)  # what was covered is so no longer
    return events


def _devices(engine: "Engine", name: str, bed: BedState, at_ns: int) -> list[AlertEvent]:
    events: list[AlertEvent] = []
    silence = engine.pack(name).device_silence
    for device, due in _device_silent_ns(engine, name, bed).items():
        if silence is not None and due <= at_ns:
            at = bed.devices[device].at_ns
            words = device_silence_sentence(silence.rule, engine.label(name), device, at_ns - at)
            events += _open(
                engine,
                name,
                bed,
                f"{DEVICE_SILENT}/{device}",
                words,
                at_ns,
                priority=silence.rule.priority,
                onset=(at, f"{device}|{at}|{at_ns}"),
                device=device,
            )
    return events


# what devices say


def contest(
    engine: "Engine", name: str, bed: BedState, reading: Reading, now_ns: int
) -> list[AlertEvent]:
    """Say that two devices claim one bed."""
    bed.contested_ns = reading.received_ns
    if CONTESTED in bed.technical:
        return []
    words = contested_sentence(engine.label(name), reading.device, bed.device)
    events = _open(
        engine,
        name,
        bed,
        CONTESTED,
        words,
        now_ns,
        priority=Priority.MEDIUM,
        onset=(now_ns, f"{bed.last_key}|{reading.key}"),
    )
    engine.schedule(name, bed)
    return events


def clock(
    engine: "Engine", name: str, device: str, offset_ns: int, bound_ns: int, now_ns: int
) -> list[AlertEvent]:
    """Open or close the alert on a device clock that is off by more than ``bound_ns``."""
    if engine.care(name).state is Occupancy.EMPTY:
        return []
    bed = engine.bed(name)
    if not bed.device:
        bed.device = device
    rule = f"{DEVICE_CLOCK}/{device}"
    if DEVICE_CLOCK in bed.technical:  # of a version that had one for the whole bed
        return _close(engine, name, bed, DEVICE_CLOCK, now_ns, now_ns)
    if abs(offset_ns) > bound_ns:
        if rule in bed.technical:
            return []
        words = clock_sentence(engine.label(name), offset_ns)
        onset = (now_ns, f"{bed.last_key}|{offset_ns}")
        return _open(
            engine,
            name,
            bed,
            rule,
            words,
            now_ns,
            priority=Priority.LOW,
            onset=onset,
            device=device,
        )
    return _close(engine, name, bed, rule, now_ns, now_ns)


def status(
    engine: "Engine", name: str, device: str, state: str, interval_s: float | None, now_ns: int
) -> list[AlertEvent]:
    """Take a device's word on itself. ``ended`` by the last of a bed: everything closes.

    Only a device that was heard on the bed may say so.
    """
    bed = engine.state.beds.get(name)
    if bed is None or device not in bed.devices:
        return []
    if device == bed.device:
        bed.offline = state == "offline"
    heard = bed.devices[device]
    heard.interval_s = interval_s or heard.interval_s
    bed.interval_s = bed.shortest_interval_s
    engine.schedule(name, bed)
    if state != "ended":
        return []
    events: list[AlertEvent] = []
    del bed.devices[device]
    silent = f"{DEVICE_SILENT}/{device}"
    if bed.devices:
        events += _close(engine, name, bed, silent, now_ns, now_ns)
        events += handling.forget_device(bed, device, now_ns)
        engine.schedule(name, bed)
        return events + handling.remute(engine, name, bed, now_ns)
    bed.ended = True
    events += end(engine, name, bed, now_ns, "ended")
    return events


def end(engine: "Engine", name: str, bed: BedState, now_ns: int, reason: str) -> list[AlertEvent]:
    """Close everything of a bed: monitoring is over, or it is empty."""
    bed.live.clear()
    bed.filling.clear()
    events = [handling.close(bed, event, now_ns, reason) for event in list(bed.open.values())]
    bed.technical.clear()
    bed.pauses.clear()
    bed.alarms.clear()
    if reason == "bed_empty":
        bed.devices.clear()
    recount(engine, name, bed)
    return events + _hospital(engine, name, now_ns)


def device_alarm(
    engine: "Engine", name: str, alarm: DeviceAlarmMessage, at_ns: int, now_ns: int
) -> list[AlertEvent]:
    """Carry the monitor's own alarm through: open it, raise it, end it."""
    if engine.care(name).state is Occupancy.EMPTY:
        return []
    bed = engine.bed(name)
    rule = f"monitor/{alarm.alarm}"
    event = bed.open.get(bed.technical.get(rule, ""))
    on, whose = bed.alarms.get(rule, []), f"{alarm.device}|{alarm.id}"
    if alarm.phase == "end":
        left = [one for one in on if one != whose]
        if on and (left or whose not in on):  # none is noted of an older version's alarms
            bed.alarms[rule] = left
            return []
        bed.alarms.pop(rule, None)
        return _close(engine, name, bed, rule, at_ns, now_ns)
    monitors = engine.pack(name).monitors
    # what the monitor calls red passes as our extremes do
    extreme = alarm.priority is Priority.HIGH or any(
        m.extreme and alarm.alarm in m.alarms for m in monitors
    )
    if event is None and not extreme and len(bed.technical) >= ALARMS_KEPT:
        raise DecodeError(
            "too_many_alarms",
            f"alarm {alarm.alarm}: {ALARMS_KEPT} are on here already",
            alarm.device,
        )
    if whose not in on:
        bed.alarms[rule] = [*on[-EPISODES_KEPT:], whose]
    priority = Priority.HIGH if extreme else alarm.priority
    if event is not None:
        if URGENCY[priority] <= URGENCY[event.priority]:
            return []
        raised = follow(event, EventKind.RAISED, at_ns, now_ns, priority=priority)
        raised = replace(raised, acknowledged_by=None, extreme=extreme)
        bed.climbs.pop(event.alert, None)
        bed.open[event.alert] = raised
        events = [raised, *handling.call(engine, name, bed, raised, now_ns)]
        return events + handling.remute(engine, name, bed, now_ns)
    words = monitor_sentence(engine.label(name), alarm.zh or alarm.alarm, alarm.en or alarm.alarm)
    stages = Stages(
        measured_ns=at_ns, sent_ns=None, received_ns=now_ns, judged_ns=now_ns, fired_ns=now_ns
    )
    opened = from_condition(
        name,
        rule,
        engine.pack(name),
        words,
        at_ns,
        priority=priority,
        onset=(at_ns, f"{alarm.device}|{alarm.id}|{at_ns}|{now_ns}"),
        stages=stages,
        device=alarm.device,
        technical=alarm.type == "technical",
        extreme=extreme,
    )
    bed.technical[rule] = opened.alert
    return handling.opened(engine, name, bed, opened, now_ns)


# what care and the console say


def configure(engine: "Engine", hospital: str, config: CareConfig, now_ns: int) -> list[AlertEvent]:
    """Take a hospital's stays, bed states and ladders."""
    state = engine.state
    mine = f"{hospital}/"
    before = {name: care for name, care in state.care.items() if name.startswith(mine)}
    for name in before:
        del state.care[name]
    state.care |= {n: c for n, c in config.beds.items() if n.startswith(mine)}
    old_units = {unit: known for unit, known in state.units.items() if unit.startswith(mine)}
    for unit in old_units:
        del state.units[unit]
    state.units |= {n: u for n, u in config.units.items() if n.startswith(mine)}
    events: list[AlertEvent] = []
    for name in sorted(before.keys() | {n for n in config.beds if n.startswith(mine)}):
        if before.get(name) != state.care.get(name):
            events += _reconfigure(engine, name, before.get(name), now_ns)
    for unit in sorted(old_units.keys() | {u for u in config.units if u.startswith(mine)}):
        events += receivers(engine, unit, now_ns)
        if old_units.get(unit) != state.units.get(unit):
            events += _climb_anew(engine, unit, now_ns)
    for unit in old_units.keys() - state.units.keys():
        state.presence.pop(unit, None)
        state.places.pop(unit_place(*unit.split("/")), None)
    return events


def _climb_anew(engine: "Engine", unit: str, now_ns: int) -> list[AlertEvent]:
    """Let open alerts of a unit follow its new ladder."""
    return [
        after
        for name, bed in engine.state.beds.items()
        if name.startswith(f"{unit}/")
        for event in list(bed.open.values())
        for after in handling.call(engine, name, bed, event, now_ns)
    ]


def _reconfigure(
    engine: "Engine", name: str, before: BedCare | None, now_ns: int
) -> list[AlertEvent]:
    """Let a bed follow what changed of it: its patient, its state, its exceptions."""
    engine.forget_pack(name)
    care = engine.care(name)
    bed = engine.state.beds.get(name)
    if bed is None:
        return []
    events: list[AlertEvent] = []
    if before is not None and before.stay != care.stay:
        bed.trends.clear()  # another patient: nothing of the last one counts
        bed.observed.clear()
        bed.shelves.clear()
        events += _discharge(bed, now_ns)
    if care.state is Occupancy.EMPTY:
        events += end(engine, name, bed, now_ns, "bed_empty")
    was = before or NOBODY
    if (was.state, was.until_ns, was.stay) != (care.state, care.until_ns, care.stay):
        bed.watched_ns = now_ns  # its silence counts from now on
        if care.state is Occupancy.STANDBY or STANDBY_OVERDUE in bed.technical:
            for rule in (NO_DATA, STANDBY_OVERDUE):
                events += _close(engine, name, bed, rule, now_ns, now_ns)
    recount(engine, name, bed)
    events += _hospital(engine, name, now_ns)
    events += handling.drop_gone(engine, name, bed, now_ns)
    events += handling.remute(engine, name, bed, now_ns)
    engine.schedule(name, bed)
    return events


def _discharge(bed: BedState, now_ns: int) -> list[AlertEvent]:
    """Close what belongs to the patient who left; what is the bed's or a device's stays."""
    bed.live.clear()
    bed.filling.clear()
    bed.pauses.clear()
    beds_own = bed.technical.keys() - set(handling.PAUSES)
    theirs = [e for e in bed.open.values() if e.rule not in beds_own or not e.technical]
    return [handling.close(bed, event, now_ns, "other_patient") for event in theirs]


def present(engine: "Engine", hospital: str, presence: Presence, now_ns: int) -> list[AlertEvent]:
    """Note which roles have a receiver connected; say which units have none."""
    events: list[AlertEvent] = []
    for unit, roles in presence.units.items():
        if unit.startswith(f"{hospital}/") and unit in engine.state.units:
            known = {r: t for r, t in engine.state.presence.get(unit, {}).items() if t > now_ns}
            known |= {role: now_ns + PRESENT_NS for role, count in roles.items() if count > 0}
            for role in [role for role, count in roles.items() if count <= 0]:
                known.pop(role, None)
            engine.state.presence[unit] = known
            events += receivers(engine, unit, now_ns)
    return events


def _presence_ends_ns(engine: "Engine", name: str) -> int | None:
    """Return when a unit's last receiver counts as gone, if nothing more is heard."""
    unit = name.rpartition("/")[0]
    known = engine.state.units.get(unit)
    if known is None or not known.ladder or NO_RECEIVER in engine.place(name).technical:
        return None
    roles = {rung.role for rung in known.ladder}
    present = engine.state.presence.get(unit, {})
    until = max((ends for role, ends in present.items() if role in roles), default=0)
    return max(until, engine.state.listening_ns + PRESENT_NS)


def receivers(engine: "Engine", unit: str, now_ns: int) -> list[AlertEvent]:
    """Open or close the alert of a unit that has a ladder and no receiver."""
    name = unit_place(*unit.split("/"))
    place = engine.place(name)
    known = engine.state.units.get(unit)
    if known is None or not known.ladder:
        return _close(engine, name, place, NO_RECEIVER, now_ns, now_ns)
    roles = {rung.role for rung in known.ladder}
    until = engine.state.presence.get(unit, {})
    here = any(role in roles and ends > now_ns for role, ends in until.items())
    is_open = NO_RECEIVER in place.technical
    events: list[AlertEvent] = []
    if here and is_open:
        events = _close(engine, name, place, NO_RECEIVER, now_ns, now_ns)
    elif not here and not is_open and now_ns >= engine.state.listening_ns + PRESENT_NS:
        words = no_receiver_sentence(engine.label(name))
        events = _open(
            engine,
            name,
            place,
            NO_RECEIVER,
            words,
            now_ns,
            priority=Priority.MEDIUM,
            onset=(now_ns, f"{name}|{now_ns}"),
        )
    engine.schedule(name, place)
    return events


def line(engine: "Engine", hospital: str, now_ns: int) -> list[AlertEvent]:
    """Take the word of a hospital that judges for itself: its line is there."""
    name = hospital_place(hospital)
    place = engine.place(name)
    events: list[AlertEvent] = []
    if hospital not in engine.state.lines:  # from now on its beds, units and people are its own
        for bed in [bed for bed in engine.state.beds if bed.startswith(f"{hospital}/")]:
            events += end(engine, bed, engine.bed(bed), now_ns, "edge")
            engine.bed(bed).ended = True
        events += configure(engine, hospital, CareConfig(1, 0), now_ns)
    engine.state.lines[hospital] = now_ns
    events += _close(engine, name, place, LINE_LOST, now_ns, now_ns)
    engine.schedule(name, place)
    return events


def end_line(engine: "Engine", hospital: str, now_ns: int) -> list[AlertEvent]:
    """Judge a hospital here from now on: it has no edge any more."""
    name = hospital_place(hospital)
    engine.state.lines.pop(hospital, None)
    return _close(engine, name, engine.place(name), LINE_LOST, now_ns, now_ns)


def _line_ends_ns(engine: "Engine", name: str) -> int | None:
    """Return when a hospital's line counts as cut; None: it does, or the hub judges for it."""
    heard_ns = engine.state.lines.get(name.partition("/")[0])
    if heard_ns is None or LINE_LOST in engine.place(name).technical:
        return None
    return max(heard_ns, engine.state.listening_ns) + LINE_NS


def _line_lost(engine: "Engine", name: str, at_ns: int) -> list[AlertEvent]:
    ends_ns = _line_ends_ns(engine, name)
    if ends_ns is None or ends_ns > at_ns:
        return []
    words, place = line_sentence(engine.label(name)), engine.place(name)
    onset = (engine.state.lines[name.partition("/")[0]], f"{name}|{at_ns}")
    return _open(
        engine, name, place, LINE_LOST, words, at_ns, priority=Priority.MEDIUM, onset=onset
    )
