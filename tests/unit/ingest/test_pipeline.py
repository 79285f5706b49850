import json

import pytest

from ingest.pipeline import Limits, Pipeline, PipelineState
from ingest.rejects import MAX_KINDS, OTHERS, drain, reject
from schemas.alerts import EventKind
from schemas.codec import encode_numerics
from schemas.times import MS, S
from schemas.vitals import Quality
from tests.support.readings import T0, feed, pipeline, reading, rules


def kinds(outcome):
    return [event.kind for event in outcome.events]


def test_reading_is_accepted_once_and_its_repeat_ignored():
    line = pipeline()
    assert feed(line, reading(0, hr=72)).reading is not None
    assert feed(line, reading(0, hr=72)).reading is None
    assert (line.state.accepted, line.state.repeats) == (1, 1)


def test_same_key_with_other_content_is_a_conflict_that_is_kept():
    line = pipeline()
    feed(line, reading(0, hr=72))
    assert feed(line, reading(0, hr=99)).reading is None
    [kept] = drain(line.state.rejects)
    assert (kept.device, kept.reason, kept.count) == ("m1", "conflict", 1)
    assert "99" in kept.sample


def test_gap_is_counted_and_a_late_filler_is_history():
    line = pipeline()
    for t in (0, 1, 4):
        feed(line, reading(t, hr=72))
    assert line.state.gaps == 2
    filler = feed(line, reading(2, hr=72, delay_s=3)).reading
    assert filler is not None
    assert filler.late
    assert line.state.devices["h/icu/b1", "m1"].sequence.missing == 1


def test_restart_with_a_new_boot_id_starts_the_numbers_again():
    line = pipeline()
    for t in range(5):
        feed(line, reading(t, hr=72))
    outcome = feed(line, reading(5, hr=72, seq=0, boot="b2"))
    assert outcome.reading is not None
    assert not outcome.reading.late
    assert line.state.devices["h/icu/b1", "m1"].sequence.restarts == 1


def test_second_device_on_a_bed_is_flagged_and_alerts_and_the_first_goes_on():
    line = pipeline()
    feed(line, reading(0, hr=72))
    other = feed(line, reading(0.5, hr=140, device="m2"))
    assert other.reading is not None
    assert other.reading.flags == {"hr": Quality.CONTESTED}
    assert [e.rule for e in other.events] == ["bed_contested"]
    first = feed(line, reading(1, hr=73))
    assert first.reading is not None
    assert first.reading.flags == {}


def test_two_devices_with_different_vitals_share_a_bed():
    line = pipeline()
    feed(line, reading(0, hr=72))
    vent = feed(line, reading(0.5, device="vent", etco2=38))
    assert vent.reading is not None
    assert vent.reading.flags == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"hr": 900}, Quality.OUT_OF_RANGE),
        ({"spo2": -100}, Quality.SENTINEL),
        ({"temp": -999}, Quality.SENTINEL),
        ({"spo2": 0}, Quality.OUT_OF_RANGE),
    ],
)
def test_implausible_value_is_kept_and_flagged(values, expected):
    judged = feed(pipeline(), reading(0, **values)).reading
    assert judged is not None
    assert judged.flags == dict.fromkeys(values, expected)
    assert judged.values == values


def test_asystole_contradicted_by_a_pulse_is_not_judged():
    judged = feed(pipeline(), reading(0, hr=0, pr=78)).reading
    assert judged is not None
    assert judged.flags == {"hr": Quality.CONTRADICTED}


def test_true_asystole_alerts():
    line = pipeline()
    events = [e for t in range(6) for e in feed(line, reading(t, hr=0)).events]
    assert [(e.rule, e.muted_by) for e in events] == [
        ("asystole/hr", ""),
        ("hr_extreme_low/hr", "asystole/hr"),
    ]
    assert events[0].priority == "high"


def test_temperature_jump_is_an_artefact():
    line = pipeline()
    feed(line, reading(0, temp=37.0))
    judged = feed(line, reading(2, temp=31.0)).reading
    assert judged is not None
    assert judged.flags == {"temp": Quality.JUMP}


def test_frozen_heart_rate_is_flagged_after_fifteen_minutes():
    line = pipeline()
    flagged = [t for t in range(1000) if feed(line, reading(t, hr=72)).reading.flags]
    assert flagged[0] == 901


def test_a_million_beds_from_one_client_stop_at_the_bound_and_cost_others_nothing():
    line = pipeline(max_beds=50)
    for number in range(500):
        feed(line, reading(0, bed=f"h/icu/b{number}", hr=72))
    assert len(line.state.engine.beds) == 50
    assert feed(line, reading(1, bed="h/icu/b3", hr=72)).reading is not None
    [kept] = drain(line.state.rejects)
    assert (kept.reason, kept.count) == ("too_many_beds", 450)


def test_unregistered_bed_is_refused_in_registered_mode():
    line = pipeline(known_beds=frozenset({"h/icu/b1"}))
    assert feed(line, reading(0, hr=72)).reading is not None
    assert feed(line, reading(0, bed="h/icu/b2", hr=72)).reading is None
    assert drain(line.state.rejects)[0].reason == "unknown_bed"


