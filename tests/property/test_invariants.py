"""What holds for every stream of readings, not only for those we thought of."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.batch import columns
from schemas.codec import decode_judged, decode_numerics, encode_judged, encode_numerics
from schemas.errors import DecodeError
from schemas.judged import pack, unpack
from schemas.times import S, from_datetime, to_datetime
from schemas.vitals import COMMON_NAMES, VITALS, Quality, pack_status, unpack_status
from tests.support.readings import T0, feed, pipeline, reading

finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)
vitals = st.dictionaries(st.sampled_from([*VITALS, "lactate"]), finite, min_size=1, max_size=8)
steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(20, 200), st.integers(70, 100)),
    min_size=1,
    max_size=80,
)


def story(moves):
    """A patient: seconds go by, heart rate and saturation jump about."""
    out, t = [], 0
    for seq, (by, hr, spo2) in enumerate(moves):
        t += by
        out.append(reading(t, seq=seq, hr=hr, spo2=spo2))
    return out


def ledger(items):
    line = pipeline()
    return [
        (e.event, e.kind, e.rule, e.onset_ns, e.at_ns)
        for item in items
        for e in feed(line, item).events
    ]


@given(vitals, st.integers(0, 2**40))
def test_numerics_survive_the_wire(values, seq):
    item = reading(0, seq=seq, **values)
    assert decode_numerics(item.bed, encode_numerics(item), item.received_ns) == item


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(payload):
    try:
        decode_numerics("h/icu/b1", payload, T0)
    except DecodeError as error:
        assert error.reason
        assert str(error)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_replay_gives_the_same_ledger(moves):
    assert ledger(story(moves)) == ledger(story(moves))


@settings(max_examples=60, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_duplicates_change_nothing(moves, rng):
    items = story(moves)
    doubled = []
    for i, item in enumerate(items):
        doubled.append(item)
        if rng.random() < 0.4:
            doubled.append(items[rng.randint(max(0, i - 20), i)])
    assert ledger(doubled) == ledger(items)


@settings(max_examples=60, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_no_order_makes_a_firing_alert_vanish_without_an_event(moves, rng):
    items = story(moves)
    rng.shuffle(items)
    line = pipeline()
    open_now = set()
    for item in items:
        for event in feed(line, item).events:
            if event.kind == "fired":
                assert event.alert not in open_now
                open_now.add(event.alert)
            elif event.kind == "resolved":
                open_now.remove(event.alert)
    assert open_now == {e.alert for e in line.engine.open_alerts()}


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 80))
def test_splitting_a_batch_anywhere_stores_the_same(moves, cut):
    line = pipeline()
    judged = [r for item in story(moves) if (r := feed(line, item).reading)]
    whole = columns([pack(judged, T0)])
    parts = columns([pack(judged[:cut], T0), pack(judged[cut:], T0)])
    assert whole.streams == parts.streams
    assert whole.rare == parts.rare
    for name in ("stream", "measured_us", "received_us", "seq", "sent_us", "late", "status"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert np.array_equal(whole.vitals, parts.vitals, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_judged_readings_survive_the_wire(moves):
    line = pipeline()
    judged = [r for item in story(moves) if (r := feed(line, item).reading)]
    found = list(unpack(decode_judged(encode_judged(pack(judged, T0)))))
    assert [replace(r, behind=False) for r in judged] == found


@given(st.dictionaries(st.sampled_from(COMMON_NAMES), st.sampled_from(list(Quality)[1:])))
def test_packed_status_is_reversible(flags):
    assert unpack_status(*pack_status(flags)) == flags


@given(st.integers(0, 4_000_000_000_000_000))
def test_microseconds_survive_sql_time(us):
    assert from_datetime(to_datetime(us * 1000)) == us * 1000


def ledger_with_ticks(items, ticks):
    """The ledger when a clock ticks at other times as well."""
    line = pipeline()
    events, ticks = [], sorted(ticks)
    for item in items:
        while ticks and T0 + ticks[0] * S // 10 < item.received_ns:
            events += line.tick(T0 + ticks.pop(0) * S // 10)
        events += feed(line, item).events
    return [(e.event, e.kind, e.rule, e.onset_ns, e.at_ns, e.zh) for e in events]


@settings(max_examples=60, deadline=None)
@given(steps, st.lists(st.integers(0, 2400), max_size=60))
def test_it_makes_no_difference_when_a_clock_ticks(moves, ticks):
    assert ledger_with_ticks(story(moves), ticks) == ledger_with_ticks(story(moves), [])


@settings(max_examples=60, deadline=None)
@given(steps)
def test_no_alert_vanishes_without_an_event(moves):
    line = pipeline()
    open_now = set()
    for item in story(moves):
        for event in feed(line, item).events:
            (open_now.add if event.is_open else open_now.discard)(event.alert)
        assert {e.alert for e in line.engine.open_alerts()} == open_now
