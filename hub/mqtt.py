"""MQTT 3.1.1 as bytes, for a client that sends and receives at QoS 1 (OASIS standard, 2014). Pure.

Only what the hub speaks: CONNECT, SUBSCRIBE, PUBLISH both ways, PUBACK both ways, PING, DISCONNECT.
The receiving half is one tight loop, because every reading of every bed passes through it
(docs/decisions/0003-mqtt-client.md has the measurement that led here).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from msgspec import Struct

from schemas.errors import BrokerError

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x82
PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
QOS_1, RETAIN, DUP = 0x02, 0x01, 0x08
MAX_LENGTH = 268_435_455
TOPICS_CACHED = 50_000

REFUSALS = {
    1: "unacceptable protocol version",
    2: "client identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorised",
}
"""Return codes of CONNACK (section 3.2.2.3)."""


class Kind(IntEnum):
    """The packets that a server sends, by the high half of their first byte."""

    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBACK = 9
    PINGRESP = 13


class Envelope(Struct, gc=False):
    """One message as it arrived. ``mid`` acknowledges it; 0: it needs none (QoS 0).

    ``again``: the broker says that it has sent it before (DUP).
    """

    topic: str
    payload: bytes
    received_ns: int
    mid: int
    retain: bool
    again: bool = False


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def length_field(number: int) -> bytes:
    """Return the remaining-length field (section 2.2.3).

    >>> length_field(321).hex()
    'c102'
    """
    if number > MAX_LENGTH:
        raise BrokerError(f"a packet of {number} bytes is beyond what MQTT can carry")
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password of a connection."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this client is lost."""

    topic: str
    payload: bytes


def connect(
    client_id: str,
    *,
    clean: bool,
    keepalive_s: int,
    credentials: Credentials | None = None,
    will: Will | None = None,
) -> bytes:
    """Return a CONNECT packet."""
    flags = 0x02 if clean else 0
    tail = _string(client_id)
    if will is not None:
        flags |= 0x04 | 0x08 | 0x20  # a will, at QoS 1, retained
        tail += _string(will.topic) + len(will.payload).to_bytes(2, "big") + will.payload
    if credentials is not None:
        flags |= 0xC0
        tail += _string(credentials.username) + _string(credentials.password)
    body = _string("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2, "big") + tail
    return bytes((CONNECT,)) + length_field(len(body)) + body


def subscribe(mid: int, topic_filter: str, qos: int) -> bytes:
    """Return a SUBSCRIBE packet for one filter at QoS 0 or 1."""
    body = mid.to_bytes(2, "big") + _string(topic_filter) + bytes((qos,))
    return bytes((SUBSCRIBE,)) + length_field(len(body)) + body


def unsubscribe(mid: int, topic_filter: str) -> bytes:
    """Return an UNSUBSCRIBE packet for one filter."""
    body = mid.to_bytes(2, "big") + _string(topic_filter)
    return b"\xa2" + length_field(len(body)) + body


def publish(topic: str, payload: bytes, mid: int, *, retain: bool) -> bytes:
    """Return a PUBLISH packet at QoS 1."""
    head = _string(topic) + mid.to_bytes(2, "big")
    first = PUBLISH | QOS_1 | (RETAIN if retain else 0)
    return bytes((first,)) + length_field(len(head) + len(payload)) + head + payload


def puback(mids: list[int]) -> bytes:
    """Return the PUBACK packets of ``mids``, one after another."""
    return b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids if mid])


@dataclass(slots=True)
class Receiver:
    """Bytes from the server to messages and answers. Feed it whatever arrives, cut anywhere.

    Messages of one read are a microsecond apart, so that their order can be told from their times.

    ``answer`` is called for every packet that is not a message: its kind, its packet identifier
    (0 if it has none) and its code. A malformed packet raises BrokerError: the connection is over.
    """

    answer: Callable[[int, int, int], None]
    _rest: bytes = b""
    _topics: dict[bytes, str] = field(default_factory=dict)

    def feed(self, data: bytes, received_ns: int) -> list[Envelope]:
        """Return the messages that ``data`` completes."""
        try:
            return self._feed(self._rest + data if self._rest else data, received_ns)
        except IndexError:
            raise BrokerError("the broker sent a packet shorter than its content") from None

    def _feed(self, data: bytes, received_ns: int) -> list[Envelope]:
        out: list[Envelope] = []
        append, topics = out.append, self._topics
        at, end = 0, len(data)
        while end - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length > 127:
                found = _read_length(data, at + 1)
                if found is None:
                    break
                length, start = found
            after = start + length
            if after > end:
                break
            if first >> 4 == Kind.PUBLISH:
                body = start + 2 + (data[start] << 8 | data[start + 1])
                raw = data[start + 2 : body]
                mid = 0
                if first & 0x06:
                    mid = data[body] << 8 | data[body + 1]
                    body += 2
                if body > after:
                    raise BrokerError("the broker sent a malformed message")
                topic = topics.get(raw)
                if topic is None:
                    topic = self._remember(raw)
                flags = bool(first & RETAIN), bool(first & DUP)
                append(Envelope(topic, data[body:after], received_ns, mid, *flags))
                received_ns += 1000
            else:
                self._answer(first >> 4, data[start:after])
            at = after
        self._rest = data[at:]
        return out

    def _remember(self, raw: bytes) -> str:
        """Return a topic as text; one that is not UTF-8 as its repr, which no grammar accepts."""
        try:
            topic = raw.decode()
        except UnicodeDecodeError:
            return repr(raw)
        if len(self._topics) >= TOPICS_CACHED:
            self._topics.clear()
        self._topics[raw] = topic
        return topic

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == Kind.CONNACK and len(body) == 2:
            self.answer(kind, 0, body[1])
        elif kind in (Kind.PUBACK, Kind.SUBACK) and len(body) >= 2:
            code = body[2] if len(body) > 2 else 0
            self.answer(kind, int.from_bytes(body[:2], "big"), code)
        else:
            self.answer(kind, 0, 0)


def _read_length(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the remaining length that starts at ``at`` and where it ends; None: more is needed."""
    length = 0
    for i in range(4):
        if at + i >= len(data):
            return None
        byte = data[at + i]
        length |= (byte & 127) << 7 * i
        if byte < 128:
            return length, at + i + 1
    raise BrokerError("the broker sent a packet length of more than four bytes")
