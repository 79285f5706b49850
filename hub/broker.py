"""The broker as the services see it: envelopes in, acknowledged by us; publishes that are stored.

The only module that knows an MQTT client. paho-mqtt drives the protocol on our event loop, because
its manual acknowledgement is public (docs/decisions/0003-mqtt-client.md). Acknowledge a message
only when what was made of it is safe: until then the broker keeps it and sends it again.

Back-pressure: the broker stops sending at ``max_ack_pending`` unacknowledged messages, so the
inbox cannot grow past that. ``publish`` waits for the broker's acknowledgement.
"""

import asyncio
import random
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from hub.clock import now_ns
from schemas.errors import BrokerError

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 30
READS_A_TURN = 256
BACKOFF_MAX_S = 5.0


@dataclass(slots=True)
class Envelope:
    """One message as it arrived. ``mid`` acknowledges it."""

    topic: str
    payload: bytes
    received_ns: int
    mid: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this client is lost."""

    topic: str
    payload: bytes


class Connection:
    """One connection to the broker: an async context manager, good until the broker is lost.

    With ``durable`` the broker keeps the session: what arrives while we are away waits there.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        filters: tuple[str, ...] = (),
        durable: bool = False,
        will: Will | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 1883
        self._filters = filters
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not durable
        )
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._client.manual_ack_set(True)
        self._client.max_inflight_messages_set(0)
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect
        self._client.on_socket_open = self._on_socket_open
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_register_write
        self._client.on_socket_unregister_write = self._on_unregister_write
        self._inbox: list[Envelope] = []
        self._arrived = asyncio.Event()
        self._lost: str | None = None
        self._stored: dict[int, asyncio.Future[None]] = {}
        self._connected: asyncio.Future[None] | None = None
        self._subscribed: dict[int, asyncio.Future[None]] = {}
        self._misc: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._connected = loop.create_future()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._client.connect_timeout = CONNECT_TIMEOUT_S
                self._client.connect(self._host, self._port, keepalive=KEEPALIVE_S)
                await self._connected
                self._misc = loop.create_task(self._keep_alive(), name="mqtt-keepalive")
                for topic_filter in self._filters:
                    await self._subscribe(topic_filter)
        except (OSError, TimeoutError, BrokerError) as error:
            await self._close()
            raise BrokerError(
                f"broker {self._host}:{self._port}: {error or type(error).__name__}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._misc is not None:
            self._misc.cancel()
            await asyncio.gather(self._misc, return_exceptions=True)
        await self._drain_writes()
        self._client.disconnect()
        await self._drain_writes()
        self._fail("closed")

    async def _drain_writes(self) -> None:
        """Give what is queued (acknowledgements, the goodbye) a second to leave."""
        for _ in range(100):
            if self._lost is not None or not self._client.want_write():
                return
            self._client.loop_write()
            await asyncio.sleep(0.01)

    async def _subscribe(self, topic_filter: str) -> None:
        code, mid = self._client.subscribe(topic_filter, qos=1)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise BrokerError(f"subscription to {topic_filter} failed: {code}")
        done = self._subscribed[mid] = self._loop.create_future()
        await done

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
        for mid in mids:
            self._client.ack(mid, 1)

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
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            done.set_exception(BrokerError(f"publish on {topic} failed: {info.rc}"))
            return done
        self._stored[info.mid] = done
        return done

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until the broker has stored the message."""
        await self.publish_soon(topic, payload, retain=retain)

    async def _keep_alive(self) -> None:
        while self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:  # noqa: ASYNC110
            await asyncio.sleep(1)  # paho wants to be asked about once a second

    def _fail(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        error = BrokerError(f"broker lost: {self._lost}")
        waiting = [*self._stored.values(), *self._subscribed.values()]
        if self._connected is not None:
            waiting.append(self._connected)
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # those who wait see it; nobody else needs to hear
        self._stored.clear()
        self._subscribed.clear()
        self._arrived.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = repr(message._topic)  # noqa: SLF001 - the only way to an invalid topic
        self._inbox.append(
            Envelope(topic, bytes(message.payload), now_ns(), message.mid, message.retain)
        )
        self._arrived.set()

    def _on_connect(self, _c: Client, _d: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
        if self._connected is None or self._connected.done():
            return
        if code.is_failure:
            self._connected.set_exception(BrokerError(f"connection refused: {code}"))
        else:
            self._connected.set_result(None)

    def _on_subscribe(self, _c: Client, _d: Any, mid: int, codes: Any, _p: Any) -> None:
        done = self._subscribed.pop(mid, None)
        if done is not None and not done.done():
            if codes[0].is_failure:
                done.set_exception(BrokerError(f"subscription refused: {codes[0]}"))
            else:
                done.set_result(None)

    def _on_publish(self, _c: Client, _d: Any, mid: int, _code: ReasonCode, _p: Any) -> None:
        done = self._stored.pop(mid, None)
        if done is not None and not done.done():
            done.set_result(None)

    def _on_disconnect(self, _c: Client, _d: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
        self._fail(str(code))

    def _on_socket_open(self, _c: Client, _d: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        """Take all that the socket holds, bounded, so that one turn of the loop serves many."""
        for _ in range(READS_A_TURN):
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            if self._lost is not None or not self._poll.poll(0):
                return

    def _on_socket_close(self, _c: Client, _d: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_register_write(self, _c: Client, _d: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self._client.loop_write)

    def _on_unregister_write(self, _c: Client, _d: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)


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
