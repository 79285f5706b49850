"""A message as what Vigil's wire takes: readings, waveforms, alarms, admissions; and what was not.

``translate`` is pure but for ``Memory``, what is known of a connection from its messages before:
dialects say bed and patient once and then send numbers alone, list the alarms that are on instead
of saying when one ends, and tell two temperature probes apart by OBX-4.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TypeVar

from ingest.hl7.adt import admission_of
from ingest.hl7.alarms import (
    MDIL_ALERTS,
    PHASES,
    PRIORITIES,
    TYPES,
    alarm_name,
    stars,
)
from ingest.hl7.codes import CONFLICT, UNKNOWN, Meaning, meaning, unit_of
from ingest.hl7.message import Message, Segment
from ingest.hl7.places import Places, bed_of
from ingest.hl7.profiles import Profile
from ingest.hl7.times import parse_time
from ingest.hl7.waveforms import Wave, read_wave, waves_of
from schemas.admissions import Admission
from schemas.alerts import Priority
from schemas.errors import DecodeError
from schemas.units import convert
from schemas.vitals import KNOWN, VITALS, Quality

ADT_EVENTS = frozenset({"A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13", "A40"})
RESULT_EVENTS = frozenset({"R01", "R40", "R42", "W01", "R04", "R21", "R30", "R32", ""})
ANSWERED = frozenset({"NMD", "NMQ", "ACK"})
"""What carries nothing for us and is taken all the same: a sender's own housekeeping."""
TEMPERATURES = ("temp", "temp_2", "temp_3", "temp_4")
SECOND_LINE = {"abp_sys": "abp_2_sys", "abp_dia": "abp_2_dia", "abp_mean": "abp_2_mean"}
SEVERAL = frozenset({"temp", *SECOND_LINE})
INSTANCES_KEPT = 8
T = TypeVar("T")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?")
_COMMA = re.compile(r"[+-]?\d+,\d{1,2}")
_DEVICE = re.compile(r"[^A-Za-z0-9._:-]+")


@dataclass(slots=True)
class Value:
    """One vital in one message. ``value`` None: missing, ``reason`` says why."""

    vital: str
    value: float | None
    unit: str
    time_ns: int
    code: str
    segment: str
    device: str
    reason: str = ""
    quality: Quality = Quality.OK


@dataclass(slots=True)
class Alarm:
    """What a monitor says of one of its alarms. ``id`` tells two episodes apart."""

    alarm: str
    phase: str
    priority: Priority
    type: str
    text: str
    time_ns: int
    code: str
    id: str
    device: str
    bed: str = ""


@dataclass(slots=True)
class AlarmsOn:
    """The alarms of one kind that are on with a device, and when it last spoke of any."""

    said_ns: int = 0
    ends_after_s: float = 0.0
    by_key: dict[str, Alarm] = field(default_factory=dict)


@dataclass(slots=True)
class Dropped:
    """What was not taken, and why: ``reason`` to count by, ``detail`` for people."""

    segment: str
    code: str
    reason: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """What became of one message. ``refused``: (what, why) when it was not for us as a whole.

    ``became`` has a word for every segment; ``patient`` the identifier that the monitor shows.
    """

    profile: str
    bed: str | None = None
    device: str = ""
    patient: str = ""
    sent_ns: int | None = None
    interval_s: float = 10.0
    readings: list[Value] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    admission: Admission | None = None
    dropped: list[Dropped] = field(default_factory=list)
    became: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: tuple[str, str] | None = None

    @property
    def usable(self) -> bool:
        """Whether something of it goes on."""
        return bool(self.readings or self.waves or self.alarms or self.admission)


