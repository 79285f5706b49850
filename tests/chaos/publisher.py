"""A QoS 1 publisher that keeps its own count: ``python -m tests.chaos.publisher PORT RATE BEDS``.

It sends until the line ``stop`` comes on standard input, and then until everything is acknowledged.
What a broken connection left unacknowledged is sent again, in its order. At the end it prints one
line of JSON: the boot id that is in every message, how many messages were acknowledged, and each
episode of low SpO2 that was sent whole.

Commands on standard input: ``rate N``, ``clock SECONDS`` (the devices' clocks are off by so much),
``stop``.
"""

import json
import select
import socket
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass

from hub import mqtt
from schemas.times import MS

WINDOW = 8_000
TURN_S = 0.005
ALERT_EVERY = 25
"""One bed in so many has episodes of low SpO2."""
CLOSE_S, GOOD_S = 2.0, 6.5
PERIOD_S, LOW_FROM_S, LOW_UNTIL_S = 24.0, 6.0, 16.0
RECONNECT_S = 0.2
QUIET_S = 3.0
"""Without a word on what waits for so long, the line counts as dead."""
GIVE_UP_S = 120.0


class Line:
    """The connection to the broker, made anew when it is lost."""

    def __init__(self, host: str, port: int, name: str, credentials: mqtt.Credentials | None):
        self._to = (host, port)
        self._hello = mqtt.connect(name, clean=True, keepalive_s=60, credentials=credentials)
        self._sock: socket.socket | None = None
        self._receiver = mqtt.Receiver(self._answer)
        self.waiting: OrderedDict[int, bytes] = OrderedDict()
        self.acknowledged = self.reconnected = 0
        self._mid = 0
        self._heard = time.monotonic()
        self._out = bytearray()

    def _answer(self, kind: int, mid: int, _code: int) -> None:
        if kind == mqtt.Kind.PUBACK and self.waiting.pop(mid, None) is not None:
            self.acknowledged += 1

    def put(self, topic: bytes, body: bytes) -> None:
        """Queue a message."""
        while True:
            self._mid = self._mid % 65_535 + 1
            if self._mid not in self.waiting:
                break
        rest = len(topic).to_bytes(2, "big") + topic + self._mid.to_bytes(2, "big") + body
        packet = mqtt.length_field(len(rest)) + rest
        self.waiting[self._mid] = packet
        self._out += b"\x32" + packet

    def turn(self, wait_s: float) -> None:
        """Send and hear for a moment; connect when there is no connection."""
        if self._sock is None and not self._connect():
            time.sleep(RECONNECT_S)
            return
        assert self._sock is not None
        try:
            readable, writable, _ = select.select(
                [self._sock], [self._sock] if self._out else [], [], wait_s
            )
            if writable:
                sent = self._sock.send(self._out[:262_144])
                del self._out[:sent]
            if readable:
                data = self._sock.recv(262_144)
                if not data:
                    raise ConnectionError("closed")
                self._heard = time.monotonic()
                self._receiver.feed(data, 0)
        except OSError:
            self._lose()
        if self.waiting and time.monotonic() - self._heard > QUIET_S + 20:
            self._lose()

    def _connect(self) -> bool:
        try:
            sock = socket.create_connection(self._to, timeout=2)
            sock.settimeout(3)
            sock.sendall(self._hello)
            said = sock.recv(4)
            if len(said) < 4 or said[3]:
                raise ConnectionError("refused")
        except OSError:
            return False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._receiver = mqtt.Receiver(self._answer)
        self._heard = time.monotonic()
        self._out = bytearray(b"".join(b"\x3a" + packet for packet in self.waiting.values()))
        return True

    def _lose(self) -> None:
        self.reconnected += 1
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._out.clear()


def main(port: int, rate: float, beds: int, host: str, user: str, password: str) -> None:
    """Publish until told to stop, then until the broker has all of it."""
    boot = f"chaos{time.time_ns() // MS:x}"
    credentials = mqtt.Credentials(user, password) if user else None
    line = Line(host, port, boot, credentials)
    topics = [f"vigil/v1/chaos-{b % 4}/icu/bed-{b:04}/numerics".encode() for b in range(beds)]
    heads = [f'{{"v":1,"device":"c-{b}","boot":"{boot}","seq":'.encode() for b in range(beds)]
    began = time.time()
    low_times: dict[int, list[Low]] = {b: [] for b in range(0, beds, ALERT_EVERY)}
    clock_s, sent, due, stopping = 0.0, 0, 0.0, False
    last = time.monotonic()
    while not stopping:
        now = time.monotonic()
        due, last = min(due + rate * (now - last), WINDOW), now
        while due >= 1 and len(line.waiting) < WINDOW:
            due -= 1
            bed, seq = sent % beds, sent // beds
            at = time.time()
            low = bed % ALERT_EVERY == 0 and LOW_FROM_S <= (at - began) % PERIOD_S < LOW_UNTIL_S
            stamp = int((at + clock_s) * 1000)
            if bed % ALERT_EVERY == 0:
                note(low_times[bed], at, low=low)
            values = b'"hr":%d,"spo2":%d,"rr":16' % (70 + seq % 5, 70 if low else 97)
            body = b'%b%d,"measured_at":%d,"sent_at":%d,"vitals":{%b}}' % (
                heads[bed],
                seq,
                stamp,
                stamp,
                values,
            )
            line.put(topics[bed], body)
            sent += 1
        line.turn(TURN_S)
        while select.select([sys.stdin], [], [], 0)[0]:
            word, _, value = sys.stdin.readline().strip().partition(" ")
            if word in ("stop", ""):
                stopping = True
                break
            if word == "rate":
                rate = float(value)
            elif word == "clock":
                clock_s = float(value)
    until = time.monotonic() + GIVE_UP_S
    while line.waiting and time.monotonic() < until:
        line.turn(TURN_S)
    result = {
        "boot": boot,
        "beds": beds,
        "sent": sent,
        "acknowledged": line.acknowledged,
        "reconnected": line.reconnected,
        "episodes": [
            [topics[b].decode()[9:-9], low.first, low.last]
            for b, found in low_times.items()
            for low in found
            if low.counts
        ],
    }
    sys.stdout.write(json.dumps(result) + "\n")


@dataclass(slots=True)
class Low:
    """One episode of low SpO2 of a bed, as it was sent. ``after``: the last good one after it."""

    first: float
    last: float
    closest: float = 9.0
    good_from: float = 0.0
    after: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it must alert (two within 3 s) and end (good for five seconds and some)."""
        return self.closest < CLOSE_S and self.is_over

    @property
    def is_over(self) -> bool:
        """Whether good readings have gone on for so long after it that its alert ends."""
        return self.good_from > 0 and self.after - self.good_from > GOOD_S


def note(found: list[Low], at: float, *, low: bool) -> None:
    """Take a reading of an alert bed into its episodes."""
    if low and (not found or found[-1].is_over):
        found.append(Low(at, at))
    elif low:  # also after a silence, or a few good ones: the alert has not ended
        last = found[-1]
        last.closest = min(last.closest, at - last.last)
        last.last, last.good_from, last.after = at, 0.0, 0.0
    elif found:
        found[-1].good_from = found[-1].good_from or at
        found[-1].after = at


if __name__ == "__main__":
    given = [*sys.argv[4:], *("127.0.0.1", "", "")[len(sys.argv[4:]) :]]
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *given)
