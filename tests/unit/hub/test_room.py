"""When the disk ends, and what is said before."""

import pytest

from hub.room import Point, hours_left, is_stuck, read_points, remember, warning

FINE = {"journal_mb": 1, "journal_max_mb": 100, "disk_free_mb": 900, "disk_mb": 1000}


def test_a_disk_that_does_not_fill_lasts_for_ever():
    assert hours_left([Point(0, 10), Point(7200, 10)]) is None
    assert hours_left([Point(0, 10), Point(7200, 11)]) is None
    assert hours_left([Point(0, 100), Point(600, 1)]) is None  # too short to tell


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"journal_mb": 51}, "journal 51%"),
        ({"disk_hours_left": 10}, "disk full in 10 h"),
        ({"disk_free_mb": 49}, "disk: 0.0 GB free"),
    ],
)
def test_what_runs_out_is_said_long_before(changed, said):
    assert warning(FINE | changed).startswith(said)
    assert bool(warning(FINE | changed)) == bool(said)


def test_points_are_kept_apart_and_a_broken_file_is_begun_anew(tmp_path):
    assert [p.at_s for p in remember(tmp_path, 1000)] == [1000]
    assert [p.at_s for p in remember(tmp_path, 1100)] == [1000]
    assert [p.at_s for p in remember(tmp_path, 1600)] == [1000, 1600]
    (tmp_path / "disk.json").write_text("{", "utf-8")
    assert read_points(tmp_path) == []
    assert [p.at_s for p in remember(tmp_path, 2000)] == [2000]


@pytest.mark.parametrize(
    ("was_full", "failed", "free", "stuck"),
    [
        (True, 2, 1 << 30, True),
        (False, 9, 1 << 30, False),
        (True, 1, 1 << 30, False),
        (True, 9, 1000, False),
    ],
)
def test_a_broker_that_refuses_although_there_is_room_again_is_stuck(was_full, failed, free, stuck):
    assert is_stuck(failed, free, was_full=was_full) is stuck
