"""The bytes of MQTT: what we send reads back, cut anywhere; what is malformed ends the line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import mqtt
from schemas.errors import BrokerError

messages = st.lists(
    st.tuples(
        st.text(
            st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"),
            min_size=1,
            max_size=40,
        ),
        st.binary(max_size=300),
        st.integers(1, 65_535),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


def receiver():
    answers = []
    return mqtt.Receiver(lambda *answer: answers.append(answer)), answers


@given(messages, st.lists(st.integers(1, 200), min_size=1, max_size=200))
def test_messages_survive_any_cut_of_the_stream(sent, cuts):
    stream = b"".join(mqtt.publish(t, p, m, retain=r) for t, p, m, r in sent)
    reader, _ = receiver()
    found, at, turn = [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += reader.feed(stream[at : at + size], turn)
        at, turn = at + size, turn + 1
    assert [(e.topic, e.payload, e.mid, e.retain) for e in found] == sent


def test_answers_are_told_with_their_identifier_and_code():
    reader, answers = receiver()
    reader.feed(b"\x20\x02\x00\x05" + b"\x90\x03\x00\x07\x80" + mqtt.puback([513]), 0)
    assert answers == [(mqtt.Kind.CONNACK, 0, 5), (mqtt.Kind.SUBACK, 7, 0x80), (4, 513, 0)]


def test_messages_of_one_read_are_a_microsecond_apart():
    reader, _ = receiver()
    found = reader.feed(mqtt.publish("t", b"", 1, retain=False) * 3, 5_000)
    assert [envelope.received_ns for envelope in found] == [5_000, 6_000, 7_000]


def test_a_message_at_qos_0_needs_no_acknowledgement():
    reader, _ = receiver()
    [envelope] = reader.feed(b"\x30\x05\x00\x01tok", 9)
    assert (envelope.topic, envelope.payload, envelope.mid, envelope.received_ns) == (
        "t",
        b"ok",
        0,
        9,
    )
    assert mqtt.puback([0]) == b""


def test_a_topic_that_is_not_utf_8_becomes_one_that_no_grammar_accepts():
    reader, _ = receiver()
    [envelope] = reader.feed(b"\x30\x04\x00\x02\xff\xfe", 0)
    assert envelope.topic == repr(b"\xff\xfe")


@pytest.mark.parametrize(
    "malformed",
    [
        b"\x30\x00",
        b"\x30\x02\x00\x09",
        b"\x32\x03\x00\x01t",
        b"\x30\xff\xff\xff\xff\x01",
    ],
    ids=["empty", "topic beyond its end", "no identifier", "length of five bytes"],
)
def test_a_malformed_packet_ends_the_connection(malformed):
    reader, _ = receiver()
    with pytest.raises(BrokerError):
        reader.feed(malformed, 0)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data):
    reader, _ = receiver()
    try:
        reader.feed(data, 0)
    except BrokerError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("length", "field"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (2_097_152, "80808001")],
)
def test_remaining_length_is_the_standards(length, field):
    assert mqtt.length_field(length).hex() == field


def test_the_hello_says_who_we_are_and_what_to_leave_behind():
    hello = mqtt.connect(
        "me",
        clean=False,
        keepalive_s=30,
        credentials=mqtt.Credentials("u", "p"),
        will=mqtt.Will("w", b"gone"),
    )
    assert hello == (
        b"\x10\x1d\x00\x04MQTT\x04\xec\x00\x1e\x00\x02me\x00\x01w\x00\x04gone\x00\x01u\x00\x01p"
    )