def test_rejects_are_bounded():
    line = pipeline()
    for number in range(MAX_KINDS + 100):
        reject(
            line.state.rejects,
            device=f"d{number}",
            reason="x",
            detail="",
            topic="",
            payload=b"\x00\xff",
            now_ns=0,
        )
    found = drain(line.state.rejects)
    assert len(found) == MAX_KINDS + 1
    assert next(k for k in found if k.device == OTHERS).count == 100


def test_garbage_on_any_topic_never_raises_and_is_counted():
    line = pipeline()
    for topic in (
        "vigil/v1///x/numerics",
        "vigil/v1/h/icu/b1/numerics",
        "",
        "vigil/v1/h/icu/b1/x",
        "vigil/v1/h/icu/b1/status",
        "vigil/v1/h/icu/b1/commands",
        "\ud800",
    ):
        line.message(topic, b"\x00garbage", T0)
    assert line.state.rejects.total == 7


def test_backlog_condition_that_is_over_becomes_a_silent_finding():
    line = pipeline()
    feed(line, reading(0, hr=72))
    late = [reading(t, hr=135 if 10 <= t < 60 else 72, delay_s=600 - t) for t in range(1, 120)]
    events = [e for item in late for e in feed(line, item).events]
    events += [e for t in range(600, 640) for e in feed(line, reading(t, hr=72, seq=t)).events]
    assert [(e.kind, e.rule) for e in events] == [
        (EventKind.FIRED, "no_data"),
        (EventKind.FINDING, "hr_high/hr"),
        (EventKind.RESOLVED, "no_data"),
    ]


def test_backlog_condition_still_there_fires_with_its_true_onset():
    line = pipeline()
    feed(line, reading(0, hr=72))
    late = [reading(t, hr=135, delay_s=600 - t) for t in range(1, 500)]
    meanwhile = [e for item in late for e in feed(line, item).events]
    assert [e.rule for e in meanwhile] == ["no_data"]
    silence, event = feed(line, reading(600, hr=135, seq=600)).events
    assert (silence.rule, silence.kind) == ("no_data", EventKind.RESOLVED)
    assert (event.kind, event.delayed) == (EventKind.FIRED, True)
    assert event.onset_ns == T0 + 1 * S


def test_backlog_behind_live_data_is_a_finding_and_does_not_disturb_live():
    line = pipeline()
    feed(line, reading(0, hr=72))
    for t in range(100, 130):
        feed(line, reading(t, hr=72))
    filler = [reading(t, hr=135, delay_s=130 - t) for t in range(20, 60)]
    events = [e for item in filler for e in feed(line, item).events]
    assert [e.kind for e in events] == [EventKind.FINDING]
    assert not feed(line, reading(130, hr=72)).events


def test_constant_clock_error_of_an_hour_still_alerts_and_is_announced():
    line = pipeline()
    events = []
    for t in range(30):
        item = reading(t, hr=135, delay_s=3600)
        events += feed(line, item).events
    assert sorted(e.rule for e in events) == ["device_clock/m1", "hr_high/hr"]
    fired = next(e for e in events if e.rule == "hr_high/hr")
    assert (fired.kind, fired.delayed) == (EventKind.FIRED, False)


def test_clock_set_forth_and_back_does_not_silence_the_bed():
    line = pipeline()
    for t in range(10):
        feed(line, reading(t, hr=72))
    ahead = [reading(t, hr=72, delay_s=0) for t in range(10, 20)]
    for item in ahead:  # the device's clock is one hour ahead for ten seconds
        moved = json.loads(encode_numerics(item))
        moved["measured_at"] += 3_600_000
        moved["sent_at"] += 3_600_000
        line.message("vigil/v1/h/icu/b1/numerics", json.dumps(moved).encode(), item.received_ns)
    events = [e for t in range(20, 60) for e in feed(line, reading(t, hr=135)).events]
    assert "hr_high/hr" in [e.rule for e in events if e.kind == EventKind.FIRED]


def test_silent_bed_is_an_alert_that_closes_when_data_return():
    line = pipeline()
    feed(line, reading(0, hr=72))
    assert line.tick(T0 + 29 * S) == []
    [fired] = line.tick(T0 + 31 * S)
    assert (fired.rule, fired.technical) == ("no_data", True)
    assert line.tick(T0 + 32 * S) == []
    [resolved] = feed(line, reading(40, hr=72)).events
    assert (resolved.kind, resolved.alert) == (EventKind.RESOLVED, fired.alert)


def test_hub_own_absence_is_not_a_silent_bed():
    line = pipeline()
    feed(line, reading(0, hr=72))
    line.state.engine.listening_ns = T0 + 3600 * S
    assert line.tick(T0 + 3620 * S) == []


