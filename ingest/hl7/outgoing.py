"""What became of a message as messages on Vigil's wire: topic and payload. Pure but for ``Sender``.

A device whose clock is further off than the hub takes (a battery that died shows 2007) is read with
the hub's clock instead: what it measured together stays together, and it is counted.
"""

from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from ingest.hl7.translate import Alarm, Outcome, Value
from ingest.hl7.waveforms import Wave
from schemas.codec import encode_json
from schemas.times import FUTURE_NS, MS, PAST_NS, S
from schemas.topics import Kind, format_topic
from schemas.vitals import Quality
from schemas.waves import WaveChunk, encode_chunk, split
from schemas.wire import DeviceAlarmMessage, StatusMessage

STEPS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
"""What an interval between messages is rounded up to, so that it changes seldom."""
AGREE = 5
"""So many gaps in a row must say the same before an interval is believed."""
CUFF_INTERVAL_S = 1800.0
CUFF = frozenset({"nibp_sys", "nibp_dia", "nibp_mean", "nibp_pr"})
CHUNK_S = 1.0
SLACK_NS = 5 * S
CHANNELS_KEPT = 32


@dataclass(slots=True)
class Cadence:
    """How often a device sends, learned from when its messages come."""

    interval_s: float
    last_ns: int = 0
    votes: list[float] = field(default_factory=list)

    def heard(self, now_ns: int) -> float:
        """Take note of a message; return the interval in force."""
        if self.last_ns and now_ns > self.last_ns:
            gap_s = (now_ns - self.last_ns) / S * 0.9
            if gap_s > 0.45:  # several messages of one moment are one
                self.votes.append(next((s for s in STEPS_S if s >= gap_s), STEPS_S[-1]))
                if len(self.votes) == AGREE:
                    self.interval_s = max(self.votes)
                    self.votes.clear()
                self.last_ns = now_ns
        else:
            self.last_ns = now_ns
        return self.interval_s


@dataclass(slots=True)
class Sender:
    """One bed's device as this gateway sends for it."""

    bed: str
    device: str
    boot: str
    cadence: Cadence
    patient: str = ""
    announced: tuple[str, float] | None = None
    offset_ns: int | None = None
    chunks: dict[str, tuple[int, int, int]] = field(default_factory=dict)


class Outgoing(Struct, frozen=True):
    """One message for the broker."""

    topic: str
    payload: bytes
    retain: bool = False


def compose(out: Outcome, sender: Sender, received_ns: int) -> tuple[list[Outgoing], bool]:
    """Return what goes to the broker, and whether the hub's clock stands in for the device's."""
    shift_ns = _shift(out, sender, received_ns)
    sent_ns = out.sent_ns + shift_ns if out.sent_ns is not None else None
    if sent_ns is not None and not _near(sent_ns, received_ns):
        sent_ns = None
    messages: list[Outgoing] = []
    interval_s = sender.cadence.interval_s
    if any(value.vital not in CUFF for value in out.readings):
        interval_s = sender.cadence.heard(received_ns)
    says = (sender.patient, interval_s)
    if out.usable and says != sender.announced:
        status = StatusMessage(
            1, sender.device, "online", received_ns // MS, interval_s, sender.patient or None
        )
        topic = format_topic(sender.bed, Kind.STATUS)
        messages.append(Outgoing(topic, encode_json(status), retain=True))
        sender.announced = says
    for (device, at_ns, cuff), values in _moments(out.readings).items():
        every_s = CUFF_INTERVAL_S if cuff else interval_s
        body = _numerics(device, at_ns + shift_ns, sent_ns, every_s, values)
        messages.append(Outgoing(format_topic(sender.bed, Kind.NUMERICS), encode_json(body)))
    for wave in out.waves:
        messages += _chunks(wave, sender, shift_ns, received_ns)
    for alarm in out.alarms:
        topic = format_topic(sender.bed, Kind.DEVICE_ALARMS)
        messages.append(Outgoing(topic, encode_json(_alarm(alarm, shift_ns, received_ns))))
    return messages, bool(shift_ns)


