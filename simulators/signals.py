"""Waveforms that belong to a patient's vitals: ECG, pressure, pleth, respiration. Pure and seeded.

The heart beats first: each beat has a time, a kind and a stroke, from heart rate and rhythm. The
ECG is a sum of waves (P, Q, R, S, T) around each beat (after McSharry 2003, doi
10.1109/TBME.2003.808805); the pulse arrives in the artery and in the finger a transit time later,
as high as the vitals say. Without an organised rhythm there are no beats and no pulse.
"""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.wave_codec import Samples
from schemas.waves import NO_SAMPLE

Rhythm = Literal["sinus", "ectopy", "af", "vt", "vf", "asystole"]
Floats = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Source:
    """How a monitor sends one channel: rate, and ``value = sample * scale + zero`` in ``unit``."""

    channel: str
    unit: str
    rate_hz: float
    scale: float
    zero: float = 0.0


SOURCES = (
    Source("ecg-ii", "mV", 250.0, 0.005),
    Source("pleth", "1", 125.0, 1 / 4096),
    Source("abp", "mm[Hg]", 125.0, 0.0625),
    Source("resp", "1", 50.0, 1 / 2048),
)

ARTERY_S, FINGER_S = 0.16, 0.24
"""From the QRS to the pulse in a radial line and under a finger sensor."""

# amplitude mV, time from R s, width s; the T wave moves with the square root of the interval
_NORMAL = (
    (0.13, -0.17, 0.024),
    (-0.11, -0.026, 0.009),
    (1.15, 0.0, 0.011),
    (-0.26, 0.028, 0.011),
    (0.30, 0.27, 0.055),
)
_WIDE = ((1.25, 0.0, 0.042), (-0.55, 0.095, 0.045), (-0.42, 0.30, 0.075))
_WANDER_HZ = 0.22


@dataclass(slots=True)
class Beat:
    """One ventricular beat: when, how long until the next, what it looks like, what it moves."""

    at_s: float
    interval_s: float
    wide: bool
    atrial: bool
    systolic: float
    diastolic: float
    stroke: float
    """Of a normal pulse: 1; a premature beat moves less."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the waveforms of one second follow. Pressures in mmHg, rates a minute."""

    t_s: float
    hr: float
    rr: float
    sbp: float
    dbp: float
    perfusion: float
    rhythm: Rhythm = "sinus"
    noise_mv: float = 0.012
    ecg_off: bool = False
    pleth_off: bool = False
    pleth_weak: bool = False
    arterial_line: bool = True


