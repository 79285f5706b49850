"""What the figures of `vigil evaluate` mean, on records small enough to count by hand."""

import json

import numpy as np
import pytest
from rich.console import Console

from hub import evaluate, evaluation
from hub.evaluation import Label, Span
from schemas.errors import HubError, RecordingError
from simulators.recordings import Recording
from tests.support.readings import rules


def record(**columns):
    length = len(next(iter(columns.values())))
    values = np.array(list(columns.values()), dtype=float).T
    return Recording("r", tuple(columns), np.arange(length) * 3600.0, values)


def test_plain_limits_alert_at_each_crossing_and_end_when_back():
    spans = evaluation.naive_spans(record(bp_mean=[70, 55, 50, 70, 58, 70]), "four")
    assert [(s.rule, s.start_s / 3600, s.end_s / 3600) for s in spans] == [
        ("map", 1, 3),
        ("map", 4, 5),
    ]


def test_onset_is_announced_only_by_an_alert_that_fired_before_and_is_still_there():
    trouble = record(bp_mean=[70, 64, 63, 55, 70, 70, 55])
    gone = [Span("hr_high", 0, 3600)]
    there = [Span("map_low", 3600, 4 * 3600 - 1)]
    same_row = [Span("map_low", 3 * 3600, 9e9)]
    for spans, announced in ((gone, 0), (there, 1), (same_row, 1)):
        stay = evaluation.measure(trouble, spans)
        assert stay.onsets["map_below_60"] == 2
        assert stay.announced["map_below_60"] == announced
    assert evaluation.measure(trouble, gone).announced_same_organ["map_below_60"] == 0
    assert evaluation.measure(trouble, there).fresh["map_below_60"] == 1


def test_labelled_alarm_is_judged_in_its_last_twenty_seconds():
    beats = [80.0] * 295 + [30.0] * 6
    who = Recording("r", ("hr",), np.arange(301.0), np.array([beats]).T)
    label = Label("bradycardia", is_true=True, at_s=300)
    assert evaluation.judge_alarm(who, label, []) == (True, False)
    assert evaluation.judge_alarm(who, label, [Span("hr_extreme_low", 10, 279)])[1] is False
    assert evaluation.judge_alarm(who, label, [Span("hr_extreme_low", 10, 281)])[1] is True
    assert evaluation.judge_alarm(who, label, [Span("spo2_low", 290, 300)])[1] is False


def labelled(folder, labels="a1,Asystole,0\na2,Asystole,1\n"):
    """Two records: in one the ECG lies and the pulse goes on, in the other both stop."""
    rows = ["record,t_seconds,hr_bpm,pr_bpm"]
    for t in range(301):
        rows.append(f"a1,{t},{0 if t > 290 else 80},80")
        rows.append(
            f"a2,{t},{0 if t > 290 else 80},{max(1, 80 - 12 * (t - 290)) if t > 290 else 80}"
        )
    (folder / "waves.csv").write_text("\n".join(rows) + "\n")
    (folder / "alarms.csv").write_text("record,alarm_type,is_true\n" + labels)
    return folder / "waves.csv"


def test_evaluate_counts_true_and_false_alarms_and_writes_result_and_figure(tmp_path):
    path = labelled(tmp_path)
    assert evaluate.recordings_at(tmp_path) == [path]
    result = evaluate.evaluate(path, rules(), Console(quiet=True))
    row = result["alarms"]["asystole"]
    assert (row["naive_true_fired"], row["naive_false_fired"]) == (1, 1)
    assert (row["vigil_true_fired"], row["vigil_false_fired"]) == (1, 0)
    assert (row["missed_that_naive_fired"], row["false_ratio"]) == ([], 0.0)
    written = evaluate.write([result], tmp_path / "out")
    assert json.loads(written[0].read_text())["alarms"]["pooled"] == result["alarms"]["pooled"]
    assert written[1].read_bytes().startswith(b"\x89PNG")


def test_wrong_labels_are_named_by_file_and_line(tmp_path):
    path = labelled(tmp_path, "a1,Asystole,maybe\n")
    with pytest.raises(RecordingError, match=r"alarms\.csv line 2: is_true is 0 or 1"):
        evaluate.evaluate(path, rules(), Console(quiet=True))


def test_folder_without_recordings_is_said(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(HubError, match="no CSV with a column t_seconds"):
        evaluate.recordings_at(tmp_path)


def test_cinc_false_alarms_fall_and_no_true_one_is_lost(recordings):
    found = evaluate.evaluate(
        recordings / "cinc2015_1hz_derived.csv.gz", rules(), Console(quiet=True)
    )
    pooled = found["alarms"]["pooled"]
    assert pooled["false_ratio"] <= 0.6
    assert len(pooled["missed_that_naive_fired"]) <= 1


@pytest.mark.parametrize("name", ["eicu_demo_hourly.csv.gz", "mimic3_demo_hourly.csv.gz"])
def test_charted_burden_falls_and_as_many_onsets_are_announced(recordings, name):
    found = evaluate.evaluate(recordings / name, rules(), Console(quiet=True))
    assert found["beside_naive"]["usual"]["alerts_ratio"] <= 0.4
    ours, plain = (found["burden"][who]["onsets"] for who in ("vigil", "naive_usual"))
    for onset in evaluation.ONSETS:
        assert ours[onset]["announced_share"] >= plain[onset]["announced_share"]