@dataclass(slots=True)
class Memory:
    """What a connection has said so far. Bounded: a bed, a device, some probes.

    ``alarms_on``, by device and kind, outlives the connection: it may be shared by many.
    """

    peer: str = ""
    location: Segment | None = None
    patient: str = ""
    device: str = ""
    bed: str | None = None
    instances: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    alarms_on: dict[tuple[str, str], AlarmsOn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """What a gateway knows of where it stands: beds, and the zone of clocks that say none."""

    places: Places
    zone: tzinfo


def translate(
    message: Message, profile: Profile, site: Site, memory: Memory, received_ns: int
) -> Outcome:
    """Return what a message means. Only what is wrong is dropped; the rest goes on."""
    out = Outcome(profile.name, interval_s=profile.interval_s, notes=list(message.notes))
    out.sent_ns = parse_time(message.header.component(7), site.zone)
    kind, event = message.kind
    location = message.first("PV1")
    if location is not None and location.raw(3).strip("^& "):
        memory.location = location
    patient = message.first("PID")
    if patient is not None and patient.component(3):
        memory.patient = patient.component(3)
    out.patient = memory.patient
    names = _device_names(message)
    out.bed = bed_of(site.places, memory.location, (*names, memory.peer))
    out.device = memory.device = _device(message, profile, names, out.bed, memory)
    memory.bed = out.bed
    if kind == "ADT":
        _admit(message, event, out, site, received_ns)
    elif kind in ("ORU", "ORF", "ORA") and event in RESULT_EVENTS:
        _results(message, profile, site, memory, received_ns, out)
    elif kind in ANSWERED:
        out.became = [(s.name, "nothing for us") for s in message.segments]
    else:
        what = "event" if kind in ("ORU", "ADT") else "type"
        wanted = "ORU R01, R40, W01 and ADT A01, A02, A03, A08 are"
        out.refused = (what, f"MSH-9 {kind}^{event}: {wanted} understood here")
    return out


def _admit(message: Message, event: str, out: Outcome, site: Site, received_ns: int) -> None:
    if event not in ADT_EVENTS:
        out.refused = ("event", f"MSH-9 ADT^{event}: of no use here")
        return
    if event in ("A01", "A04") and message.header.component(12) == "2.3.1" and out.bed is not None:
        pid = message.first("PID")
        if message.control_id == "101" and pid is not None:  # a monitor that says it is there
            out.became = [(s.name, "the monitor's own announcement") for s in message.segments]
            return
    try:
        out.admission = admission_of(message, event, out.bed, site.zone, received_ns)
    except DecodeError as error:
        out.refused = ("identity", str(error))
    out.became = [(s.name, "admission" if out.admission else "refused") for s in message.segments]


def _device_names(message: Message) -> tuple[str, ...]:
    """Return what a message calls its device: OBX-18, then the sender's own identifiers."""
    found: list[str] = []
    for segment in message.segments:
        if segment.name == "OBX" and segment.raw(18):
            found += [segment.component(18, n) for n in (1, 3)]
            break
    header = message.header
    found += [header.component(3, 2), header.component(4, 2), header.component(4, 1)]
    return tuple(dict.fromkeys(name for name in found if name))


def _device(
    message: Message, profile: Profile, names: tuple[str, ...], bed: str | None, memory: Memory
) -> str:
    """Return a stable name of the device. A gateway's own name would stand for many of them."""
    own = next((s.component(18) for s in message.segments if s.name == "OBX" and s.raw(18)), "")
    header = message.header
    if not own and (profile.sender == "monitor" or bed is None):
        own = next((n for n in names if len(n) > 3), "") or header.component(3)
        if own and memory.peer and not any(c.isdigit() for c in own):
            own = f"{own}-{memory.peer}"  # the name of a model, not of one monitor
    if memory.device and not own and (bed is None or memory.bed == bed):
        return memory.device
    if not own:
        sender = header.component(3) or header.component(4) or profile.name
        own = f"{sender}-{bed.partition('/')[2]}" if bed else f"{sender}-{memory.peer}"
    return device_name(own) or "unknown"


def device_name(text: str) -> str:
    """Return text as a device's name on the wire: 64 of ``A-Z a-z 0-9 . _ : -``."""
    return _DEVICE.sub("-", text).strip("-._:")[:64]


def _results(
    message: Message,
    profile: Profile,
    site: Site,
    memory: Memory,
    received_ns: int,
    out: Outcome,
) -> None:
    """Take the observations of a message, request by request."""
    reader = _Reader(message, profile, site, memory, received_ns, out)
    request: Segment | None = None
    group: list[tuple[str, Segment]] = []
    count = 0
    for segment in message.segments:
        if segment.name == "OBR":
            reader.take(request, group)
            request, group = segment, []
            out.became.append(("OBR", "the request"))
        elif segment.name == "OBX":
            count += 1
            group.append((f"OBX-{count}", segment))
        else:
            known = segment.name in ("MSH", "PID", "PV1", "PV2", "ORC", "NTE", "EVN")
            out.became.append((segment.name, "read" if known else "of no use"))
    reader.take(request, group)
    reader.close()


class _Reader:
    """Reads the OBX segments of one message."""

    def __init__(
        self,
        message: Message,
        profile: Profile,
        site: Site,
        memory: Memory,
        received_ns: int,
        out: Outcome,
    ) -> None:
        self._message, self._profile, self._site = message, profile, site
        self._memory, self._received_ns, self._out = memory, received_ns, out
        self._seen: dict[tuple[str, str, int], str] = {}
        self._listed: dict[str, dict[str, Alarm]] = {}
        self._lists: set[str] = set()
        self._conflict = False
        self._unsure: list[Dropped] = []
        control = message.control_id
        if profile.alarm_kinds and control in ("54", "56"):
            self._lists.add("physiological" if control == "54" else "technical")

    def take(self, request: Segment | None, group: list[tuple[str, Segment]]) -> None:
        """Take the observations of one request (OBR)."""
        if not group:
            return
        zone = self._site.zone
        time_ns = (
            (parse_time(request.component(7), zone) if request is not None else None)
            or self._out.sent_ns
            or self._received_ns
        )
        rest = list(self._waves(request, group, time_ns))
        rest = list(self._facets(request, rest, time_ns))
        self._know_probes(rest)
        for name, segment in rest:
            try:
                self._out.became.append((name, self._one(name, segment, time_ns)))
            except DecodeError as error:
                self._drop(name, segment, error.reason, str(error))

    def close(self) -> None:
        """Compare the alarms that a message lists with those that were on; look at the whole."""
        for kind in self._lists:
            on = self._on(kind)
            now = self._listed.get(kind, {})
            for key, alarm in now.items():
                alarm.phase = "continue" if key in on.by_key else "start"
            ended = [
                replace(alarm, phase="end", time_ns=self._received_ns)
                for key, alarm in on.by_key.items()
                if key not in now
            ]
            self._out.alarms += [*now.values(), *ended]
            on.by_key = now
        if self._conflict:
            self._distrust()
        _mark_artefacts(self._out.readings)

    def _distrust(self) -> None:
        """A sender whose table is wrong once is not believed about terms that we do not know."""
        for dropped in self._unsure:
            dropped.reason = CONFLICT
            dropped.detail += "; the sender's table is wrong elsewhere in this message"

    def _drop(self, name: str, segment: Segment, reason: str, detail: str) -> None:
        dropped = Dropped(name, segment.component(3) or segment.component(3, 2), reason, detail)
        self._out.dropped.append(dropped)
        self._out.became.append((name, f"dropped: {detail}"))
        if reason == CONFLICT:
            self._conflict = True
        elif reason == UNKNOWN:
            self._unsure.append(dropped)

    def _waves(
        self, request: Segment | None, group: list[tuple[str, Segment]], time_ns: int
    ) -> Iterator[tuple[str, Segment]]:
        """Take waveforms out of a group; yield what is none."""
        sets, rest = waves_of(group)
        for pieces in sets:
            name, segment = pieces[0]
            try:
                found = _channel(meaning(self._profile, *_code(segment)))
                wave = read_wave(self._profile, found, pieces, request, self._site.zone)
                wave.device = self._out.device
                if wave.start_ns is None:
                    base = parse_time(segment.component(14), self._site.zone) or time_ns
                    wave.start_ns = base - (wave.duration_ns or 0)
                self._out.waves.append(wave)
                self._out.became += [(n, f"waveform {wave.channel}") for n, _ in pieces]
                if wave.problem:
                    self._out.dropped.append(Dropped(name, found.code, "wave", wave.problem))
            except DecodeError as error:
                self._drop(name, segment, error.reason, str(error))
        yield from rest

    def _facets(
        self, request: Segment | None, group: list[tuple[str, Segment]], time_ns: int
    ) -> Iterator[tuple[str, Segment]]:
        """Take a PCD-04 report's facets (OBX-4 suffix .1 to .7) together; yield what is none."""
        is_report = self._message.kind[1] == "R40" or (
            request is not None and request.component(4) == "196616"
        )
        if not is_report:
            yield from group
            return
        reports: dict[str, dict[str, tuple[str, Segment]]] = {}
        for name, segment in group:
            stem, _, facet = segment.component(4).rpartition(".")
            if stem and facet in "1234567" and segment.component(11) != "X":
                reports.setdefault(stem, {})[facet] = (name, segment)
            elif segment.component(11) == "X" and not segment.raw(5):
                self._out.became.append((name, "structure"))
            else:
                yield name, segment
        for facets in reports.values():
            self._report(request, facets, time_ns)

    def _report(
        self, request: Segment | None, facets: dict[str, tuple[str, Segment]], time_ns: int
    ) -> None:
        """Take one alarm report."""
        if "1" not in facets:
            for name, segment in facets.values():
                self._drop(name, segment, "alarm", "a facet without its alarm (OBX-4 .1)")
            return
        first = facets["1"][1]
        code, words, refid = _event(first)
        if "EVT_ACTIVE" in refid or "heartbeat" in words.lower():
            self._out.became += [(n, "the sender's heartbeat") for n, _ in facets.values()]
            return
        flags = [flag.strip() for flag in first.repetitions(8)]
        source = facets["2"][1] if "2" in facets else None
        about = f"{source.raw(3)}^{source.raw(5)}" if source is not None else ""
        about = about or refid
        said = {facet: pair[1].component(5).lower() for facet, pair in facets.items()}
        priority = _first(PRIORITIES, [said.get("6", "").upper(), *flags], Priority.LOW)
        kind = _first(TYPES, [said.get("7", "").upper(), *flags], "physiological")
        phases = PHASES.get(said.get("3", ""), ("start",))
        if said.get("4") == "inactive":
            phases = ("end",)
        own_id = request.component(3) if request is not None else ""
        alarm = alarm_name(words, refid, about)
        for phase in phases:
            self._out.alarms.append(
                Alarm(
                    alarm,
                    phase,
                    priority,
                    kind,
                    words or refid,
                    parse_time(first.component(14), self._site.zone) or time_ns,
                    code,
                    device_name(own_id) if len(own_id) > 8 else device_name(f"{alarm}-{code}"),
                    self._out.device,
                )
            )
        self._out.became += [(n, f"alarm {alarm}") for n, _ in facets.values()]

    def _one(self, name: str, segment: Segment, time_ns: int) -> str:
        """Take one observation; return what it became."""
        code, words, system = _code(segment)
        value_text = segment.raw(5).strip()
        if segment.component(13).upper() in ("SETTING", "CONFIGURATION"):
            return "a setting, no measurement"
        if system.upper() == "MDIL-ALERT":
            return self._mdil_alert(segment, time_ns)
        if code in self._profile.alarm_kinds and segment.component(2) in ("CE", "CWE", "CNE", ""):
            return self._listed_alarm(segment, code, time_ns)
        if segment.component(11) == "X" and not value_text and not segment.component(2):
            return "structure"
        found = self._meaning(segment, code, words, system)
        if found.kind == "ignored":
            return f"ignored: {found.name}"
        if found.kind == "device":
            return "structure"
        if found.kind not in ("metric", "wave") or not found.name or found.name not in KNOWN:
            raise DecodeError(UNKNOWN, f"{code}^{words}^{system}: Vigil has no vital for it")
        return self._value(name, segment, found, value_text, time_ns)

    def _meaning(self, segment: Segment, code: str, words: str, system: str) -> Meaning:
        """Return what OBX-3 means: its first coding, or where that is unknown the alternate one."""
        try:
            return meaning(self._profile, code, words, system)
        except DecodeError as error:
            other = segment.components(3)[3:6]
            if error.reason != UNKNOWN or len(other) < 2:
                raise
            return meaning(self._profile, *(part.strip() for part in [*other, ""][:3]))

    def _value(self, name: str, segment: Segment, found: Meaning, text: str, time_ns: int) -> str:
        at_ns = parse_time(segment.component(14), self._site.zone) or time_ns
        vital = self._instance(found, segment.component(4))
        device = device_name(segment.component(18)) or self._out.device
        value, reason = self._number(segment, found, text)
        key = (vital, device, at_ns)
        before = self._seen.get(key)
        if before is not None:
            if before == text:
                return f"said again: {vital}"
            raise DecodeError(
                "twice", f"{vital} has been {before} in this message; the first stands"
            )
        self._seen[key] = text
        known = KNOWN[vital]
        quality = Quality.OK
        if value is not None and vital not in VITALS and not known.low <= value <= known.high:
            quality = Quality.QUESTIONABLE
            reason = f"{value:g} is outside {known.low:g} to {known.high:g}"
        self._out.readings.append(
            Value(vital, value, known.unit, at_ns, found.code, name, device, reason, quality)
        )
        if value is None:
            self._out.dropped.append(Dropped(name, found.code, "no_value", f"{vital}: {reason}"))
            return f"{vital} missing: {reason}"
        return f"{vital} {value:g} {known.unit}"

    def _number(self, segment: Segment, found: Meaning, text: str) -> tuple[float | None, str]:
        """Return a value in the vital's unit; None with the reason when it stands for none."""
        if not text or text == '""':
            return None, "nothing in OBX-5"
        if segment.component(11) == "X":
            return None, "OBX-11 X: cannot be obtained"
        plain_text = _numeral(segment)
        if not _NUMBER.fullmatch(plain_text):
            raise DecodeError("not_a_number", f"OBX-5 {plain_text[:40]!r}: no number")
        value = float(plain_text)
        if value in self._profile.sentinels and not (value == -1 and KNOWN[found.name].low < -1):
            return None, f"{plain_text} is how it says that there is no value"
        unit = unit_of(self._profile, *_code(segment, 6)[:3]) or found.unit
        wanted = KNOWN[found.name].unit
        if unit == "1" and wanted in ("%", "/min", "{score}", "1"):
            unit = wanted if wanted != "%" else "{fraction}" if value <= 1 else "%"
        return convert(value, unit or wanted, wanted), ""

    def _know_probes(self, group: list[tuple[str, Segment]]) -> None:
        """Take note of the OBX-4 of vitals that may come from several probes, lowest first."""
        for _, segment in group:
            sub_id = segment.component(4)
            try:
                found = meaning(self._profile, *_code(segment))
            except DecodeError:
                continue  # it is said when the segment is read
            if sub_id and found.name in SEVERAL:
                known = self._memory.instances.setdefault((self._out.device, found.code), [])
                if sub_id not in known and len(known) < INSTANCES_KEPT:
                    known.append(sub_id)
                    known.sort(key=_order)

    def _instance(self, found: Meaning, sub_id: str) -> str:
        """Return the vital of a code that may come from several probes, told apart by OBX-4."""
        known = self._memory.instances.get((self._out.device, found.code), [])
        if found.name not in SEVERAL or sub_id not in known:
            return found.name
        at = known.index(sub_id)
        if found.name == "temp":
            return TEMPERATURES[min(at, len(TEMPERATURES) - 1)]
        return SECOND_LINE[found.name] if at else found.name

    def _mdil_alert(self, segment: Segment, time_ns: int) -> str:
        words = segment.component(5)
        if not words:
            return "no alarm"
        fallback = (Priority.MEDIUM, "physiological")
        priority, kind = MDIL_ALERTS.get(segment.component(3), fallback)
        name = alarm_name(words)
        on = self._on("mdil")
        phase = "continue" if name in on.by_key else "start"
        alarm = Alarm(
            name,
            phase,
            priority,
            kind,
            words,
            time_ns,
            segment.component(3),
            name,
            self._out.device,
        )
        on.by_key[name] = alarm
        self._out.alarms.append(alarm)
        return f"alarm {name}"

    def _on(self, kind: str) -> AlarmsOn:
        """Return the alarms of a kind that are on, and note that the device speaks of them."""
        on = self._memory.alarms_on.setdefault((self._out.device, kind), AlarmsOn())
        on.said_ns, on.ends_after_s = self._received_ns, self._profile.alarm_ends_after_s
        return on

    def _listed_alarm(self, segment: Segment, code: str, time_ns: int) -> str:
        kind = self._profile.alarm_kinds[code]
        number, text = segment.component(5), segment.component(5, 2)
        self._lists.add(kind)
        if number in ("", "0") or not text:
            return "no alarm"
        priority, words = stars(text)
        name = alarm_name(words)
        default = Priority.MEDIUM if kind == "physiological" else Priority.LOW
        self._listed.setdefault(kind, {})[number] = Alarm(
            name,
            "start",
            priority or default,
            kind,
            words,
            parse_time(segment.component(14), self._site.zone) or time_ns,
            number,
            f"{name[:40]}-{device_name(number)}",
            self._out.device,
        )
        return f"alarm {name}"


def _numeral(segment: Segment) -> str:
    """Return OBX-5 as a numeral: of a structured one (SN) its number; a comma is a point."""
    text = segment.component(5)
    if segment.component(2) == "SN" and text in ("", "="):
        text = segment.component(5, 2)
    return text.replace(",", ".") if _COMMA.fullmatch(text) else text


def _order(sub_id: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in sub_id.split("."))


def _code(segment: Segment, n: int = 3) -> tuple[str, str, str]:
    parts = [*segment.components(n), "", "", ""]
    return parts[0].strip(), parts[1].strip(), parts[2].strip()


def _channel(found: Meaning) -> Meaning:
    """Return what a code means when it is a waveform's; raise DecodeError otherwise."""
    if found.kind != "wave" or not found.name:
        raise DecodeError(UNKNOWN, f"{found.code}: no waveform that is known")
    return found


def _event(first: Segment) -> tuple[str, str, str]:
    """Return an alarm's code, words and MDC name: it stands in OBX-5, or in OBX-3 with words."""
    code, refid, _ = _code(first)
    number, inner, _ = _code(first, 5)
    if inner.startswith(("MDC", "MNDRY")) or number.isdecimal():
        return number or code, "", inner
    return code if code != "0" else "", first.component(5), refid


def _first(table: Mapping[str, T], words: list[str], otherwise: T) -> T:
    return next((table[word] for word in words if word in table), otherwise)


def _mark_artefacts(readings: list[Value]) -> None:
    """Mark CO2 that is the same in and out with nobody breathing on the line: it is room air.

    Only where the monitor counts no breaths on that line: one that counts none tells of apnoea.
    """
    by_vital = {r.vital: r for r in readings if r.value is not None}
    out, inspired, spo2 = (by_vital.get(name) for name in ("etco2", "fico2", "spo2"))
    if out is None or inspired is None or spo2 is None or "awrr" in {r.vital for r in readings}:
        return
    assert out.value is not None
    assert inspired.value is not None
    assert spo2.value is not None
    if out.value < 5 and inspired.value >= out.value and spo2.value >= 90:
        out.quality = Quality.QUESTIONABLE
        out.reason = "no more CO₂ out than in: the line is in room air (plain SpO₂ beside it)"
