"""What the engine does beside limits: doubt, extremes, muting, people, silence, monitors."""

import json

import msgspec
import pytest

from alerts import handling, signals
from alerts.why import explain
from ingest.pipeline import Limits, Pipeline, PipelineState
from ingest.rejects import drain
from schemas.alerts import EventKind, hospital_place, unit_place
from schemas.care import DEFAULT_LADDER, BedCare, CareConfig, PatientException, Presence, UnitCare
from schemas.codec import encode_json
from schemas.times import MS, S
from schemas.topics import Kind, config_topic, format_topic
from schemas.wire import CommandMessage, DeviceAlarmMessage, ObservationMessage, StatusMessage
from tests.support.readings import T0, feed, pipeline, reading, rules

BED = "h/icu/b1"


def told(events):
    return [(e.kind.value, e.rule.partition("/")[0]) for e in events]


def play(line, seconds, start=0, bed=BED, delay_s=0.0, **values):
    """Feed a reading a second; a callable value is asked for each second."""
    events = []
    for t in range(start, start + seconds):
        now = {k: v(t) if callable(v) else v for k, v in values.items()}
        events += feed(line, reading(t, bed=bed, delay_s=delay_s, **now)).events
    return events


def near(value):
    """A value that moves about as a patient's does: a constant one counts as frozen."""
    return lambda t: value + t % 3


def send(line, kind, message, at_s, bed=BED):
    return line.message(format_topic(bed, kind), encode_json(message), T0 + int(at_s * S)).events


def do(line, kind, at_s, bed=BED, by="nurse", **fields):
    if "for_s" in fields:
        fields["until_ns"] = T0 + int((at_s + fields.pop("for_s")) * S)
    message = CommandMessage(1, f"c{at_s}-{kind}", kind, by, T0, **fields)
    return send(line, Kind.COMMANDS, message, at_s, bed)


def refusals(line):
    return [kind.detail for kind in drain(line.state.rejects)]


def configure(line, at_s, ladder=(), **beds):
    found = {f"h/icu/{name}": care for name, care in beds.items()}
    config = CareConfig(1, T0, found, {"h/icu": UnitCare(ladder, {"county-nurse": ("li",)})})
    return line.message(config_topic("h", "care"), encode_json(config), T0 + int(at_s * S)).events


def present(line, at_s, **roles):
    named = {role.replace("_", "-"): count for role, count in roles.items()}
    body = encode_json(Presence(1, T0, {"h/icu": named}))
    return line.message(config_topic("h", "presence"), body, T0 + int(at_s * S)).events


# holds and extremes


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("spo2_extreme_low", {"spo2": 79}),
        ("map_extreme_low", {"abp_mean": 49}),
        ("apnoea", {"rr": 0}),
    ],
)
def test_extreme_fires_on_the_second_sample(rule, values):
    line = pipeline()
    assert play(line, 1, **values) == []
    [event] = [e for e in play(line, 1, start=1, **values) if e.rule.startswith(rule)]
    assert (event.kind, event.priority, event.extreme) == ("fired", "high", True)


def test_extreme_of_two_samples_too_far_apart_waits_for_a_third():
    line = pipeline()
    play(line, 1, spo2=79)
    assert told(play(line, 1, start=4, spo2=79)) == []
    assert told(play(line, 1, start=5, spo2=79)) == [("fired", "spo2_extreme_low")]


def test_device_that_sends_too_seldom_for_two_fires_on_one():
    line = pipeline()
    found = feed(line, reading(0, spo2=79, interval_s=60)).events
    assert told(found) == [("fired", "spo2_extreme_low")]


def test_hold_ends_between_two_samples_to_the_tenth_of_a_second():
    line = pipeline()
    for t in (0.3, 1.5, 2.4, 3.7, 4.9, 6.1, 7.0, 8.2, 9.5):
        assert feed(line, reading(t, seq=int(t * 10), hr=135)).events == []
    assert line.tick(T0 + int(10.2 * S)) == []
    [event] = line.tick(T0 + int(10.35 * S))
    assert (event.rule, event.at_ns) == ("hr_high/hr", T0 + 10_300 * MS)


def test_hold_does_not_end_by_itself_when_the_last_sample_is_old():
    line = pipeline()
    feed(line, reading(0, hr=135))
    assert line.tick(T0 + 20 * S) == []


# doubt


def test_weak_signal_is_technical_at_once_and_physiological_after_15_s():
    line = pipeline()
    events = play(line, 30, spo2=75, pi=0.1)
    assert told(events[:1]) == [("fired", "spo2_weak")]
    extreme = next(e for e in events if e.rule == "spo2_extreme_low/spo2")
    assert extreme.at_ns - extreme.onset_ns == 15 * S


def test_weak_signal_is_physiological_at_once_when_another_vital_agrees():
    line = pipeline()
    play(line, 15, rr=40)
    events = play(line, 3, start=15, rr=40, spo2=75, pi=0.1)
    assert [e.rule for e in events if not e.quiet][:2] == ["spo2_weak/spo2", "spo2_low/spo2"]
    assert "spo2_extreme_low/spo2" in [e.rule for e in events]


def test_value_that_a_device_calls_weak_counts_as_doubtful_not_as_nothing():
    line = pipeline()
    events = []
    for t in range(20):
        events += feed(line, reading(t, spo2=75, flags={"spo2": "weak"})).events
    assert ("fired", "spo2_extreme_low") in told(events)


