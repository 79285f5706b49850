"""Waveforms: the channels, and a chunk of samples as it travels. Pure; docs/wire.md tells the same.

A chunk is binary, little-endian. Samples are int16; a sample's value is ``sample * scale + zero``
in ``unit``; ``NO_SAMPLE`` stands where there is none (a lead that is off).

    0   4   "VGW1"
    4   u8  reserved, 0
    5   u8  length of device      7  u8  length of unit
    6   u8  length of boot        8  i64 measured_ns: the first sample's time, device's clock
    16  i64 sent_ns, 0: not said  24 u64 seq: +1 a chunk of this channel within a boot
    32  f64 rate_hz               40 f64 scale      48 f64 zero
    56  u32 count                 60 device, boot, unit; then count x i16
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from schemas.errors import DecodeError
from schemas.times import FUTURE_NS, MS, PAST_NS, S, format_time
from schemas.wave_codec import Samples
from schemas.wire import NAME

MAGIC = b"VGW1"
NO_SAMPLE = -32_768
MIN_RATE_HZ, MAX_RATE_HZ = 1.0, 2_000.0
MAX_COUNT = 20_000
MAX_CHUNK_NS = 10 * S
SLACK_NS = 30 * MS
"""Samples that begin this close to where others end go on with them: devices stamp with jitter."""
HEAD = struct.Struct("<4sBBBBqqQdddI")
_NAME = re.compile(NAME.encode())
_UNIT = re.compile(rb"[!-~]{1,16}")
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")


@dataclass(frozen=True, slots=True)
class Channel:
    """A waveform channel: name in topics, unit (UCUM), 11073-10101 code, labels."""

    name: str
    unit: str
    mdc: int | None
    zh: str
    en: str
    kind: str
    """ecg, pleth, pressure, resp or co2: how it is drawn."""


CHANNELS: dict[str, Channel] = {
    c.name: c
    for c in (
        Channel("ecg-ii", "mV", 131330, "心电 II", "ECG II", "ecg"),
        Channel("ecg-i", "mV", 131329, "心电 I", "ECG I", "ecg"),
        Channel("ecg-iii", "mV", None, "心电 III", "ECG III", "ecg"),
        Channel("ecg-v", "mV", None, "心电 V", "ECG V", "ecg"),
        Channel("ecg-avr", "mV", None, "心电 aVR", "ECG aVR", "ecg"),
        Channel("ecg-avl", "mV", None, "心电 aVL", "ECG aVL", "ecg"),
        Channel("ecg-avf", "mV", None, "心电 aVF", "ECG aVF", "ecg"),
        Channel("pleth", "1", 150452, "脉搏波", "PLETH", "pleth"),
        Channel("abp", "mm[Hg]", 150036, "动脉压", "ABP", "pressure"),
        Channel("art", "mm[Hg]", 150032, "动脉压 ART", "ART", "pressure"),
        Channel("pap", "mm[Hg]", None, "肺动脉压", "PAP", "pressure"),
        Channel("cvp", "mm[Hg]", None, "中心静脉压", "CVP", "pressure"),
        Channel("resp", "1", 151780, "呼吸", "RESP", "resp"),
        Channel("co2", "mm[Hg]", None, "二氧化碳", "CO₂", "co2"),
    )
}
"""Known channels, in the order of a screen; others are kept and shown as they are."""


class WaveChunk(Struct, gc=False):
    """Consecutive samples of one channel, (n,) int16: a value is ``sample * scale + zero``."""

    bed: str
    channel: str
    device: str
    boot: str
    unit: str
    seq: int
    measured_ns: int
    sent_ns: int | None
    received_ns: int
    rate_hz: float
    scale: float
    zero: float
    samples: Samples

    @property
    def end_ns(self) -> int:
        """When the sample after the last one would have been measured."""
        return self.measured_ns + round(len(self.samples) * S / self.rate_hz)


def chunk_size(rate_hz: float, chunk_s: float) -> int:
    """Return how many samples a chunk of ``chunk_s`` has: at least one."""
    return max(1, int(chunk_s * rate_hz))


def split(whole: WaveChunk, chunk_s: float) -> Iterator[WaveChunk]:
    """Yield consecutive samples of any length in chunks of ``chunk_s``, numbered on from theirs.

    Each is sent and received when the sample after its last one would have been measured.
    """
    size = chunk_size(whole.rate_hz, chunk_s)
    for number, at in enumerate(range(0, len(whole.samples), size)):
        measured = whole.measured_ns + round(at * S / whole.rate_hz)
        samples = whole.samples[at : at + size]
        chunk = replace(whole, seq=whole.seq + number, measured_ns=measured, samples=samples)
        chunk.sent_ns = chunk.received_ns = chunk.end_ns
        yield chunk


def encode_chunk(chunk: WaveChunk) -> bytes:
    """Return the payload that a device publishes."""
    device, boot, unit = chunk.device.encode(), chunk.boot.encode(), chunk.unit.encode()
    head = HEAD.pack(
        MAGIC,
        0,
        len(device),
        len(boot),
        len(unit),
        chunk.measured_ns,
        chunk.sent_ns or 0,
        chunk.seq,
        chunk.rate_hz,
        chunk.scale,
        chunk.zero,
        len(chunk.samples),
    )
    return b"".join((head, device, boot, unit, chunk.samples.astype("<i2").tobytes()))


def decode_chunk(bed: str, channel: str, payload: bytes, received_ns: int) -> WaveChunk:
    """Return the chunk in a payload; raise DecodeError naming the field and the fix."""
    if not _CHANNEL.fullmatch(channel):
        raise DecodeError(
            "wave", f"channel {channel[:60]!r}: use 1-24 of a-z, 0-9 and -, as in ecg-ii"
        )
    if len(payload) < HEAD.size:
        raise DecodeError("wave", f"{len(payload)} bytes; the head alone has {HEAD.size}")
    (magic, reserved, *lengths, measured, sent, seq, rate, scale, zero, count) = HEAD.unpack_from(
        payload
    )
    if magic != MAGIC or reserved:
        raise DecodeError(
            "wave", f"starts with {payload[:5]!r}: expected {MAGIC!r} and 0; see docs/wire.md"
        )
    at = HEAD.size
    names = []
    for length in lengths:
        names.append(payload[at : at + length])
        at += length
    device = names[0].decode("latin-1") if _NAME.fullmatch(names[0]) else ""
    _check_names(names, device)
    _check_numbers(rate, scale, zero, count, device)
    if len(payload) != at + 2 * count:
        raise DecodeError(
            "wave",
            f"count: {count} samples need {at + 2 * count} bytes, the payload has {len(payload)}",
            device,
        )
    if seq > 2**53:
        raise DecodeError("wave", f"seq: {seq} is above 2^53", device)
    for field, time_ns in (("measured_ns", measured), ("sent_ns", sent or received_ns)):
        if not received_ns - PAST_NS <= time_ns <= received_ns + FUTURE_NS:
            shown = format_time(time_ns) if abs(time_ns) < 2**62 else str(time_ns)
            raise DecodeError(
                "time",
                f"{field}: {shown} is more than 32 days behind or 1 day ahead of the hub's clock",
                device,
            )
    return WaveChunk(
        bed=bed,
        channel=channel,
        device=device,
        boot=names[1].decode(),
        unit=names[2].decode(),
        seq=seq,
        measured_ns=measured,
        sent_ns=sent or None,
        received_ns=received_ns,
        rate_hz=rate,
        scale=scale,
        zero=zero,
        samples=np.frombuffer(payload, dtype="<i2", offset=at),
    )


def _check_names(names: list[bytes], device: str) -> None:
    for field, raw in zip(("device", "boot"), names[:2], strict=True):
        if not _NAME.fullmatch(raw):
            raise DecodeError(
                "wave", f"{field}: {raw[:80]!r} is not 1-64 of A-Z a-z 0-9 . _ : -", device
            )
    if not _UNIT.fullmatch(names[2]):
        raise DecodeError("wave", f"unit: {names[2][:40]!r} is not a UCUM unit, as in mV", device)


def _check_numbers(rate: float, scale: float, zero: float, count: int, device: str) -> None:
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:  # false for NaN too
        raise DecodeError(
            "wave", f"rate_hz: {rate:g}; {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} is read", device
        )
    if not isfinite(scale) or scale == 0 or not isfinite(zero):
        raise DecodeError(
            "wave", f"scale {scale:g}, zero {zero:g}: finite numbers, and scale not 0", device
        )
    if not 1 <= count <= min(MAX_COUNT, rate * MAX_CHUNK_NS / S):
        raise DecodeError(
            "wave",
            f"count: {count}; 1 sample to {MAX_CHUNK_NS // S} s of them a chunk, "
            f"at most {MAX_COUNT}",
            device,
        )
