"""When the wrong-bed guard asks, and when it must not."""

from care.guard import AFTER_MOVE_NS, SILENT_NS, Watched, medians, move, name_patient, see
from schemas.times import S

T0 = 1_800_000_000 * S
BED = "kaihua/icu/bed-03"


def watch(watched, values, seconds=400, device="m1", start=T0):
    """Feed a reading a second; return the questions."""
    asked = [see(BED, watched, device, start + t * S, values) for t in range(seconds)]
    return [q for q in asked if q is not None]


def test_another_device_in_place_of_a_silent_one_is_asked_about_once():
    watched = Watched(stay="s1")
    assert watch(watched, {"hr": 80.0}, 30) == []
    [question] = watch(watched, {"hr": 80.0}, 200, "m2", T0 + 40 * S)
    assert question.kind == "device"
    assert question.detail == {"was": "m1", "is": "m2"}
    assert question.at_ns > T0 + 29 * S + SILENT_NS


def test_two_devices_on_one_bed_are_no_swap():
    watched = Watched(stay="s1")
    asked = [
        see(BED, watched, device, T0 + t * S, {"hr": 80.0})
        for t in range(600)
        for device in ("monitor", "oximeter")
    ]
    assert asked == [None] * 1200


def test_nobody_is_asked_about_an_empty_bed_or_a_first_device():
    watched = Watched()
    assert watch(watched, {"hr": 80.0}, 30) == []
    assert watch(watched, {"hr": 80.0}, 30, "m2", T0 + 40 * S) == []


def test_a_patient_who_moved_keeps_their_vitals():
    old, new = Watched(stay="s1"), Watched()
    watch(old, {"hr": 80.0, "spo2": 97.0, "rr": 16.0})
    came_from = medians(old)
    assert came_from == {"hr": 80.0, "spo2": 97.0, "rr": 16.0}
    move(new, "s1", came_from, T0 + 500 * S)
    assert watch(new, {"hr": 84.0, "spo2": 96.0, "rr": 18.0}, 600, "m2", T0 + 500 * S) == []


def test_an_implausible_jump_after_a_move_is_asked_about_once():
    watched = Watched()
    move(watched, "s1", {"hr": 80.0, "rr": 16.0, "spo2": 97.0}, T0)
    [question] = watch(watched, {"hr": 130.0, "rr": 34.0, "spo2": 96.0}, 900)
    assert question.kind == "jump"
    assert question.detail == {"hr_was": 80.0, "hr_is": 130.0, "rr_was": 16.0, "rr_is": 34.0}


def test_one_vital_that_changes_is_no_jump_and_half_an_hour_later_nothing_is():
    watched = Watched()
    move(watched, "s1", {"hr": 80.0, "rr": 16.0}, T0)
    assert watch(watched, {"hr": 125.0, "rr": 18.0}, 900) == []
    move(watched, "s1", {"hr": 80.0, "rr": 16.0}, T0)
    late = T0 + AFTER_MOVE_NS + S
    assert watch(watched, {"hr": 180.0, "rr": 40.0}, 900, start=late) == []


def test_the_monitor_naming_another_patient_is_asked_about():
    watched = Watched(stay="s1")
    assert name_patient(BED, watched, "p1", T0) is None
    assert name_patient(BED, watched, "p1", T0) is None
    question = name_patient(BED, watched, "p2", T0)
    assert question is not None
    assert question.kind == "identity"