def test_flat_ecg_with_a_steady_pulse_is_never_asystole():
    line = pipeline()
    play(line, 20, hr=80, pr=80)
    events = play(line, 60, start=20, hr=0, pr=lambda t: 79 + t % 3)
    assert told(events) == [("fired", "ecg_contradicted")]


def test_flat_ecg_with_a_failing_pulse_is_asystole():
    line = pipeline()
    play(line, 20, hr=80, pr=80)
    events = play(line, 10, start=20, hr=0, pr=lambda t: max(1, 80 - 12 * (t - 20)))
    assert ("fired", "asystole") in told(events)


def test_arterial_pressure_contradicts_a_flat_ecg_until_it_falls():
    line = pipeline()
    good = {"abp_sys": 120, "abp_dia": 70, "abp_mean": 87}
    play(line, 20, hr=80, **good)
    assert told(play(line, 10, start=20, hr=0, **good)) == [("fired", "ecg_contradicted")]
    falling = {"abp_sys": 80, "abp_dia": 50, "abp_mean": lambda t: 87 - 12 * (t - 29)}
    assert ("fired", "asystole") in told(play(line, 4, start=30, hr=0, **falling))


def test_flush_of_an_arterial_line_is_no_hypertension():
    line = pipeline()
    play(line, 5, abp_sys=120, abp_dia=70, abp_mean=87)
    events = play(line, 40, start=5, abp_sys=290, abp_dia=287, abp_mean=288)
    assert {rule for _, rule in told(events)} == {"abp_flush"}


def test_loose_lead_is_low_and_technical():
    line = pipeline()
    play(line, 5, hr=80)
    events = []
    for t in range(5, 90):
        item = reading(t, flags={"hr": "missing"})
        events += feed(line, item).events
    assert [(e.rule, e.priority, e.technical) for e in events] == [("lead_off/hr", "low", True)]


def test_value_beyond_any_patient_is_said_and_is_no_alarm():
    line = pipeline()
    play(line, 5, spo2=97)
    events = play(line, 60, start=5, spo2=4)
    assert [(e.rule, e.priority) for e in events] == [("implausible/spo2", "low")]


# muting


def test_the_worse_alert_mutes_the_milder_and_its_end_gives_it_back():
    line = pipeline()
    events = play(line, 30, spo2=85) + play(line, 20, start=30, spo2=75)
    events += play(line, 20, start=50, spo2=87)
    assert [pair for pair in told(events) if pair[1] == "spo2_low"] == [
        ("fired", "spo2_low"),
        ("muted", "spo2_low"),
        ("unmuted", "spo2_low"),
    ]
    muted = next(e for e in events if e.kind is EventKind.MUTED)
    assert (muted.muted_by, muted.is_open) == ("spo2_extreme_low/spo2", True)


def test_what_is_recovering_is_not_given_back_to_people():
    line = pipeline()
    events = play(line, 30, spo2=85) + play(line, 20, start=30, spo2=75)
    events += play(line, 40, start=50, spo2=97)
    assert "unmuted" not in [kind for kind, _ in told(events)]


def test_every_alert_that_fires_stands_in_the_ledger_though_muted():
    line = pipeline()
    fired = [e for e in play(line, 60, hr=10, spo2=70, rr=50) if e.kind is EventKind.FIRED]
    assert len({e.alert for e in fired}) == len(fired)
    assert {e.rule for e in fired if e.muted_by} >= {"hr_extreme_low/hr", "hr_low/hr"}
    assert all(e.reason for e in fired if e.muted_by)


# people


def test_shelf_needs_a_reason_and_an_end_and_comes_back():
    line = pipeline()
    play(line, 20, hr=135)
    assert do(line, "shelve", 20, rule="hr_high", for_s=60) == []
    assert do(line, "shelve", 21, rule="hr_high", reason="sinus") == []
    assert do(line, "shelve", 22, rule="hr_high", reason="x", for_s=10**6) == []
    assert [("reason" in d or "until" in d) for d in refusals(line)] == [True]
    [shelved] = do(line, "shelve", 23, rule="hr_high", reason="known sinus", for_s=60)
    assert (shelved.kind, shelved.by, shelved.reason) == ("shelved", "nurse", "nurse: known sinus")
    assert shelved.shelved_until_ns == T0 + 83 * S
    events = play(line, 80, start=24, hr=135)
    assert [(e.kind, e.at_ns) for e in events] == [("unshelved", T0 + 83 * S)]


def test_extremes_are_never_shelved_nor_paused():
    line = pipeline()
    play(line, 1, hr=80)
    do(line, "shelve", 0, rule="spo2_extreme_low", reason="x", for_s=60)
    assert "never shelved" in refusals(line)[0]
    do(line, "alarm_pause", 1, reason="care", for_s=120)
    events = play(line, 30, start=2, spo2=75, hr=135)
    quiet = {e.rule: e.muted_by for e in events if e.kind is EventKind.FIRED}
    assert quiet["spo2_extreme_low/spo2"] == ""
    assert quiet["hr_high/hr"] == "alarm_paused"


def test_pause_is_itself_shown_and_ends_by_its_time():
    line = pipeline()
    play(line, 1, hr=80)
    [shown] = do(line, "alarm_pause", 0, reason="suction", for_s=60)
    assert (shown.rule, shown.priority, shown.technical) == ("alarm_paused", "low", True)
    play(line, 30, hr=135)
    events = play(line, 40, start=30, hr=135)
    assert told(events) == [("resolved", "alarm_paused"), ("unmuted", "hr_high")]


