"""Chunks on the wire and blocks in the database: lossless, bounded, and refused with a reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import asdict, replace

from schemas.errors import DecodeError, StoreError
from schemas.wave_codec import decode_block, encode_block
from schemas.waves import HEAD, WaveChunk, decode_chunk, encode_chunk
from tests.support.readings import T0

samples = st.integers(1, 600).flatmap(lambda n: arrays(np.int16, n))
signals = st.integers(2, 400).flatmap(
    lambda n: arrays(np.int16, n, elements=st.integers(-900, 900))
)


def chunk(**changes):
    plain = WaveChunk(
        bed="h/icu/b1",
        channel="ecg-ii",
        device="m1",
        boot="b1",
        unit="mV",
        seq=7,
        measured_ns=T0,
        sent_ns=T0 + 5,
        received_ns=T0 + 1_000_000,
        rate_hz=250.0,
        scale=0.005,
        zero=0.0,
        samples=np.arange(100, dtype=np.int16),
    )
    return replace(plain, **changes)


def decode(payload, channel="ecg-ii"):
    return decode_chunk("h/icu/b1", channel, payload, T0 + 1_000_000)


@given(samples, st.floats(1, 2000), st.floats(-1e6, 1e6).filter(bool), st.floats(-1e6, 1e6))
def test_a_chunk_survives_the_wire(found, rate, scale, zero):
    found = found[: max(1, int(rate * 10))]
    sent = chunk(samples=found, rate_hz=rate, scale=scale, zero=zero)
    back = decode(encode_chunk(sent))
    assert np.array_equal(back.samples, sent.samples)
    assert asdict(back) | {"samples": 0} == asdict(sent) | {"samples": 0}


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_chunk_or_refused(data, headed):
    payload = encode_chunk(chunk())[: HEAD.size] + data if headed else data
    try:
        decode(payload)
    except DecodeError as error:
        assert error.reason
        assert str(error)


@pytest.mark.parametrize(
    ("payload", "names"),
    [
        (b"", "head"),
        (b"VGW2" + encode_chunk(chunk())[4:], "VGW1"),
        (encode_chunk(chunk())[:-1], "count"),
        (encode_chunk(chunk()) + b"\0\0", "count"),
        (encode_chunk(chunk(samples=np.zeros(0, np.int16))), "count"),
        (encode_chunk(chunk(samples=np.zeros(2501, np.int16))), "10 s"),
        (encode_chunk(chunk(rate_hz=0.0)), "rate_hz"),
        (encode_chunk(chunk(rate_hz=100_000.0)), "rate_hz"),
        (encode_chunk(chunk(rate_hz=float("nan"))), "rate_hz"),
        (encode_chunk(chunk(scale=0.0)), "scale"),
        (encode_chunk(chunk(scale=float("inf"))), "scale"),
        (encode_chunk(chunk(zero=float("nan"))), "zero"),
        (encode_chunk(chunk(device="a b")), "device"),
        (encode_chunk(chunk(boot="")), "boot"),
        (encode_chunk(chunk(unit="")), "unit"),
        (encode_chunk(chunk(measured_ns=0)), "measured_ns"),
        (encode_chunk(chunk(sent_ns=1)), "sent_ns"),
        (encode_chunk(chunk(seq=2**60)), "seq"),
    ],
)
def test_a_bad_chunk_is_refused_naming_the_field(payload, names):
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert names in str(caught.value)


@pytest.mark.parametrize("channel", ["", "ECG", "a/b", "x" * 25, "心电"])
def test_a_bad_channel_is_refused(channel):
    with pytest.raises(DecodeError, match="channel"):
        decode(encode_chunk(chunk()), channel)


@given(samples | signals)
def test_a_block_is_lossless(found):
    assert np.array_equal(decode_block(encode_block(found), len(found)), found)


@given(signals, st.data())
def test_a_damaged_block_is_never_read_as_a_good_one(found, data):
    block = bytearray(encode_block(found))
    at = data.draw(st.integers(0, len(block) - 1))
    block[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert np.array_equal(decode_block(bytes(block), len(found)), found)
    except StoreError as error:
        assert "block" in str(error)


def test_a_block_cannot_inflate_beyond_its_samples():
    with pytest.raises(StoreError):
        decode_block(encode_block(np.zeros(1_000_000, np.int16)), 10)
