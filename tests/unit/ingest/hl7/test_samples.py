"""Real messages of devices, each handled as the index beside them says."""

import pytest

from ingest.hl7.acknowledge import Verdict
from tests.conftest import SHARED
from tests.support.hl7 import read_all, reasons, values

FOLDER = SHARED / "hl7"


def sample(name):
    if not FOLDER.is_dir():
        pytest.skip("../shared/hl7 is not here: real device messages are used in place")
    (path,) = FOLDER.glob(f"{name}*")
    (one,) = read_all(path.read_bytes())
    return one


def test_mindray_egateway():
    one = sample("01")
    assert one.outcome.bed == "h/icu/5"
    assert one.outcome.device == "000F14049B507238"
    found = values(one)
    assert (found["hr"], found["pr"], found["spo2"], found["pi"]) == (66, 65, 98, 1.76)
    assert (found["rr"], found["rr_pleth"], found["pvc"]) == (17, 19, 1)
    assert len(found) == 13
    assert reasons(one) == []


def test_ge_b40():
    one = sample("02")
    assert values(one) == {"hr": 68, "etco2": 1, "fico2": 1, "pr": 67, "spo2": 97}
    artefact = {r.vital: r.quality for r in one.outcome.readings}
    assert artefact["etco2"] == "questionable"
    assert one.outcome.bed == "h/x/443ec"
    assert one.answer("n", 0).split(b"\r")[1].startswith(b"MSA|AA|")


def test_a_wrong_table_is_quarantined():
    one = sample("04")
    assert values(one) == {}
    assert reasons(one) == ["code_conflict"] * 3
    assert one.verdict is Verdict.ERROR


def test_sentinels():
    one = sample("05")
    assert values(one) == dict.fromkeys(("nibp_sys", "spo2", "hr", "temp"))
    assert one.outcome.bed is None
    assert one.answer("n", 0).split(b"\r")[1].startswith(b"MSA|CA|41")


def test_waveforms():
    assert [w.channel for w in sample("06").outcome.waves] == ["ecg-i"]
    (ecg,) = sample("08").outcome.waves
    assert (ecg.rate_hz, ecg.scale, ecg.unit) == (500, 0.001221, "mV")
    resp = sample("09")
    (wave,) = resp.outcome.waves
    assert (wave.channel, wave.rate_hz, len(wave.samples)) == ("resp", 500, 500)
    assert resp.outcome.notes


def test_alarms():
    (lead,) = sample("10").outcome.alarms
    assert (lead.alarm, lead.priority, lead.type) == ("lead_off", "low", "technical")
    (advice,) = sample("11").outcome.alarms
    assert (advice.phase, advice.priority) == ("update", "medium")
    assert "HYPERTENSION" in advice.text
    assert {a.alarm for a in sample("15").outcome.alarms} == {
        "spo2_high",
        "abp_sys_high",
        "cvp_high",
        "hr_low",
        "rr_low",
    }
    assert {a.alarm for a in sample("16").outcome.alarms} == {"spo2_sensor_off", "lead_off"}


def test_mindrays_own_numbers():
    one = sample("12")
    found = values(one)
    assert one.outcome.bed == "h/icu/bed5"
    assert (found["hr"], found["rr"], found["spo2"]) == (60, 20, 98)
    assert (found["temp"], found["temp_2"]) == (37.0, 37.2)
    assert [found[f"abp_{p}"] for p in ("sys", "mean", "dia")] == [120, 93, 80]
    assert [found[f"nibp_{p}"] for p in ("sys", "dia", "mean")] == [120, 80, 93]
    assert found["fap_mean"] == 93
    times = {r.vital: r.time_ns for r in one.outcome.readings}
    assert times["nibp_sys"] < times["hr"]
    periodic = values(sample("13"))
    assert (periodic["hr"], periodic["pvc"]) == (60, 0)
    assert [v for n, v in periodic.items() if n.startswith("st_")] == [None] * 7


def test_a_message_with_line_feeds_and_lost_delimiters():
    one = sample("20")
    assert values(one) == {"sphb": 12.3, "pvi": 0}
    assert one.outcome.bed == "h/or/bed01"
