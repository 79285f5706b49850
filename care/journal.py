"""What the notifier has promised and done, on disk: so that a kill repeats no notification.

A notice is ``due``, then ``begun`` (on disk before anything is sent), then ``sent`` or ``failed``.
One that was begun when the process died is ``unknown``: it may have arrived, so it is not sent
again, and people are shown that.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from care.notify import Notice
from schemas.codec import decode_alert, encode_json
from schemas.times import S

KEPT_NS = 7 * 86_400 * S
DUE_BOUND = 20_000
"""Notices that may wait; beyond, the oldest fail with that as the reason."""


class Journal:
    """A small SQLite file: one row a notice."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS notice (id TEXT PRIMARY KEY, person TEXT, role TEXT, "
            "event BLOB, state TEXT, attempts INTEGER, next_ns INTEGER, at_ns INTEGER)"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS care (topic TEXT PRIMARY KEY, body BLOB)")

    def keep_care(self, topic: str, payload: bytes) -> None:
        """Keep a hospital's configuration: after a start, alerts may come before it does."""
        self._db.execute("INSERT OR REPLACE INTO care VALUES (?, ?)", (topic, payload))

    def care(self) -> list[bytes]:
        """Return what was kept of every hospital."""
        return [row[0] for row in self._db.execute("SELECT body FROM care").fetchall()]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def promise(self, some: Iterable[Notice], now_ns: int) -> int:
        """Take notices in, each once for ever; return how many were new."""
        new = 0
        self._db.execute("BEGIN")
        for notice in some:
            cursor = self._db.execute(
                "INSERT OR IGNORE INTO notice VALUES (?, ?, ?, ?, 'due', 0, ?, ?)",
                (
                    notice.id,
                    notice.person,
                    notice.role,
                    encode_json(notice.event),
                    now_ns,
                    now_ns,
                ),
            )
            new += cursor.rowcount
        self._db.execute("COMMIT")
        return new

    def due(self, now_ns: int, limit: int = 500) -> list[tuple[Notice, int]]:
        """Return notices that may be sent now, oldest first, with the attempts made so far."""
        rows = self._db.execute(
            "SELECT id, person, role, event, attempts FROM notice "
            "WHERE state = 'due' AND next_ns <= ? ORDER BY at_ns LIMIT ?",
            (now_ns, limit),
        ).fetchall()
        return [(_notice(row), row[4]) for row in rows]

    def overflow(self) -> list[Notice]:
        """Take away and return the oldest notices beyond the bound."""
        rows = self._db.execute(
            "SELECT id, person, role, event FROM notice WHERE state = 'due' "
            "ORDER BY at_ns DESC LIMIT -1 OFFSET ?",
            (DUE_BOUND,),
        ).fetchall()
        found = [_notice(row) for row in rows]
        self.mark([notice.id for notice in found], "failed", 0, 0)
        return found

    def begun(self) -> list[Notice]:
        """Return and close what was begun when the process died: it may have arrived."""
        rows = self._db.execute(
            "SELECT id, person, role, event FROM notice WHERE state = 'begun'"
        ).fetchall()
        found = [_notice(row) for row in rows]
        self.mark([notice.id for notice in found], "unknown", 0, 0)
        return found

    def mark(self, ids: list[str], state: str, attempts: int, next_ns: int) -> None:
        """Note what state notices are in now; on disk when this returns."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "UPDATE notice SET state = ?, attempts = ?, next_ns = ? WHERE id = ?",
            [(state, attempts, next_ns, notice) for notice in ids],
        )
        self._db.execute("COMMIT")

    def forget(self, now_ns: int) -> None:
        """Drop what is long done."""
        self._db.execute(
            "DELETE FROM notice WHERE state <> 'due' AND at_ns < ?", (now_ns - KEPT_NS,)
        )

    def waiting(self) -> int:
        """Return how many notices wait."""
        row = self._db.execute("SELECT count(*) FROM notice WHERE state = 'due'").fetchone()
        return int(row[0])


def _notice(row: tuple[str, str, str, bytes]) -> Notice:
    """Return the notice in a row that begins with id, person, role, event."""
    return Notice(row[0], row[1], row[2], decode_alert(row[3]))