def test_asystole_latches_until_somebody_acknowledges():
    line = pipeline()
    play(line, 5, hr=80)
    play(line, 5, start=5, hr=0)
    events = play(line, 20, start=10, hr=80)
    latched = next(e for e in events if e.kind is EventKind.LATCHED)
    assert latched.is_open
    again = play(line, 2, start=30, hr=0)
    assert ("recurred", "asystole") in told(again)
    play(line, 20, start=32, hr=80)
    done = do(line, "acknowledge", 60, alert=latched.alert)
    assert told(done) == [("acknowledged", "asystole"), ("resolved", "asystole")]


@pytest.mark.parametrize(
    ("kind", "fields", "names"),
    [
        ("acknowledge", {"alert": "nonsense"}, "not open on this bed"),
        ("acknowledge", {}, "name the alert"),
        ("decline", {"alert": "nonsense"}, "not open on this bed"),
        ("shelve", {"rule": "nonsense", "reason": "x", "for_s": 60}, "no such rule"),
        ("unshelve", {"rule": "hr_high"}, "is not shelved"),
        ("audio_resume", {}, "is not on"),
        ("audio_pause", {"reason": "x", "for_s": 3600}, "within 120 s"),
    ],
)
def test_command_that_cannot_be_is_refused_saying_why(kind, fields, names):
    line = pipeline()
    play(line, 3, hr=80)
    assert do(line, kind, 5, **fields) == []
    assert names in refusals(line)[0]


# the ladder


