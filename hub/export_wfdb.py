"""Stored waveforms as a WFDB record, sample for sample: what ``wfdb.rdrecord`` reads back.

Channels of different rates stand in one record as samples per frame; a gap, and a missing sample,
is the format's invalid value (-32768 in format 16). A channel whose scale or rate changed in the
time asked for becomes several signals, numbered.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil, gcd
from pathlib import Path

import numpy as np

from hub.waves import Segment
from schemas.errors import StoreError
from schemas.times import S, format_time, to_datetime
from schemas.waves import CHANNELS, NO_SAMPLE

MAX_SAMPLES = 200_000_000
NAME = re.compile(r"[-A-Za-z0-9_]+")
MIN_FRAMES_HZ = Fraction(1, 2)
NAMES = {name: name.removeprefix("ecg-").upper() for name in CHANNELS if name.startswith("ecg-")}
UNITS = {"mm[Hg]": "mmHg", "1": "NU", "Cel": "degC"}


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a record: its name, form and samples over the whole time, gaps filled.

    ``per_frame``: samples in each frame of the record.
    """

    name: str
    unit: str
    per_frame: int
    gain: float
    baseline: int
    samples: np.ndarray[tuple[int], np.dtype[np.int16]]


def frame_rate(rates: list[float]) -> Fraction:
    """Return the highest rate of which all ``rates`` are whole multiples.

    >>> frame_rate([250.0, 125.0, 62.5]), frame_rate([500.0, 360.0])
    (Fraction(125, 2), Fraction(20, 1))
    """
    exact = [Fraction(rate).limit_denominator(1000) for rate in rates]
    below = reduce(lambda a, b: a * b // gcd(a, b), (rate.denominator for rate in exact))
    return Fraction(reduce(gcd, (int(rate * below) for rate in exact)), below)


def lay_out(segments: list[Segment]) -> tuple[int, Fraction, list[Signal]]:
    """Return where the record begins, its frame rate, and its signals. Pure.

    Raises StoreError when there is nothing, or more than a record can hold.
    """
    if not segments:
        raise StoreError("no waveform is stored between these times")
    start_ns = min(segment.start_ns for segment in segments)
    end_ns = max(segment.end_ns for segment in segments)
    rates = sorted({segment.rate_hz for segment in segments})
    frames_hz = frame_rate(rates)
    if frames_hz < MIN_FRAMES_HZ:
        raise StoreError(
            f"channels at {', '.join(f'{rate:g}' for rate in rates)} Hz do not fit one record; "
            "export them one by one with --channel"
        )
    frames = ceil(Fraction(end_ns - start_ns, S) * frames_hz - Fraction(1, 1000))
    groups: dict[tuple[str, str, float, float, float], list[Segment]] = {}
    for segment in segments:
        form = (segment.channel, segment.unit, segment.rate_hz, segment.scale, segment.zero)
        groups.setdefault(form, []).append(segment)
    names: list[str] = []
    signals = []
    for (channel, unit, rate, scale, zero), pieces in groups.items():
        per_frame = int(Fraction(rate).limit_denominator(1000) / frames_hz)
        if frames * per_frame > MAX_SAMPLES:
            raise StoreError(f"{channel}: more than {MAX_SAMPLES} samples; export a shorter time")
        samples = np.full(frames * per_frame, NO_SAMPLE, dtype=np.int16)
        for piece in pieces:
            at = round((piece.start_ns - start_ns) * rate / S)
            part = piece.samples[: max(0, len(samples) - at)]
            samples[at : at + len(part)] = part
        name = NAMES.get(channel, channel.upper())
        names.append(name)
        count = names.count(name)
        signals.append(
            Signal(
                name if count == 1 else f"{name} {count}",
                UNITS.get(unit, unit),
                per_frame,
                1 / scale,
                round(-zero / scale),
                samples,
            )
        )
    return start_ns, frames_hz, signals


def write_wfdb(path: Path, bed: str, segments: list[Segment]) -> tuple[int, list[str]]:
    """Write a record ``path``.hea and .dat, whole or not at all; return samples and names."""
    import wfdb  # noqa: PLC0415 - seconds to import, and only here

    if path.is_dir() or not NAME.fullmatch(path.name):
        raise StoreError(
            f"{path}: name the record, with letters, digits, - and _ only, as in {path}/record"
        )
    start_ns, frames_hz, signals = lay_out(segments)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        wfdb.wrsamp(
            path.name,
            fs=float(frames_hz),
            units=[signal.unit for signal in signals],
            sig_name=[signal.name for signal in signals],
            e_d_signal=[signal.samples.astype(np.int64) for signal in signals],
            samps_per_frame=[signal.per_frame for signal in signals],
            fmt=["16"] * len(signals),
            adc_gain=[signal.gain for signal in signals],
            baseline=[signal.baseline for signal in signals],
            base_datetime=to_datetime(start_ns).replace(tzinfo=None),
            comments=[f"bed {bed}", f"begins {format_time(start_ns)}"],
            write_dir=folder,
        )
        for suffix in (".dat", ".hea"):
            shutil.move(Path(folder) / (path.name + suffix), path.parent / (path.name + suffix))
    return sum(len(signal.samples) for signal in signals), [signal.name for signal in signals]
