from itertools import islice

import numpy as np
import pytest

from hub.replay import load
from schemas.codec import encode_numerics
from schemas.errors import RecordingError
from schemas.times import S
from simulators import faults
from simulators.patients import make_patient, readings
from simulators.recordings import read_csv, to_readings
from simulators.scenarios import SCENARIOS
from tests.support.readings import T0, pipeline


def play(scenario, seconds, seed=3, **patient):
    """Run a scenario through the real pipeline; return the events."""
    line = pipeline()
    who = make_patient(
        "h/icu/b1", scenario, np.random.default_rng(seed), arterial_line=True, **patient
    )
    stream = readings(who, np.random.default_rng(seed), boot="b1", start_ns=T0)
    events = []
    for item in islice(stream, seconds):
        received = item.measured_ns + 5_000_000
        topic = f"vigil/v1/{item.bed}/numerics"
        events += line.message(topic, encode_numerics(item), received).events
    return events


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "seconds"), [("hypoxia", 200), ("haemorrhage", 240), ("arrest", 180), ("sepsis", 2400)]
)
def test_scenario_fires_what_it_promises(name, seconds, seed):
    fired = {e.rule.split("/")[0] for e in play(name, seconds, seed) if e.kind == "fired"}
    assert SCENARIOS[name].expects <= fired


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["stable", "loose-lead"])
def test_nobody_is_woken_by_a_stable_patient_or_a_loose_lead(name, seed):
    events = play(name, 600, seed)
    assert {e.rule.split("/")[0] for e in events} <= {"lead_off", "sensor_off"}
    assert {e.priority for e in events} <= {"low"}
    assert (events == []) == (name == "stable")


@pytest.mark.parametrize("seed", range(4))
def test_a_saturation_lost_in_motion_is_technical_at_once_and_believed_after_15_s(seed):
    fired = [e for e in play("motion", 600, seed) if e.kind == "fired"]
    assert fired[0].rule == "spo2_weak/spo2"
    assert {e.rule for e in fired} <= {"spo2_weak/spo2", "spo2_extreme_low/spo2"}
    for extreme in fired[1:]:
        assert extreme.at_ns - extreme.onset_ns >= 15 * S


def test_same_seed_same_bytes():
    def run():
        who = make_patient("h/icu/b1", "sepsis", np.random.default_rng(5))
        stream = readings(who, np.random.default_rng(5), boot="b", start_ns=T0)
        return b"".join(encode_numerics(item) for item in islice(stream, 300))

    assert run() == run()


def packets(count):
    who = make_patient("h/icu/b1", "stable", np.random.default_rng(1))
    stream = readings(who, np.random.default_rng(1), boot="b1", start_ns=T0)
    return list(islice(faults.packets(stream), count))


def test_faults_do_what_they_say():
    rng = np.random.default_rng(1)
    whole = packets(400)
    assert 0 < len(list(faults.drop(whole, rng, 0.2))) < 400
    assert len(list(faults.duplicate(whole, rng, 0.2))) > 400
    mixed = list(faults.reorder(whole, rng, 0.2))
    assert sorted(mixed) != mixed or [p.item.seq for p in mixed] != list(range(400))
    assert sorted(p.item.seq for p in mixed) == list(range(400))
    burst = list(faults.outage(whole, T0 + 100 * S, T0 + 200 * S))
    assert sum(p.due_ns == T0 + 200 * S for p in burst) == 101
    again = list(faults.reboot(whole, T0 + 50 * S, "b2"))
    assert (again[50].item.boot, again[50].item.seq) == ("b2", 0)
    stepped = list(faults.clock(whole, step_s=-60, at_ns=T0 + 10 * S))
    assert stepped[20].item.measured_ns == T0 - 40 * S


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "t_seconds"),
        ("a,b\n1,2\n", "t_seconds"),
        ("t_seconds\n1\n", "no column of a vital"),
        ("t_seconds,hr_bpm,hr_bpm\n1,2,3\n", "twice"),
        ("t_seconds,hr_bpm\n", "no rows"),
        ("t_seconds,hr_bpm\n0,72\n1\n", "line 3"),
        ("t_seconds,hr_bpm\n0,72\n1,x\n", "line 3 column hr_bpm"),
        ("t_seconds,hr_bpm\n0,nan\n", "line 2 column hr_bpm"),
        ("t_seconds,hr_bpm\n,72\n", "line 2 column t_seconds"),
        ("t_seconds,note\n0,asleep\n", "--ignore note"),
        ("t_seconds,HR,hr_bpm\n0,1,2\n", "two columns name the vital hr"),
        ("t_seconds,hr_bpm\n0,1\x002\n", "line 2"),
    ],
)
def test_wrong_recording_is_refused_naming_line_and_column(text, names):
    with pytest.raises(RecordingError, match=names):
        read_csv(text.splitlines(keepends=True), "f.csv")


