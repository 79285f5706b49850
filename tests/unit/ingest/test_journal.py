"""After a kill at any moment, checkpoint and journal together give the very state that was."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.mqtt import Envelope
from ingest import journal
from ingest.journal import Journal
from ingest.pipeline import Limits, Pipeline, PipelineState
from schemas.codec import encode_json, encode_numerics
from schemas.times import S
from schemas.topics import Kind, format_topic
from schemas.wire import CommandMessage
from tests.support.readings import T0, pipeline, reading, rules

BED = "h/icu/b1"


def envelopes():
    """Half a minute of a patient in trouble, with people doing things."""
    out = []
    for t in range(40):
        item = reading(t, hr=135 if t > 5 else 80, spo2=75 if 15 < t < 30 else 97)
        out.append((format_topic(BED, Kind.NUMERICS), encode_numerics(item), item.received_ns))
        if t == 20:
            shelve = CommandMessage(
                1, "c1", "shelve", "li", T0, None, "hr_high", "known", T0 + 600 * S
            )
            out.append((format_topic(BED, Kind.COMMANDS), encode_json(shelve), T0 + 20 * S + 1))
    return [Envelope(*message, mid=i, retain=False) for i, message in enumerate(out)]


def judge(line, some):
    return [
        (e.event, e.kind, e.zh)
        for x in some
        for e in line.message(x.topic, x.payload, x.received_ns).events
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 41), st.integers(0, 41))
def test_a_kill_at_any_moment_changes_nothing(tmp_path_factory, one, other):
    saved_at, killed_at = sorted((one, other))
    folder = tmp_path_factory.mktemp("j")
    whole = envelopes()
    straight = pipeline()
    expected = judge(straight, whole)
    line = pipeline()
    kept = Journal(folder, 0)
    kept.append(whole[:saved_at])
    before = judge(line, whole[:saved_at])
    segment = kept.rotate()
    checkpoint = msgspec.msgpack.encode(line.state)
    kept.forget()
    for envelope in whole[saved_at:killed_at]:
        kept.append([envelope])
    kept.close()
    state = msgspec.msgpack.decode(checkpoint, type=PipelineState)
    back = Pipeline(state, rules(), {}, Limits())
    found = [Envelope(*m[:3], 0, retain=False) for m in journal.read(folder, segment)]
    after = judge(back, found) + judge(back, whole[killed_at:])
    assert before + after == expected
    for line_state in (back.state, straight.state):  # when it looks next is no part of what it is
        for bed in line_state.engine.beds.values():
            bed.queued_ns = 0
    assert back.state == straight.state


def test_what_the_broker_sends_again_is_not_taken_twice():
    line = pipeline()
    whole = envelopes()
    judge(line, whole)
    for x in whole:
        again = line.message(x.topic, x.payload, x.received_ns + S, again=True)
        assert (again.reading, again.taken) == (None, None)
    assert line.state.rejects.total == 0


def test_half_an_entry_ends_a_segment_and_the_rest_is_read(tmp_path):
    kept = Journal(tmp_path, 0)
    some = envelopes()[:3]
    kept.append(some)
    kept.append(some)
    kept.close()
    path = tmp_path / "journal-000000000000"
    path.write_bytes(path.read_bytes()[:-5])
    assert [m[1] for m in journal.read(tmp_path, 0)] == [e.payload for e in some]


def test_old_segments_go_and_numbers_never_come_again(tmp_path):
    kept = Journal(tmp_path, 0)
    assert kept.rotate() == 1
    kept.forget()
    kept.close()
    assert [p.name for p in tmp_path.iterdir()] == ["journal-000000000001"]
    again = Journal(tmp_path, 0)
    assert again.segment == 1
    again.close()
