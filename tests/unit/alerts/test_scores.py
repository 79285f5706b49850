import csv
from io import StringIO

import pytest

from alerts.scores import (
    Inputs,
    has_red,
    mews_subbe2001,
    news2,
    news2_risk,
    qsofa,
    sirs_bedside,
)
from hub.score import OUT, score_news2
from schemas.errors import HubError

WELL = {"rr": 16, "spo2": 97, "on_oxygen": False, "sbp": 120, "pulse": 70, "acvpu": 0, "temp": 37.0}


def part(name, **changes):
    return news2(Inputs(**(WELL | changes))).parts[name]


@pytest.mark.parametrize(
    ("name", "field", "points"),
    [
        ("rr", "rr", {8: 3, 9: 1, 11: 1, 12: 0, 20: 0, 21: 2, 24: 2, 25: 3}),
        ("spo2", "spo2", {91: 3, 92: 2, 93: 2, 94: 1, 95: 1, 96: 0, 100: 0}),
        ("sbp", "sbp", {90: 3, 91: 2, 100: 2, 101: 1, 110: 1, 111: 0, 219: 0, 220: 3}),
        (
            "pulse",
            "pulse",
            {40: 3, 41: 1, 50: 1, 51: 0, 90: 0, 91: 1, 110: 1, 111: 2, 130: 2, 131: 3},
        ),
        ("temp", "temp", {35.0: 3, 35.1: 1, 36.0: 1, 36.1: 0, 38.0: 0, 38.1: 1, 39.0: 1, 39.1: 2}),
        ("consciousness", "acvpu", {0: 0, 1: 3, 2: 3, 3: 3, 4: 3}),
        ("o2", "on_oxygen", {False: 0, True: 2}),
    ],
)
def test_news2_at_every_edge_of_the_chart(name, field, points):
    assert {value: part(name, **{field: value}) for value in points} == points


@pytest.mark.parametrize(
    ("oxygen", "points"),
    [
        (
            True,
            {83: 3, 84: 2, 85: 2, 86: 1, 87: 1, 88: 0, 92: 0, 93: 1, 94: 1, 95: 2, 96: 2, 97: 3},
        ),
        (False, {83: 3, 84: 2, 85: 2, 86: 1, 87: 1, 88: 0, 92: 0, 93: 0, 95: 0, 97: 0, 100: 0}),
        (None, {83: 3, 92: 0, 93: None, 97: None}),
    ],
)
def test_scale_2_depends_on_oxygen_from_93_on(oxygen, points):
    got = {v: part("spo2", spo2=v, on_oxygen=oxygen, spo2_scale=2) for v in points}
    assert got == points


def test_half_a_step_takes_the_more_abnormal_band():
    assert part("spo2", spo2=91.5) == 3
    assert part("spo2", spo2=91.6) == 2
    assert part("temp", temp=35.05) == 3
    assert part("pulse", pulse=90.5) == 1


def test_missing_is_not_evaluated_and_never_zero():
    for field in WELL:
        score = news2(Inputs(**(WELL | {field: None})))
        assert score.total is None
        assert news2_risk(score) == "not-evaluated"
        assert len(score.missing) == 1


@pytest.mark.parametrize(
    ("changes", "total", "risk"),
    [
        ({}, 0, "low"),
        ({"rr": 21}, 2, "low"),
        ({"rr": 8}, 3, "low-medium"),
        ({"rr": 8, "on_oxygen": True}, 5, "medium"),
        ({"rr": 25, "on_oxygen": True, "pulse": 111}, 7, "high"),
        (
            {
                "rr": 30,
                "spo2": 80,
                "on_oxygen": True,
                "sbp": 80,
                "pulse": 140,
                "acvpu": 4,
                "temp": 34,
            },
            20,
            "high",
        ),
    ],
)
def test_risk_bands(changes, total, risk):
    score = news2(Inputs(**(WELL | changes)))
    assert (score.total, news2_risk(score)) == (total, risk)


def test_news2_is_blocked_under_16_and_in_pregnancy():
    assert news2(Inputs(**WELL, age=15.9)).blocked == "age"
    assert news2(Inputs(**WELL, pregnant=True)).blocked == "pregnancy"
    assert news2(Inputs(**WELL, age=16)).total == 0


def test_oxygen_alone_is_never_the_red_parameter():
    assert not has_red(news2(Inputs(**(WELL | {"on_oxygen": True}))))


def test_other_scores_at_their_edges():
    assert [mews_subbe2001(Inputs(rr=v)).parts["rr"] for v in (8, 9, 14, 15, 20, 21, 29, 30)] == [
        2, 0, 0, 1, 1, 2, 2, 3,
    ]  # fmt: skip
    assert [qsofa(Inputs(rr=v)).parts["rr"] for v in (21, 22)] == [0, 1]
    assert [qsofa(Inputs(gcs=v)).parts["consciousness"] for v in (15, 14)] == [0, 1]
    assert [sirs_bedside(Inputs(temp=v)).parts["temp"] for v in (35.9, 36.0, 38.0, 38.1)] == [
        1, 0, 0, 1,
    ]  # fmt: skip
    assert qsofa(Inputs(rr=25, sbp=90)).total is None
    assert qsofa(Inputs(rr=25, sbp=90)).partial == 2


HEADER = "id,rr,spo2,spo2_scale,on_oxygen,sbp,pulse,acvpu,temp_c\n"


def scored(*lines):
    found = list(score_news2(StringIO(HEADER + "\n".join(lines)), "x.csv"))
    return [dict(zip(OUT, map(str, row), strict=True)) for row, _ in found], [
        problem for _, problems in found for problem in problems
    ]


def test_score_command_prints_the_columns_asked_for():
    assert ",".join(OUT) == (
        "id,s_rr,s_spo2,s_o2,s_sbp,s_pulse,s_consciousness,s_temp,total,single_param_3,risk"
    )
    rows, problems = scored(
        "a,18,95,2,0,120,80,A,37.0", "b,8,96,,0,120,80,a,37.0", "c,18,95,1,,,80,A,"
    )
    assert [(r["total"], r["single_param_3"], r["risk"]) for r in rows] == [
        ("0", "0", "low"),
        ("3", "1", "low-medium"),
        ("", "0", "not-evaluated"),
    ]
    assert not problems


def test_score_command_names_line_and_column_and_goes_on():
    rows, problems = scored(
        "a,x,95,1,0,120,80,A,37", "b,18,950,3,2,120,80,Z,37", "c,18,96,1,0,120,80,A,37"
    )
    assert [r["risk"] for r in rows] == ["not-evaluated", "not-evaluated", "low"]
    assert len(problems) == 5
    assert "line 2: rr 'x' is not a number" in problems[0]


def test_score_command_refuses_a_file_without_its_columns():
    with pytest.raises(HubError, match="spo2_scale"):
        list(score_news2(csv_without_scale(), "x.csv"))


def csv_without_scale():
    out = StringIO()
    csv.writer(out).writerow(["id", "rr", "spo2", "on_oxygen", "sbp", "pulse", "acvpu", "temp_c"])
    out.seek(0)
    return out