def alarm_end(alarm: Alarm, bed: str, now_ns: int) -> Outgoing:
    """Return the end of an alarm that is not said again."""
    message = _alarm(alarm, 0, now_ns)
    message.phase, message.at = "end", now_ns // MS
    return Outgoing(format_topic(bed, Kind.DEVICE_ALARMS), encode_json(message))


def _near(time_ns: int, received_ns: int) -> bool:
    return received_ns - PAST_NS < time_ns < received_ns + FUTURE_NS


def _shift(out: Outcome, sender: Sender, received_ns: int) -> int:
    """Return what is added to a device's times: 0 while the hub can take its clock as it is."""
    newest = max(
        (
            *(v.time_ns for v in out.readings),
            *(w.start_ns for w in out.waves if w.start_ns is not None),
            *(a.time_ns for a in out.alarms),
            *((out.sent_ns,) if out.sent_ns is not None else ()),
        ),
        default=received_ns,
    )
    if _near(newest, received_ns) and sender.offset_ns is None:
        return 0
    if _near(newest, received_ns) and out.sent_ns is not None:
        sender.offset_ns = None  # somebody has set the clock
        return 0
    now = received_ns - (out.sent_ns if out.sent_ns is not None else newest)
    if sender.offset_ns is None or abs(now - sender.offset_ns) > SLACK_NS:
        sender.offset_ns = now
    return sender.offset_ns


def _moments(readings: list[Value]) -> dict[tuple[str, int, bool], list[Value]]:
    """Return values by device, time, and whether they are a cuff's: each is a message."""
    found: dict[tuple[str, int, bool], list[Value]] = {}
    for value in readings:
        found.setdefault((value.device, value.time_ns, value.vital in CUFF), []).append(value)
    return found


def _numerics(
    device: str, at_ns: int, sent_ns: int | None, interval_s: float, values: list[Value]
) -> dict[str, Any]:
    message: dict[str, Any] = {
        "v": 1,
        "device": device,
        "measured_at": at_ns // MS,
        "interval_s": interval_s,
        "vitals": {value.vital: value.value for value in values},
    }
    if sent_ns is not None:
        message["sent_at"] = sent_ns // MS
    odd = {v.vital: v.quality for v in values if v.quality is not Quality.OK}
    if odd:
        message["quality"] = odd
    return message


def _chunks(wave: Wave, sender: Sender, shift_ns: int, received_ns: int) -> list[Outgoing]:
    """Return a wave's samples in chunks, numbered on; what comes again keeps its number."""
    if not wave.rate_hz or wave.start_ns is None or not len(wave.samples):
        return []
    start_ns = wave.start_ns + shift_ns
    if wave.channel not in sender.chunks and len(sender.chunks) >= CHANNELS_KEPT:
        return []
    last_start, seq, following = sender.chunks.get(wave.channel, (0, 0, 0))
    if start_ns != last_start:
        seq = following
    whole = WaveChunk(
        sender.bed,
        wave.channel,
        wave.device or sender.device,
        sender.boot,
        wave.unit,
        seq,
        start_ns,
        None,
        received_ns,
        wave.rate_hz,
        wave.scale,
        wave.zero,
        wave.samples,
    )
    chunks = list(split(whole, CHUNK_S))
    sender.chunks[wave.channel] = (start_ns, seq, seq + len(chunks))
    topic = format_topic(sender.bed, Kind.WAVES, wave.channel)
    for chunk in chunks:
        chunk.sent_ns = None
    return [Outgoing(topic, encode_chunk(chunk)) for chunk in chunks]


def _alarm(alarm: Alarm, shift_ns: int, received_ns: int) -> DeviceAlarmMessage:
    at_ns = alarm.time_ns + shift_ns
    if not _near(at_ns, received_ns):
        at_ns = received_ns
    words = "".join(c for c in alarm.text if c.isprintable())[:300]
    chinese = any(ord(c) > 0x2E7F for c in words)
    return DeviceAlarmMessage(
        v=1,
        device=alarm.device,
        id=alarm.id or alarm.alarm,
        alarm=alarm.alarm,
        phase=alarm.phase,  # type: ignore[arg-type]  # PHASES has no other words
        priority=alarm.priority,
        at=at_ns // MS,
        type=alarm.type,  # type: ignore[arg-type]
        zh=words,
        en="" if chinese else words,
    )
