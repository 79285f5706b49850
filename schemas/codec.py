"""Bytes from the broker to values and back. Bad bytes raise DecodeError naming field and fix.

The fast path validates with msgspec. Only when it refuses does :func:`_explain` look again,
slowly, to say what a person needs to know.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from math import isfinite
from typing import TypeVar
from zlib import crc32

import msgspec

from schemas.alerts import AlertEvent
from schemas.care import CareConfig, Line, Presence
from schemas.errors import DecodeError
from schemas.judged import BatchV1, from_v1
from schemas.judged import check as check_judged
from schemas.times import FUTURE_NS, MS, PAST_NS, S, format_time, from_datetime
from schemas.topics import check_bed
from schemas.vitals import DEVICE_QUALITIES, Quality
from schemas.wire import (
    NAME,
    CommandMessage,
    DeviceAlarmMessage,
    Health,
    JudgedBatch,
    NumericsMessage,
    ObservationMessage,
    Reading,
    Rejected,
    RulesConfig,
    StatusMessage,
)

MAX_NUMERICS_BYTES = 65_536
MAX_CONFIG_BYTES = 1_048_576
T = TypeVar("T")
_numerics = msgspec.json.Decoder(NumericsMessage)
_status = msgspec.json.Decoder(StatusMessage)
_command = msgspec.json.Decoder(CommandMessage)
_observation = msgspec.json.Decoder(ObservationMessage)
_device_alarm = msgspec.json.Decoder(DeviceAlarmMessage)
_care = msgspec.json.Decoder(CareConfig)
_presence = msgspec.json.Decoder(Presence)
_line = msgspec.json.Decoder(Line)
_rules = msgspec.json.Decoder(RulesConfig)
_judged = msgspec.msgpack.Decoder(JudgedBatch)
_judged_v1 = msgspec.msgpack.Decoder(BatchV1)
_judged_out = msgspec.msgpack.Encoder()
_alert = msgspec.json.Decoder(AlertEvent)
_rejected = msgspec.json.Decoder(list[Rejected])
_health = msgspec.json.Decoder(Health)
_json = msgspec.json.Encoder()
_NAME = re.compile(NAME)
_VITAL_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NAMES_CACHED = 50_000
_names: set[str] = {"-"}
_shapes: set[tuple[str, ...]] = set()
_ID = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9._:-]{1,64})"')
_DEVICE = re.compile(rb'"device"\s*:\s*"([A-Za-z0-9._:-]{1,64})"')
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for bad bytes; deep nesting and text that is not UTF-8 have their own."""
_TIME_BOUND = 2**62
_NO_FLAGS: dict[str, Quality] = {}


def _time_ns(field: str, value: int | datetime, received_ns: int, device: str) -> int:
    if isinstance(value, int):
        time_ns = value * MS
    else:
        try:
            time_ns = from_datetime(value)
        except ValueError as error:
            raise DecodeError("time", f"{field}: {error}", device) from None
    if not received_ns - PAST_NS <= time_ns <= received_ns + FUTURE_NS:
        raise _time_error(field, time_ns, device)
    return time_ns


