"""The connection to the broker: refused, lost, silent; what waits is told."""

import asyncio
import os
import signal

import pytest

from hub import broker as broker_module
from hub.broker import Connection, stay_connected
from schemas.errors import BrokerError
from tests.support.hub import free_port


async def test_no_broker_is_an_error_that_names_the_address():
    port = free_port()
    with pytest.raises(BrokerError, match=f"127.0.0.1:{port}"):
        async with Connection(f"mqtt://127.0.0.1:{port}", "nobody"):
            pass


async def test_what_was_published_comes_back_and_large_messages_too(hub):
    url = hub.settings.broker_address
    payload = os.urandom(900_000)
    async with Connection(url, "echo", filters=("vigil/v1/hub/echo",)) as connection:
        await connection.publish("vigil/v1/hub/echo", payload)
        await connection.publish("vigil/v1/hub/echo", b"")
        found = []
        async for envelopes in connection.batches():
            found += envelopes
            connection.ack([envelope.mid for envelope in envelopes])
            if len(found) == 2:
                break
    assert [e.payload for e in found] == [payload, b""]


async def test_a_durable_session_keeps_what_was_not_acknowledged(hub):
    url = hub.settings.broker_address
    topic = "vigil/v1/hub/kept"

    first, rest = {b"0", b"1"}, {b"2", b"3", b"4"}

    async def receive(until, done):
        """Return what came until all of ``until`` had; acknowledge what is in ``done``."""
        got = set()
        async with Connection(url, "keeper", filters=(topic,), durable=True) as connection:
            async for envelopes in connection.batches():
                connection.ack([e.mid for e in envelopes if e.payload in done])
                got |= {e.payload for e in envelopes}
                if until <= got:
                    break
            await asyncio.sleep(0.5)  # an acknowledgement may be lost with a socket that closes
        return got

    async with Connection(url, "keeper", filters=(topic,), durable=True):
        pass
    async with Connection(url, "sender") as sender:
        for number in range(5):
            await sender.publish(topic, str(number).encode())
    async with asyncio.timeout(60):
        assert await receive(first | rest, first) == first | rest
        while await receive(rest, first) != rest:  # one that was lost makes it come again
            pass
        assert await receive(rest, rest) == rest


async def test_a_broker_that_falls_silent_is_lost_and_found_again(hub, monkeypatch):
    monkeypatch.setattr(broker_module, "PING_S", 0.3)
    stop, lost = asyncio.Event(), asyncio.Event()
    serving = asyncio.Event()

    async def serve(connection):
        serving.set()
        try:
            async for _ in connection.batches():
                pass
        finally:
            lost.set()

    url = hub.settings.broker_address
    staying = asyncio.create_task(stay_connected(lambda: Connection(url, "patient"), serve, stop))
    await serving.wait()
    await asyncio.sleep(1.5)
    assert not lost.is_set()  # pings are answered
    [broker] = hub.pids("broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            await lost.wait()
    finally:
        serving.clear()
        os.kill(broker, signal.SIGCONT)
    async with asyncio.timeout(15):
        await serving.wait()
    stop.set()
    staying.cancel()
    await asyncio.gather(staying, return_exceptions=True)
