"""Waveforms in OBX segments: an array of samples, and beside it its rate, resolution and markers.

A wave is an OBX of type NA (or MA) with ``s^s^s…`` in OBX-5. What belongs to it has its OBX-4 with
a suffix: ``.1`` the sample rate, ``.2`` the resolution, ``.3`` the marker for "no sample". Source:
IHE PCD TF-2 and Mindray's messages. Samples stay whole numbers; decimals become a scale. Pure.
"""

import re
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np

from ingest.hl7.codes import Meaning, unit_of
from ingest.hl7.message import Segment
from ingest.hl7.profiles import Profile
from ingest.hl7.times import parse_time
from schemas.errors import DecodeError
from schemas.times import S
from schemas.wave_codec import Samples
from schemas.waves import CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, NO_SAMPLE

MAX_SAMPLES = 200_000
LEAST_INTEGER, MOST_INTEGER = -32_767, 32_767
_ARRAY = frozenset({"NA", "MA"})
_MANY = re.compile(r"^\s*[-+.\d]+(\^[-+.\d\s]*){2,}$")


@dataclass(slots=True)
class Wave:
    """One channel's samples in one message. ``rate_hz`` None: not said, so it cannot be drawn."""

    channel: str
    code: str
    unit: str
    rate_hz: float | None
    scale: float
    zero: float
    start_ns: int | None
    samples: Samples
    device: str = ""
    problem: str = ""

    @property
    def duration_ns(self) -> int | None:
        """How long the samples last; None when their rate is not known."""
        return None if not self.rate_hz else round(len(self.samples) * S / self.rate_hz)


Pieces = list[tuple[str, Segment]]


def waves_of(group: Pieces) -> tuple[list[Pieces], Pieces]:
    """Return the waveforms of a group, each with what belongs to it, and the rest of the group."""
    waves: list[Pieces] = []
    rest: Pieces = []
    for name, segment in group:
        kind = segment.component(2)
        if kind not in _ARRAY and not waves and "^" not in segment.raw(5):
            rest.append((name, segment))
            continue
        sub_id = segment.component(4)
        if kind in _ARRAY or (kind in ("", "NM", "ST") and _MANY.match(segment.raw(5))):
            waves.append([(name, segment)])
            continue
        owner = next(
            (w for w in waves if sub_id.startswith(f"{w[0][1].component(4)}.") and sub_id), None
        )
        (owner if owner is not None else rest).append((name, segment))
    return waves, rest


def read_wave(
    profile: Profile,
    found: Meaning,
    pieces: Pieces,
    request: Segment | None,
    zone: tzinfo,
) -> Wave:
    """Return a waveform; raise DecodeError when its samples cannot be kept.

    Without a rate it is taken from the request's times (OBR-7, OBR-8) and the number of samples.
    """
    segment = pieces[0][1]
    texts = segment.raw(5).replace(segment.marks.repetition, segment.marks.component)
    parts = [part.strip() for part in texts.split(segment.marks.component)]
    while parts and not parts[-1]:
        parts.pop()
    if not parts:
        raise DecodeError("no_value", "OBX-5: no samples")
    if len(parts) > MAX_SAMPLES:
        raise DecodeError("too_large", f"{len(parts)} samples; at most {MAX_SAMPLES} are read")
    rate, resolution, marker, unit = _attributes(profile, pieces)
    samples, scale, zero = pack(parts, marker)
    start_ns, end_ns = _times(request, zone)
    if rate is None and start_ns is not None and end_ns is not None and end_ns > start_ns:
        rate = len(samples) * S / (end_ns - start_ns)
    problem = ""
    if rate is None:
        problem = "no sample rate (MDC_ATTR_SAMP_RATE, or OBR-7 and OBR-8): cannot be drawn"
    elif not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        problem = f"sample rate {rate:g} Hz: {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} is read"
        rate = None
    if resolution:
        scale, zero = scale * resolution, zero * resolution
    known = CHANNELS.get(found.name)
    if unit is None or (known is not None and unit == "1"):
        unit = known.unit if known is not None and not resolution else "1"
    return Wave(found.name, found.code, unit, rate, scale, zero, start_ns, samples, problem=problem)


def _times(request: Segment | None, zone: tzinfo) -> tuple[int | None, int | None]:
    """Return the beginning and the end of what was asked for (OBR-7, OBR-8)."""
    if request is None:
        return None, None
    return parse_time(request.component(7), zone), parse_time(request.component(8), zone)


def _attributes(
    profile: Profile, pieces: Pieces
) -> tuple[float | None, float | None, float | None, str | None]:
    """Return rate, resolution, the marker for no sample, and the unit that stand beside a wave."""
    rate = resolution = marker = None
    unit = _unit(profile, pieces[0][1])
    for _, piece in pieces[1:]:
        suffix = piece.component(4).rpartition(".")[2]
        refid = piece.component(3, 2)
        number = _number(piece.component(5))
        if "SAMP_RATE" in refid or suffix == "1":
            rate = number
        elif "MSMT_RES" in refid or suffix == "2":
            resolution = number
            unit = _unit(profile, piece) or unit
        elif "INOP" in refid or suffix == "3":
            marker = number
    return rate, resolution, marker, unit


def pack(parts: list[str], marker: float | None) -> tuple[Samples, float, float]:
    """Return decimal texts as int16 samples with scale and zero; empty ones and markers are none.

    Raises DecodeError when one is no number, or they span more than 16 bits.
    """
    try:
        values = np.array([np.nan if not p else float(p) for p in parts], dtype=np.float64)
    except ValueError:
        raise DecodeError("not_a_number", "OBX-5: a sample is no number") from None
    missing = ~np.isfinite(values)
    if marker is not None:
        missing |= values == marker
    decimals = max((len(p.partition(".")[2]) for p in parts if "." in p), default=0)
    power = 10 ** min(decimals, 6)
    whole = np.rint(np.where(missing, 0, values) * power)
    there = whole[~missing]
    low, high = (there.min(), there.max()) if len(there) else (0.0, 0.0)
    zero = 0.0
    if low < LEAST_INTEGER or high > MOST_INTEGER:
        if high - low > MOST_INTEGER - LEAST_INTEGER:
            raise DecodeError("wave", f"samples from {low:g} to {high:g} span more than 16 bits")
        zero = float((low + high) // 2)
    samples = np.where(missing, NO_SAMPLE, whole - zero).astype(np.int16)
    return samples, 1 / power, zero / power


def _unit(profile: Profile, segment: Segment) -> str | None:
    parts = [*segment.components(6), "", "", ""]
    try:
        return unit_of(profile, parts[0].strip(), parts[1].strip(), parts[2].strip())
    except DecodeError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
