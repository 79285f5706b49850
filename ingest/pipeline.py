"""The pure heart of intake: one raw message in, a judged reading and alert events out.

The state is one value: it can be saved, restored and compared. Time and bytes are arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from msgspec import Struct
from msgspec.structs import replace

from alerts import handling, observe, signals
from alerts.engine import SET_BACK_NS, Engine
from alerts.rulesets import RuleSet, from_config
from alerts.sentences import Label
from alerts.state import EngineState
from ingest import clock_offset, quality, rejects, sequence
from ingest.clock_offset import ClockState
from ingest.quality import VitalState
from ingest.rejects import RejectState
from ingest.sequence import Seen, SequenceState
from schemas.alerts import AlertEvent, is_place
from schemas.care import NOBODY, CareConfig
from schemas.codec import (
    decode_care,
    decode_command,
    decode_device_alarm,
    decode_line,
    decode_numerics,
    decode_observation,
    decode_presence,
    decode_rules,
    decode_status,
    encode_json,
    message_id,
    time_of,
)
from schemas.errors import DecodeError, SettingsError
from schemas.times import S
from schemas.topics import Kind, Topic, parse_config, parse_topic
from schemas.wire import (
    ClockOffset,
    CommandMessage,
    DeviceAlarmMessage,
    DeviceStatus,
    ObservationMessage,
    Reading,
    Refusal,
    StatusMessage,
    TakenInput,
)

Input = (
    Reading | StatusMessage | CommandMessage | ObservationMessage | DeviceAlarmMessage | CareConfig
)
"""What intake decides from, decoded. ``CareConfig`` is a hospital's, whatever bed is named."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that judging depends on. Times in nanoseconds."""

    late_ns: int = 60 * S
    clock_bound_ns: int = 2 * S
    max_beds: int = 2_000
    max_devices: int = 4_000
    hospital: str | None = None
    """The one hospital that is judged here; None: any."""
    known_beds: frozenset[str] | None = None
    """Beds that may report; None: any bed is registered by its first reading."""


_DECODERS: dict[Kind, Callable[[bytes], Input]] = {
    Kind.STATUS: decode_status,
    Kind.COMMANDS: decode_command,
    Kind.OBSERVATIONS: decode_observation,
    Kind.DEVICE_ALARMS: decode_device_alarm,
}
TAKEN_KEPT = 4_000
"""So many messages that are no readings are known when the broker sends them again."""


def content_key(topic: str, payload: bytes) -> bytes:
    """Return what tells one message from another by its content.

    >>> content_key("a", b"x") == content_key("a", b"x")
    True
    """
    return blake2b(payload, key=topic.encode("utf-8", "replace")[:64], digest_size=12).digest()


class DeviceState(Struct):
    """One device: its numbering, its clock, and how far its readings have been judged.

    ``judged_ns`` is hub time, never ahead of it: a clock set forth cannot make the truth look late.
    """

    bed: str
    sequence: SequenceState
    clock: ClockState
    judged_ns: int = 0


class PipelineState(Struct):
    """Everything that intake decides from, beside configuration."""

    engine: EngineState
    rejects: RejectState
    devices: dict[tuple[str, str], DeviceState] = {}
    vitals: dict[str, dict[str, VitalState]] = {}
    taken: dict[bytes, None] = {}
    withheld: dict[str, bytes] = {}
    accepted: int = 0
    internal: int = 0
    repeats: int = 0
    conflicts: int = 0
    gaps: int = 0
    late: int = 0


class Outcome(Struct, gc=False):
    """What became of one message."""

    hospital: str = ""
    reading: Reading | None = None
    status: DeviceStatus | None = None
    clock: ClockOffset | None = None
    events: list[AlertEvent] = []
    taken: TakenInput | None = None
    refusal: Refusal | None = None


