"""Judged readings, people's commands and time in, alert events out. No clock, no I/O.

Theory of operation. A bed's state holds only what is not normal: a ``RuleState`` for each rule in
its life (``lifecycle``), and the alerts that are open. Three ways of evaluating a reading:

* live: it is news and fresh. What fires is announced at once.
* catching up (``late`` but not ``behind``): the same machine runs, silently. A condition that is
  still firing when fresh data arrive fires then, with its true onset, marked delayed; one that
  ended before that becomes a silent ``finding``.
* filling (``behind`` what was judged): a second machine of the bed runs over the backlog alone;
  what fires there is a ``finding``. Derived quantities are not evaluated there.

Time passes only in ``advance``: a queue holds, bed by bed, when time alone would change something
(a hold ends, a bed falls silent, a step of the ladder is due). Before anything else is taken, all
that was due by then happens, at the time it was due; so it makes no difference how often or how
late a clock ticks.

Event ids are hashes of what happened, so evaluating the same input twice gives the same ids. The
state is changed in place: one owner, one thread, saved as a whole. Muting, shelving, pauses and
escalation are in ``alerts.handling``, silence and the other technical conditions in
``alerts.signals``.
"""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush

from msgspec import Struct
from msgspec.structs import replace

from alerts import derive, handling, signals
from alerts.derive import Newest
from alerts.doubt import Doubt, doubt, remember
from alerts.events import follow, from_reading
from alerts.lifecycle import Action, Phase, RuleState, elapse, transition
from alerts.rules import Condition, Pack, Rule, evaluate
from alerts.rulesets import Overlay, RuleSet
from alerts.sentences import Label, rule_sentence, technical_sentence
from alerts.state import BedState, EngineState, Heard
from schemas.alerts import AlertEvent, EventKind, is_place
from schemas.care import NOBODY, BedCare
from schemas.care import BedState as Occupancy
from schemas.times import S
from schemas.vitals import VITALS, Quality
from schemas.wire import Reading

MIN_BREAK_NS = 60 * S
"""A hold survives a break in the data of this length, or of three of the device's intervals."""

STANDING_S = 2.0
"""A hold may end between two samples of a device that sends at least this often."""

SET_BACK_NS = 5 * S
"""What we have heard cannot lie further ahead than this: then our clock was set back."""

SUSPECT = frozenset({Quality.WEAK, Quality.QUESTIONABLE, Quality.CONTRADICTED, Quality.FLUSH})
"""Qualities of values that are shown to nobody as true, and still may be."""

LOST = frozenset({Quality.MISSING, Quality.SENSOR_OFF})
UNKNOWN_NS = 600 * S
"""A score that has not been evaluated for so long is over: its inputs have expired."""
LOST_NS = 60 * S
"""After so long without its signal an alert is over; the signal's own alert is not."""

STUCK_ROUNDS = 20
"""A bed that is due for the same moment this often would be due for ever."""

DEVICES_KEPT = 8
NEVER_NS = 2**62


class Pass(Struct):
    """One reading on its way through the rules of its bed."""

    name: str
    bed: BedState
    pack: Pack
    reading: Reading
    judged_ns: int
    doubted: set[str] = set()
    events: list[AlertEvent] = []