def test_recording_with_bom_crlf_and_an_unknown_column_is_read():
    found = read_csv(["\ufefft_seconds,hr_bpm,Lactate\r\n", "60,72,\r\n", "0,70,2.5\r\n"], "f.csv")
    record = found.records["f.csv"]
    rows = list(to_readings(record, "h/icu/b1", boot="b", start_ns=T0))
    assert [r.values for r in rows] == [{"hr": 70, "lactate": 2.5}, {"hr": 72}]
    assert [r.measured_ns for r in rows] == [T0, T0 + 60 * S]
    assert rows[0].interval_s == 60
    assert "sorted by t_seconds" in found.notes[0]
    assert "a row every 60 s" in found.notes[1]


@pytest.mark.parametrize(
    "name",
    [
        "cinc2015_1hz_derived.csv.gz",
        "eicu_demo_hourly.csv.gz",
        "mimic3_pap_1min.csv.gz",
        "mimic2_s00001_1min.csv",
    ],
)
def test_real_recordings_go_through_the_pipeline(recordings, name):
    found = load(recordings / name)
    line = pipeline()
    judged = 0
    for record in list(found.records.values())[:20]:
        rows = to_readings(record, "h/icu/b1", boot=record.name, start_ns=T0)
        for item in islice(rows, 500):
            moved = item.measured_ns
            outcome = line.message("vigil/v1/h/icu/b1/numerics", encode_numerics(item), moved)
            judged += outcome.reading is not None
    assert judged > 50
    assert line.state.rejects.total == 0


def test_mixed_line_ends_and_repeated_rows_are_read_and_said(tmp_path):
    file = tmp_path / "mixed.csv"
    file.write_bytes(b"\xef\xbb\xbft_seconds,hr_bpm\r\n0,70\n1,71\r2,72\r\n2,72\n3,73\n3,74\n")
    found = load(file)
    record = found.records["mixed.csv"]
    assert record.times.tolist() == [0, 1, 2, 3, 3]
    assert record.values[:, 0].tolist() == [70, 71, 72, 73, 74]
    assert any("1 rows stand twice" in note for note in found.notes)
    assert any("different values" in note for note in found.notes)


def test_a_file_too_large_to_read_is_refused_at_once(tmp_path):
    file = tmp_path / "huge.csv"
    with file.open("wb") as out:
        out.truncate(5_000_000_000)  # sparse: it takes no space
    with pytest.raises(RecordingError, match=r"5\.0 GB; at most 2 GB"):
        load(file)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x00cut", b"not gzip at all"])
def test_a_broken_gzip_is_refused(tmp_path, content):
    file = tmp_path / "broken.csv.gz"
    file.write_bytes(content)
    with pytest.raises(RecordingError, match=r"broken\.csv\.gz"):
        load(file)


def test_text_that_is_not_utf_8_and_a_folder_are_refused(tmp_path):
    file = tmp_path / "gbk.csv"
    file.write_bytes("t_seconds,心率\n0,70\n".encode("gb18030"))
    with pytest.raises(RecordingError, match="UTF-8"):
        load(file)
    with pytest.raises(RecordingError, match="directory"):
        load(tmp_path)
