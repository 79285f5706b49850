"""Synthetic patients: vitals that belong together and drift like real ones. Pure and seeded.

Each vital follows a mean-reverting random walk (Ornstein-Uhlenbeck) around the patient's baseline
plus the scenario's departure. What belongs together is derived: pulse rate from heart rate, mean
pressure from systolic and diastolic, perfusion from pressure, respiratory swing on the heart rate.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import exp, pi, sin, sqrt

import numpy as np

from schemas.times import S
from schemas.vitals import Quality
from schemas.waves import WaveChunk
from schemas.wire import Reading
from simulators.scenarios import SCENARIOS, Scenario, at, rhythm_at
from simulators.signals import SOURCES, Moment, Waveforms

# vital: time constant of the drift (s), spread of the drift (one standard deviation)
_DRIFT = {
    "hr": (90.0, 4.0),
    "spo2": (60.0, 0.7),
    "rr": (45.0, 1.4),
    "sbp": (120.0, 5.0),
    "dbp": (120.0, 3.5),
    "temp": (1800.0, 0.12),
    "etco2": (60.0, 1.5),
    "cvp": (120.0, 1.0),
}
NIBP_PERIOD_S = 300


@dataclass(frozen=True, slots=True)
class Patient:
    """One simulated patient on one bed: baseline, monitoring, story."""

    bed: str
    device: str
    baseline: dict[str, float]
    arterial_line: bool
    scenario: Scenario
    starts_s: float = 0.0


def make_patient(
    bed: str,
    scenario: str,
    rng: np.random.Generator,
    *,
    starts_s: float = 0.0,
    arterial_line: bool | None = None,
) -> Patient:
    """Return a patient with a believable baseline for an adult ICU."""
    baseline = {
        "hr": rng.normal(82, 9),
        "spo2": rng.uniform(95.5, 98.8),
        "rr": rng.normal(17, 2),
        "sbp": rng.normal(122, 10),
        "dbp": rng.normal(70, 6),
        "temp": rng.normal(36.9, 0.3),
        "etco2": rng.normal(37, 2),
        "cvp": rng.normal(8, 2),
    }
    line = bool(rng.random() < 0.6) if arterial_line is None else arterial_line
    return Patient(
        bed,
        "sim-" + bed.replace("/", "."),
        {k: float(v) for k, v in baseline.items()},
        line,
        SCENARIOS[scenario],
        starts_s,
    )


def readings(
    patient: Patient,
    rng: np.random.Generator,
    *,
    boot: str,
    start_ns: int,
    period_s: float = 1.0,
) -> Iterator[Reading]:
    """Yield the patient's readings for ever: same seed and start, same readings."""
    return (reading for reading, _ in course(patient, rng, boot, start_ns, period_s))


def course(
    patient: Patient, rng: np.random.Generator, boot: str, start_ns: int, period_s: float
) -> Iterator[tuple[Reading, Moment]]:
    """Yield the patient's readings for ever, each with the moment that its waveforms follow."""
    drift = dict.fromkeys(_DRIFT, 0.0)
    seq = 0
    while True:
        t_s = seq * period_s
        for name, (tau, spread) in _DRIFT.items():
            keep = exp(-period_s / tau)
            drift[name] = keep * drift[name] + spread * sqrt(1 - keep * keep) * rng.normal()
        noise = rng.normal(size=4).tolist()
        values, flags, moment = _vitals(patient, drift, t_s, noise)
        measured = start_ns + int(t_s * S)
        reading = Reading(
            bed=patient.bed,
            device=patient.device,
            boot=boot,
            seq=seq,
            measured_ns=measured,
            sent_ns=measured,
            received_ns=0,
            values=values,
            flags=flags,
            interval_s=period_s,
        )
        yield reading, moment
        seq += 1


def chunks(
    patient: Patient,
    rng: np.random.Generator,
    moments: Iterable[Moment],
    *,
    boot: str,
    start_ns: int,
    chunk_s: float = 0.5,
) -> Iterator[WaveChunk]:
    """Yield the patient's waveforms, in pieces of ``chunk_s``, for moments one second apart."""
    made = Waveforms(rng)
    pieces = round(1 / chunk_s)
    seq = 0
    for moment in moments:
        whole = made.second(moment)
        begin_ns = start_ns + int(moment.t_s * S)
        for piece in range(pieces):
            for source in SOURCES:
                if source.channel in whole:
                    parts = np.array_split(whole[source.channel], pieces)
                    part = parts[piece]
                    before = sum(map(len, parts[:piece]))
                    measured = begin_ns + round(before * S / source.rate_hz)
                    yield WaveChunk(
                        bed=patient.bed,
                        channel=source.channel,
                        device=patient.device,
                        boot=boot,
                        unit=source.unit,
                        seq=seq,
                        measured_ns=measured,
                        sent_ns=measured + round(len(part) * S / source.rate_hz),
                        received_ns=0,
                        rate_hz=source.rate_hz,
                        scale=source.scale,
                        zero=source.zero,
                        samples=part,
                    )
            seq += 1


def _vitals(
    patient: Patient, drift: dict[str, float], t_s: float, noise: list[float]
) -> tuple[dict[str, float], dict[str, Quality], Moment]:
    story, story_s = patient.scenario, t_s - patient.starts_s

    def level(name: str) -> float:
        if name in story.becomes and story_s >= story.becomes[name][0][0]:
            return at(story.becomes[name], story_s)
        departure = at(story.departs[name], story_s) if name in story.departs else 0.0
        return patient.baseline[name] + drift[name] + departure

    rr = max(0.0, level("rr"))
    hr = max(0.0, level("hr") + (1.2 * sin(2 * pi * rr / 60 * t_s) if rr else 0.0))
    sbp, dbp = level("sbp"), level("dbp")
    dbp = min(dbp, sbp - 8)
    mean = dbp + (sbp - dbp) / 3
    values = {
        "hr": float(round(hr)),
        "spo2": float(round(min(100.0, max(40.0, level("spo2"))))),
        "rr": float(round(rr)),
        "pr": float(round(max(1.0, hr + 0.6 * noise[0]))),
        "pi": round(max(0.05, 0.03 * (mean - 35) + 0.1 * noise[1]), 1),
    }
    if patient.arterial_line:
        values |= {
            "abp_sys": float(round(sbp)),
            "abp_dia": float(round(dbp)),
            "abp_mean": float(round(mean)),
        }
    elif t_s % NIBP_PERIOD_S < 1:
        values |= {
            "nibp_sys": float(round(sbp + 2 * noise[2])),
            "nibp_dia": float(round(dbp + 2 * noise[3])),
            "nibp_mean": float(round(mean)),
        }
    if t_s % 10 < 1:
        values["temp"] = round(level("temp"), 1)
    flags: dict[str, Quality] = {}
    for name, (start, end) in story.sensor_off.items():
        if start <= story_s < end and name in values:
            del values[name]
            flags[name] = Quality.SENSOR_OFF
    for name, (start, end) in story.weak.items():
        if start <= story_s < end and name in values:
            flags[name] = Quality.WEAK
    moment = Moment(
        t_s=t_s,
        hr=hr,
        rr=rr,
        sbp=sbp,
        dbp=dbp,
        perfusion=values.get("pi", 1.0),
        rhythm=rhythm_at(story, story_s),
        noise_mv=at(story.noise_mv, story_s),
        ecg_off=flags.get("hr") is Quality.SENSOR_OFF,
        pleth_off=flags.get("spo2") is Quality.SENSOR_OFF,
        pleth_weak=flags.get("spo2") is Quality.WEAK,
        arterial_line=patient.arterial_line,
    )
    return values, flags, moment
