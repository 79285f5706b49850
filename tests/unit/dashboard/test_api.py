"""Pure parts of the routes: limits beside the numbers, columns of a trend."""

from datetime import UTC, datetime

from dashboard.api_alerts import limits
from dashboard.api_history import columns
from hub.packs import load_rules


def test_limits_are_those_of_medium_priority_by_vital():
    found = limits(load_rules(None).baseline.rules.values())
    assert found["hr"] == (45, 125)
    assert found["spo2"] == (90, None)
    assert "news2" not in found


def test_columns_leave_out_what_never_came():
    rows = [
        {"at": datetime.fromtimestamp(second, UTC), "hr": 70.26 + second, "rr": None}
        for second in (1, 2)
    ]
    assert columns(rows) == {"t": [1000, 2000], "hr": [71.3, 72.3]}
    assert columns([]) == {"t": []}
