"""A weak line as a process: ``python -m tests.support.weak_line MBIT DELAY_MS LOSS_PERCENT``.

Two network devices of this machine's own, one in a namespace, and this process between them, which
delays, drops and queues every packet as a narrow, long, lossy line does (the kernel's own emulator
is not in every kernel). Needs root and ``ip``. On standard input: ``cut``, ``mend``; its end is the
line's end. It says ``ready`` when the line is there. Nothing leaves the machine.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

SPACE, NEAR, FAR = "vigil-edge", "vigil-near", "vigil-far"
NEAR_IP, FAR_IP = "10.77.31.1", "10.77.31.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1400
QUEUE_BYTES = 400_000
INSIDE = ("ip", "netns", "exec", SPACE)


def ip(*arguments: str, check: bool = True) -> None:
    """Run a command that sets up the network."""
    subprocess.run(arguments, check=check, capture_output=True)


def _open(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def remove() -> None:
    """Take the namespace away, if it is there."""
    ip("ip", "netns", "del", SPACE, check=False)


def _set_up() -> tuple[int, int]:
    """Make the devices and the namespace; return what is read and written."""
    remove()
    ip("ip", "netns", "add", SPACE)
    near, far = _open(NEAR), _open(FAR)
    ip("ip", "link", "set", FAR, "netns", SPACE)
    for where, name, own, other in (((), NEAR, NEAR_IP, FAR_IP), (INSIDE, FAR, FAR_IP, NEAR_IP)):
        ip(*where, "ip", "addr", "add", own, "peer", other, "dev", name)
        ip(*where, "ip", "link", "set", name, "mtu", str(MTU), "up")
    ip(*INSIDE, "ip", "link", "set", "lo", "up")
    return near, far


def main(  # noqa: C901 - one loop, one line
    mbit: float, delay_ms: float, loss_percent: float
) -> None:
    """Carry packets until standard input ends."""
    near, far = _set_up()
    to = {near: far, far: near}
    free_at = {near: 0.0, far: 0.0}
    per_byte, delay, loss = 8 / (mbit * 1e6), delay_ms / 1000, loss_percent / 100
    rng = random.Random(1)
    under_way: list[tuple[float, int, int, bytes]] = []
    number, is_open = 0, True
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        now = time.monotonic()
        wait = max(0.0, under_way[0][0] - now) if under_way else 0.5
        for ready in select.select([near, far, sys.stdin], [], [], wait)[0]:
            if ready is sys.stdin:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                is_open = word != "cut"
                continue
            for _ in range(64):
                try:
                    packet = os.read(ready, 2048)
                except BlockingIOError:
                    break
                now = time.monotonic()
                begins = max(now, free_at[ready])
                if not is_open or (begins - now) / per_byte > QUEUE_BYTES:
                    continue
                free_at[ready] = begins + len(packet) * per_byte
                if rng.random() >= loss:
                    number += 1
                    heapq.heappush(under_way, (free_at[ready] + delay, number, to[ready], packet))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, device, packet = heapq.heappop(under_way)
            try:
                os.write(device, packet)
            except OSError:
                continue  # the device's own queue is full: lost, as on any line


if __name__ == "__main__":
    try:
        main(*(float(value) for value in sys.argv[1:4]))
    finally:
        remove()
