"""Small multiples of a shift, and delays."""

from datetime import UTC, datetime, timedelta

from dashboard.delays import KEPT, Delays
from dashboard.multiples import multiples

START = datetime(2026, 11, 24, 20, tzinfo=UTC)


def test_a_step_is_the_mean_of_what_came_in_it_and_gaps_are_left_out():
    rows = [{"at": START + timedelta(minutes=m), "hr": 70.0 + m, "spo2": None} for m in (0, 4, 25)]
    assert multiples(rows, START, timedelta(minutes=10)) == {"hr": [(0, 72.0), (2, 95.0)]}
    assert multiples([], START, timedelta(minutes=10)) == {}


def test_delays_keep_the_newest_of_each_hospital():
    delays = Delays()
    for ms in range(2 * KEPT):
        delays.add("kaihua/icu/bed-01", ms)
    delays.add("changshan/icu/bed-01", 7)
    found = delays.percentiles()
    assert found["kaihua"]["readings"] == KEPT
    assert found["kaihua"]["p50_ms"] == KEPT * 1.5
    assert found["changshan"] == {"p50_ms": 7.0, "p99_ms": 7.0, "readings": 1}
