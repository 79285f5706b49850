"""A load of numerics as cheap as Python can send it: ``python -m tests.bench.load PORT RATE ...``.

Messages are those of simulated patients (50 of them, 10 minutes each, one after another), encoded
beforehand; only time and sequence number are fresh. One raw socket, QoS 1, a bounded window. At
the end one line of JSON: sent, acknowledged, boot, and the process's own CPU.
"""

import json
import select
import socket
import sys
import time

import msgspec
import numpy as np

from hub import mqtt
from schemas.times import MS
from simulators.patients import make_patient, readings

PATIENTS, LENGTH_S = 50, 600
WINDOW = 5_000
TURN_S = 0.002
SIX = ("hr", "spo2", "rr", "abp_sys", "abp_dia", "temp")


def fragments(*, six: bool) -> list[list[bytes]]:
    """Return the ``vitals`` object of every second of every patient, as JSON.

    ``six``: always the same six, for a comparison with messages that have these.
    """
    out = []
    for number in range(PATIENTS):
        rng = np.random.default_rng([7, number])
        patient = make_patient("b/icu/x", "stable", rng, arterial_line=True if six else None)
        stream = readings(patient, rng, boot="b", start_ns=0)
        last: dict[str, float] = {}
        pieces = []
        for _ in range(LENGTH_S):
            values = next(stream).values
            last |= values
            chosen = {name: last[name] for name in SIX} if six else values
            pieces.append(msgspec.json.encode(chosen))
        out.append(pieces)
    return out


def main(port: int, rate: float, seconds: float, beds: int, *, six: bool) -> None:
    """Send ``rate`` messages a second (0: as many as are acknowledged) from ``beds`` beds."""
    vitals = fragments(six=six)
    turn_s = min(TURN_S, 1 / rate) if rate else TURN_S
    boot = f"load{time.time_ns() // MS:x}"
    heads = [
        (
            f"vigil/v1/bench-{b % 4}/icu/bed-{b:05}/numerics".encode(),
            f'{{"v":1,"device":"load-{b}","boot":"{boot}","seq":'.encode(),
        )
        for b in range(beds)
    ]
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(mqtt.connect(boot, clean=True, keepalive_s=60))
    line.recv(4)
    acknowledged = 0

    def answer(kind: int, _mid: int, _code: int) -> None:
        nonlocal acknowledged
        acknowledged += kind == mqtt.Kind.PUBACK

    receiver = mqtt.Receiver(answer)
    sent = mid = 0
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < seconds:
        due = int(now * rate) - sent if rate else WINDOW - (sent - acknowledged)
        due = min(due, WINDOW - (sent - acknowledged), 1000)
        if due > 0:
            out = []
            stamp = str(time.time_ns() // MS).encode()
            for _ in range(due):
                bed, seq = sent % beds, sent // beds
                topic, head = heads[bed]
                body = b'%b%d,"measured_at":%b,"sent_at":%b,"vitals":%b}' % (
                    head,
                    seq,
                    stamp,
                    stamp,
                    vitals[bed % PATIENTS][(seq + bed) % LENGTH_S],
                )
                mid = mid % 65_535 + 1
                rest = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + body
                out.append(b"\x32" + mqtt.length_field(len(rest)) + rest)
                sent += 1
            line.sendall(b"".join(out))
        wait = turn_s if rate or due <= 0 else 0
        if select.select([line], [], [], wait)[0]:
            receiver.feed(line.recv(262_144), 0)
    line.settimeout(10)
    lasted = time.perf_counter() - began
    try:
        while acknowledged < sent:
            receiver.feed(line.recv(262_144), 0)
    except TimeoutError:
        pass
    line.sendall(mqtt.DISCONNECT)
    result = {
        "boot": boot,
        "published": sent,
        "acknowledged": acknowledged,
        "rate_per_s": round(sent / lasted),
        "cpu_s": round(time.process_time(), 2),
        "lasted_s": round(lasted, 2),
        "behind_s": round(max(0.0, seconds - sent / rate), 2) if rate else 0.0,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    port, rate, seconds, beds = sys.argv[1:5]
    main(int(port), float(rate), float(seconds), int(beds), six=sys.argv[5:] == ["six"])
