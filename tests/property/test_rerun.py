"""A run gives the same ledger however its inputs are split, doubled or ordered."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rerun import Arrival, in_order, rerun
from schemas.topics import Kind, Topic
from tests.support.readings import pipeline, reading

steps = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.sampled_from(["h/icu/b1", "h/icu/b2"]),
        st.integers(20, 200),
        st.integers(70, 100),
    ),
    min_size=1,
    max_size=60,
)


def arrivals(moves):
    out, t = [], 0
    for seq, (by, bed, hr, spo2) in enumerate(moves):
        t += by
        item = reading(t, bed=bed, device=f"m{bed[-1]}", seq=seq, hr=hr, spo2=spo2)
        out.append(Arrival(item.received_ns, Topic("h", bed, Kind.NUMERICS), item))
    return out


def ledger(items):
    return [event for _, outcome in rerun(pipeline(), items) for event in outcome.events]


@settings(max_examples=80, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(moves, rng):
    items = arrivals(moves)
    mixed = [*items, *(item for item in items if rng.random() < 0.3)]
    rng.shuffle(mixed)
    assert ledger(in_order(mixed)) == ledger(in_order(items))


@settings(max_examples=80, deadline=None)
@given(steps, st.lists(st.integers(0, 60), max_size=4))
def test_cutting_the_inputs_anywhere_changes_nothing(moves, cuts):
    items = in_order(arrivals(moves))
    line = pipeline()
    found = []
    edges = [0, *sorted(cuts), len(items)]
    for first, last in pairwise(edges):
        for _, outcome in rerun(line, items[first:last]):
            found += outcome.events
    assert found == ledger(items)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_inputs_are_left_as_they_were(moves):
    items = arrivals(moves)
    before = repr(items)
    ledger(in_order(items))
    assert repr(items) == before
