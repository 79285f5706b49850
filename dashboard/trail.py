"""What of a request goes into the audit: who saw, changed, exported what.

Every change is a line, every refusal is one; looking at a bed is one per ten minutes. Of what was
sent only identifiers, numbers and choices are kept: no name, no text that somebody wrote.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import structlog
from msgspec import DecodeError, json
from psycopg_pool import AsyncConnectionPool
from starlette.types import Scope

from hub import audit
from hub.audit import Entry, Waiting
from hub.clock import now_ns
from hub.database import AWAY
from hub.settings import Settings

if TYPE_CHECKING:
    from dashboard.gate import Person

log = structlog.get_logger()

KEPT = frozenset(
    {
        "above",
        "alert",
        "answer",
        "at",
        "bed",
        "begins",
        "below",
        "end",
        "heard",
        "kind",
        "label",
        "minutes",
        "off",
        "other",
        "resourceType",
        "role",
        "rule",
        "scope",
        "signal",
        "start",
        "state",
        "until",
        "username",
    }
)
"""Fields of a body that the audit keeps."""
SEEN = {
    "/ws/bed/": "see-bed",
    "/ws/wall": "see-wall",
    "/api/units/": "see-identity",
    "/fhir/Patient": "see-identity",
    "/fhir/Observation": "read-fhir",
    "/fhir/Encounter": "read-fhir",
    "/fhir/Flag": "read-fhir",
}
"""A page is only a shell: what is seen comes by its socket, and names by the API."""
READ = {
    "/patient": "see-identity",
    "/table/numerics": "export",
    "/table/waves": "export",
    "/waves": "read-waves",
    "/trend": "read-trend",
}
WHOSE = frozenset({"_id", "encounter", "location", "patient", "subject"})
"""Parameters of a FHIR search that say whose data are asked for."""
PERIOD_S, FAILED_S = 1.0, 10.0
FORGET_S, FIRST_FORGET_S = 86_400.0, 120.0
UNLOGGED = frozenset({"/api/rule-sets/check"})
"""Asks only; changes nothing."""


def what_of(method: str, path: str, ids: Iterable[object] = ()) -> str:
    """Return what a request does, in a word; empty: nothing that the audit asks.

    ``ids``: what of the path names a thing and not a kind of thing.

    >>> what_of("DELETE", "/api/annotations/a1", ["a1"]), what_of("GET", "/api/system")
    ('DELETE annotations', '')
    """
    if method in ("GET", "HEAD", "WEBSOCKET"):
        for begin, what in SEEN.items():
            if path.startswith(begin):
                return what
        for end, what in READ.items():
            if path.startswith("/api/") and path.endswith(end):
                return what
        return ""
    if path in UNLOGGED or path in ("/login", "/logout", "/password"):
        return ""  # the routes say themselves what came of it
    named = {part for one in ids for part in str(one).split("/")}
    words = [w for w in path.split("/") if w and w != "api" and w not in named]
    return f"{method} {words[-1] if words else ''}"


def object_of(path: str) -> str:
    """Return what a path is about: a bed, a unit, or the path itself.

    >>> object_of("/api/beds/h/u/b/commands"), object_of("/api/stays/s1")
    ('h/u/b', '/api/stays/s1')
    """
    levels = path.strip("/").split("/")
    for word, count in (("beds", 3), ("bed", 3), ("waves", 3), ("units", 2)):
        if word in levels:
            at = levels.index(word) + 1
            if len(levels) >= at + count:
                return "/".join(levels[at : at + count])
    return path


def asked_of(path: str, query: bytes) -> str:
    """Return what a FHIR search is about: its path, and the patient, bed or stay that it names.

    >>> asked_of("/fhir/Observation", b"patient=s1&_count=5")
    '/fhir/Observation?patient=s1'
    """
    pairs = parse_qsl(query.decode("latin-1"))
    named = [(name, value) for name, value in pairs if name in WHOSE]
    return f"{path}?{urlencode(named, safe='/')}"[:300] if named else path


def detail_of(path: str, body: bytes) -> dict[str, str | int | float | bool | None]:
    """Return what of a request's body is kept, with the path when it says more than the object."""
    detail: dict[str, str | int | float | bool | None] = {}
    if object_of(path) != path:
        detail["path"] = path[:300]
    try:
        said: Any = json.decode(body) if body else {}
    except DecodeError:
        return detail
    if isinstance(said, dict):
        for key in KEPT & said.keys():
            value = said[key]
            if isinstance(value, str):
                detail[key] = value[:100]
            elif value is None or isinstance(value, bool | int | float):
                detail[key] = value
    return detail


