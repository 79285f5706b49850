"""What the broker itself refuses never reaches intake: read it from the broker's log and count it.

A payload above ``broker.max_payload_bytes`` ends the client's connection; a publish that a
credential may not make is acknowledged and dropped. The only trace is a line of the log. Each
becomes a refusal like any other, by client, in ``vigil rejected``.
"""

import asyncio
import re
from pathlib import Path

from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from ingest.rejects import RejectState, drain, put_back, reject
from schemas.codec import encode_json
from schemas.errors import BrokerError
from schemas.topics import REJECTED_TOPIC

PERIOD_S = 1.0
_HEAD = r'\[ERR\] (?P<address>[\d.:\[\]a-f]+) - mid:\d+ - "(?P<client>[^"]*)" - '
FORBIDDEN = re.compile(
    _HEAD + r"(?P<what>Publish|Subscription) Violation - "
    r'(?:User "(?P<user>[^"]*)", )?Subject "(?P<subject>[^"]*)"'
)
STRANGER = re.compile(_HEAD + r'authentication error(?: - User "(?P<user>[^"]*)")?')
REFUSED = re.compile(_HEAD + r"maximum payload exceeded: (?P<size>\d+) vs (?P<limit>\d+)")


def count(state: RejectState, lines: str, at_ns: int) -> None:
    """Count the refusals in ``lines`` of the broker's log."""
    for found in REFUSED.finditer(lines):
        detail = (
            f"payload of {found['size']} bytes; at most {found['limit']}: "
            "raise VIGIL_BROKER__MAX_PAYLOAD_BYTES or send less"
        )
        _count(state, found, "refused_by_broker", detail, at_ns)
    for found in FORBIDDEN.finditer(lines):
        verb = "publish on" if found["what"] == "Publish" else "hear"
        topic = found["subject"].replace(".", "/")
        detail = f"its credential may not {verb} {topic}: see `vigil credential list`"
        _count(state, found, "forbidden_topic", detail, at_ns, topic)
    for found in STRANGER.finditer(lines):
        detail = f"signed in as {found['user'] or 'nobody'!r}: no such credential"
        _count(state, found, "wrong_credential", detail, at_ns)


def _count(
    state: RejectState, found: re.Match[str], reason: str, detail: str, at_ns: int, topic: str = ""
) -> None:
    reject(
        state,
        device=found["client"] or found["address"],
        reason=reason,
        detail=detail,
        topic=topic,
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
                kinds = drain(state)
                try:
                    await connection.publish(REJECTED_TOPIC, encode_json(kinds))
                except BrokerError:
                    put_back(state, kinds)
                    raise

    await stay_connected(lambda: Connection(url, "vigil-refusals"), serve, stop)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, position: int) -> bytes:
    """Return the whole lines after ``position``."""
    with path.open("rb") as file:
        file.seek(position)
        content = file.read(4_000_000)
    return content[: content.rfind(b"\n") + 1]
