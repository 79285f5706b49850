"""Where messages begin and end in a stream of bytes, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hl7.mllp import Frame, FrameKind, Framer

ONE, TWO = b"MSH|^~\\&|a\rPID|1", b"MSH|^~\\&|b\rOBX|1"


def framed(*messages):
    return b"".join(b"\x0b" + m + b"\x1c\r" for m in messages)


def kinds(frames):
    return [(f.kind, f.data) for f in frames]


@given(st.lists(st.integers(1, 30), max_size=12))
def test_any_cut_of_the_stream_gives_the_same_frames(cuts):
    stream = framed(ONE, TWO, ONE)
    framer, frames = Framer(), []
    for size in cuts:
        piece, stream = stream[:size], stream[size:]
        frames += framer.feed(piece)
    frames += framer.feed(stream)
    assert kinds(frames) == [(FrameKind.MESSAGE, m) for m in (ONE, TWO, ONE)]
    assert framer.close() == []


def test_what_devices_forget_is_told_apart():
    assert kinds(Framer().feed(ONE + b"\x1c\r")) == [(FrameKind.MESSAGE, ONE)]
    assert kinds(Framer().feed(b"\x0b" + ONE + b"\x1c\x0b" + TWO + b"\x1c")) == [
        (FrameKind.MESSAGE, ONE),
        (FrameKind.MESSAGE, TWO),
    ]
    assert kinds(Framer().feed(b"\r\n\r\n" + framed(ONE))) == [(FrameKind.MESSAGE, ONE)]


def test_half_a_message_is_never_taken_for_a_whole_one():
    framer = Framer()
    assert kinds(framer.feed(b"\x0b" + ONE + b"\x0b" + TWO + b"\x1c\r")) == [
        (FrameKind.HALF, ONE),
        (FrameKind.MESSAGE, TWO),
    ]
    assert framer.feed(b"\x0b" + ONE) == []
    assert kinds(framer.close()) == [(FrameKind.HALF, ONE)]


def test_noise_is_counted_and_what_follows_is_read():
    frames = Framer().feed(b"GET / HTTP/1.1\r\n\r\n" + framed(ONE))
    assert [f.kind for f in frames] == [FrameKind.NOISE, FrameKind.MESSAGE]
    assert frames[1].data == ONE


def test_a_giant_is_let_go_as_it_comes_and_only_its_head_is_kept():
    framer = Framer(limit=10_000)
    frames = framer.feed(b"\x0b" + ONE)
    for _ in range(100):
        frames += framer.feed(b"x" * 1_000)
    assert frames == []
    (giant, after) = framer.feed(b"\x1c\r" + framed(TWO))
    assert giant.kind is FrameKind.TOO_LARGE
    assert giant.size == len(ONE) + 100_000
    assert giant.data.startswith(ONE)
    assert len(giant.data) <= 2_048
    assert after == Frame(FrameKind.MESSAGE, TWO, len(TWO))


@given(st.binary(max_size=400))
def test_any_bytes_leave_the_next_message_readable(data):
    framer = Framer()
    framer.feed(data)
    frames = framer.feed(b"\x1c\r" + framed(ONE))
    assert frames[-1].data == ONE


@pytest.mark.parametrize("piece", [b"M", b"MS"])
def test_the_beginning_of_a_beginning_is_waited_for(piece):
    framer = Framer()
    assert framer.feed(piece) == []
    assert kinds(framer.feed((ONE + b"\x1c\r")[len(piece) :])) == [(FrameKind.MESSAGE, ONE)]