class Heart:
    """The beats of one patient, made as far ahead as they are needed."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._next_s = 0.3
        self._since_ectopic = 0
        self.beats: list[Beat] = []

    def beat_until(self, until_s: float, now: Moment) -> None:
        """Add beats up to ``until_s`` as ``now`` has them; forget those that moved out of sight."""
        self.beats = [beat for beat in self.beats if beat.at_s > now.t_s - 3.0]
        if now.rhythm in ("vf", "asystole") or now.hr < 1:
            self.beats = [beat for beat in self.beats if beat.at_s < now.t_s]
            self._next_s = max(self._next_s, until_s)
            return
        self._next_s = max(self._next_s, now.t_s - 0.5)
        while self._next_s < until_s:
            self._beat(now)

    def _beat(self, now: Moment) -> None:
        interval = 60 / now.hr
        if now.rhythm == "af":
            interval *= float(np.exp(self._rng.normal(-0.02, 0.2)))
        elif now.rhythm == "sinus":
            interval *= 1 + 0.01 * self._rng.normal()
        vt = now.rhythm == "vt"
        self._add(now, interval, wide=vt, atrial=not vt and now.rhythm != "af", stroke=1.0)
        self._since_ectopic += 1
        if now.rhythm == "ectopy" and self._since_ectopic > self._rng.integers(4, 9):
            self._since_ectopic = 0
            early = 0.58 * interval
            self.beats[-1].interval_s = early
            self._next_s = self.beats[-1].at_s + early
            self._add(now, 2 * interval - early, wide=True, atrial=False, stroke=0.5)

    def _add(
        self, now: Moment, interval: float, *, wide: bool, atrial: bool, stroke: float
    ) -> None:
        swing = 2.5 * np.sin(2 * pi * now.rr / 60 * self._next_s) if now.rr > 1 else 0.0
        self.beats.append(
            Beat(self._next_s, interval, wide, atrial, now.sbp + float(swing), now.dbp, stroke)
        )
        self._next_s += interval


class Waveforms:
    """The waveforms of one patient, second by second."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._heart = Heart(rng)
        self._breath = float(rng.uniform(0, 2 * pi))
        self._chaos = rng.uniform(0, 2 * pi, 6)
        self._rest_mmhg: float | None = None

    def second(self, now: Moment, sources: tuple[Source, ...] = SOURCES) -> dict[str, Samples]:
        """Return one second of samples for each channel, from ``now.t_s`` on."""
        self._heart.beat_until(now.t_s + 2.0, now)
        breath = self._breath
        self._breath += 2 * pi * now.rr / 60
        out: dict[str, Samples] = {}
        for source in sources:
            n = round(source.rate_hz)
            t = now.t_s + np.arange(n) / n
            phase = breath + 2 * pi * now.rr / 60 * np.arange(n) / n
            off = (
                (now.ecg_off and source.channel in ("ecg-ii", "resp"))
                or (now.pleth_off and source.channel == "pleth")
                or (source.channel == "abp" and not now.arterial_line)
            )
            if off:
                if source.channel != "abp":
                    out[source.channel] = np.full(n, NO_SAMPLE, np.int16)
                continue
            values = self._values(source.channel, t, phase, now)
            sampled = np.rint((values - source.zero) / source.scale)
            out[source.channel] = np.clip(sampled, -32_767, 32_767).astype(np.int16)
        self._rest_mmhg = now.dbp
        return out

    def _values(self, channel: str, t: Floats, phase: Floats, now: Moment) -> Floats:
        if channel == "ecg-ii":
            return self._ecg(t, phase, now)
        if channel == "abp":
            return self._pressure(t, now)
        if channel == "pleth":
            return self._pleth(t, now)
        depth = min(1.0, now.rr / 6)
        rest = 0.5 + 0.004 * self._rng.normal(size=len(t))
        return np.add(rest, 0.35 * depth * np.sin(phase))

    def _ecg(self, t: Floats, phase: Floats, now: Moment) -> Floats:
        mv = 0.04 * np.sin(2 * pi * _WANDER_HZ * t) + 0.03 * np.sin(phase)
        mv += now.noise_mv * self._rng.normal(size=len(t))
        if now.rhythm == "vf":
            swell = 0.75 + 0.25 * np.sin(2 * pi * 0.31 * t + self._chaos[0])
            for i, hz in enumerate((3.7, 4.6, 5.4, 6.3)):
                wobble = 0.9 * np.sin(2 * pi * 0.17 * (i + 1) * t + self._chaos[i])
                mv += 0.19 * swell * np.sin(2 * pi * hz * t + self._chaos[i + 1] + wobble)
        if now.rhythm == "af":
            for i, hz in enumerate((5.1, 6.4, 7.3)):
                mv += 0.025 * np.sin(2 * pi * hz * t + self._chaos[i])
        for beat in self._heart.beats:
            if beat.at_s < t[0] - 0.8 or beat.at_s > t[-1] + 0.4:
                continue
            for number, (amplitude, after, width) in enumerate(_WIDE if beat.wide else _NORMAL):
                if number == 0 and not beat.wide and not beat.atrial:
                    continue  # no P wave
                at = after * sqrt(min(1.2, beat.interval_s)) if after > 0.2 else after
                mv += amplitude * np.exp(-((t - beat.at_s - at) ** 2) / (2 * width**2))
        return mv

    def _pressure(self, t: Floats, now: Moment) -> Floats:
        shape, systolic, diastolic = self._pulse(t - ARTERY_S, now)
        return diastolic + (systolic - diastolic) * shape + 0.25 * self._rng.normal(size=len(t))

    def _pleth(self, t: Floats, now: Moment) -> Floats:
        shape, _, _ = self._pulse(t - FINGER_S, now)
        height = min(0.8, 0.12 + 0.2 * now.perfusion)
        if now.pleth_weak:
            jitter = 0.15 * np.sin(2 * pi * 1.3 * t + self._chaos[1])
            noise = 0.05 * self._rng.normal(size=len(t))
            weak: Floats = 0.4 + 0.06 * shape + jitter + noise
            return weak
        return 0.1 + height * shape + 0.003 * self._rng.normal(size=len(t))

    def _pulse(self, t: Floats, now: Moment) -> tuple[Floats, Floats, Floats]:
        """Return the shape (0 to 1), systole and diastole of the pulse at times ``t``."""
        shape = np.zeros(len(t))
        systolic = np.full(len(t), now.sbp)
        diastolic = np.full(len(t), now.dbp)
        last: Beat | None = None
        for beat in self._heart.beats:
            here = t >= beat.at_s
            if not here.any():
                continue
            shape[here] = beat.stroke * _pulse_shape(t[here] - beat.at_s, beat.interval_s)
            systolic[here], diastolic[here] = beat.systolic, beat.diastolic
            last = beat
        if last is None or now.rhythm in ("vf", "asystole"):
            # No stroke: what pressure there is runs off.
            since = t - (last.at_s if last else now.t_s - 10)
            before = now.dbp if self._rest_mmhg is None else self._rest_mmhg
            rest = np.linspace(before, now.dbp, len(t))
            diastolic = rest + (diastolic - rest) * np.exp(-np.maximum(since, 0) / 4)
        return shape, systolic, diastolic


def _pulse_shape(since: Floats, interval_s: float) -> Floats:
    """Return the pulse (0 to 1) ``since`` seconds after its foot: upstroke, notch, run-off."""
    up = np.clip(since / 0.11, 0, 1)
    rise = np.sin(pi / 2 * up) ** 2
    fall = np.exp(-np.maximum(since - 0.11, 0) / (0.42 * min(1.2, interval_s)))
    end = float(np.exp(-max(interval_s - 0.11, 0.05) / (0.42 * min(1.2, interval_s))))
    run_off = np.maximum((fall - end) / (1 - end), 0)
    notch = 0.09 * np.exp(-((since - 0.34) ** 2) / (2 * 0.03**2))
    return np.where(since < 0.11, rise, np.minimum(run_off + notch * (run_off > 0), 1.0))
