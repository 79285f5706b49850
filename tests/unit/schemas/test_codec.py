import json
import time

import msgspec
import pytest

from schemas.codec import (
    MAX_NUMERICS_BYTES,
    decode_alert,
    decode_command,
    decode_health,
    decode_judged,
    decode_numerics,
    decode_rejected,
    decode_status,
    encode_numerics,
    encode_rejected,
)
from schemas.errors import DecodeError
from schemas.judged import pack, unpack
from schemas.times import MS
from schemas.vitals import Quality
from schemas.wire import Rejected
from tests.support.readings import reading

NOW = time.time_ns() // MS * MS


def message(**changes):
    body = {"v": 1, "device": "m1", "seq": 1, "measured_at": NOW // MS, "vitals": {"hr": 72}}
    return json.dumps(body | changes).encode()


@pytest.mark.parametrize(
    ("payload", "reason", "names"),
    [
        (b"not json", "not_json", "not JSON"),
        (message()[:25], "not_json", "not JSON"),
        (b"\xff\xfe\x00", "encoding", "UTF-8"),
        (b"[" * 60_000, "not_json", "nested"),
        (b"[]", "invalid", "object"),
        (b"{}", "invalid", "`v`"),
        (b'{"v":1}', "invalid", "device"),
        (message(v=2), "invalid", "$.v"),
        (message(device="a b"), "invalid", "device"),
        (message(device="x\x00"), "invalid", "device"),
        (message(vitals={}), "invalid", "$.vitals"),
        (message(vitals={"hr": "72"}), "invalid", "vitals.hr"),
        (message(vitals={"hr": True}), "invalid", "vitals.hr"),
        (message(vitals={"hr": [72]}), "invalid", "vitals.hr"),
        (message(vitals={"hr": float("nan")}), "not_finite", "vitals.hr"),
        (message(vitals={"spo2": float("-inf")}), "not_finite", "vitals.spo2"),
        (message().replace(b"72", b"1e999"), "not_finite", "vitals.hr"),
        (message(vitals={"HR; DROP": 1}), "invalid", "vitals"),
        (message(measured_at=0), "time", "measured_at"),
        (message(measured_at="2099-01-01T00:00:00Z"), "time", "measured_at"),
        (message(measured_at="2026-11-23T07:00:00"), "time", "zone"),
        (message(measured_at=2**60), "invalid", "$.measured_at"),
        (message(sent_at=0), "time", "sent_at"),
        (message(seq=-1), "invalid", "$.seq"),
        (message(quality={"hr": "splendid"}), "invalid", "$.quality"),
        (message(quality={"hr": "frozen"}), "invalid", "quality"),
        (b" " * (MAX_NUMERICS_BYTES + 1), "too_large", "65536"),
    ],
)
def test_bad_payload_is_refused_with_a_reason_that_names_the_field(payload, reason, names):
    with pytest.raises(DecodeError) as caught:
        decode_numerics("h/icu/b1", payload, NOW)
    assert caught.value.reason == reason
    assert names in str(caught.value)


def test_refusal_names_the_device_when_it_can_be_read():
    with pytest.raises(DecodeError) as caught:
        decode_numerics("h/icu/b1", message(vitals={"hr": "x"}), NOW)
    assert caught.value.device == "m1"


def test_null_is_missing_and_a_sensor_off_says_so():
    payload = message(vitals={"hr": None, "spo2": None, "rr": 18}, quality={"hr": "sensor_off"})
    reading = decode_numerics("h/icu/b1", payload, NOW)
    assert reading.values == {"rr": 18}
    assert reading.flags == {"hr": Quality.SENSOR_OFF, "spo2": Quality.MISSING}


def test_rfc3339_and_milliseconds_are_the_same_time():
    text = decode_numerics(
        "h/icu/b1", message(measured_at="2026-11-23T15:00:00.250+08:00"), 1_795_417_200_000 * MS
    )
    number = decode_numerics(
        "h/icu/b1", message(measured_at=1_795_417_200_250), 1_795_417_200_000 * MS
    )
    assert text.measured_ns == number.measured_ns


def test_without_a_sequence_number_the_same_content_has_the_same_key():
    one, two = (decode_numerics("h/icu/b1", message(seq=None), NOW + i) for i in (0, 5))
    other = decode_numerics("h/icu/b1", message(seq=None, vitals={"hr": 73}), NOW)
    assert one.key == two.key != other.key
    assert not one.numbered


def test_unknown_vitals_are_kept():
    reading = decode_numerics("h/icu/b1", message(vitals={"lactate": 2.1}), NOW)
    assert reading.values == {"lactate": 2.1}


def test_decode_is_the_inverse_of_encode():
    reading = decode_numerics(
        "h/icu/b1", message(sent_at=NOW // MS, vitals={"hr": 72, "rr": None}, boot="b7"), NOW
    )
    assert decode_numerics("h/icu/b1", encode_numerics(reading), NOW) == reading


@pytest.mark.parametrize("by", ["", "x" * 65, "a\x00b"])
def test_command_needs_a_person(by):
    body = {"v": 1, "id": "c1", "kind": "acknowledge", "alert": "a1", "by": by, "at_ns": NOW}
    with pytest.raises(DecodeError):
        decode_command(json.dumps(body).encode())


def test_judged_batches_of_the_first_version_are_read_after_an_upgrade():
    row = [
        "h/icu/b1",
        "m1",
        "b1",
        7,
        NOW,
        None,
        NOW + 5,
        3,
        False,
        1.0,
        {"hr": 72.0},
        {"pr": "weak"},
    ]
    old = {"v": 1, "judged_ns": NOW, "readings": [row], "clocks": [["m1", "h/icu/b1", NOW, 3]]}
    batch = decode_judged(msgspec.msgpack.encode(old))
    [found] = unpack(batch)
    assert (found.bed, found.seq, found.values) == ("h/icu/b1", 7, {"hr": 72.0})
    assert found.flags == {"pr": Quality.WEAK}
    assert batch.clocks[0].offset_ns == 3


@pytest.mark.parametrize(
    "change",
    [
        {"stream": [1]},
        {"shape": [-1]},
        {"seq": []},
        {"values": [[1.0, 2.0]]},
        {"flags": [[3, "hr", "weak"]]},
        {"late": ["no"]},
    ],
)
def test_a_judged_batch_whose_columns_disagree_is_refused(change):
    good = msgspec.to_builtins(pack([reading(0, hr=72)], NOW))
    decode_judged(msgspec.msgpack.encode(good))
    with pytest.raises(DecodeError):
        decode_judged(msgspec.msgpack.encode(good | change))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"v":1,"device":"\xff","measured_at":1,"vitals":{"hr":1}}',
        b'{"v":1,"device":"m","boot":"\xff","measured_at":1,"vitals":{"hr":1}}',
        b'{"v":1,"device":"m","measured_at":1,"vitals":{"\xff":1}}',
        b'{"v":1,"device":"m","measured_at":1,"vitals":{"hr":1},"quality":{"hr":"\xff"}}',
        b'{"v":1,"device":"m","state":"\xff"}',
        b'{"v":1,"id":"c","kind":"acknowledge","alert":"a","by":"\xff","at_ns":1}',
    ],
)
def test_a_byte_that_is_not_utf_8_is_refused_wherever_it_stands(payload):
    for decode in (
        lambda: decode_numerics("h/icu/b1", payload, NOW),
        lambda: decode_status(payload),
        lambda: decode_command(payload),
        lambda: decode_alert(payload),
        lambda: decode_rejected(payload),
        lambda: decode_health(payload),
    ):
        with pytest.raises(DecodeError):
            decode()


@pytest.mark.parametrize(
    "change",
    [
        {"seq": [2**63]},
        {"measured_ns": [2**63]},
        {"sent_ns": [-(2**63)]},
        {"offset_ns": [2**64 - 1]},
    ],
)
def test_a_judged_batch_with_a_number_beyond_reason_is_refused(change):
    good = msgspec.to_builtins(pack([reading(0, hr=72)], NOW))
    with pytest.raises(DecodeError):
        decode_judged(msgspec.msgpack.encode(good | change))
    clock = {"clocks": [["m1", "h/icu/b1", 2**63, 0]]}
    with pytest.raises(DecodeError):
        decode_judged(msgspec.msgpack.encode(good | clock))


def test_many_refusals_go_out_in_messages_that_the_broker_takes():
    kinds = [
        Rejected("e", f"d{i}", "not_json", 1, NOW, NOW, "why", "t", "\\xff" * 600)
        for i in range(1000)
    ]
    payloads = encode_rejected(kinds, 1_048_576)
    assert max(map(len, payloads)) <= 1_048_576
    assert [kind for payload in payloads for kind in decode_rejected(payload)] == kinds
