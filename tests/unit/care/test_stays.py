from pathlib import PurePath

import pytest

from care import stays
from care.roles import check_ladder, parse_ladder
from care.stays import Place
from schemas.care import DEFAULT_LADDER, Rung
from schemas.errors import CareError
from schemas.times import S

NOW = 1_800_000_000 * S
A, B = "h/icu/b1", "h/icu/b2"


def hours(count):
    return NOW - count * 3600 * S


def ward():
    """s1 in b1 for 10 h, s2 in b2 for 8 h."""
    places = stays.admit([], "s1", A, hours(10), NOW)
    return stays.admit(places, "s2", B, hours(8), NOW)


def beds(places, at):
    return {p.stay: p.bed for p in places if p.holds(at)}


def test_move_swap_and_discharge_keep_one_patient_a_bed():
    places = stays.swap(ward(), "s1", "s2", hours(6), NOW)
    assert beds(places, hours(7)) == {"s1": A, "s2": B}
    assert beds(places, hours(5)) == {"s1": B, "s2": A}
    places = stays.discharge(places, "s2", hours(4), NOW)
    places = stays.move(places, "s1", A, hours(3), NOW)
    assert beds(places, hours(2)) == {"s1": A}
    assert places == stays.check(places, NOW)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda p: stays.admit(p, "s3", A, hours(1), NOW), "s1 and s3 would both lie there"),
        (lambda p: stays.admit(p, "s1", "h/icu/b3", hours(1), NOW), "at once from"),
        (lambda p: stays.move(p, "s1", B, hours(1), NOW), "would both lie there"),
        (lambda p: stays.move(p, "s1", A, hours(1), NOW), "lies in h/icu/b1 already"),
        (lambda p: stays.discharge(p, "s9", hours(1), NOW), "lies in no bed"),
        (lambda p: stays.admit(p, "s3", "b3", hours(1), NOW), "hospital/unit/bed"),
        (lambda p: stays.admit(p, "s3", "h/icu/unit", hours(1), NOW), "reserved"),
        (lambda p: stays.admit(p, "s3", "h/icu/b3", NOW + 48 * 3600 * S, NOW), "a day ahead"),
        (
            lambda p: stays.correct(p, "s1", hours(10), new_end_ns=hours(11), now_ns=NOW),
            "ends at .* not after it begins",
        ),
        (
            lambda p: stays.correct(p, "s1", hours(10), bed=B, now_ns=NOW),
            "would both lie there",
        ),
        (lambda p: stays.correct(p, "s1", hours(3), bed=B, now_ns=NOW), "has no interval"),
    ],
)
def test_what_cannot_be_is_refused_naming_it(change, names):
    places = ward()
    with pytest.raises(CareError, match=names):
        change(places)
    assert places == ward()


def test_what_was_entered_wrongly_can_be_corrected_afterwards():
    places = stays.correct(
        ward(), "s2", hours(8), bed="h/icu/b5", new_start_ns=hours(9), now_ns=NOW
    )
    assert beds(places, hours(8.5)) == {"s1": A, "s2": "h/icu/b5"}


def test_an_interval_that_never_was_leaves_nothing():
    assert stays.discharge([Place("s1", A, NOW)], "s1", NOW, NOW) == []


def test_ladder_reads_and_its_times_must_rise():
    text = b'[[step]]\nrole = "county-nurse"\nafter_s = { high = 0 }\n'
    assert parse_ladder(text, PurePath("l.toml")) == (Rung("county-nurse", {"high": 0}),)
    assert check_ladder(DEFAULT_LADDER, "x") == DEFAULT_LADDER
    for wrong, names in (
        ((Rung("cook", {"high": 0}),), "role 'cook'"),
        ((Rung("county-nurse", {"urgent": 0}),), "urgent"),
        ((Rung("county-nurse", {"high": 60}), Rung("charge-nurse", {"high": 30})), "not after"),
    ):
        with pytest.raises(CareError, match=names):
            check_ladder(wrong, "l.toml")
    with pytest.raises(CareError, match=r"l\.toml"):
        parse_ladder(b"[[step]]\nwho = 1", PurePath("l.toml"))
