"""Judged readings and ticks in, alert events out. No clock, no I/O: time is an argument.

Theory of operation. A bed's state holds only what is not normal: a ``RuleState`` for each rule in
its life (``lifecycle``), and the alerts that are open. Three ways of evaluating a reading:

* live: it is news and fresh. What fires is announced at once.
* catching up (``late`` but not ``behind``): the same machine runs, silently. A condition that is
  still firing when fresh data arrive fires then, with its true onset, marked delayed; one that
  ended before that becomes a silent ``finding``.
* filling (``behind`` what was judged): a second machine of the bed runs over the backlog alone;
  what fires there is a ``finding``.

Event ids are hashes of what happened, so evaluating the same input twice gives the same ids.
The state is changed in place: one owner, one thread, saved as a whole.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from alerts.lifecycle import Action, Phase, RuleState, transition
from alerts.rules import Condition, LimitRule, Pack, evaluate, quiet_bands
from alerts.sentences import (
    Label,
    clock_sentence,
    contested_sentence,
    limit_sentence,
    silence_sentence,
)
from schemas.alerts import AlertEvent, EventKind, Priority, Stages, make_id
from schemas.times import S
from schemas.vitals import VITALS, Quality
from schemas.wire import Reading

MIN_BREAK_NS = 60 * S
"""A hold survives a break in the data of this length, or of three of the device's intervals."""

DELAYED_NS = 5 * S
"""An alert from a reading older than this when it arrived is marked delayed."""

NO_DATA = "no_data"
CLOCK = "device_clock"
CONTESTED = "bed_contested"
CONTESTED_CLEAR_NS = 60 * S


class BedState(Struct):
    """What the engine remembers of one bed.

    ``open``: alerts that people have been told of, by alert id, as their newest event.
    ``technical``: open technical conditions, rule to alert id. ``contested_ns``: hub time of the
    last reading from a second device.
    """

    live: dict[str, RuleState] = {}
    filling: dict[str, RuleState] = {}
    open: dict[str, AlertEvent] = {}
    technical: dict[str, str] = {}
    heard_ns: int = 0
    contested_ns: int = 0
    last_measured_ns: int = 0
    last_boot: str = ""
    last_seq: int = 0
    device: str = ""
    interval_s: float = 1.0
    ended: bool = False
    offline: bool = False

    @property
    def last_key(self) -> str:
        """The key of the last reading, as ``Reading.key`` writes it."""
        return f"{self.device}|{self.last_boot}|{self.last_seq}|{self.last_measured_ns}"


class EngineState(Struct):
    """All beds. ``listening_ns``: silence is counted from here, not over the hub's own absence."""

    beds: dict[str, BedState] = {}
    listening_ns: int = 0


class _Pass(Struct):
    """One reading on its way through the rules of its bed."""

    bed: BedState
    reading: Reading
    judged_ns: int
    events: list[AlertEvent] = []


