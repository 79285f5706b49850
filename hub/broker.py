"""The broker as the services see it: envelopes in, acknowledged by us; publishes that are stored.

The only module that knows how the broker is spoken to; the bytes are ``hub.mqtt``'s. Acknowledge a
message only when what was made of it is safe: until then the broker keeps it and sends it again.

Back-pressure: the broker stops sending at ``max_ack_pending`` unacknowledged messages, so the
inbox cannot grow past that. ``publish`` waits for the broker's acknowledgement.
"""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Self, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog

from hub import mqtt
from hub.clock import now_ns
from hub.mqtt import Credentials, Envelope, Kind, Will
from schemas.errors import BrokerError

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 30
PING_S = 10.0
BACKOFF_MAX_S = 5.0
GOODBYE_S = 1.0
MAX_OUTSTANDING = 60_000
"""Publishes without an acknowledgement: packet identifiers have 16 bits."""


def _tls(files: dict[str, str]) -> ssl.SSLContext:
    """Return what a secure connection checks (``ca``) and shows (``cert``, ``key``)."""
    context = ssl.create_default_context(cafile=files.get("ca"))
    if "cert" in files:
        context.load_cert_chain(files["cert"], files.get("key"))
    return context


class Connection(asyncio.Protocol):
    """One connection to the broker: an async context manager, good until the broker is lost.

    With ``durable`` the broker keeps the session: what arrives while we are away waits there.
    ``gather_s``: after a read, wait this long for more before the next. At thousands of small
    messages a second, waking up for each costs more than all that is made of it.
    ``congestion``: TCP's way of finding the line's speed ("bbr"), where the kernel has it.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        filters: tuple[str, ...] = (),
        durable: bool = False,
        will: Will | None = None,
        gather_s: float = 0.0,
        congestion: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "mqtts"
        self._tls = dict(parse_qsl(parts.query))
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (8883 if self._secure else 1883)
        self._filters = filters
        self._gather_s = gather_s
        self._congestion = congestion
        credentials = None
        if parts.username:
            credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
        self._hello = mqtt.connect(
            client_id,
            clean=not durable,
            keepalive_s=KEEPALIVE_S,
            credentials=credentials,
            will=will,
        )
        self._receiver = mqtt.Receiver(self._on_answer)
        self._inbox: list[Envelope] = []
        self._outgoing: list[bytes] = []
        self._arrived = asyncio.Event()
        self._lost: str | None = None
        self._mid = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._connected: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._heard = True
        self._gone = asyncio.Event()
        self._last_ns = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._connected = loop.create_future()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(
                    lambda: self,
                    self._host,
                    self._port,
                    ssl=_tls(self._tls) if self._secure else None,
                )
                await self._connected
                self._pinging = loop.create_task(self._ping(), name="mqtt-ping")
                for topic_filter in self._filters:
                    await self.subscribe(topic_filter)
        except (OSError, TimeoutError, BrokerError) as error:
            await self._close()
            raise BrokerError(
                f"broker {self._host}:{self._port}: {error or type(error).__name__}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
        if self._transport is not None and self._lost is None:
            self._write(mqtt.DISCONNECT)
            self._flush()
            self._transport.close()  # what is queued still leaves
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await self._gone.wait()
            except TimeoutError:
                self._transport.abort()
        self._fail("closed")

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe and wait until the broker has agreed; BrokerError when it refuses.

        At QoS 0 nothing is kept for us and nothing is acknowledged: for what is worth nothing late.
        """
        mid = self._next_mid()
        done = self._waiting[mid] = self._loop.create_future()
        self._write(mqtt.subscribe(mid, topic_filter, qos))
        await done

    def unsubscribe(self, topic_filter: str) -> None:
        """End a subscription. Nothing waits for it: a message too many harms nobody."""
        if self._lost is None:
            self._write(mqtt.unsubscribe(self._next_mid(), topic_filter))

    async def batches(self) -> AsyncIterator[list[Envelope]]:
        """Yield what has arrived since the last turn, until the broker is lost (BrokerError)."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._inbox:
                batch, self._inbox = self._inbox, []
                yield batch
            if self._lost is not None:
                raise BrokerError(f"broker lost: {self._lost}")

    def ack(self, mids: list[int]) -> None:
        """Tell the broker that these messages are safe. After a loss it will send them again."""
        if self._lost is None and mids:
            self._write(mqtt.puback(mids))

    def publish_soon(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
    ) -> asyncio.Future[None]:
        """Publish at QoS 1; the future is done when the broker has stored the message."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._lost is not None:
            done.set_exception(BrokerError(f"broker lost: {self._lost}"))
            return done
        if len(self._waiting) >= MAX_OUTSTANDING:
            done.set_exception(
                BrokerError(f"{MAX_OUTSTANDING} messages wait for the broker's word; wait for it")
            )
            return done
        mid = self._next_mid()
        self._waiting[mid] = done
        self._write(mqtt.publish(topic, payload, mid, retain=retain))
        return done

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until the broker has stored the message."""
        await self.publish_soon(topic, payload, retain=retain)

    def _next_mid(self) -> int:
        mid = self._mid
        while True:
            mid = mid % 65_535 + 1
            if mid not in self._waiting:
                self._mid = mid
                return mid

    def _write(self, packet: bytes) -> None:
        """Queue a packet; all that is queued in one turn of the loop leaves together."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(packet)

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and self._lost is None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    async def _ping(self) -> None:
        """Give and ask for a sign of life; when nothing comes back the broker is lost."""
        while True:
            await asyncio.sleep(PING_S)
            self._heard = False
            self._write(mqtt.PINGREQ)
            await asyncio.sleep(PING_S)
            if not self._heard:
                self._abort("no answer to a ping")
                return

    def _abort(self, reason: str) -> None:
        self._fail(reason)
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        error = BrokerError(f"broker lost: {self._lost}")
        waiting = [*self._waiting.values()]
        if self._connected is not None:
            waiting.append(self._connected)
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # those who wait see it; nobody else needs to hear
        self._waiting.clear()
        self._arrived.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello: called by asyncio when the line is open."""
        self._transport = line = cast("asyncio.Transport", transport)
        sock = line.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._congestion is not None:
                with suppress(OSError, AttributeError):  # where the kernel has it
                    name = self._congestion.encode()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        line.write(self._hello)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived: called by asyncio."""
        self._heard = True
        try:
            # To the microsecond, as it is stored, and never the same time twice: a replay decides
            # from the same numbers in the same order.
            at_ns = max(now_ns() // 1000 * 1000, self._last_ns + 1000)
            arrived = self._receiver.feed(data, at_ns)
        except BrokerError as error:
            self._abort(str(error))
            return
        if arrived:
            self._last_ns = arrived[-1].received_ns
            self._inbox += arrived
            self._arrived.set()
            if self._gather_s and self._transport is not None:
                self._transport.pause_reading()
                self._loop.call_later(self._gather_s, self._read_on)

    def _read_on(self) -> None:
        if self._lost is None and self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the line is gone: called by asyncio."""
        self._gone.set()
        self._fail(str(error or "the broker closed the connection"))

    def _on_answer(self, kind: int, mid: int, code: int) -> None:
        if kind == Kind.CONNACK and self._connected is not None and not self._connected.done():
            if code:
                why = mqtt.REFUSALS.get(code, f"code {code}")
                self._connected.set_exception(BrokerError(f"connection refused: {why}"))
            else:
                self._connected.set_result(None)
            return
        done = self._waiting.pop(mid, None)
        if done is None or done.done():
            return
        if kind == Kind.SUBACK and code & 0x80:
            done.set_exception(BrokerError("subscription refused"))
        else:
            done.set_result(None)


async def stay_connected(
    connect: Callable[[], Connection],
    serve: Callable[[Connection], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """Run ``serve`` on a connection, and again on a new one each time the broker is lost.

    ``serve`` says that the broker is gone by raising BrokerError, alone or in a group; when it
    returns, or ``stop`` is set, this returns. One log line when lost and one when back.
    """
    attempt = 0
    while True:
        try:
            async with connect() as connection:
                if attempt:
                    log.info("broker_regained", attempts=attempt)
                attempt = 0
                await serve(connection)
                return
        except* BrokerError as group:
            if attempt == 0:
                log.warning("broker_lost", reason=str(group.exceptions[0]))
        attempt += 1
        try:
            async with asyncio.timeout(random.uniform(0, min(BACKOFF_MAX_S, 0.2 * 2**attempt))):  # noqa: S311
                await stop.wait()
        except TimeoutError:
            continue
        return
