"""What goes to the broker: messages by moment, intervals that are learned, clocks that died."""

import json

from ingest.hl7.outgoing import Cadence, Sender, compose
from ingest.hl7.translate import Memory
from schemas.codec import decode_device_alarm, decode_numerics, decode_status
from schemas.times import S
from schemas.waves import decode_chunk
from tests.support.hl7 import HEAD, NOW, PV1, read_one

HR = "OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC||70"
CUFF = "OBX|2|NM|150301^MDC_PRESS_CUFF_SYS^MDC||120|mmHg|||||F||APERIODIC|20261128155000"


def sender():
    return Sender("h/icu/5", "m1", "boot", Cadence(10.0))


def bodies(messages, kind):
    return [m.payload for m in messages if m.topic.split("/")[5] == kind]


def test_each_moment_is_a_message_and_a_cuff_has_its_own_interval():
    messages, shifted = compose(read_one(HR, CUFF).outcome, sender(), NOW)
    assert not shifted
    (rate, cuff) = [decode_numerics("h/icu/5", b, NOW) for b in bodies(messages, "numerics")]
    assert (rate.values, cuff.values) == ({"hr": 70}, {"nibp_sys": 120})
    assert rate.measured_ns - cuff.measured_ns == 600 * S
    assert (rate.interval_s, cuff.interval_s) == (10, 1800)
    assert decode_status(bodies(messages, "status")[0]).state == "online"
    again, _ = compose(read_one(HR).outcome, sender(), NOW)
    one = sender()
    compose(read_one(HR).outcome, one, NOW)
    later, _ = compose(read_one(HR).outcome, one, NOW + S)
    assert bodies(again, "status")
    assert not bodies(later, "status")


def test_missing_values_say_that_they_are_missing():
    messages, _ = compose(read_one(HR.replace("70", "-100")).outcome, sender(), NOW)
    reading = decode_numerics("h/icu/5", bodies(messages, "numerics")[0], NOW)
    assert reading.values == {}
    assert reading.flags == {"hr": "missing"}


def test_an_interval_is_learned_and_seldom_changes():
    cadence = Cadence(10.0)
    found = [cadence.heard(NOW + i * S) for i in range(12)]
    assert found[:5] == [10.0] * 5
    assert found[-1] == 1.0
    wobbly = Cadence(60.0)
    for i in range(40):
        wobbly.heard(NOW + i * 60 * S + (i % 3) * S)
    assert wobbly.interval_s == 60.0


def test_a_clock_that_died_is_replaced_and_its_differences_stay():
    dead = HEAD.replace("20261128160000", "20070101080000")
    request = "OBR|1||||||20070101075900"
    one = sender()
    messages, shifted = compose(read_one(dead, PV1, request, HR).outcome, one, NOW)
    assert shifted
    reading = decode_numerics("h/icu/5", bodies(messages, "numerics")[0], NOW)
    assert NOW - reading.measured_ns == 60 * S
    next_one = dead.replace("20070101080000", "20070101080010")
    body = read_one(next_one, PV1, request.replace("075900", "075910"), HR).outcome
    messages, _ = compose(body, one, NOW + 11 * S)
    after = decode_numerics("h/icu/5", bodies(messages, "numerics")[0], NOW)
    assert after.measured_ns - reading.measured_ns == 10 * S
    _, shifted = compose(read_one(HR).outcome, one, NOW + 20 * S)
    assert not shifted


def test_chunks_are_numbered_on_and_what_comes_again_keeps_its_number():
    def wave(start, count=1000):
        samples = "^".join(map(str, range(count)))
        return read_one(
            HEAD,
            PV1,
            f"OBR|1||||||{start}",
            f"OBX|1|NA|131330^MDC_ECG_ELEC_POTL_II^MDC|1.1.1.131330|{samples}",
            "OBX|2|NM|0^MDC_ATTR_SAMP_RATE^MDC|1.1.1.131330.1|250",
        ).outcome

    one = sender()

    def sent(start):
        messages, _ = compose(wave(start), one, NOW)
        return [decode_chunk("h/icu/5", "ecg-ii", b, NOW) for b in bodies(messages, "waves")]

    first, again, following = sent("20261128155950"), sent("20261128155950"), sent("20261128155954")
    assert [c.seq for c in first] == [0, 1, 2, 3]
    assert [c.seq for c in again] == [0, 1, 2, 3]
    assert [c.seq for c in following] == [4, 5, 6, 7]
    assert following[0].measured_ns == first[-1].end_ns


def test_an_alarm_is_what_the_wire_takes():
    memory = Memory(peer="p")
    one = read_one(
        "MSH|^~\\&|||||||ORU^R01|54|P|2.3.1|",
        "OBX||CE|2|1|10002^**心率过低||||||F|||20261128160000",
        memory=memory,
    )
    messages, _ = compose(one.outcome, sender(), NOW)
    alarm = decode_device_alarm(bodies(messages, "device-alarms")[0])
    assert (alarm.alarm, alarm.phase, alarm.zh, alarm.en) == ("hr_low", "start", "心率过低", "")
    assert json.loads(bodies(messages, "device-alarms")[0])["priority"] == "medium"
