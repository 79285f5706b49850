"""What admissions, transfers and discharges mean, in any order that they come in."""

import pytest

from care.admissions import Step, decide, reopened, without_last
from care.stays import Place
from schemas.errors import CareError

A, B = "h/icu/a", "h/icu/b"
HERE = [Place("s", A, 100)]
MOVED = [Place("s", A, 100, 200), Place("s", B, 200)]
LEFT = [Place("s", A, 100, 200)]


@pytest.mark.parametrize(
    ("event", "at", "bed", "mine", "step"),
    [
        ("A01", 100, A, [], Step.ADMIT),
        ("A01", 100, A, HERE, Step.CHANGE),
        ("A01", 150, B, HERE, Step.MOVE),
        ("A01", 50, B, HERE, Step.NOTHING),
        ("A01", 300, A, LEFT, Step.ADMIT),
        ("A01", 150, A, LEFT, Step.NOTHING),
        ("A04", 100, None, [], Step.NOTHING),
        ("A02", 150, B, HERE, Step.MOVE),
        ("A02", 150, A, MOVED, Step.NOTHING),
        ("A02", 150, B, [], Step.ADMIT),
        ("A03", 300, None, HERE, Step.DISCHARGE),
        ("A03", 300, None, LEFT, Step.NOTHING),
        ("A03", 300, None, [], Step.KEEP_DISCHARGE),
        ("A08", 300, A, HERE, Step.CHANGE),
        ("A08", 300, A, [], Step.NOTHING),
        ("A11", 300, None, HERE, Step.CANCEL_ADMIT),
        ("A12", 300, None, MOVED, Step.CANCEL_MOVE),
        ("A13", 300, None, LEFT, Step.CANCEL_DISCHARGE),
        ("A13", 300, None, HERE, Step.NOTHING),
    ],
)
def test_an_event_is_compared_with_where_the_patient_lies(event, at, bed, mine, step):
    assert decide(event, at, bed, mine).step is step


def test_an_admission_without_a_bed_is_refused():
    with pytest.raises(CareError, match="PV1-3"):
        decide("A01", 100, None, [])


def test_what_was_told_is_taken_back():
    assert without_last(MOVED) == HERE
    assert reopened(LEFT) == HERE
    with pytest.raises(CareError, match="no transfer"):
        without_last(HERE)
