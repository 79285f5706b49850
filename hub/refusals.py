"""What the broker itself refuses never reaches intake: read it from the broker's log and count it.

A payload above ``broker.max_payload_bytes`` ends the client's connection; the only trace is a line
of the log. Each becomes a refusal like any other, by client, in ``vigil rejected``.
"""

import asyncio
import re
from pathlib import Path

from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from ingest.rejects import RejectState, drain, reject
from schemas.codec import encode_json
from schemas.topics import REJECTED_TOPIC

PERIOD_S = 1.0
REFUSED = re.compile(
    r'\[ERR\] (?P<address>[\d.:\[\]a-f]+) - mid:\d+ - "(?P<client>[^"]*)" - '
    r"maximum payload exceeded: (?P<size>\d+) vs (?P<limit>\d+)"
)


def count(state: RejectState, lines: str, at_ns: int) -> None:
    """Count the refusals in ``lines`` of the broker's log."""
    for found in REFUSED.finditer(lines):
        reject(
            state,
            device=found["client"] or found["address"],
            reason="refused_by_broker",
            detail=f"payload of {found['size']} bytes; at most {found['limit']}: "
            "raise VIGIL_BROKER__MAX_PAYLOAD_BYTES or send less",
            topic="",
            payload=found.group(0).encode(),
            now_ns=at_ns,
        )


async def watch(url: str, log: Path, stop: asyncio.Event) -> None:
    """Follow the broker's log and publish what it refused, until told to stop."""
    state = RejectState(f"broker-{now_ns():x}")
    position = _size(log)

    async def serve(connection: Connection) -> None:
        nonlocal position
        while True:
            await asyncio.sleep(PERIOD_S)
            size = _size(log)
            position = 0 if size < position else position
            if size > position:
                lines = await asyncio.to_thread(_read, log, position)
                position += len(lines)
                count(state, lines.decode("utf-8", "replace"), now_ns())
                if state.changed:
                    await connection.publish(REJECTED_TOPIC, encode_json(drain(state)))

    await stay_connected(lambda: Connection(url, "vigil-refusals"), serve, stop)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, position: int) -> bytes:
    """Return the whole lines after ``position``."""
    with path.open("rb") as file:
        file.seek(position)
        content = file.read(4_000_000)
    return content[: content.rfind(b"\n") + 1]