def test_device_that_says_it_ended_is_not_silent():
    line = pipeline()
    feed(line, reading(0, hr=72))
    body = {"v": 1, "device": "m1", "state": "ended"}
    line.message("vigil/v1/h/icu/b1/status", json.dumps(body).encode(), T0 + S)
    assert line.tick(T0 + 3600 * S) == []


def command(alert, by="nurse"):
    return json.dumps(
        {"v": 1, "id": "c1", "kind": "acknowledge", "alert": alert, "by": by, "at_ns": T0}
    ).encode()


def test_acknowledge_is_an_event_and_a_second_one_is_refused():
    line = pipeline()
    fired = next(e for t in range(20) for e in feed(line, reading(t, hr=135)).events)
    topic = "vigil/v1/h/icu/b1/commands"
    [event] = line.message(topic, command(fired.alert), T0 + 21 * S).events
    assert (event.kind, event.acknowledged_by) == (EventKind.ACKNOWLEDGED, "nurse")
    assert line.message(topic, command(fired.alert), T0 + 22 * S).events == []
    assert line.message(topic, command("nonsense"), T0 + 22 * S).events == []
    assert line.message("vigil/v1/h/icu/b2/commands", command(fired.alert), T0).events == []
    resolved = [e for t in range(30, 60) for e in feed(line, reading(t, hr=72)).events]
    assert [(e.kind, e.acknowledged_by) for e in resolved] == [(EventKind.RESOLVED, "nurse")]


def test_state_survives_the_disk_and_goes_on_the_same():
    import msgspec

    one = pipeline()
    for t in range(8):
        feed(one, reading(t, hr=135, temp=37.0))
    saved = msgspec.msgpack.encode(one.state)
    state = msgspec.msgpack.decode(saved, type=PipelineState)
    two = Pipeline(state, rules(), {}, Limits())
    assert two.state == one.state
    rest = [
        [e for t in range(8, 20) for e in feed(line, reading(t, hr=135)).events]
        for line in (one, two)
    ]
    assert rest[0] == rest[1]
    assert [e.kind for e in rest[0]] == [EventKind.FIRED]


def test_slow_line_still_alarms_and_is_marked_delayed():
    line = pipeline()
    feed(line, reading(-1, hr=72, seq=0))
    slow = [reading(t, hr=135, delay_s=20 + 4 * (t % 3), seq=t + 1) for t in range(20)]
    events = [e for item in slow for e in feed(line, item).events if e.rule == "hr_high/hr"]
    assert [(e.kind, e.delayed) for e in events] == [(EventKind.FIRED, True)]


def test_late_bound_is_in_hub_time():
    line = pipeline()
    feed(line, reading(0, hr=72))
    judged = feed(line, reading(1, hr=72, delay_s=61)).reading
    assert judged is not None
    assert judged.late
    assert judged.received_ns - judged.measured_ns == 61_000 * MS


def test_cuff_pressure_on_its_own_does_not_stretch_the_silence_limit():
    line = pipeline()
    feed(line, reading(0, hr=72))
    feed(line, reading(1, nibp_sys=120, nibp_dia=70, nibp_mean=87))
    assert [e.rule for e in line.tick(T0 + 40 * S)] == ["no_data"]


def test_deep_nesting_is_refused_on_every_topic_and_kills_nothing():
    line = pipeline()
    deep = b'{"v":1,"x":' + b"[" * 60_000
    for kind in ("numerics", "status", "commands"):
        line.message(f"vigil/v1/h/icu/b1/{kind}", deep, T0)
    assert line.state.rejects.total == 3


def test_readings_that_come_again_after_newer_ones_are_never_lost_as_repeats():
    line = pipeline()
    feed(line, reading(3, hr=72))  # 0, 1, 2 were sent before, and are on their way again
    assert all(feed(line, reading(t, hr=72, delay_s=8)).reading for t in range(3))


def test_a_slow_clock_without_send_times_is_not_silence_nobody_hears_of():
    line, events = pipeline(), []
    for t in range(60):
        body = {
            "v": 1,
            "device": "m1",
            "seq": t,
            "measured_at": (T0 + t * S) // MS - 90_000,
            "vitals": {"spo2": 60},
        }
        done = line.message("vigil/v1/h/icu/b1/numerics", json.dumps(body).encode(), T0 + t * S)
        events += done.events
    assert [e.rule for e in events] == ["no_data"]


def test_another_device_cannot_end_the_monitoring_nor_excuse_a_silent_monitor():
    line = pipeline()
    feed(line, reading(0, hr=72))
    body = {"v": 1, "device": "other", "state": "ended"}
    line.message("vigil/v1/h/icu/b1/status", json.dumps(body).encode(), T0 + S)
    feed(line, reading(2, device="cuff", interval_s=1800, nibp_sys=120))
    assert [e.rule for e in line.tick(T0 + 40 * S)] == ["no_data"]


def test_numbers_that_jump_about_stay_bounded():
    line = pipeline()
    for t in range(300):
        feed(line, reading(t, seq=2**52 * (t % 2), hr=72))
    assert line.state.devices["h/icu/b1", "m1"].sequence.missing < 2**40
