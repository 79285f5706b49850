"""What an edge sends, in which order, and what it keeps until the hub has it."""

import asyncio

import pytest
from msgspec.structs import replace

from hub.mqtt import Envelope
from ingest.forwarder import AlertLane, Lanes, Live, Newest, Register, Spool
from schemas.alerts import EventKind
from schemas.codec import decode_alert, encode_json
from tests.fuzz.decoders import TARGETS

TOPIC = "vigil/v1/kaihua/icu/bed-01/alerts/a1"
WAVES = "vigil/v1/kaihua/icu/bed-01/waves/ecg-ii"
JUDGED = "vigil/v1/kaihua/judged"


class Broker:
    """Both ends of a line: what was published, what was acknowledged."""

    def __init__(self):
        self.sent, self.words, self.acknowledged = [], [], []

    def publish_soon(self, topic, payload, *, retain=False):
        self.sent.append((topic, payload, retain))
        self.words.append(asyncio.get_running_loop().create_future())
        return self.words[-1]

    def ack(self, mids):
        self.acknowledged += mids

    async def answer(self, *numbers):
        """Have the hub take messages: those of these numbers, or all."""
        for number in numbers or range(len(self.words)):
            if not self.words[number].done():
                self.words[number].set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)


def envelope(mid, payload, topic=JUDGED, *, again=False, retain=False):
    return Envelope(topic, payload, 0, mid, retain, again)


async def feed(edge, spool, *envelopes):
    """Give a lane what its edge has."""

    async def batches():
        yield list(envelopes)

    edge.batches = batches
    await spool.run()


def spool(edge, hub, register=None, window=1000, **more):
    return Spool(edge, Lanes([hub], register or Register()), window, **more)


def alert_spool(edge, hub, newest):
    return Spool(edge, AlertLane(hub, newest), 10_000)


@pytest.mark.asyncio
async def test_what_the_hub_has_is_acknowledged_and_nothing_else():
    edge, hub = Broker(), Broker()
    one = spool(edge, hub)
    await feed(edge, one, envelope(1, b"a"), envelope(2, b"b"))
    await hub.answer(1)
    assert (edge.acknowledged, one.waiting) == ([2], 1)
    await hub.answer()
    assert (edge.acknowledged, one.waiting) == ([2, 1], 0)


@pytest.mark.asyncio
async def test_what_the_live_lane_has_sent_is_ticked_off():
    edge, hub, register = Broker(), Broker(), Register()
    live = Live(edge, hub, register)
    await feed(edge, live, envelope(0, b"a"))
    one = spool(edge, hub, register)
    await feed(edge, one, envelope(1, b"a"), envelope(2, b"b"))
    assert [payload for _, payload, _ in hub.sent] == [b"a", b"b"]
    assert edge.acknowledged == [0]  # the live one; the journal's not before the hub has it
    await hub.answer()
    assert sorted(edge.acknowledged) == [0, 1, 2]


@pytest.mark.asyncio
async def test_what_the_broker_says_again_while_it_waits_is_sent_once():
    edge, hub = Broker(), Broker()
    one = spool(edge, hub)
    await feed(edge, one, envelope(1, b"a"))
    await feed(edge, one, envelope(1, b"a", again=True))
    assert len(hub.sent) == 1
    await hub.answer()
    await feed(edge, one, envelope(1, b"c"))  # the number is used for another message
    await hub.answer()
    assert [payload for _, payload, _ in hub.sent] == [b"a", b"c"]
    assert (edge.acknowledged, one.waiting) == ([1, 1], 0)


@pytest.mark.asyncio
async def test_the_window_bounds_what_is_on_its_way():
    edge, hub = Broker(), Broker()
    one = spool(edge, hub, window=10)
    await feed(edge, one, *(envelope(n, bytes([n]) * 6) for n in range(1, 6)))
    assert len(hub.sent) == 2
    await hub.answer(0)
    assert len(hub.sent) == 3
    while one.waiting:
        await hub.answer()
    assert [payload[0] for _, payload, _ in hub.sent] == [1, 2, 3, 4, 5]  # in their order


@pytest.mark.asyncio
async def test_waveforms_wait_while_numerics_of_before_do():
    edge, hub, register = Broker(), Broker(), Register()
    numerics = spool(edge, hub, register, window=5)
    waves = spool(edge, hub, register, after=numerics)
    await feed(edge, numerics, *(envelope(n, bytes([n]) * 6) for n in range(1, 4)))
    await feed(edge, waves, envelope(9, b"w", WAVES))
    assert WAVES not in [topic for topic, _, _ in hub.sent]
    while numerics.waiting or waves.waiting:
        await hub.answer()
    assert [topic for topic, _, _ in hub.sent] == [JUDGED, JUDGED, JUDGED, WAVES]


def event(kind, published):
    _, [good] = TARGETS["alert"]
    first = decode_alert(good)
    stages = replace(first.stages, published_ns=published)
    return encode_json(replace(first, kind=kind, event=f"{kind}{published}", stages=stages))


def kept(hub):
    """Return what the hub's broker keeps for who comes later: the last retained message."""
    last = None
    for _, payload, retain in hub.sent:
        if retain:
            last = payload or None
    return last


@pytest.mark.asyncio
async def test_an_ended_alert_stays_ended_when_its_beginning_comes_again():
    edge, hub, newest = Broker(), Broker(), Newest()
    fired, resolved = event(EventKind.FIRED, 1), event(EventKind.RESOLVED, 2)
    first = alert_spool(edge, hub, newest)
    await feed(edge, first, envelope(1, fired, TOPIC))
    assert kept(hub) == fired
    after = alert_spool(edge, hub, newest)  # the line was lost and is back
    await feed(edge, after, envelope(2, resolved, TOPIC), envelope(3, b"", TOPIC))
    await feed(edge, after, envelope(1, fired, TOPIC, again=True))
    assert kept(hub) is None
    assert [p for _, p, _ in hub.sent if p][-1] == resolved  # the last that screens hear
    await hub.answer()
    assert set(edge.acknowledged) == {1, 2, 3}


@pytest.mark.asyncio
async def test_a_copy_of_the_newest_that_overtakes_stays_the_newest():
    edge, hub = Broker(), Broker()
    fired, raised = event(EventKind.FIRED, 1), event(EventKind.RAISED, 3)
    one = alert_spool(edge, hub, Newest())
    copy = envelope(1, raised, TOPIC, retain=True)
    await feed(edge, one, copy, envelope(2, fired, TOPIC), envelope(3, raised, TOPIC))
    assert kept(hub) == raised
    assert [p for _, p, _ in hub.sent][-1] == raised
    assert fired in [p for _, p, _ in hub.sent]  # for the ledger


@pytest.mark.asyncio
async def test_an_alert_that_is_announced_anew_is_taken_back_anew():
    edge, hub = Broker(), Broker()
    one = alert_spool(edge, hub, Newest())
    story = [event(EventKind.FIRED, 1), event(EventKind.RESOLVED, 2), b""]
    again = [event(EventKind.FIRED, 11), event(EventKind.RESOLVED, 12), b""]
    await feed(edge, one, *(envelope(n, p, TOPIC) for n, p in enumerate([*story, *again], 1)))
    assert kept(hub) is None
    await hub.answer()
    assert sorted(edge.acknowledged) == [1, 2, 3, 4, 5, 6]
