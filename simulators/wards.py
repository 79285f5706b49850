"""Whole wards of simulated patients: the demo's three hospitals, or as many beds as asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import tee

import numpy as np

from schemas.times import S
from simulators import faults
from simulators.faults import Item, Packet
from simulators.patients import Patient, chunks, course, make_patient, readings

DEMO_STORIES = {
    "quzhou-kaihua/icu/bed-03": ("hypoxia", 5.0),
    "quzhou-kaihua/icu/bed-07": ("loose-lead", 10.0),
    "quzhou-changshan/icu/bed-02": ("motion", 15.0),
    "quzhou-changshan/icu/bed-06": ("sepsis", 0.0),
    "quzhou-longyou/icu/bed-05": ("haemorrhage", 15.0),
}
"""Bed: scenario and when it starts, seconds. Two deteriorate within two minutes."""


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often the line misbehaves."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    outage_from_s: float = 0.0
    outage_to_s: float = 0.0
    clock_step_s: float = 0.0
    clock_drift_ppm: float = 0.0
    reboot_at_s: float = 0.0


def demo_patients(beds: list[str], seed: int) -> list[Patient]:
    """Return the demo's patients, one a bed, with the stories of ``DEMO_STORIES``."""
    out = []
    for number, bed in enumerate(beds):
        scenario, starts = DEMO_STORIES.get(bed, ("stable", 0.0))
        rng = np.random.default_rng([seed, number])
        line = True if scenario == "haemorrhage" else None
        out.append(make_patient(bed, scenario, rng, starts_s=starts, arterial_line=line))
    return out


def stream(
    patients: list[Patient],
    seed: int,
    *,
    boot: str,
    start_ns: int,
    rates: FaultRates,
    period_s: float = 1.0,
    with_waves: int = 0,
) -> Iterator[Packet]:
    """Return the packets of all patients in the order in which they leave. Phases are spread.

    The first ``with_waves`` patients send waveforms too.
    """
    streams = []
    for number, patient in enumerate(patients):
        rng = np.random.default_rng([seed, number, 1])
        begin = start_ns + int(number / len(patients) * period_s * S)
        items: list[Iterator[Item]] = []
        if number < with_waves:
            numbers, moments = tee(course(patient, rng, boot, begin, 1.0))
            items.append(reading for reading, _ in numbers)
            items.append(
                chunks(
                    patient,
                    np.random.default_rng([seed, number, 3]),
                    (moment for _, moment in moments),
                    boot=boot,
                    start_ns=begin,
                )
            )
        else:
            items.append(readings(patient, rng, boot=boot, start_ns=begin, period_s=period_s))
        for kind, stream_of in enumerate(items):
            faulty = np.random.default_rng([seed, number, 2, kind])
            packets = faults.packets(stream_of)
            streams.append(_with_faults(packets, faulty, rates, start_ns, f"{boot}r"))
    return faults.merge(streams)


def _with_faults(
    packets: Iterator[Packet],
    rng: np.random.Generator,
    rates: FaultRates,
    start_ns: int,
    next_boot: str,
) -> Iterator[Packet]:
    if rates.reboot_at_s:
        packets = faults.reboot(packets, start_ns + int(rates.reboot_at_s * S), next_boot)
    if rates.clock_step_s or rates.clock_drift_ppm:
        packets = faults.clock(packets, step_s=rates.clock_step_s, drift_ppm=rates.clock_drift_ppm)
    if rates.drop:
        packets = faults.drop(packets, rng, rates.drop)
    if rates.outage_to_s:
        packets = faults.outage(
            packets, start_ns + int(rates.outage_from_s * S), start_ns + int(rates.outage_to_s * S)
        )
    if rates.reorder:
        packets = faults.reorder(packets, rng, rates.reorder)
    if rates.duplicate:
        packets = faults.duplicate(packets, rng, rates.duplicate)
    return packets