class Recent:
    """What was seen lately: looking at a bed for an hour is a few lines and not hundreds."""

    PERIOD_S = 600.0
    BOUND = 20_000

    def __init__(self) -> None:
        self._at: dict[tuple[str, ...], float] = {}

    def again(self, *what: str) -> bool:
        """Return whether this was noted within the last ten minutes; note it if not."""
        now = time.monotonic()
        if now - self._at.get(what, -self.PERIOD_S) < self.PERIOD_S:
            return True
        if len(self._at) >= self.BOUND:
            self._at.clear()
        self._at[what] = now
        return False


class Trail:
    """The shell: keeps lines at once on disk, and moves them into the table when it is there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting = Waiting(settings.data)
        self._recent = Recent()
        self.failed = 0

    def counters(self) -> dict[str, float]:
        """Return how many lines wait, and how many were refused because too many do."""
        return {
            "audit_waiting": len(self._waiting),
            "audit_refused": self._waiting.refused,
            "audit_failures": self.failed,
        }

    def add(
        self,
        who: str,
        role: str,
        what: str,
        target: str = "",
        *,
        outcome: str = "ok",
        address: str = "",
        detail: dict[str, str | int | float | bool | None] | None = None,
    ) -> None:
        """Keep a line."""
        entry = Entry(now_ns(), who, role, what, target, outcome, address, detail or {})
        self._waiting.add(entry)

    def request(self, scope: Scope, person: "Person | None", status: int, body: bytes) -> None:
        """Keep a line of a request, if it is one that the audit asks."""
        if person is None:
            return  # a stranger's knocking is counted, not kept: it could fill the disk
        method, path = scope.get("method", "WEBSOCKET"), scope["path"]
        what = what_of(method, path, scope.get("path_params", {}).values())
        refused = status in (401, 403)
        if not what and not refused:
            return
        looking = what.startswith(("see-", "read-")) and not refused
        target = object_of(path)
        if path.startswith("/fhir/"):
            target = asked_of(path, scope.get("query_string", b""))
        if looking and (
            status >= 300 or self._recent.again(person.username, what, target, *person.extra)
        ):
            return
        detail = detail_of(path, body)
        if person.extra:  # whatever they do meanwhile is marked
            detail["break_glass"] = True
        outcome = "ok" if status < 400 else str(status)
        what = what or f"{method} refused"
        address = (scope.get("client") or ("", 0))[0]
        self.add(
            person.username,
            person.role,
            what,
            target,
            outcome=outcome,
            address=address,
            detail=detail,
        )

    async def run(self, pool: AsyncConnectionPool) -> None:
        """Move lines into the table, and once a day let go of those that are old enough."""
        forgot = asyncio.get_running_loop().time() - FORGET_S + FIRST_FORGET_S
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                if len(self._waiting):
                    async with pool.connection() as connection:
                        await audit.drain(connection, self._settings.data, self._waiting)
                if asyncio.get_running_loop().time() - forgot > FORGET_S:
                    forgot = asyncio.get_running_loop().time()
                    async with pool.connection() as connection:
                        days = self._settings.audit_days
                        gone = await audit.forget(connection, self._settings.data, days)
                        log.info("audit_lines_forgotten", count=gone)
            except AWAY:
                continue  # the journal keeps them
            except Exception as error:  # noqa: BLE001 - the next round tries again; nothing is lost
                self.failed += 1
                log.error("audit_not_written", reason=f"{type(error).__name__}: {error}")  # noqa: TRY400
                await asyncio.sleep(FAILED_S)
