"""The audit: who did, saw, changed, exported what and when. Append-only, hash-chained.

A line is first written to a small journal on disk, so that neither a kill nor a database that is
away loses it; one process moves the journal into the table. There each line carries a seal: an HMAC
over the seal before it and the line itself, with a key outside the database. The newest seal is
also kept in a file, so that lines cut off at the end are missed too.
"""

import hmac
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import orjson
import structlog
from msgspec import Struct, json
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from hub import secret_files
from hub.clock import now_ns
from hub.database import query
from hub.reads import Row, fetch
from schemas.errors import StoreError
from schemas.times import from_datetime, to_datetime

log = structlog.get_logger()

KEY_FILE = "audit.key"
HEAD_FILE = "audit.head"
LOCK = 7_470_131
BATCH = 500
NUMBER_MOST = 2**53
WAITING_BOUND = 500_000
"""Lines that may wait for a database; beyond, the newest are refused, counted and logged."""
BEGIN = bytes(32)


class Entry(Struct, frozen=True):
    """One line: at when (ns), who in which role did what to what, with which outcome.

    No name of a patient, no text that people wrote: ``detail`` holds identifiers and numbers.
    """

    at_ns: int
    who: str
    role: str
    what: str
    object: str = ""
    outcome: str = "ok"
    address: str = ""
    detail: dict[str, str | int | float | bool | None] = {}
    id: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest line: its number and seal. Before the first there is line 0."""

    number: int = 0
    seal: bytes = BEGIN


def seal(key: bytes, before: bytes, number: int, row: Row) -> bytes:
    """Return the seal of a line: it covers the one before it and every column."""
    parts = [
        number,
        row["id"],
        from_datetime(row["at"]),
        *(row[k] for k in ("who", "role", "what", "object", "outcome", "address", "detail")),
    ]
    return hmac.new(key, before + orjson.dumps(parts), sha256).digest()


class Waiting:
    """The journal of lines that are not yet in the table: a SQLite file, shared by processes."""

    def __init__(self, data: Path) -> None:
        path = data / "audit" / "waiting.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS line (n INTEGER PRIMARY KEY, body BLOB)")
        path.chmod(0o600)
        self.refused = 0

    def add(self, entry: Entry) -> None:
        """Keep a line; it is on disk when this returns, whatever becomes of us.

        One that cannot be kept is counted and logged.
        """
        body = json.encode(replace(entry, id=uuid4().hex))
        try:
            if len(self) >= WAITING_BOUND:
                raise sqlite3.OperationalError(f"{WAITING_BOUND} lines wait already")
            self._db.execute("INSERT INTO line (body) VALUES (?)", (body,))
        except sqlite3.Error as error:  # a full disk must not keep a nurse from acknowledging
            self.refused += 1
            log.error("audit_line_lost", reason=str(error), what=entry.what)  # noqa: TRY400

    def oldest(self) -> list[tuple[int, Entry]]:
        """Return what has waited longest."""
        rows = self._db.execute("SELECT n, body FROM line ORDER BY n LIMIT ?", (BATCH,)).fetchall()
        return [(n, json.decode(body, type=Entry)) for n, body in rows]

    def drop(self, last: int) -> None:
        """Take away what is in the table now."""
        self._db.execute("DELETE FROM line WHERE n <= ?", (last,))

    def __len__(self) -> int:
        """Return how many lines wait, of every process."""
        span = "SELECT coalesce(max(n) - min(n) + 1, 0) FROM line"
        return int(self._db.execute(span).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def note(data: Path, entry: Entry) -> None:
    """Keep one line from a command; StoreError when it cannot be kept."""
    try:
        waiting = Waiting(data)
    except sqlite3.Error as error:
        raise StoreError(
            f"audit in {data}: {error}; {entry.what} was done, and is not in it"
        ) from None
    try:
        waiting.add(entry)
    finally:
        waiting.close()


def by_command(what: str, target: str = "", **detail: str | float | bool | None) -> Entry:
    """Return the line of something that was done at a terminal, by the account logged in there."""
    import getpass  # noqa: PLC0415 - only commands need it

    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = str(os.getuid())
    return Entry(now_ns(), f"terminal:{who}", "operator", what, target, detail=detail)


def read_head(data: Path) -> Head | None:
    """Return the newest seal that was kept outside the database; None: none was."""
    text = secret_files.read(data, HEAD_FILE)
    if text is None:
        return None
    number, _, seal_hex = text.partition(" ")
    return Head(int(number), bytes.fromhex(seal_hex))


def write_head(data: Path, head: Head) -> None:
    """Keep the newest seal outside the database."""
    path = secret_files.folder_of(data) / HEAD_FILE
    secret_files.write(path, f"{head.number} {head.seal.hex()}".encode())


async def append(connection: AsyncConnection, data: Path, entries: Iterable[Entry]) -> int:
    """Put lines into the table, each once; return how many were new.

    When the table ends before what we know was written, the gap stays visible: numbering goes on
    from what we know.
    """
    await connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        return await _append(connection, data, entries)
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


async def _append(connection: AsyncConnection, data: Path, entries: Iterable[Entry]) -> int:
    key = secret_files.key(data, KEY_FILE)
    async with connection.transaction():
        head = await _find_head(connection, "select_audit_head")
        known = read_head(data)
        if known is not None and known.number > head.number:
            head = known
        new = 0
        for entry in entries:
            row = _row(entry)
            number = head.number + 1
            sealed = seal(key, head.seal, number, row)
            cursor = await connection.execute(
                query("insert_audit"), row | {"number": number, "seal": sealed}
            )
            if cursor.rowcount:
                head = Head(number, sealed)
                new += 1
    if new:
        write_head(data, head)
    return new


async def _find_head(connection: AsyncConnection, name: str, **parameters: object) -> Head:
    """Return the line that a query finds; none: line 0."""
    rows = await fetch(connection, name, **parameters)
    return Head(rows[0]["number"], bytes(rows[0]["seal"])) if rows else Head()


def _row(entry: Entry) -> Row:
    """Return a line's columns: whatever was asked, they can be stored."""
    detail = {
        key: _plain(value, 100) if isinstance(value, str) else _number(value)
        for key, value in entry.detail.items()
    }
    return {
        "id": entry.id,
        "at": to_datetime(entry.at_ns // 1000 * 1000),
        "who": _plain(entry.who, 200),
        "role": _plain(entry.role, 60),
        "what": _plain(entry.what, 200),
        "object": _plain(entry.object, 300),
        "outcome": _plain(entry.outcome, 60),
        "address": _plain(entry.address, 60),
        "detail": orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode(),
    }


def _plain(text: str, most: int) -> str:
    """Return a text without control characters or halves of characters, cut to a length."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def _number(value: float | None) -> str | float | None:
    """Return a number that JSON and the table can hold; one that they cannot, as text."""
    return value if value is None or abs(value) < NUMBER_MOST else _plain(str(value), 40)


async def drain(connection: AsyncConnection, data: Path, waiting: Waiting) -> int:
    """Move what waits into the table; return how many lines."""
    moved = 0
    while found := waiting.oldest():
        await append(connection, data, [entry for _, entry in found])
        waiting.drop(found[-1][0])
        moved += len(found)
    return moved


async def adopt(connection: AsyncConnection, data: Path) -> None:
    """Take the table's newest line as the newest there is: after a restore."""
    write_head(data, await _find_head(connection, "select_audit_head"))


class Verdict(Struct, frozen=True):
    """What the chain says. ``problems``: line numbers and what is wrong, the first ones."""

    lines: int
    first: int
    last: int
    problems: list[str]
    checked_end: bool

    @property
    def ok(self) -> bool:
        """Whether nothing was changed."""
        return not self.problems


PROBLEMS_SHOWN = 20


async def verify(connection: AsyncConnection, data: Path) -> Verdict:
    """Check every line against its seal, and the end against what is kept outside."""
    key = secret_files.key(data, KEY_FILE)
    rows = await fetch(connection, "select_audit_beginning")
    problems: list[str] = []
    before = Head()
    if rows:
        before = Head(rows[0]["number"], bytes(rows[0]["seal"]))
        if not hmac.compare_digest(bytes(rows[0]["proof"]), _proof(key, before)):
            problems.append(f"line {before.number}: where the chain begins was not written by us")
    head, lines, first = read_head(data), 0, 0
    at_head: bytes | None = None
    async with (
        connection.transaction(),
        connection.cursor("audit", row_factory=dict_row) as cursor,
    ):
        await cursor.execute(query("select_audit_chain"))
        async for row in cursor:
            number, found = row["number"], bytes(row["seal"])
            lines, first = lines + 1, first or number
            if number != before.number + 1:
                problems.append(f"line {before.number + 1}: deleted, up to {number - 1}")
            elif not hmac.compare_digest(found, seal(key, before.seal, number, row)):
                problems.append(f"line {number}: not as it was written")
            if head is not None and number == head.number:
                at_head = found
            before = Head(number, found)
    if head is not None and before.number < head.number:
        problems.append(f"line {before.number + 1}: deleted, up to {head.number}, the newest")
    elif head is not None and at_head not in (None, head.seal):
        problems.append(f"line {head.number}: not the one that was written")
    return Verdict(lines, first, before.number, problems[:PROBLEMS_SHOWN], head is not None)


def _proof(key: bytes, head: Head) -> bytes:
    return hmac.new(key, b"begin" + str(head.number).encode() + head.seal, sha256).digest()


async def forget(connection: AsyncConnection, data: Path, days: int) -> int:
    """Let go of lines older than ``days``, if the chain holds; return how many."""
    key = secret_files.key(data, KEY_FILE)
    until: datetime = to_datetime(now_ns()) - timedelta(days=days)
    last = await _find_head(connection, "select_audit_before", until=until)
    if not last.number:
        return 0
    verdict = await verify(connection, data)
    if not verdict.ok:
        return 0  # evidence of a change is not thrown away
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO audit_beginning (number, seal, proof) VALUES (%s, %s, %s)",
            (last.number, last.seal, _proof(key, last)),
        )
        cursor = await connection.execute("DELETE FROM audit WHERE number <= %s", (last.number,))
    return cursor.rowcount
