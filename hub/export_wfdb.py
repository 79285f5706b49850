"""Stored waveforms and numbers as WFDB records, sample for sample, as ``wfdb`` reads them.

Channels of different rates stand in one record as samples per frame; a gap, and a missing sample,
is the format's invalid value (-32768 in format 16). A channel whose scale or rate changed in the
time asked for becomes several signals, numbered.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil, gcd
from pathlib import Path

import numpy as np

from hub.waves import Segment
from schemas.errors import StoreError
from schemas.times import S, to_datetime
from schemas.vitals import VITALS
from schemas.waves import CHANNELS, NO_SAMPLE

MAX_SAMPLES = 200_000_000
NAME = re.compile(r"[-A-Za-z0-9_]+")
MIN_FRAMES_HZ = Fraction(1, 2)
NAMES = {name: name.removeprefix("ecg-").upper() for name in CHANNELS if name.startswith("ecg-")}
NO_NUMBER = -(2**31)
"""The invalid value of format 32."""
GAINS = (1, 10, 100, 1_000, 10_000)
Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
Reals = np.ndarray[tuple[int], np.dtype[np.float32]]
UNITS = {"mm[Hg]": "mmHg", "1": "NU", "Cel": "degC", "/min": "bpm", "cm[H2O]": "cmH2O"}


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
    samples: np.ndarray[tuple[int], np.dtype[np.int16]] | np.ndarray[tuple[int], np.dtype[np.int32]]


LaidOut = tuple[int, Fraction, list[Signal]]
"""Where a record begins (ns), its frame rate, its signals."""


def frame_rate(rates: list[float]) -> Fraction:
    """Return the highest rate of which all ``rates`` are whole multiples.

    >>> frame_rate([250.0, 125.0, 62.5]), frame_rate([500.0, 360.0])
    (Fraction(125, 2), Fraction(20, 1))
    """
    exact = [Fraction(rate).limit_denominator(1000) for rate in rates]
    below = reduce(lambda a, b: a * b // gcd(a, b), (rate.denominator for rate in exact))
    return Fraction(reduce(gcd, (int(rate * below) for rate in exact)), below)


def lay_out(segments: list[Segment]) -> LaidOut:
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


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation in a record: from when until when (ns), and its label."""

    start_ns: int
    end_ns: int
    label: str


def lay_out_numerics(times_us: Integers, columns: dict[str, Reals]) -> tuple[int, list[Signal]]:
    """Return where a record of numbers begins (ns), and its signals at one sample a second. Pure.

    Each vital's gain is the least power of ten at which all its values are whole: nothing is
    rounded. Of two values in one second the later stands.
    """
    first = int(times_us[0] // 1_000_000)
    frames = int(times_us[-1] // 1_000_000) - first + 1
    at = times_us // 1_000_000 - first
    signals = []
    for name, values in columns.items():
        there = np.isfinite(values)
        if not there.any():
            continue
        gain = next((g for g in GAINS if _is_whole(values[there], g)), GAINS[-1])
        samples = np.full(frames, NO_NUMBER, dtype=np.int32)
        samples[at[there]] = np.rint(values[there].astype(np.float64) * gain).astype(np.int32)
        unit = VITALS[name].unit
        signals.append(Signal(name, UNITS.get(unit, unit), 1, gain, 0, samples))
    return first * S, signals


def _is_whole(values: Reals, gain: int) -> bool:
    whole = np.rint(values.astype(np.float64) * gain)
    return bool(np.all((whole / gain).astype(np.float32) == values))


def check_name(path: Path) -> None:
    """Raise StoreError unless a record can have this name."""
    if path.is_dir() or not NAME.fullmatch(path.name):
        raise StoreError(
            f"{path}: name the record, with letters, digits, - and _ only, as in {path}/record"
        )


def write_record(
    folder: Path, name: str, laid_out: LaidOut, comments: list[str], shift_ns: int = 0
) -> int:
    """Write NAME.hea and NAME.dat into a folder; return how many samples they hold."""
    import wfdb  # noqa: PLC0415 - seconds to import, and only here

    start_ns, frames_hz, signals = laid_out
    wfdb.wrsamp(
        name,
        fs=float(frames_hz),
        units=[signal.unit for signal in signals],
        sig_name=[signal.name for signal in signals],
        e_d_signal=[signal.samples.astype(np.int64) for signal in signals],
        samps_per_frame=[signal.per_frame for signal in signals],
        fmt=["32" if signal.samples.dtype == np.int32 else "16" for signal in signals],
        adc_gain=[signal.gain for signal in signals],
        baseline=[signal.baseline for signal in signals],
        base_datetime=to_datetime(start_ns + shift_ns).replace(tzinfo=None),
        comments=comments,
        write_dir=str(folder),
    )
    return sum(len(signal.samples) for signal in signals)


def write_marks(folder: Path, name: str, start_ns: int, hz: float, marks: list[Mark]) -> int:
    """Write NAME.atr: where each annotation begins, ``(label``, and ends, ``label)``."""
    import wfdb  # noqa: PLC0415 - seconds to import, and only here

    at: list[tuple[int, str]] = []
    for mark in marks:
        begins, ends = ((t - start_ns) * hz / S for t in (mark.start_ns, mark.end_ns))
        if ends > begins:
            at += [(round(begins), f"({mark.label}"), (round(ends), f"{mark.label})")]
        else:
            at.append((round(begins), mark.label))
    at = sorted((sample, text) for sample, text in at if sample >= 0)
    if not at:
        return 0
    wfdb.wrann(
        name,
        "atr",
        sample=np.array([sample for sample, _ in at]),
        symbol=['"'] * len(at),
        aux_note=[text for _, text in at],
        fs=hz,
        write_dir=str(folder),
    )
    return len(at)