class Pipeline:
    """Decode, track, judge and evaluate; every refusal is counted and kept."""

    def __init__(
        self, state: PipelineState, rules: RuleSet, labels: dict[str, Label], limits: Limits
    ) -> None:
        self.state = state
        self.limits = limits
        self.engine = Engine(rules, state.engine, labels)

    def message(
        self, topic: str, payload: bytes, received_ns: int, *, again: bool = False
    ) -> Outcome:
        """Take one raw message. Never raises for what came from outside.

        What was due by then happens first, and is in the outcome too. ``again``: the broker says
        that it sends this for another time; what was taken then is not taken twice.
        """
        due = self.engine.advance(received_ns)
        try:
            if not topic.endswith("/numerics") and self._taken(topic, payload, again=again):
                return Outcome(events=due)
            config = parse_config(topic) if "/config/" in topic else None
            if config is not None:
                outcome = self._config(*config, payload, received_ns)
            else:
                outcome = self._of_bed(parse_topic(topic), payload, received_ns)
        except DecodeError as error:
            self._reject(error, topic, payload, received_ns)
            outcome = _refused(topic, payload, error)
        except Exception as error:  # noqa: BLE001 - one message must never stop every other bed
            self.state.internal += 1
            what = DecodeError("internal", f"{type(error).__name__}: {error}; a defect of Vigil")
            self._reject(what, topic, payload, received_ns)
            outcome = Outcome()
        if due:
            outcome.events = due + outcome.events
        return outcome

    def _taken(self, topic: str, payload: bytes, *, again: bool) -> bool:
        """Remember what is no reading; return whether this has come before, and comes again."""
        taken = self.state.taken
        key = content_key(topic, payload)
        if again and key in taken:
            self.state.repeats += 1
            return True
        taken[key] = None
        if len(taken) > TAKEN_KEPT:
            del taken[next(iter(taken))]
        return False

    def take(self, topic: Topic, what: Input, received_ns: int) -> Outcome:
        """Take what was decoded already: stored or recorded inputs."""
        due = self.engine.advance(received_ns)
        try:
            outcome = self._take(topic, what, received_ns)
        except DecodeError as error:
            self._reject(error, topic.bed, encode_json(what), received_ns)
            outcome = Outcome()
        if due:
            outcome.events = due + outcome.events
        return outcome

    def _take(self, topic: Topic, what: Input, received_ns: int) -> Outcome:
        if isinstance(what, Reading):  # judged in place: what was given stays as it is
            return self._reading(topic, replace(what), received_ns)
        if isinstance(what, StatusMessage):
            return self._take_status(topic, what, received_ns)
        if isinstance(what, CommandMessage):
            return self._take_command(topic, what, received_ns)
        if isinstance(what, ObservationMessage):
            return self._take_observation(topic, what, received_ns)
        if isinstance(what, DeviceAlarmMessage):
            return self._take_device_alarm(topic, what, received_ns)
        return Outcome(topic.hospital, events=self._configure(topic.hospital, what, received_ns))

    def _reject(self, error: DecodeError, topic: str, payload: bytes, received_ns: int) -> None:
        rejects.reject(
            self.state.rejects,
            device=error.device or _bed_of(topic),
            reason=error.reason,
            detail=str(error),
            topic=topic,
            payload=payload,
            now_ns=received_ns,
        )

    def tick(self, now_ns: int) -> list[AlertEvent]:
        """Let time pass: holds, silent beds, steps of the ladder, shelves."""
        return self.engine.advance(now_ns)

    def _of_bed(self, topic: Topic, payload: bytes, received_ns: int) -> Outcome:
        """Decode and take a message about a bed; what people and monitors say is kept as is."""
        kind = topic.kind
        if self.limits.hospital not in (None, topic.hospital):
            raise DecodeError("other_hospital", f"this edge judges {self.limits.hospital} alone")
        if topic.hospital in self.state.engine.lines:
            return self._of_edge(kind)
        if kind is Kind.NUMERICS:
            reading = decode_numerics(topic.bed, payload, received_ns)
            return self._reading(topic, reading, received_ns)
        decode = _DECODERS.get(kind)
        if decode is None:
            raise DecodeError("topic", f"{kind}: is not for intake")
        if kind is Kind.STATUS and not payload:
            return Outcome()  # a retained one that was taken back
        outcome = self._take(topic, decode(payload), received_ns)
        if kind is not Kind.STATUS:
            outcome.taken = TakenInput(topic.bed, kind, received_ns, payload)
        return outcome

    def _of_edge(self, kind: Kind) -> Outcome:
        """Leave a bed to its hospital's edge, which judges it; what people say is passed on there.

        Raises DecodeError for what a device sends past the edge: nothing is judged twice.
        """
        if kind in (Kind.COMMANDS, Kind.OBSERVATIONS):
            return Outcome()
        raise DecodeError("judged_at_edge", "this hospital's edge judges its beds; send it there")

    def _reading(self, topic: Topic, reading: Reading, received_ns: int) -> Outcome:
        device = self._device(reading)
        numbering = device.sequence
        missing = numbering.missing
        seen = sequence.track(numbering, reading)
        if numbering.missing > missing:
            self.state.gaps += numbering.missing - missing
        if seen is Seen.REPEAT:
            self.state.repeats += 1
            return Outcome()
        if seen is Seen.CONFLICT:
            raise self._conflict(reading)
        outcome = Outcome(topic.hospital)
        if reading.sent_ns is not None:
            self._observe_clock(device, reading, outcome)
        self._judge(device, reading)
        self.state.accepted += 1
        events = self.engine.step(reading, received_ns, self.state.vitals.get(reading.bed))
        if events:
            outcome.events += events
        outcome.reading = reading
        return outcome

    def _device(self, reading: Reading) -> DeviceState:
        state, limits, bed = self.state, self.limits, reading.bed
        found = state.devices.get((bed, reading.device))
        if found is not None:
            return found
        self._known_bed(bed, reading.device)
        if len(state.devices) >= limits.max_devices:
            raise DecodeError(
                "too_many_devices",
                f"device {reading.device}: {limits.max_devices} devices are known already; raise "
                "VIGIL_INTAKE__MAX_DEVICES",
                reading.device,
            )
        found = DeviceState(bed, SequenceState(), ClockState())
        state.devices[bed, reading.device] = found
        return found

    def _known_bed(self, bed: str, device: str) -> None:
        """Raise DecodeError unless this bed may have a state."""
        limits, beds = self.limits, self.state.engine.beds
        if is_place(bed):
            raise DecodeError(
                "unknown_bed", f"bed {bed}: the name is reserved; use another", device
            )
        if limits.known_beds is not None and bed not in limits.known_beds:
            raise DecodeError(
                "unknown_bed", f"bed {bed} is not registered; add it to sites.toml", device
            )
        if bed not in beds and len(beds) >= limits.max_beds:
            raise DecodeError(
                "too_many_beds",
                f"bed {bed}: {limits.max_beds} beds are open already; raise "
                "VIGIL_INTAKE__MAX_BEDS or register the beds in sites.toml",
                device,
            )

    def _conflict(self, reading: Reading) -> DecodeError:
        self.state.conflicts += 1
        return DecodeError(
            "conflict",
            f"seq {reading.seq} of boot {reading.boot} came again with other content; the first "
            "stands. Send a new boot id after a restart",
            reading.device,
        )

    def _observe_clock(self, device: DeviceState, reading: Reading, outcome: Outcome) -> None:
        assert reading.sent_ns is not None
        difference = reading.received_ns - reading.sent_ns
        if clock_offset.observe(device.clock, difference, reading.received_ns):
            offset = device.clock.reported_ns or 0
            outcome.clock = ClockOffset(reading.device, reading.bed, reading.received_ns, offset)
            outcome.events += signals.clock(
                self.engine,
                reading.bed,
                reading.device,
                offset,
                self.limits.clock_bound_ns,
                reading.received_ns,
            )

    def _judge(self, device: DeviceState, reading: Reading) -> None:
        """Give the reading its offset, its lateness and a quality for every vital."""
        offset = device.clock.reported_ns or 0
        hub_ns = reading.measured_ns + offset
        if device.judged_ns > reading.received_ns + SET_BACK_NS:
            device.judged_ns = 0  # our own clock was set back: nothing was judged ahead of it
        behind = hub_ns < device.judged_ns
        late = behind or reading.received_ns - hub_ns > self.limits.late_ns
        if late:
            self.state.late += 1
        reading.offset_ns, reading.late, reading.behind = offset, late, behind
        if not behind:
            device.judged_ns = min(hub_ns, reading.received_ns)
            vitals = self.state.vitals.get(reading.bed)
            if vitals is None:
                vitals = self.state.vitals[reading.bed] = {}
            reading.flags = quality.judge(vitals, reading)
        elif reading.values:
            reading.flags = quality.judge({}, reading)

    def _take_status(self, topic: Topic, message: StatusMessage, received_ns: int) -> Outcome:
        events = signals.status(
            self.engine, topic.bed, message.device, message.state, message.interval_s, received_ns
        )
        status = DeviceStatus(
            topic.bed,
            message.device,
            message.state,
            message.interval_s,
            received_ns,
            message.patient or "",
        )
        return Outcome(hospital=topic.hospital, status=status, events=events)

    def _take_command(self, topic: Topic, command: CommandMessage, received_ns: int) -> Outcome:
        events = handling.command(self.engine, topic.bed, command, received_ns)
        return Outcome(hospital=topic.hospital, events=events)

    def _take_observation(
        self, topic: Topic, message: ObservationMessage, received_ns: int
    ) -> Outcome:
        at_ns = time_of("at", message.at, received_ns)
        latest = self.state.vitals.get(topic.bed, {})
        self._known_bed(topic.bed, "")
        events = observe.observe(self.engine, topic.bed, message, at_ns, received_ns, latest)
        return Outcome(topic.hospital, events=events)

    def _take_device_alarm(
        self, topic: Topic, alarm: DeviceAlarmMessage, received_ns: int
    ) -> Outcome:
        at_ns = time_of("at", alarm.at, received_ns)
        self._known_bed(topic.bed, alarm.device)
        events = signals.device_alarm(self.engine, topic.bed, alarm, at_ns, received_ns)
        return Outcome(topic.hospital, events=events)

    def _configure(self, hospital: str, config: CareConfig, received_ns: int) -> list[AlertEvent]:
        """Take who lies where; of a patient who left nothing is known any more."""
        known = self.state.engine.care
        stays = {bed: care.stay for bed, care in known.items() if bed in self.state.vitals}
        events = signals.configure(self.engine, hospital, config, received_ns)
        for bed, stay in stays.items():
            if known.get(bed, NOBODY).stay != stay:
                self.state.vitals.pop(bed, None)
        return events

    def _line(self, hospital: str, payload: bytes, received_ns: int) -> list[AlertEvent]:
        """Take the word of a hospital's edge; empty: it has none any more, and is judged here."""
        if payload:
            decode_line(payload)
            return signals.line(self.engine, hospital, received_ns)
        events = signals.end_line(self.engine, hospital, received_ns)
        withheld = self.state.withheld.pop(hospital, None)
        if withheld is not None:
            events += self._configure(hospital, decode_care(withheld), received_ns)
        return events

    def _config(self, hospital: str, name: str, payload: bytes, received_ns: int) -> Outcome:
        """Take what people configured. What cannot be read changes nothing."""
        outcome = Outcome(hospital)
        if name == "line":
            outcome.events = self._line(hospital, payload, received_ns)
            return outcome
        if not payload:
            return Outcome()
        if hospital in self.state.engine.lines:
            if name == "care":  # its edge's to judge by; ours from the day it has none
                self.state.withheld[hospital] = payload
            return Outcome()
        if name == "presence":
            presence = decode_presence(payload)
            outcome.events = signals.present(self.engine, hospital, presence, received_ns)
            return outcome
        if name == "care":
            outcome.events = self._configure(hospital, decode_care(payload), received_ns)
        elif name == "rules" and hospital == "hub":
            try:
                rules = from_config(decode_rules(payload))
            except SettingsError as error:
                raise DecodeError("rules", str(error)) from None
            outcome.events = self.engine.set_rules(rules, received_ns)
        else:
            raise DecodeError(
                "topic", f"config {name[:40]!r}: care, presence, line, or hub's rules"
            )
        body = b"" if name == "rules" else payload  # the versions of rules are on every alert
        outcome.taken = TakenInput(hospital, f"config/{name}", received_ns, body)
        return outcome


def _refused(topic: str, payload: bytes, error: DecodeError) -> Outcome:
    """Return the answer to a person whose command or observation cannot be taken."""
    levels = topic.split("/")
    command = message_id(payload)
    if not command or levels[-1] not in (Kind.COMMANDS, Kind.OBSERVATIONS):
        return Outcome()
    bed = "/".join(levels[2:5])
    return Outcome(levels[2], refusal=Refusal(bed, command, str(error)[:500]))


def _bed_of(topic: str) -> str:
    """Return what stands for a device when a message names none: its bed, or its topic."""
    return "/".join(topic.split("/")[2:5])[:160] or "?"


def new_state(epoch: str) -> PipelineState:
    """Return the state of a hub that has seen nothing. ``epoch`` names it in the counters."""
    return PipelineState(EngineState(), RejectState(epoch))
