"""Time in alarm is a bed's time, however many alerts it has at once."""

from datetime import UTC, datetime, timedelta

from hub.burden import in_alarm

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def row(bed, start, end):
    def at(minute):
        return NOON + timedelta(minutes=minute)

    return {"bed": bed, "fired_at": at(start), "ended_at": at(end)}


def test_overlaps_of_one_bed_count_once_and_beds_add_up():
    rows = [row("a", 0, 10), row("a", 5, 12), row("a", 20, 21), row("a", 6, 7), row("b", 0, 10)]
    assert in_alarm(rows) == timedelta(minutes=23)


def test_nothing_is_no_time():
    assert in_alarm([]) == timedelta()