def _time_error(field: str, time_ns: int, device: str) -> DecodeError:
    shown = format_time(time_ns) if abs(time_ns) < 2**62 else str(time_ns // S)
    return DecodeError(
        "time",
        f"{field}: {shown} is more than 32 days behind or 1 day ahead of the hub's clock; "
        "set the device's clock (integers are milliseconds since 1970)",
        device,
    )


def _device_flags(quality: dict[str, Quality], device: str) -> dict[str, Quality]:
    _check_vitals(quality, device)
    flags: dict[str, Quality] = {n: q for n, q in quality.items() if q is not Quality.OK}
    if not DEVICE_QUALITIES.issuperset(flags.values()):
        raise DecodeError(
            "invalid", f"quality: one of {', '.join(sorted(DEVICE_QUALITIES))}", device
        )
    return flags


def _check_name(field: str, name: str, device: str) -> None:
    """Check a name of a device or a boot, and remember that it is one."""
    if not _NAME.fullmatch(name):
        raise DecodeError(
            "invalid", f"{field}: {name[:80]!r} is not 1-64 of A-Z a-z 0-9 . _ : -", device
        )
    if len(_names) >= _NAMES_CACHED:
        _names.clear()
    _names.add(name)


def _check_vitals(vitals: Iterable[str], device: str) -> None:
    """Check the names of vitals, and remember this set of them."""
    names = tuple(vitals)
    for name in names:
        if not _VITAL_NAME.fullmatch(name):
            raise DecodeError(
                "invalid", f"vitals: {name[:80]!r} is not 1-32 of a-z 0-9 _, a letter first", device
            )
    if len(_shapes) >= _NAMES_CACHED:
        _shapes.clear()
    _shapes.add(names)


def _explain(payload: bytes, error: Exception) -> DecodeError:
    """Say what is wrong with a payload that the fast path refused."""
    found = _DEVICE.search(payload)
    device = found.group(1).decode() if found else ""
    try:
        document = json.loads(payload)
    except UnicodeDecodeError:
        return DecodeError("encoding", "the payload is not UTF-8 text; send JSON in UTF-8", device)
    except RecursionError:
        return DecodeError("not_json", "the JSON is nested too deeply", device)
    except ValueError as cause:
        return DecodeError("not_json", f"not JSON: {cause}; send one JSON object", device)
    vitals = document.get("vitals") if isinstance(document, dict) else None
    for name, value in (vitals if isinstance(vitals, dict) else {}).items():
        if isinstance(value, float) and not isfinite(value):
            return DecodeError(
                "not_finite", f"vitals.{name[:40]}: {value} is not a number; send null", device
            )
        if isinstance(value, bool) or not (value is None or isinstance(value, int | float)):
            return DecodeError(
                "invalid",
                f"vitals.{name[:40]}: {str(value)[:40]!r} is not a number; send a number or null",
                device,
            )
    return DecodeError("invalid", str(error), device)


def _check_size(payload: bytes, limit: int = MAX_NUMERICS_BYTES) -> None:
    if len(payload) > limit:
        raise DecodeError("too_large", f"payload of {len(payload)} bytes; at most {limit} are read")


def decode_numerics(bed: str, payload: bytes, received_ns: int) -> Reading:
    """Return the reading in a numerics payload; raise DecodeError.

    Null values become ``Quality.MISSING``. Without a sequence number, a checksum of the content
    stands in, so the same content at the same time is one reading.
    """
    _check_size(payload)
    try:
        message = _numerics.decode(payload)
    except _UNREADABLE as error:
        raise _explain(payload, error) from None
    device, boot = message.device, message.boot or "-"
    if device not in _names:
        _check_name("device", device, "")
    if boot not in _names:
        _check_name("boot", boot, device)
    measured = _time_ns("measured_at", message.measured_at, received_ns, device)
    sent = None
    if message.sent_at is not None:
        sent = _time_ns("sent_at", message.sent_at, received_ns, device)
    values = message.vitals
    if tuple(values) not in _shapes:
        _check_vitals(values, device)
    flags = _device_flags(message.quality, device) if message.quality else _NO_FLAGS
    if None in values.values():
        flags = {n: Quality.MISSING for n, v in values.items() if v is None} | flags
        values = {n: v for n, v in values.items() if v is not None}
    seq = message.seq
    if seq is None:
        seq = crc32(repr(sorted(message.vitals.items())).encode())
    return Reading(
        bed,
        device,
        boot,
        seq,
        measured,
        sent,
        received_ns,
        values,  # type: ignore[arg-type]  # nulls were taken out above
        flags,
        message.interval_s or 1.0,
        message.seq is not None,
    )


def decode_status(payload: bytes) -> StatusMessage:
    """Return a device's status message; raise DecodeError."""
    return _decode(_status, payload)


def decode_command(payload: bytes) -> CommandMessage:
    """Return a person's command; raise DecodeError."""
    return _decode(_command, payload)


def decode_observation(payload: bytes) -> ObservationMessage:
    """Return what somebody observed; raise DecodeError."""
    return _decode(_observation, payload)


def decode_device_alarm(payload: bytes) -> DeviceAlarmMessage:
    """Return the monitor's own alarm; raise DecodeError."""
    return _decode(_device_alarm, payload)


def decode_care(payload: bytes) -> CareConfig:
    """Return a hospital's stays, bed states and ladders; raise DecodeError."""
    return _decode(_care, payload, MAX_CONFIG_BYTES)


def decode_presence(payload: bytes) -> Presence:
    """Return which units have receivers connected; raise DecodeError."""
    return _decode(_presence, payload)


def decode_line(payload: bytes) -> Line:
    """Return what a hospital's edge says of its line; raise DecodeError."""
    return _decode(_line, payload)


def decode_rules(payload: bytes) -> RulesConfig:
    """Return the published rule set; raise DecodeError."""
    return _decode(_rules, payload, MAX_CONFIG_BYTES)


def message_id(payload: bytes) -> str:
    """Return the id that a command or observation gives itself, readable or not; empty: none."""
    found = _ID.search(payload)
    return found.group(1).decode() if found else ""


def time_of(field: str, value: int | datetime, received_ns: int) -> int:
    """Return a message's time as ns; raise DecodeError when it is far from ours."""
    return _time_ns(field, value, received_ns, "")


def _decode(decoder: msgspec.json.Decoder[T], payload: bytes, limit: int | None = None) -> T:
    _check_size(payload, limit or MAX_NUMERICS_BYTES)
    try:
        return decoder.decode(payload)
    except _UNREADABLE as error:
        raise _explain(payload, error) from None


def encode_numerics(reading: Reading) -> bytes:
    """Return the payload that a device would send for ``reading``: for simulators and tests."""
    vitals: dict[str, float | None] = dict(reading.values)
    vitals.update({n: None for n in reading.flags if n not in vitals})
    quality = {n: q for n, q in reading.flags.items() if q is not Quality.MISSING}
    message: dict[str, object] = {
        "v": 1,
        "device": reading.device,
        "boot": reading.boot,
        "seq": reading.seq,
        "measured_at": reading.measured_ns // MS,
        "vitals": vitals,
    }
    if reading.sent_ns is not None:
        message["sent_at"] = reading.sent_ns // MS
    if reading.interval_s != 1.0:
        message["interval_s"] = reading.interval_s
    if quality:
        message["quality"] = quality
    return _json.encode(message)


def encode_judged(batch: JudgedBatch) -> bytes:
    """Return the MessagePack of a judged batch."""
    return _judged_out.encode(batch)


def decode_judged(payload: bytes) -> JudgedBatch:
    """Return a judged batch; raise DecodeError."""
    try:
        batch = _judged.decode(payload)
        if batch.v == 1:
            batch = from_v1(_judged_v1.decode(payload))
    except _UNREADABLE as error:
        raise DecodeError("judged", str(error)) from None
    check_judged(batch)
    return batch


def encode_json(value: object) -> bytes:
    """Return compact JSON of any of our structures."""
    return _json.encode(value)


def decode_alert(payload: bytes) -> AlertEvent:
    """Return an alert event; raise DecodeError."""
    try:
        event = _alert.decode(payload)
    except _UNREADABLE as error:
        raise DecodeError("alert", str(error)) from None
    check_bed(event.bed)
    _check_bounds(
        "alert",
        event.onset_ns,
        event.at_ns,
        event.shelved_until_ns,
        event.acknowledged_ns,
        *msgspec.structs.astuple(event.stages),
    )
    return event


def decode_health(payload: bytes) -> Health:
    """Return what a service says of itself; raise DecodeError."""
    try:
        return _health.decode(payload)
    except _UNREADABLE as error:
        raise DecodeError("health", str(error)) from None


def encode_rejected(kinds: list[Rejected], max_bytes: int) -> list[bytes]:
    """Return refusals as messages of at most ``max_bytes``: one, or more when one is too large."""
    payload = _json.encode(kinds)
    if len(payload) <= max_bytes or len(kinds) < 2:
        return [payload]
    middle = len(kinds) // 2
    return encode_rejected(kinds[:middle], max_bytes) + encode_rejected(kinds[middle:], max_bytes)


def decode_rejected(payload: bytes) -> list[Rejected]:
    """Return the counted refusals that intake reports; raise DecodeError."""
    try:
        kinds = _rejected.decode(payload)
    except _UNREADABLE as error:
        raise DecodeError("rejected", str(error)) from None
    for kind in kinds:
        _check_bounds("rejected", kind.count, kind.first_ns, kind.last_ns)
    return kinds


def _check_bounds(reason: str, *times_ns: int | None) -> None:
    if any(t is not None and abs(t) > _TIME_BOUND for t in times_ns):
        raise DecodeError(reason, "a time or count is beyond 64 bits")