def test_ladder_climbs_by_time_and_stops_with_an_acknowledgement():
    line = pipeline()
    configure(line, 0, DEFAULT_LADDER)
    line.engine.state.listening_ns = T0
    roles = {"county_nurse": 1, "charge_nurse": 1, "county_physician": 1, "remote_intensivist": 1}
    present(line, 1, **roles)
    fired = next(e for e in play(line, 5, start=1, spo2=75) if e.kind is EventKind.FIRED)
    assert (fired.role, fired.step) == ("county-nurse", 0)
    events = []
    for t in range(6, 150):
        events += play(line, 1, start=t, spo2=75)
        if t % 10 == 0:
            events += present(line, t, **roles)
    climbed = [(e.role, (e.at_ns - fired.at_ns) // S) for e in events if e.kind == "escalated"]
    assert climbed == [("charge-nurse", 60), ("county-physician", 120)]
    do(line, "acknowledge", 150, alert=fired.alert)
    after = play(line, 60, start=151, spo2=75)
    assert [e for e in after if e.rule.startswith("spo2")] == []


def test_cannot_take_it_goes_to_the_next_step_at_once():
    line = pipeline()
    configure(line, 0, DEFAULT_LADDER)
    present(line, 0, county_nurse=1, charge_nurse=1)
    [fired] = [e for e in play(line, 5, spo2=75) if e.kind is EventKind.FIRED]
    [event] = do(line, "decline", 6, alert=fired.alert)
    assert (event.kind, event.role, event.reason, event.by) == (
        "escalated", "charge-nurse", "declined", "nurse",
    )  # fmt: skip


def test_step_without_a_receiver_is_skipped_at_once_and_the_unit_says_so():
    line = pipeline()
    configure(line, 0, DEFAULT_LADDER)
    present(line, 0, remote_intensivist=1)
    events = play(line, 3, spo2=75)
    assert [(e.kind, e.role, e.reason) for e in events] == [
        ("fired", "county-nurse", "no_receiver"),
        ("escalated", "charge-nurse", "no_receiver"),
        ("escalated", "county-physician", "no_receiver"),
        ("escalated", "remote-intensivist", ""),
    ]
    alone = [e for e in line.tick(T0 + 31 * S) if e.rule == "no_receiver"]
    assert alone[0].bed == unit_place("h", "icu")
    back = present(line, 32, county_nurse=1)
    assert ("resolved", "no_receiver") in told(back)


def test_silent_bed_climbs_like_a_patient():
    line = pipeline()
    configure(line, 0, DEFAULT_LADDER)
    present(line, 0, county_nurse=1, charge_nurse=1)
    play(line, 1, hr=80)
    events = line.tick(T0 + 29 * S)
    present(line, 29, county_nurse=1, charge_nurse=1)
    events += line.tick(T0 + 31 * S)
    assert [(e.rule, e.role) for e in events] == [("no_data", "county-nurse")]


# silence together


def test_hospital_that_falls_silent_is_one_alert_and_none_is_dropped():
    line = pipeline()
    for t in range(3):
        for bed in range(40):
            feed(line, reading(t, bed=f"h/icu/b{bed}", hr=80))
    events = line.tick(T0 + 40 * S)
    fired = [e for e in events if e.kind is EventKind.FIRED]
    assert sum(e.rule == "no_data" for e in fired) == 40
    [whole] = [e for e in fired if e.rule == "hospital_silent"]
    assert (whole.bed, whole.priority) == (hospital_place("h"), "high")
    loud = [e for e in line.engine.open_alerts() if not e.quiet]
    assert [e.rule for e in loud] == ["hospital_silent"]
    back = [
        e for bed in range(40) for e in feed(line, reading(50, bed=f"h/icu/b{bed}", hr=80)).events
    ]
    assert ("resolved", "hospital_silent") in told(back)
    assert list(line.engine.open_alerts()) == []


def test_device_that_falls_silent_beside_another_is_told_and_can_be_taken_away():
    line = pipeline()
    for t in range(200):
        feed(line, reading(t, hr=80))
        if t < 20:
            feed(line, reading(t + 0.5, seq=t, device="vent", etco2=38))
    events = [e for e in line.engine.open_alerts() if e.rule == "device_silent/vent"]
    assert events[0].priority == "low"
    do(line, "acknowledge", 201, alert=events[0].alert)
    assert told(play(line, 300, start=202, hr=80)) == []


# care


def test_empty_bed_never_alarms():
    line = pipeline()
    play(line, 20, spo2=70)
    ended = configure(line, 21, b1=BedCare("empty"))
    assert {e.kind for e in ended} == {"resolved"}
    assert play(line, 60, start=22, spo2=70) == []
    assert line.tick(T0 + 500 * S) == []


def test_standby_mutes_all_but_extremes_and_its_end_is_loud():
    line = pipeline()
    play(line, 3, hr=80)
    configure(line, 3, b1=BedCare("standby", "s1", T0 + 600 * S, "CT"))
    events = play(line, 30, start=4, hr=135, spo2=75)
    quiet = {e.rule: e.muted_by for e in events if e.kind is EventKind.FIRED}
    assert (quiet["hr_high/hr"], quiet["spo2_extreme_low/spo2"]) == ("standby", "")
    assert line.tick(T0 + 599 * S) == []
    assert "standby_overdue" in [e.rule for e in line.tick(T0 + 601 * S)]


def test_another_patient_inherits_nothing():
    line = pipeline()
    configure(line, 0, b1=BedCare(stay="s1"))
    play(line, 20, hr=135)
    [ended] = configure(line, 21, b1=BedCare(stay="s2"))
    assert (ended.kind, ended.reason) == ("resolved", "other_patient")
    assert line.engine.state.beds[BED].trends == {}


def test_exception_for_a_patient_holds_until_its_end():
    line = pipeline()
    exception = PatientException("spo2_low", "li", "COPD", T0 + 60 * S, below=85)
    configure(line, 0, b1=BedCare(stay="s1", exceptions=(exception,)))
    assert play(line, 60, spo2=87) == []
    [fired] = play(line, 30, start=60, spo2=87)
    assert (fired.rule, fired.limit, fired.overlay) == ("spo2_low/spo2", 90, "")


def test_observation_counts_at_once_expires_and_is_checked():
    line = pipeline()
    values = {"rr": 22, "spo2": 93, "abp_sys": 105, "hr": 112, "temp": 38.4}
    play(line, 5, **values)
    engine = line.engine

    def enter(at_s, observed, dated_s=None):
        at = (T0 + int((at_s if dated_s is None else dated_s) * S)) // MS
        message = ObservationMessage(1, f"o{at_s}", "nurse", at, observed)
        return send(line, Kind.OBSERVATIONS, message, at_s)

    enter(5, {"acvpu": "A", "on_oxygen": True})
    assert "news2_high" in engine.state.beds[BED].live
    fired = [e for e in play(line, 90, start=6, **values) if e.kind is EventKind.FIRED]
    news2 = next(e for e in fired if e.rule == "news2_high")
    assert (news2.value, news2.values) == (10, {"news2": 10})
    enter(100, {"acvpu": "X"})
    enter(101, {"gcs": 16})
    enter(102, {"acvpu": "A"}, dated_s=900)
    assert len(refusals(line)) == 1
    assert line.state.rejects.total == 3


def test_pregnancy_blocks_news2_and_age_too():
    for care in (BedCare(pregnant=True), BedCare(age=12)):
        line = pipeline()
        configure(line, 0, b1=care)
        play(line, 5, rr=30, spo2=88, abp_sys=80, hr=140, temp=39.5)
        message = ObservationMessage(1, "o1", "n", T0 // MS, {"acvpu": "U", "on_oxygen": True})
        send(line, Kind.OBSERVATIONS, message, 5)
        assert "news2_high" not in line.engine.state.beds[BED].live


def test_observation_that_has_expired_is_not_used():
    line = pipeline()
    values = {"rr": 25, "spo2": 91, "abp_sys": 95, "hr": 112, "temp": 38.4}
    message = ObservationMessage(1, "o1", "n", T0 // MS, {"acvpu": "A", "on_oxygen": True})
    play(line, 2, **values)
    send(line, Kind.OBSERVATIONS, message, 2)
    assert ("fired", "news2_high") in told(play(line, 80, start=3, **values))
    found = explain(line.engine, BED, line.state.vitals[BED], T0 + 7 * 3600 * S, "news2_high")
    assert found["observations"]["acvpu"]["expired"]
    assert "consciousness" in found["scores"]["news2"]["missing"]


# trends and combinations


def test_fall_against_the_patients_own_baseline_is_told_and_not_before_it_is_known():
    line = pipeline()
    assert told(play(line, 600, hr=near(80), abp_mean=near(110))) == []
    early = play(line, 300, start=600, hr=near(80), abp_mean=near(70))
    assert "map_falling" not in [rule for _, rule in told(early)]
    line = pipeline()
    play(line, 2400, hr=near(80), abp_mean=near(110))
    events = play(line, 600, start=2400, hr=near(80), abp_mean=near(70))
    [event] = [e for e in events if e.rule == "map_falling"]
    assert event.values["map_trend"] < -30
    assert "较自身基线下降" in event.zh


def test_heart_rate_rising_while_pressure_falls_fires_before_any_limit():
    line = pipeline()
    play(line, 2400, hr=near(75), abp_sys=near(130), abp_mean=near(95))
    events = play(line, 900, start=2400, hr=near(102), abp_sys=near(96), abp_mean=near(72))
    rules = [e.rule for e in events if not e.quiet]
    assert rules[0] == "circulation_failing"


def test_shock_index_above_one_for_five_minutes():
    line = pipeline()
    events = play(line, 420, hr=near(115), abp_sys=near(95), abp_mean=near(70))
    [event] = [e for e in events if e.rule == "shock_index_high"]
    assert 300 <= (event.at_ns - event.onset_ns) // S <= 316
    assert event.values["shock_index"] == pytest.approx(115 / 95, rel=0.05)


def test_low_saturation_with_fast_breathing_needs_both():
    line = pipeline()
    assert "respiratory_distress" not in [r for _, r in told(play(line, 120, spo2=91, rr=20))]
    events = play(line, 120, start=120, spo2=91, rr=29)
    assert ("fired", "respiratory_distress") in told(events)


# the monitor's own


def alarm(line, at_s, name, phase="start", priority="medium", **more):
    at = (T0 + int(at_s * S)) // MS
    message = DeviceAlarmMessage(1, "m1", f"{name}-1", name, phase, priority, at, **more)
    return send(line, Kind.DEVICE_ALARMS, message, at_s)


def test_monitors_asystole_passes_at_once_and_is_high():
    line = pipeline()
    play(line, 1, hr=80)
    do(line, "alarm_pause", 0, reason="x", for_s=120)
    [event] = alarm(line, 1, "asystole", priority="low", zh="心脏停搏")
    assert (event.rule, event.priority, event.extreme, event.muted_by) == (
        "monitor/asystole", "high", True, "",
    )  # fmt: skip
    assert "心脏停搏" in event.zh
    assert told(alarm(line, 9, "asystole", "end")) == [("resolved", "monitor")]


def test_monitors_alarm_that_says_what_ours_says_is_merged_and_red_is_not():
    line = pipeline()
    play(line, 20, spo2=85)
    [merged] = alarm(line, 20, "spo2_low")
    assert merged.muted_by == "spo2_low/spo2"
    [raised, *_] = alarm(line, 21, "spo2_low", "update", "high")
    assert (raised.kind, raised.priority) == ("raised", "high")
    assert [e.muted_by for e in line.engine.open_alerts() if e.rule == "monitor/spo2_low"] == [""]


# restart


def test_rules_that_are_no_more_end_their_alerts():
    from tests.unit.alerts.test_rules import change, overlay, with_overlays

    line = pipeline()
    play(line, 90, abp_sys=190, hr=80)
    events = line.engine.set_rules(
        with_overlays(overlay(change("sbp_high", off="true"))), T0 + 90 * S
    )
    assert [(e.rule, e.reason) for e in events] == [("sbp_high/abp_sys", "rule_gone")]


def test_clock_that_jumps_an_hour_does_not_lose_the_scores_nor_the_holds():
    line = pipeline()
    play(line, 30, hr=80)
    jumped = []
    for t in range(30, 60):
        body = {
            "v": 1, "device": "m1", "boot": "b1", "seq": t, "vitals": {"hr": 135},
            "measured_at": (T0 + (t + 3600) * S) // MS,
        }  # fmt: skip
        done = line.message(format_topic(BED, Kind.NUMERICS), json.dumps(body).encode(), T0 + t * S)
        jumped += done.events
    assert ("fired", "hr_high") in told(jumped)
    back = play(line, 30, start=60, hr=80)
    assert ("resolved", "hr_high") in told(back)
    assert line.engine.state.beds[BED].derive_ns < T0 + 200 * S


def test_command_kinds_are_what_the_wire_says():
    assert set(handling.PAUSES) == {"audio_paused", "alarm_paused"}


# what a review found, so that it stays mended


def test_ladder_taken_away_while_an_alert_climbs_stops_the_climb():
    line = pipeline()
    configure(line, 0, DEFAULT_LADDER)
    present(line, 1, county_nurse=1)
    play(line, 5, start=1, spo2=70)
    configure(line, 6)
    assert "escalated" not in [kind for kind, _ in told(line.tick(T0 + 300 * S))]
    assert line.engine.stuck == 0


def test_ladder_set_while_an_alert_is_open_climbs_from_then_on():
    line = pipeline()
    play(line, 5, spo2=70)
    events = configure(line, 6, DEFAULT_LADDER)
    assert "county-nurse" in [e.role for e in events]
    assert "fired" not in [e.kind for e in events if e.rule.startswith("spo2")]


@pytest.mark.parametrize(
    "body",
    [
        {"units": {"h/a/b": {"ladder": []}}},
        {"units": {"h/icu": {"ladder": [{"role": "x", "after_s": {"high": 1e308}}]}}},
        {"beds": {BED: {"state": "standby", "until_ns": -5}}},
        {"beds": {BED: {"state": "standby", "until_ns": 2**80}}},
        {"beds": {"x": {}}},
        {"beds": {BED: {"spo2_scale": 7}}},
    ],
)
def test_hostile_care_is_refused_and_changes_nothing(body):
    line = pipeline()
    play(line, 2, hr=80)
    before = dict(line.engine.state.care)
    payload = json.dumps({"v": 1, "at_ns": T0, **body}).encode()
    line.message(config_topic("h", "care"), payload, T0 + 3 * S)
    assert line.state.rejects.total == 1
    assert line.engine.state.care == before
    line.tick(T0 + 100 * S)


def test_a_flood_of_the_monitors_alarms_never_hides_a_red_one():
    line = pipeline()
    for number in range(80):
        alarm(line, number / 100, f"x{number}", priority="low")
    assert line.state.rejects.total == 30
    assert told(alarm(line, 1, "vf", priority="low")) == [("fired", "monitor")]
    assert told(alarm(line, 2, "st_elevation", priority="high")) == [("fired", "monitor")]


def test_any_red_alarm_of_the_monitor_passes_pause_and_standby():
    line = pipeline()
    play(line, 1, hr=80)
    configure(line, 1, b1=BedCare("standby", "s1", T0 + 600 * S, "CT"))
    do(line, "alarm_pause", 2, reason="x", for_s=60)
    [event] = alarm(line, 3, "st_elevation", priority="high")
    assert event.muted_by == ""


def test_end_of_one_devices_alarm_does_not_end_anothers():
    line = pipeline()
    alarm(line, 0, "apnoea")
    at = (T0 + 5 * S) // MS
    other = DeviceAlarmMessage(1, "vent2", "apnoea-9", "apnoea", "end", "high", at)
    assert send(line, Kind.DEVICE_ALARMS, other, 5) == []
    assert told(alarm(line, 6, "apnoea", "end")) == [("resolved", "monitor")]


def test_device_that_sends_seldom_and_does_not_say_so_still_has_extremes():
    line = pipeline()
    events = [e for i in range(6) for e in feed(line, reading(4 * i, seq=i, spo2=70)).events]
    assert ("fired", "spo2_extreme_low") in told(events)


def test_expired_exception_stays_expired_after_a_restart():
    line = pipeline()
    exception = PatientException("spo2_low", "li", "x", T0 + 60 * S, below=80)
    configure(line, 0, b1=BedCare(stay="s1", exceptions=(exception,)))
    play(line, 62, spo2=95)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(line.state), type=PipelineState)
    again = Pipeline(state, rules(), {}, Limits())
    assert ("fired", "spo2_low") in told(play(again, 30, start=62, spo2=87))


def test_exception_may_not_switch_off_an_extreme():
    line = pipeline()
    exception = PatientException("spo2_extreme_low", "li", "x", T0 + 600 * S, off=True)
    configure(line, 0, b1=BedCare(stay="s1", exceptions=(exception,)))
    assert ("fired", "spo2_extreme_low") in told(play(line, 5, spo2=70))


def test_exception_that_switches_a_firing_rule_off_ends_its_alert():
    line = pipeline()
    configure(line, 0, b1=BedCare(stay="s1"))
    play(line, 20, hr=135)
    exception = PatientException("hr_high", "li", "sinus", T0 + 600 * S, off=True)
    [ended] = configure(line, 21, b1=BedCare(stay="s1", exceptions=(exception,)))
    assert (ended.kind, ended.reason) == ("resolved", "rule_gone")


def test_alert_that_is_over_and_latched_mutes_nothing():
    line = pipeline()
    play(line, 30, hr=10)
    play(line, 60, start=30, hr=42)
    quiet = {e.rule: e.muted_by for e in line.engine.open_alerts()}
    assert quiet["asystole/hr"] == ""
    assert quiet["hr_extreme_low/hr"] == ""


def test_what_a_person_put_aside_mutes_nothing_else():
    line = pipeline()
    play(line, 1, hr=80)
    do(line, "shelve", 1, rule="hr_extreme_low", reason="athlete", for_s=3600)
    play(line, 40, start=2, hr=38)
    quiet = {e.rule: e.muted_by for e in line.engine.open_alerts()}
    assert quiet == {"hr_extreme_low/hr": "shelf", "hr_low/hr": ""}


def test_silence_of_a_hospital_climbs_its_units_ladder():
    line = pipeline()
    configure(line, 0, DEFAULT_LADDER)
    present(line, 0, county_nurse=1, charge_nurse=1)
    for bed in range(4):
        feed(line, reading(0, bed=f"h/icu/b{bed}", hr=80))
    present(line, 25, county_nurse=1, charge_nurse=1)
    events = line.tick(T0 + 31 * S)
    [whole] = [e for e in events if e.rule == "hospital_silent"]
    assert whole.role == "county-nurse"


def test_silence_after_silence_is_another_alert():
    line = pipeline()
    play(line, 2, hr=80)
    [first] = line.tick(T0 + 40 * S)
    configure(line, 50, b1=BedCare("standby", "s1", T0 + 60 * S, "CT"))
    events = line.tick(T0 + 200 * S)
    [second] = [e for e in events if e.rule == "no_data"]
    assert second.event != first.event


def test_cuff_heard_first_does_not_delay_the_silence_of_a_monitor():
    line = pipeline()
    feed(line, reading(0, device="cuff", interval_s=1800, nibp_sys=120))
    play(line, 20, start=1, hr=80)
    assert "no_data" in [e.rule for e in line.tick(T0 + 60 * S)]


def test_our_own_clock_set_forth_and_back_stops_nothing():
    line = pipeline()
    for t in range(10):
        feed(line, reading(3600 + t, seq=t, hr=80))
    events = play(line, 60, start=20, hr=135, spo2=70)
    assert {"spo2_extreme_low", "hr_high"} <= {rule for _, rule in told(events)}
    assert "no_data" in [e.rule for e in line.tick(T0 + 120 * S)]


def test_vital_that_is_no_longer_sent_ends_its_alert():
    line = pipeline()
    play(line, 30, spo2=85, hr=near(80))
    events = play(line, 200, start=30, hr=near(80))
    assert ("resolved", "spo2_low") in told(events)


@pytest.mark.parametrize(
    ("vital", "value", "every_s"), [("temp", 39.5, 300), ("nibp_mean", 55, 1800)]
)
def test_vital_that_is_measured_seldom_keeps_its_alert_between_two_measurements(
    vital, value, every_s
):
    line = pipeline()
    events = []
    for t in range(4 * every_s + 10):
        seldom = {vital: value} if t % every_s == 0 else {}
        events += feed(line, reading(t, hr=80 + t % 3, **seldom)).events
    assert [e.kind for e in events if e.rule.endswith(f"/{vital}")] == ["fired"]


def test_questionable_device_can_recover():
    line = pipeline()
    events = []
    for t in range(90):
        spo2 = 75 if t < 30 else 97
        events += feed(line, reading(t, spo2=spo2, flags={"spo2": "questionable"})).events
    assert ("resolved", "spo2_extreme_low") in told(events)


def test_score_whose_inputs_have_expired_does_not_stay_for_ever():
    line = pipeline()
    values = {"rr": 25, "spo2": 91, "abp_sys": near(95), "hr": near(112), "temp": 38.4}
    message = ObservationMessage(1, "o1", "n", T0 // MS, {"acvpu": "A", "on_oxygen": True})
    play(line, 2, **values)
    send(line, Kind.OBSERVATIONS, message, 2)
    assert ("fired", "news2_high") in told(play(line, 80, start=3, **values))
    later = [
        e
        for t in range(100, 15 * 3600, 20)
        for e in feed(line, reading(t, seq=t, interval_s=20, hr=80 + t % 3)).events
    ]
    assert ("resolved", "news2_high") in told(later)


def test_another_patients_values_do_not_count():
    line = pipeline()
    configure(line, 0, b1=BedCare(stay="s1"))
    play(line, 14, temp=38.0, spo2=85)
    configure(line, 14, b1=BedCare(stay="s2"))
    assert line.state.vitals.get(BED) is None
    assert told(play(line, 5, start=15, spo2=85)) == []


def test_empty_bed_does_not_alarm_by_device_or_clock_either():
    line = pipeline()
    configure(line, 0, b1=BedCare("empty"))
    assert alarm(line, 1, "vf") == []
    assert play(line, 30, delay_s=3600, hr=80) == []


def test_standby_that_is_over_covers_nothing_any_more():
    line = pipeline()
    play(line, 3, hr=80)
    configure(line, 3, b1=BedCare("standby", "s1", T0 + 60 * S, "CT"))
    play(line, 50, start=4, hr=135)
    events = line.tick(T0 + 61 * S)
    assert ("unmuted", "hr_high") in told(events)
    assert "no_data" in [e.rule for e in line.tick(T0 + 120 * S)]


def test_shelf_that_is_made_longer_says_so():
    line = pipeline()
    play(line, 20, hr=135)
    do(line, "shelve", 20, rule="hr_high", reason="a", for_s=60)
    [again] = do(line, "shelve", 21, rule="hr_high", reason="b", for_s=600)
    assert (again.kind, again.shelved_until_ns) == ("shelved", T0 + 621 * S)


def test_silence_is_not_shelved_and_unknown_beds_take_no_commands():
    line = pipeline()
    play(line, 1, hr=80)
    do(line, "shelve", 1, rule="no_data", reason="x", for_s=60)
    do(line, "alarm_pause", 2, bed="h/icu/b9", reason="x", for_s=60)
    do(line, "alarm_pause", 3, bed=unit_place("h", "icu"), reason="x", for_s=60)
    assert line.state.rejects.total == 3
    assert set(line.engine.state.beds) == {BED}


def test_a_defect_in_one_message_stops_no_other_bed(monkeypatch):
    line = pipeline()

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(line.engine, "step", broken)
    assert feed(line, reading(0, hr=80)).reading is None
    monkeypatch.undo()
    assert feed(line, reading(1, hr=80)).reading is not None
    assert "a defect of Vigil" in refusals(line)[0]
    assert line.state.internal == 1


# what a second review found


@pytest.mark.parametrize("every_s", [4, 10, 30])
def test_vital_that_a_monitor_sends_less_often_than_others_still_has_its_extreme(every_s):
    line, events = pipeline(), []
    for t in range(8 * every_s):
        seldom = {"spo2": 74 + t // every_s % 2} if t % every_s == 0 else {}
        events += feed(line, reading(t, hr=80 + t % 3, **seldom)).events
    assert ("fired", "spo2_extreme_low") in told(events)


def test_slow_second_device_keeps_one_alert():
    line, events = pipeline(), []
    for t in range(1500):
        events += feed(line, reading(t, hr=80 + t % 3)).events
        if t % 300 == 0:
            events += feed(
                line, reading(t + 0.5, seq=t, device="ox", interval_s=300, spo2=75)
            ).events
    extreme = [e.kind for e in events if e.rule.startswith("spo2_extreme_low")]
    assert extreme == ["fired"]


def test_end_of_standby_does_not_date_a_silence_back():
    line = pipeline()
    play(line, 5, hr=80)
    configure(line, 5, b1=BedCare("standby", "s1", T0 + 300 * S, "CT"))
    events = [e for t in range(6, 400) for e in line.tick(T0 + t * S)]
    assert told(events) == [("fired", "standby_overdue"), ("fired", "no_data")]
    assert events[1].stages.judged_ns >= T0 + 330 * S


def test_silence_is_judged_alike_however_late_the_tick():
    line = pipeline()
    play(line, 5, hr=80)
    configure(line, 5, b1=BedCare("standby", "s1", T0 + 300 * S, "CT"))
    assert told(line.tick(T0 + 310 * S)) == [("fired", "standby_overdue")]
    assert told(line.tick(T0 + 331 * S)) == [("fired", "no_data")]


def test_standby_without_an_end_is_overdue_at_once_and_stops_nothing():
    line = pipeline()
    play(line, 5, hr=80)
    configure(line, 5, b1=BedCare("standby", "s1"))
    [event] = line.tick(T0 + 6 * S)
    assert (event.rule, event.onset_ns >= T0) == ("standby_overdue", True)
    assert line.engine.stuck == 0


def test_overdue_standby_keeps_its_alert_and_who_took_it_when_only_the_age_changes():
    line = pipeline()
    play(line, 5, hr=80)
    configure(line, 5, b1=BedCare("standby", "s1", T0 + 60 * S))
    [overdue] = [e for e in line.tick(T0 + 61 * S) if e.rule == "standby_overdue"]
    do(line, "acknowledge", 62, alert=overdue.alert)
    assert configure(line, 63, b1=BedCare("standby", "s1", T0 + 60 * S, age=70)) == []
    [kept] = [e for e in line.engine.open_alerts() if e.rule == "standby_overdue"]
    assert (kept.alert, kept.acknowledged_by) == (overdue.alert, "nurse")


def test_signal_and_monitor_alarms_of_the_last_patient_end_with_the_next():
    line = pipeline()
    configure(line, 0, b1=BedCare(stay="s1"))
    play(line, 10, start=1, spo2=75, pi=0.1)
    alarm(line, 11, "vf", priority="high")
    before = {e.rule for e in line.engine.open_alerts()}
    assert "spo2_weak/spo2" in before
    assert any(rule.startswith("monitor/") for rule in before)
    configure(line, 12, b1=BedCare(stay="s2"))
    assert list(line.engine.open_alerts()) == []


def test_hospitals_silence_ends_when_its_beds_are_emptied():
    line = pipeline()
    for number in range(4):
        play(line, 3, bed=f"h/icu/b{number}", hr=80)
    assert ("fired", "hospital_silent") in told(line.tick(T0 + 60 * S))
    events = configure(line, 61, **{f"b{n}": BedCare("empty") for n in range(4)})
    assert ("resolved", "hospital_silent") in told(events)
    assert list(line.engine.open_alerts()) == []


def test_silence_is_missed_slowly_again_when_the_fast_device_has_left():
    line = pipeline()
    play(line, 5, hr=80)
    for at_s in (5, 1805):
        feed(line, reading(at_s, device="cuff", interval_s=1800, nibp_mean=80))
        feed(line, reading(at_s + 900, device="bath", interval_s=1800, temp=37))
        send(line, Kind.STATUS, StatusMessage(1, "m1", "ended"), at_s + 901)
        assert line.tick(T0 + (at_s + 1790) * S) == []


def test_tightened_limit_for_a_patient_can_be_recovered_from():
    line = pipeline()
    tight = PatientException("spo2_low", "li", "x", T0 + 9999 * S, below=98)
    configure(line, 0, b1=BedCare(stay="s1", exceptions=(tight,)))
    assert ("fired", "spo2_low") in told(play(line, 60, start=1, spo2=97))
    assert ("resolved", "spo2_low") in told(play(line, 300, start=61, spo2=100))


def test_device_that_ends_takes_its_clock_alert_with_it():
    line = pipeline()
    play(line, 3, hr=80)
    for t in range(30):
        feed(line, reading(5 + t - 3600, device="vent", seq=t, delay_s=3600, rr=15))
    assert "device_clock/vent" in {e.rule for e in line.engine.open_alerts()}
    send(line, Kind.STATUS, StatusMessage(1, "vent", "ended"), 50)
    assert list(line.engine.open_alerts()) == []


def test_defect_while_time_passes_is_counted_named_and_tried_again(monkeypatch):
    line = pipeline()
    play(line, 3, hr=80)
    with monkeypatch.context() as broken:
        broken.setattr(signals, "silence_sentence", lambda *_, **__: 1 / 0)
        assert line.tick(T0 + 60 * S) == []
    assert line.engine.stuck
    assert line.engine.defect.startswith(f"{BED}: ZeroDivisionError")
    assert told(line.tick(T0 + 62 * S)) == [("fired", "no_data")]