class Engine:
    """A rule set applied to a state. ``labels`` gives beds the names that people read."""

    def __init__(self, rules: RuleSet, state: EngineState, labels: dict[str, Label]) -> None:
        self.rules = rules
        self.state = state
        self.labels = labels
        self.stuck = 0
        self.defect = ""
        self.monitored: dict[str, set[str]] = {}
        self.silent: dict[str, set[str]] = {}
        self._packs: dict[str, Pack] = {}
        self._merged: dict[tuple[Overlay, ...], Pack] = {}
        self._queue: list[tuple[int, str]] = []
        for name, bed in state.beds.items():
            signals.recount(self, name, bed)
            bed.queued_ns = 0
            self.schedule(name, bed)
        for name, place in state.places.items():
            place.queued_ns = 0
            self.schedule(name, place)

    @property
    def now_ns(self) -> int:
        """Up to when everything has happened that time alone brings about."""
        return self.state.now_ns

    def label(self, name: str) -> Label:
        """Return what people call a bed, a unit or a hospital."""
        return self.labels.get(name, (name, name))

    def care(self, name: str) -> BedCare:
        """Return what is known of a bed's patient."""
        return self.state.care.get(name, NOBODY)

    def pack(self, name: str) -> Pack:
        """Return the rules that apply to a bed: baseline, overlays, the patient's exceptions."""
        found = self._packs.get(name)
        if found is None:
            overlays = () if is_place(name) else self.rules.of_bed(name)
            bed = self.state.beds.get(name)
            passed_ns = max(self.now_ns, bed.excepted_ns if bed is not None else 0)
            exceptions = [e for e in self.care(name).exceptions if e.until_ns > passed_ns]
            if exceptions:
                found = self.rules.effective(overlays, exceptions)
            else:
                found = self._merged.get(overlays)
                if found is None:
                    found = self._merged[overlays] = self.rules.effective(overlays)
            self._packs[name] = found
        return found

    def forget_pack(self, name: str) -> None:
        """Work the bed's rules out anew at the next look."""
        self._packs.pop(name, None)

    def set_rules(self, rules: RuleSet, now_ns: int) -> list[AlertEvent]:
        """Take other rules; alerts of rules that are no more end, with that as the reason."""
        self.rules = rules
        self._packs.clear()
        self._merged.clear()
        events: list[AlertEvent] = []
        for name, bed in self.state.beds.items():
            events += handling.drop_gone(self, name, bed, now_ns)
            events += handling.remute(self, name, bed, now_ns)
            self.schedule(name, bed)
        return events

    def bed(self, name: str) -> BedState:
        """Return the state of a bed, new when it was never heard of."""
        bed = self.state.beds.get(name)
        if bed is None:
            bed = self.state.beds[name] = BedState()
        return bed

    def find(self, name: str) -> BedState | None:
        """Return the state of a bed, unit or hospital; None when there is none."""
        return self.state.places.get(name) or self.state.beds.get(name)

    def place(self, name: str) -> BedState:
        """Return the state of a unit or hospital itself."""
        place = self.state.places.get(name)
        if place is None:
            place = self.state.places[name] = BedState()
        return place

    # what happens by itself

    def schedule(self, name: str, bed: BedState) -> None:
        """Queue a bed for the next time at which time alone would change it."""
        due = self.due_ns(name)
        if due is not None and (not bed.queued_ns or due < bed.queued_ns):
            bed.queued_ns = due
            heappush(self._queue, (due, name))

    def due_ns(self, name: str) -> int | None:
        """Return the time from which on a bed or place is changed by time; None: never."""
        bed = self.find(name)
        if bed is None:
            return None
        listening = self.state.listening_ns
        times = [s.due_ns for s in bed.live.values() if s.due_ns > listening]
        times += handling.deadlines(self, name, bed)
        times += signals.deadlines(self, name, bed)
        return min(times, default=None)

    def next_due_ns(self) -> int | None:
        """Return when time alone may next change something; None: never."""
        return self._queue[0][0] if self._queue else None

    def advance(self, now_ns: int) -> list[AlertEvent]:
        """Let everything happen that was due by ``now_ns``, in order; return what did."""
        queue = self._queue
        if now_ns > self.state.now_ns:  # noqa: PLR1730 - asked for every message
            self.state.now_ns = now_ns
        if not queue or queue[0][0] > now_ns:
            return []
        events: list[AlertEvent] = []
        again: dict[tuple[str, int], int] = {}
        while queue and queue[0][0] <= now_ns:
            queued, name = heappop(queue)
            bed = self.find(name)
            if bed is None or bed.queued_ns != queued:
                continue  # queued again since, for an earlier time
            bed.queued_ns = 0
            due = self.due_ns(name)
            if due is not None and due <= now_ns:
                again[name, due] = again.get((name, due), 0) + 1
                if again[name, due] > STUCK_ROUNDS:  # nothing moves: look again later, and say so
                    self.stuck += 1
                    bed.queued_ns = now_ns + S
                    heappush(queue, (bed.queued_ns, name))
                    continue
                try:
                    events += self._elapse(name, bed, due)
                    events += signals.elapse(self, name, bed, due)
                    events += handling.elapse(self, name, bed, due)
                except Exception as error:  # noqa: BLE001 - it must never stop the other beds
                    again[name, due] = STUCK_ROUNDS
                    self.defect = f"{name}: {type(error).__name__}: {error}"
            self.schedule(name, bed)
        return events

    def _elapse(self, name: str, bed: BedState, at_ns: int) -> list[AlertEvent]:
        """Fire the rules whose hold ends now, between two samples."""
        events: list[AlertEvent] = []
        for rule_id, state in list(bed.live.items()):
            if not state.due_ns or state.due_ns > at_ns:
                continue
            rule = self.pack(name).rules.get(rule_id)
            measured_ns = state.onset_ns + int((rule.hold_s if rule else 0) * S)
            stands = measured_ns - state.last_ns <= int(2.5 * bed.interval_s * S)
            if rule is None or not stands or elapse(state, measured_ns) is not Action.FIRE:
                state.due_ns = 0
                continue
            state.announced = True
            reading = Reading(
                bed=name,
                device=state.onset_key.partition("|")[0],
                boot=bed.last_boot,
                seq=bed.last_seq,
                measured_ns=measured_ns,
                sent_ns=None,
                received_ns=at_ns,
                values={},
                flags={},
                interval_s=bed.interval_s,
                offset_ns=at_ns - measured_ns,
            )
            now = Pass(name, bed, self.pack(name), reading, at_ns)
            values = {rule.terms[0].of: state.value} if state.value is not None else {}
            events += handling.opened(
                self, name, bed, self._event(now, EventKind.FIRED, rule, state, values), at_ns
            )
        return events

    # what comes in

    def step(
        self, reading: Reading, judged_ns: int, latest: Mapping[str, Newest] | None = None
    ) -> list[AlertEvent]:
        """Evaluate one judged reading; return what happened, in order.

        ``latest``: the newest usable value of each vital of the bed, this reading's included.
        """
        name = reading.bed
        bed = self.state.beds.get(name)
        if bed is None:
            bed = self.state.beds[name] = BedState()
        care = self.state.care.get(name)
        pack = self._packs.get(name) or self.pack(name)
        now = Pass(name, bed, pack, reading, judged_ns)
        if care is not None and care.state is Occupancy.EMPTY:
            return now.events
        flags = reading.flags
        if flags and Quality.CONTESTED in flags.values():
            now.events += signals.contest(self, name, bed, reading, judged_ns)
        else:
            self._hear(now)
        self._judge_values(now)
        if flags:
            self._judge_flags(now)
        if latest is not None and not reading.behind:
            hub_ns = reading.measured_ns + reading.offset_ns
            # due, or not due for longer than a period: a clock was set back
            if not 0 < bed.derive_ns - hub_ns <= derive.PERIOD_NS:
                bed.derive_ns = hub_ns + derive.PERIOD_NS
                self._judge_derived(now, latest, hub_ns)
        return now.events

    def _hear(self, now: Pass) -> None:
        bed, reading = now.bed, now.reading
        received_ns, device = reading.received_ns, reading.device
        fresh = not reading.late or not bed.heard_ns
        if bed.heard_ns > received_ns + SET_BACK_NS:
            bed.heard_ns = received_ns  # our own clock was set back
        if fresh and received_ns > bed.heard_ns:
            bed.heard_ns = received_ns  # only fresh data break silence
        if reading.behind:
            return
        self._note_device(bed, reading, fresh=fresh)
        interval_s = reading.interval_s
        if len(bed.devices) > 1:
            interval_s = bed.shortest_interval_s
        if interval_s < bed.interval_s:
            bed.interval_s = interval_s
            self.schedule(now.name, bed)  # it is missed sooner from now on
        bed.device, bed.interval_s, bed.offset_ns = device, interval_s, reading.offset_ns
        bed.last_boot, bed.last_seq = reading.boot, reading.seq
        bed.last_measured_ns = reading.measured_ns
        if bed.recent or "pr" in reading.values or "abp_mean" in reading.values:
            remember(bed.recent, reading)
        if not bed.queued_ns or bed.ended or bed.offline:
            bed.ended = bed.offline = False
            signals.recount(self, now.name, bed)
            self.schedule(now.name, bed)
        if bed.technical and not reading.late:
            now.events += signals.heard(self, now.name, bed, reading, now.judged_ns)

    def _note_device(self, bed: BedState, reading: Reading, *, fresh: bool) -> None:
        """Note when a device was heard and how often it sends."""
        received_ns, device = reading.received_ns, reading.device
        heard = bed.devices.get(device)
        if heard is None:
            if len(bed.devices) < DEVICES_KEPT:
                bed.devices[device] = Heard(received_ns, reading.interval_s, reading.measured_ns)
        elif fresh:
            heard.at_ns, heard.interval_s = received_ns, reading.interval_s
            heard.before_ns, heard.gap_ns = heard.gap_ns, reading.measured_ns - heard.measured_ns
            heard.measured_ns = reading.measured_ns

    def _judge_values(self, now: Pass) -> None:
        """Judge every usable value by the limits on it."""
        reading, pack = now.reading, now.pack
        states = now.bed.filling if reading.behind else now.bed.live
        quiet, flags = pack.quiet, reading.flags
        for vital, value in reading.values.items():
            band = quiet.get(vital)
            if band is None or (not states and band[0] <= value <= band[1]):
                continue  # no rule on this vital, or none that this value breaks
            if flags and vital in flags:
                continue
            for rule in pack.by_vital[vital]:
                condition = rule.terms[0].condition(value)
                if condition is Condition.BREACH or rule.id in states:
                    self._judge(now, states, rule, condition, value)
            for technical in pack.technical_by_vital.get(vital, ()):
                rule = technical.rule
                if rule.id in states and rule.id not in now.doubted:
                    self._move(now, states, rule, Condition.NORMAL, {vital: value})

    def _judge_flags(self, now: Pass) -> None:
        """Judge values that cannot be trusted: the signal itself, and what they may mean."""
        reading, pack = now.reading, now.pack
        states = now.bed.filling if reading.behind else now.bed.live
        for vital, quality in reading.flags.items():
            value = reading.values.get(vital)
            if value is not None and quality in SUSPECT:
                for rule in pack.by_vital.get(vital, ()):
                    condition = rule.terms[0].condition(value)
                    if condition is Condition.BREACH or rule.id in states:
                        self._judge(now, states, rule, condition, value)
            elif quality in LOST and states:
                self._lose(now, states, vital)
            for technical in pack.technical_by_vital.get(vital, ()):
                rule = technical.rule
                if quality in technical.qualities and rule.id not in now.doubted:
                    shown = {} if value is None else {vital: value}
                    self._move(now, states, rule, Condition.BREACH, shown)

    def _lose(self, now: Pass, states: dict[str, RuleState], vital: str) -> None:
        """Let an alert end whose signal was lost: by a pulse that contradicts it, or for good.

        The signal's own alert goes on; what latches still waits for a person.
        """
        technicals = now.pack.technical_by_vital.get(vital, ())
        for rule in now.pack.by_vital.get(vital, ()):
            state = states.get(rule.id)
            if state is None or state.phase not in (Phase.FIRING, Phase.RECOVERING):
                continue
            gone = now.reading.measured_ns - state.last_ns >= LOST_NS
            found = doubt(technicals, rule, rule.terms[0].trigger, now.reading, now.bed.recent)
            contradicted = found is not None and found.contradicted
            if gone or contradicted or state.phase is Phase.RECOVERING:
                self._move(now, states, rule, Condition.NORMAL, {}, reason="signal_lost")

    def _judge(
        self,
        now: Pass,
        states: dict[str, RuleState],
        rule: Rule,
        condition: Condition,
        value: float,
    ) -> None:
        """Judge one value by one limit; one that cannot be believed raises its signal's alert."""
        vital = rule.terms[0].of
        doubt_ns = 0
        if condition is Condition.BREACH:
            technicals = now.pack.technical_by_vital.get(vital)
            found = technicals and doubt(technicals, rule, value, now.reading, now.bed.recent)
            if found:
                state = states.get(rule.id)
                told = state is not None and state.phase not in (Phase.PENDING, Phase.DOUBTED)
                # what fired before the pulse could be believed is over now that it can
                condition = Condition.NORMAL if found.contradicted and told else Condition.DOUBT
                doubt_ns = self._doubt_ns(now, states, rule, found)
                self._raise_signal(now, states, found, value)
        self._move(now, states, rule, condition, {vital: value}, doubt_ns)

    def _doubt_ns(self, now: Pass, states: dict[str, RuleState], rule: Rule, found: Doubt) -> int:
        """Return how long a doubtful breach waits: not at all when another vital agrees."""
        if found.contradicted:
            return NEVER_NS
        rules = now.pack.rules
        vital = rule.terms[0].of
        agrees = any(
            state.phase in (Phase.PENDING, Phase.FIRING)
            and (other := rules.get(rule_id)) is not None
            and other.direct
            and other.terms[0].of != vital
            for rule_id, state in states.items()
        )
        if agrees:
            return 0
        waits_s = found.technical.doubt_s if rule.extreme else found.technical.doubt_other_s
        return int(waits_s * S)

    def _raise_signal(
        self, now: Pass, states: dict[str, RuleState], found: Doubt, value: float
    ) -> None:
        """Say at once that a signal cannot be trusted: a limit is broken, and it may be true."""
        rule = found.technical.rule
        now.doubted.add(rule.id)
        if now.reading.behind:
            return
        state = states.get(rule.id)
        at_ns, key = now.reading.measured_ns, now.reading.key
        if state is None:
            state = states[rule.id] = RuleState(Phase.PENDING, at_ns, key, at_ns, at_ns, 1)
        state.last_ns, state.value = at_ns, value
        if state.phase is not Phase.FIRING:
            state.phase, state.since_ns = Phase.FIRING, at_ns
        if not state.announced and not now.reading.late:
            state.announced = True
            values = {found.technical.vital: value}
            event = self._event(now, EventKind.FIRED, rule, state, values)
            now.events += handling.opened(self, now.name, now.bed, event, now.judged_ns)

    def evaluate_now(
        self, reading: Reading, key: str, latest: Mapping[str, Newest]
    ) -> list[AlertEvent]:
        """Judge a bed's scores at once, for something that is no device's reading."""
        name = reading.bed
        if self.care(name).state is Occupancy.EMPTY:
            return []
        reading.boot = f"observation-{key}"
        now = Pass(name, self.bed(name), self.pack(name), reading, reading.received_ns)
        self._judge_derived(now, latest, reading.received_ns)
        return now.events

    def _judge_derived(self, now: Pass, latest: Mapping[str, Newest], hub_ns: int) -> None:
        """Judge scores, trends and combinations by what is known now."""
        bed, states = now.bed, now.bed.live
        inputs = derive.score_inputs(
            latest, bed.observed, self.care(now.name), bed.interval_s, hub_ns
        )
        known = derive.quantities(inputs, bed.trends, hub_ns)
        if states:
            self._lose_absent(now, latest)
        for rule in now.pack.derived:
            term = rule.terms[0]
            value = known.get(term.of)
            if (
                value is not None
                and rule.id not in states
                and (value <= term.trigger if term.above else value >= term.trigger)
            ):
                continue  # the ordinary case: its first term is not broken
            values = known
            for term in rule.terms:
                if term.of not in known and term.of in latest:
                    value = derive.newest(latest, (term.of,), bed.interval_s, hub_ns)
                    if value is not None:
                        values = values | {term.of: value}
            condition = evaluate(rule, values)
            if condition is None:
                state = states.get(rule.id)
                if state is None or not self._unknown(now, state):
                    continue
                condition = Condition.NORMAL  # what it looks at has not been known for too long
            elif condition is not Condition.BREACH and rule.id not in states:
                continue
            used = {term.of: values[term.of] for term in rule.terms if term.of in values}
            self._move(now, states, rule, condition, used)

    def _unknown(self, now: Pass, state: RuleState) -> bool:
        """Return whether a rule has had no evidence for so long that it is over."""
        wait_ns = max(UNKNOWN_NS, int(3 * now.reading.interval_s * S))
        return state.phase is Phase.RECOVERING or (
            now.reading.measured_ns - state.last_ns >= wait_ns
        )

    def _lose_absent(self, now: Pass, latest: Mapping[str, Newest]) -> None:
        """Let what a vital that is no longer sent has raised end, signal alerts included."""
        states, pack = now.bed.live, now.pack
        hub_ns = now.reading.measured_ns + now.reading.offset_ns
        for rule_id in list(states):
            state, vital = states[rule_id], rule_id.rpartition("/")[2]
            if state.phase not in (Phase.FIRING, Phase.RECOVERING) or vital not in VITALS:
                continue
            found = latest.get(vital)
            heard = now.bed.devices.get(state.onset_key.partition("|")[0])
            interval_s = heard.interval_s if heard is not None else now.bed.interval_s
            wait_ns = max(LOST_NS, derive.fresh_ns(vital, interval_s), 3 * state.gap_ns)
            if found is not None and hub_ns - found.hub_ns < wait_ns:
                continue
            if state.last_ns > now.reading.measured_ns - wait_ns and (
                state.phase is not Phase.RECOVERING
            ):
                continue  # it is still flagged, now and then
            rule, gap_ns = pack.rules.get(rule_id), state.gap_ns
            if rule is not None:
                self._move(now, states, rule, Condition.NORMAL, {}, reason="signal_lost")
                state.gap_ns = gap_ns  # this was no sample

    def _move(  # noqa: C901 - one reading of the transition table
        self,
        now: Pass,
        states: dict[str, RuleState],
        rule: Rule,
        condition: Condition,
        values: dict[str, float],
        doubt_ns: int = 0,
        reason: str = "",
    ) -> None:
        """Take a rule one step through its life; tell of what people must know."""
        reading = now.reading
        before = states.get(rule.id)
        max_break_ns = max(MIN_BREAK_NS, int(3 * reading.interval_s * S))
        if before is not None and before.gap_ns:
            max_break_ns = max(max_break_ns, 3 * before.gap_ns)  # sent less often than the others
        samples = rule.samples
        if rule.within_s and self._seldom(now, before, rule.within_s):
            samples = 1  # it cannot send two in time
        phase = None if before is None else before.phase
        after, action = transition(
            rule,
            before,
            condition,
            reading.measured_ns,
            reading.key,
            max_break_ns,
            samples,
            doubt_ns,
        )
        if after is None:
            if before is not None:
                del states[rule.id]
                if action is Action.RESOLVE:
                    self._resolve(now, rule, before, values, reason)
            return
        states[rule.id] = after
        after.value = next(iter(values.values()), None)
        if action in (Action.LATCH, Action.RECUR):
            self._latch(now, rule, after, action)
        elif after.phase is Phase.PENDING:
            self._await_hold(now, rule, after, samples)
        elif phase is Phase.RECOVERING and after.phase is Phase.FIRING and not reading.behind:
            now.events += handling.remute(self, now.name, now.bed, now.judged_ns)
        if after.announced or after.phase is not Phase.FIRING:
            return
        if reading.behind:
            after.announced = True
            now.events.append(self._event(now, EventKind.FINDING, rule, after, values))
        elif not reading.late:
            after.announced = True
            event = self._event(
                now, EventKind.FIRED, rule, after, values, caught_up=action is not Action.FIRE
            )
            now.events += handling.opened(self, now.name, now.bed, event, now.judged_ns)

    def _seldom(self, now: Pass, state: RuleState | None, within_s: float) -> bool:
        """Return whether a device sends less often than every ``within_s``: says so, or does so."""
        heard = now.bed.devices.get(now.reading.device)
        gap_ns = min(heard.gap_ns, heard.before_ns) if heard is not None else 0
        if state is not None:  # or it sends this vital less often than the others
            gap_ns = max(gap_ns, min(state.gap_ns, now.reading.measured_ns - state.last_ns))
        return now.reading.interval_s > within_s or gap_ns > within_s * S

    def _await_hold(self, now: Pass, rule: Rule, state: RuleState, samples: int) -> None:
        """Have the hold end at its end, not at the next sample, when the last one may stand."""
        reading = now.reading
        if reading.late or reading.behind or reading.interval_s > STANDING_S:
            return
        if rule.hold_s and state.samples >= samples and not state.due_ns and rule.direct:
            due_ns = state.onset_ns + reading.offset_ns + int(rule.hold_s * S)
            if due_ns > reading.received_ns:  # on a slow line only the samples themselves can say
                state.due_ns = due_ns
                self.schedule(now.name, now.bed)

    def _latch(self, now: Pass, rule: Rule, state: RuleState, action: Action) -> None:
        for event in list(now.bed.open.values()):
            if event.rule == rule.id:
                kind = EventKind.LATCHED if action is Action.LATCH else EventKind.RECURRED
                after = follow(
                    event,
                    kind,
                    now.reading.measured_ns,
                    now.judged_ns,
                    now.reading.key,
                    latched=action is Action.LATCH,
                    acknowledged_by=state.acknowledged_by,
                )
                now.bed.open[event.alert] = after
                now.events.append(after)
                if action is Action.RECUR:
                    now.events += handling.call(self, now.name, now.bed, after, now.judged_ns)
                now.events += handling.remute(self, now.name, now.bed, now.judged_ns)

    def _resolve(
        self, now: Pass, rule: Rule, state: RuleState, values: dict[str, float], reason: str
    ) -> None:
        if now.reading.behind:
            return
        kind = EventKind.RESOLVED if state.announced else EventKind.FINDING
        event = replace(self._event(now, kind, rule, state, values), reason=reason)
        now.events.append(event)
        if now.bed.open.pop(event.alert, None) is not None:
            now.bed.climbs.pop(event.alert, None)
            now.events += handling.remute(self, now.name, now.bed, now.judged_ns)

    def _event(
        self,
        now: Pass,
        kind: EventKind,
        rule: Rule,
        state: RuleState,
        values: dict[str, float],
        *,
        caught_up: bool = False,
    ) -> AlertEvent:
        reading = now.reading
        lasted_ns = reading.measured_ns - state.onset_ns
        label = self.label(now.name)
        technical = not rule.terms
        over = kind is EventKind.RESOLVED
        if technical:
            vital = rule.id.partition("/")[2]
            shown = None if over else values.get(vital)
            words = technical_sentence(rule, label, vital, shown, lasted_ns, over=over)
        else:
            words = rule_sentence(rule, label, values, lasted_ns, over=over)
        return from_reading(
            kind,
            rule,
            now.pack,
            reading,
            onset=(state.onset_ns, state.onset_key),
            values=values,
            words=words,
            judged_ns=now.judged_ns,
            delayed=caught_up,
            acknowledged_by=state.acknowledged_by,
            technical=technical,
        )

    def open_alerts(self) -> Iterator[AlertEvent]:
        """Yield every alert that is open, as its newest event."""
        for states in (self.state.beds, self.state.places):
            for bed in states.values():
                yield from bed.open.values()
