"""Simulated waveforms belong to the vitals: what one counts from them is what they say."""

from itertools import islice

import numpy as np
import pytest

from schemas.times import S
from schemas.waves import NO_SAMPLE
from simulators.patients import chunks, course, make_patient
from simulators.signals import ARTERY_S

RATES = {"ecg-ii": 250, "abp": 125, "pleth": 125, "resp": 50}


def record(story, seconds, *, seed=3, line=True):
    """Return the waveforms of a story, and its readings."""
    rng = np.random.default_rng(seed)
    patient = make_patient("h/icu/b1", story, rng, arterial_line=line)
    both = list(islice(course(patient, np.random.default_rng(1), "b", 0, 1.0), seconds))
    waves = {}
    moments = [moment for _, moment in both]
    for chunk in chunks(patient, np.random.default_rng(2), moments, boot="b", start_ns=0):
        known = waves.setdefault(chunk.channel, [])
        at = sum(map(len, known)) * S // RATES[chunk.channel]
        assert chunk.measured_ns == pytest.approx(at, abs=2)
        known.append(np.where(chunk.samples == NO_SAMPLE, np.nan, chunk.samples * chunk.scale))
    return {name: np.concatenate(parts) for name, parts in waves.items()}, [r for r, _ in both]


def peaks(values, rate, height, apart_s=0.25):
    """Return when (s) ``values`` peak above ``height``."""
    found = []
    for i in range(1, len(values) - 1):
        if values[i] >= height and values[i] >= values[i - 1] and values[i] > values[i + 1]:
            if found and i - found[-1] < apart_s * rate:
                if values[i] > values[found[-1]]:
                    found[-1] = i
            else:
                found.append(i)
    return np.array(found) / rate


def test_the_ecg_beats_at_the_heart_rate():
    waves, readings = record("stable", 60)
    counted = len(peaks(waves["ecg-ii"], 250, 0.7))
    assert counted == pytest.approx(np.mean([r.values["hr"] for r in readings]), rel=0.04)


def test_the_pulse_follows_each_beat():
    waves, _ = record("stable", 30)
    beats = peaks(waves["ecg-ii"], 250, 0.7)
    pulses = peaks(waves["abp"], 125, np.median(waves["abp"]) + 15, apart_s=0.4)
    delays = [min(p - b for p in pulses if p > b) for b in beats[:-2]]
    assert all(ARTERY_S < delay < ARTERY_S + 0.2 for delay in delays)
    assert abs(len(pulses) - len(beats)) <= 1


def test_pressure_is_as_high_as_the_numbers_say_and_falls_with_the_story():
    waves, readings = record("haemorrhage", 150)
    for start in (0, 140):
        part = waves["abp"][start * 125 : (start + 10) * 125]
        reading = readings[start + 5].values
        assert np.percentile(part, 99) == pytest.approx(reading["abp_sys"], abs=6)
        assert np.percentile(part, 1) == pytest.approx(reading["abp_dia"], abs=6)


def test_breathing_goes_at_the_respiratory_rate():
    waves, readings = record("stable", 60)
    smooth = np.convolve(waves["resp"], np.ones(15) / 15, "same")
    breaths = len(peaks(smooth, 50, 0.7, apart_s=1.5))
    assert breaths == pytest.approx(np.mean([r.values["rr"] for r in readings]), abs=1.5)


def intervals(story, start, end):
    waves, _ = record(story, end)
    return np.diff(peaks(waves["ecg-ii"][start * 250 : end * 250], 250, 0.7, apart_s=0.2))


def test_atrial_fibrillation_is_irregular_and_sinus_rhythm_is_not():
    irregular, regular = intervals("af", 40, 100), intervals("stable", 40, 100)
    assert irregular.std() / irregular.mean() > 0.12
    assert regular.std() / regular.mean() < 0.06


def test_ectopic_beats_come_early_and_are_followed_by_a_pause():
    steps = intervals("ectopy", 20, 80)
    usual = np.median(steps)
    early = np.flatnonzero(steps < 0.75 * usual)
    assert len(early) >= 6
    assert all(steps[i + 1] > 1.2 * usual for i in early if i + 1 < len(steps))


def test_ventricular_tachycardia_is_fast_wide_and_regular():
    waves, _ = record("vt", 60)
    part = waves["ecg-ii"][35 * 250 : 55 * 250]
    steps = np.diff(peaks(part, 250, 0.7, apart_s=0.2))
    assert 60 / steps.mean() == pytest.approx(182, rel=0.05)
    assert (part > 0.6).mean() > 0.2  # wide: much of the time is spent high


def test_fibrillation_and_asystole_have_no_beats_and_no_pulse():
    waves, _ = record("vf", 130)
    fibrillating, still = waves["ecg-ii"][40 * 250 : 60 * 250], waves["ecg-ii"][110 * 250 :]
    assert 0.15 < fibrillating.std() < 0.6
    assert still.std() < 0.08
    for channel, part in (("abp", waves["abp"][60 * 125 : 90 * 125]),):
        assert np.ptp(part) < 8, channel


def test_a_lead_that_is_off_sends_no_samples_and_noise_looks_like_noise():
    waves, _ = record("loose-lead", 60)
    assert np.isnan(waves["ecg-ii"][30 * 250 : 50 * 250]).all()
    assert np.isnan(waves["resp"][30 * 50 : 50 * 50]).all()
    assert not np.isnan(waves["pleth"]).any()
    noisy, _ = record("ecg-noise", 60)
    quiet, _ = record("stable", 60)
    rough = [np.diff(w["ecg-ii"][30 * 250 : 50 * 250]).std() for w in (noisy, quiet)]
    assert rough[0] > 2 * rough[1]


def test_without_an_arterial_line_there_is_no_pressure_wave():
    assert "abp" not in record("stable", 3, line=False)[0]