class Engine:
    """A pack applied to a state. ``labels`` gives beds the names that people read."""

    def __init__(self, pack: Pack, state: EngineState, labels: dict[str, Label]) -> None:
        self.pack = pack
        self._quiet = quiet_bands(pack)
        self.state = state
        self._labels = labels

    def step(self, reading: Reading, judged_ns: int) -> list[AlertEvent]:
        """Evaluate one judged reading; return what happened, in order."""
        bed = self.state.beds.get(reading.bed)
        if bed is None:
            bed = self.state.beds[reading.bed] = BedState()
        now = _Pass(bed, reading, judged_ns)
        if reading.flags and Quality.CONTESTED in reading.flags.values():
            self._contest(now)
        else:
            self._hear(now)
        states = bed.filling if reading.behind else bed.live
        quiet = self._quiet
        for vital, value in reading.values.items():
            band = quiet.get(vital)
            if band is None or (not states and band[0] <= value <= band[1]):
                continue  # no rule on this vital, or none that this value breaks
            if vital not in reading.flags:
                for rule in self.pack.by_vital[vital]:
                    condition = evaluate(rule, value)
                    if condition is Condition.BREACH or rule.id in states:
                        self._step_rule(now, states, rule, condition, value)
        return now.events

    def _hear(self, now: _Pass) -> None:
        bed, reading = now.bed, now.reading
        if reading.received_ns > bed.heard_ns and (not reading.late or not bed.heard_ns):
            bed.heard_ns = reading.received_ns  # only fresh data break silence
        if reading.behind:
            return
        interval_s = reading.interval_s
        if bed.device not in ("", reading.device):
            interval_s = min(interval_s, bed.interval_s)  # a cuff does not excuse a monitor
        bed.device, bed.interval_s = reading.device, interval_s
        bed.ended = bed.offline = False
        bed.last_boot, bed.last_seq = reading.boot, reading.seq
        bed.last_measured_ns = reading.measured_ns
        if NO_DATA in bed.technical and not reading.late:
            now.events.append(self._close(bed, NO_DATA, reading.measured_ns, now.judged_ns))

    def _step_rule(
        self,
        now: _Pass,
        states: dict[str, RuleState],
        rule: LimitRule,
        condition: Condition,
        value: float,
    ) -> None:
        reading = now.reading
        before = states.get(rule.id)
        max_break_ns = max(MIN_BREAK_NS, int(3 * reading.interval_s * S))
        after, action = transition(
            rule, before, condition, reading.measured_ns, reading.key, max_break_ns
        )
        if after is None:
            states.pop(rule.id, None)
            if action is Action.RESOLVE and before is not None:
                self._resolve(now, rule, before, value)
            return
        states[rule.id] = after
        if after.announced or after.phase is not Phase.FIRING:
            return
        if reading.behind:
            after.announced = True
            now.events.append(self._limit_event(now, EventKind.FINDING, rule, after, value))
        elif not reading.late:
            after.announced = True
            caught_up = action is not Action.FIRE
            event = self._limit_event(now, EventKind.FIRED, rule, after, value, caught_up)
            now.bed.open[event.alert] = event
            now.events.append(event)

    def _resolve(self, now: _Pass, rule: LimitRule, state: RuleState, value: float) -> None:
        if now.reading.behind:
            return
        kind = EventKind.RESOLVED if state.announced else EventKind.FINDING
        event = self._limit_event(now, kind, rule, state, value)
        now.bed.open.pop(event.alert, None)
        now.events.append(event)

    def _limit_event(
        self,
        now: _Pass,
        kind: EventKind,
        rule: LimitRule,
        state: RuleState,
        value: float,
        caught_up: bool = False,  # noqa: FBT001, FBT002
    ) -> AlertEvent:
        reading = now.reading
        lasted_ns = reading.measured_ns - state.onset_ns
        zh, en = limit_sentence(rule, self._label(reading.bed), value, lasted_ns)
        age_ns = reading.received_ns - reading.offset_ns - reading.measured_ns
        alert = make_id(reading.bed, rule.id, state.onset_key)
        return AlertEvent(
            event=make_id(alert, kind, reading.key),
            alert=alert,
            kind=kind,
            bed=reading.bed,
            rule=rule.id,
            technical=False,
            priority=rule.priority,
            vital=rule.vital,
            value=value,
            limit=rule.trigger,
            unit=VITALS[rule.vital].unit,
            pack=self.pack.name,
            pack_version=self.pack.version,
            onset_ns=state.onset_ns,
            at_ns=reading.measured_ns,
            delayed=reading.late or caught_up or age_ns > DELAYED_NS,
            acknowledged_by=state.acknowledged_by,
            device=reading.device,
            zh=zh,
            en=en,
            stages=Stages(
                measured_ns=reading.measured_ns,
                sent_ns=reading.sent_ns,
                received_ns=reading.received_ns,
                judged_ns=now.judged_ns,
                fired_ns=now.judged_ns,
            ),
        )

    def tick(self, now_ns: int) -> list[AlertEvent]:
        """Say which beds have fallen silent, and close what has passed by itself."""
        events: list[AlertEvent] = []
        for name in self.state.beds:
            events += self.tick_bed(name, now_ns)
        return events

    def tick_bed(self, name: str, now_ns: int) -> list[AlertEvent]:
        """Let time pass for one bed."""
        events: list[AlertEvent] = []
        bed = self.state.beds[name]
        contested_ns, silent_ns = self._deadlines(bed)
        if contested_ns is not None and now_ns > contested_ns:
            events.append(self._close(bed, CONTESTED, now_ns, now_ns))
        if silent_ns is not None and now_ns > silent_ns:
            rule = self.pack.silence
            words = silence_sentence(
                rule, self._label(name), now_ns - bed.heard_ns, offline=bed.offline
            )
            events.append(self._open(name, bed, NO_DATA, rule.priority, words, now_ns))
        return events

    def due_ns(self, name: str) -> int | None:
        """Return the time after which a tick would change this bed; None: no tick would."""
        bed = self.state.beds.get(name)
        if bed is None:
            return None
        return min((t for t in self._deadlines(bed) if t is not None), default=None)

    def _deadlines(self, bed: BedState) -> tuple[int | None, int | None]:
        """Return after when a contest is over, and after when the bed is silent."""
        contested_ns = bed.contested_ns + CONTESTED_CLEAR_NS if CONTESTED in bed.technical else None
        if bed.ended or not bed.heard_ns or NO_DATA in bed.technical:
            return contested_ns, None
        patience_ns = int(max(self.pack.silence.after_s, 3 * bed.interval_s) * S)
        return contested_ns, max(bed.heard_ns, self.state.listening_ns) + patience_ns

    def clock(
        self,
        name: str,
        device: str,
        offset_ns: int,
        bound_ns: int,
        now_ns: int,
    ) -> list[AlertEvent]:
        """Open or close the alert on a device clock that is off by more than ``bound_ns``."""
        bed = self.state.beds.get(name)
        if bed is None:
            bed = self.state.beds[name] = BedState(device=device)
        if abs(offset_ns) > bound_ns:
            if CLOCK in bed.technical:
                return []
            words = clock_sentence(self._label(name), offset_ns)
            return [self._open(name, bed, CLOCK, Priority.LOW, words, now_ns, str(offset_ns))]
        if CLOCK in bed.technical:
            return [self._close(bed, CLOCK, now_ns, now_ns)]
        return []

    def status(
        self,
        name: str,
        device: str,
        state: str,
        interval_s: float | None,
        now_ns: int,
    ) -> list[AlertEvent]:
        """Take a device's word on itself. ``ended``: monitoring is over, everything closes.

        Only the device that was heard last on the bed may say so.
        """
        bed = self.state.beds.get(name)
        if bed is None or bed.device not in ("", device):
            return []
        bed.offline = state == "offline"
        bed.interval_s = interval_s or bed.interval_s
        if state != "ended":
            return []
        bed.ended = True
        bed.live.clear()
        bed.technical.clear()
        closed = [_closing(event, now_ns, now_ns) for event in bed.open.values()]
        bed.open.clear()
        return closed

    def acknowledge(self, name: str, alert: str, by: str, at_ns: int) -> AlertEvent | None:
        """Acknowledge an open alert; None when it is not open on this bed, or already is so."""
        bed = self.state.beds.get(name)
        event = bed.open.get(alert) if bed else None
        if bed is None or event is None or event.acknowledged_by:
            return None
        for rule_id, state in bed.live.items():
            if rule_id == event.rule:
                state.acknowledged_by = by
        event = replace(
            event,
            event=make_id(alert, EventKind.ACKNOWLEDGED, by),
            kind=EventKind.ACKNOWLEDGED,
            acknowledged_by=by,
            at_ns=at_ns,
        )
        bed.open[alert] = event
        return event

    def open_alerts(self) -> Iterator[AlertEvent]:
        """Yield every alert that is open, as its newest event."""
        for bed in self.state.beds.values():
            yield from bed.open.values()

    def _label(self, bed: str) -> Label:
        return self._labels.get(bed, (bed, bed))

    def _contest(self, now: _Pass) -> None:
        bed, reading = now.bed, now.reading
        bed.contested_ns = reading.received_ns
        if CONTESTED not in bed.technical:
            words = contested_sentence(self._label(reading.bed), reading.device, bed.device)
            now.events.append(
                self._open(
                    reading.bed, bed, CONTESTED, Priority.MEDIUM, words, now.judged_ns, reading.key
                )
            )

    def _open(
        self,
        name: str,
        bed: BedState,
        rule: str,
        priority: Priority,
        words: tuple[str, str],
        now_ns: int,
        onset: str = "",
    ) -> AlertEvent:
        alert = make_id(name, rule, bed.last_key, onset)
        event = AlertEvent(
            event=make_id(alert, EventKind.FIRED),
            alert=alert,
            kind=EventKind.FIRED,
            bed=name,
            rule=rule,
            technical=True,
            priority=priority,
            vital=None,
            value=None,
            limit=None,
            unit="",
            pack=self.pack.name,
            pack_version=self.pack.version,
            onset_ns=bed.last_measured_ns if rule == NO_DATA else now_ns,
            at_ns=now_ns,
            delayed=False,
            acknowledged_by=None,
            device=bed.device,
            zh=words[0],
            en=words[1],
            stages=Stages(
                measured_ns=bed.last_measured_ns,
                sent_ns=None,
                received_ns=bed.heard_ns,
                judged_ns=now_ns,
                fired_ns=now_ns,
            ),
        )
        bed.technical[rule] = alert
        bed.open[alert] = event
        return event

    def _close(self, bed: BedState, rule: str, at_ns: int, now_ns: int) -> AlertEvent:
        return _closing(bed.open.pop(bed.technical.pop(rule)), at_ns, now_ns)


def _closing(event: AlertEvent, at_ns: int, now_ns: int) -> AlertEvent:
    stages = replace(event.stages, judged_ns=now_ns, fired_ns=now_ns)
    return replace(
        event,
        event=make_id(event.alert, EventKind.RESOLVED),
        kind=EventKind.RESOLVED,
        at_ns=at_ns,
        stages=stages,
    )
