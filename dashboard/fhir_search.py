"""Parameters of FHIR searches: read once, refused by name when they are none. Pure.

``SEARCH`` is the one table: the routes take from it what they know, and the CapabilityStatement
says what is in it, so that it cannot say anything else.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import DecodeError, json

from hub.health import VERSION
from schemas.times import from_datetime

PAGE, LARGEST = 100, 1_000
SEARCH: dict[str, dict[str, str]] = {
    "Observation": {
        "patient": "reference",
        "subject": "reference",
        "encounter": "reference",
        "code": "token",
        "category": "token",
        "date": "date",
    },
    "Patient": {"_id": "token", "identifier": "token"},
    "Encounter": {
        "_id": "token",
        "patient": "reference",
        "subject": "reference",
        "status": "token",
        "date": "date",
    },
    "Flag": {
        "patient": "reference",
        "subject": "reference",
        "encounter": "reference",
        "date": "date",
    },
    "Device": {"_id": "token", "identifier": "token"},
    "Location": {"_id": "token", "identifier": "token", "name": "string"},
}
CREATED = frozenset({"Observation", "Patient", "Encounter"})
UPDATED = frozenset({"Patient", "Encounter"})
RESULT = frozenset({"_count", "_sort", "_format", "_pretty", "_page"})
SORTED = frozenset({"Observation", "Flag"})
_DATE = re.compile(r"(eq|ge|gt|le|lt|sa|eb)?(\d{4})(-\d\d)?(-\d\d)?(T.+)?")


class SearchError(ValueError):
    """A parameter that cannot be: names it and the fix."""


@dataclass(slots=True)
class Search:
    """A search as it was meant. ``cursor``: where the page before ended."""

    kind: str
    given: dict[str, list[str]]
    count: int = PAGE
    newest: bool = True
    cursor: list[Any] | None = None

    def one(self, name: str) -> str | None:
        """Return a parameter that may be given once."""
        values = self.given.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise SearchError(f"{name}: give it once")
        return values[0]

    def reference(self, name: str, *kinds: str) -> tuple[str, str] | None:
        """Return the kind and id of a reference: ``Patient/s1``, or for one kind ``s1``."""
        text = self.one(name)
        if text is None:
            return None
        kind, _, found = text.rpartition("/")
        kind = kind.rpartition("/")[2] or kinds[0]
        if kind not in kinds or not found:
            raise SearchError(f"{name}={text[:60]}: a reference to {' or '.join(kinds)}")
        return kind, found

    def span(self) -> tuple[datetime, datetime]:
        """Return [from, to) of ``date``; without it, all time until tomorrow."""
        start = datetime(1970, 1, 2, tzinfo=UTC)
        end = datetime.now(UTC) + timedelta(days=1)
        for text in self.given.get("date", ()):
            first, last, prefix = _read_date(text)
            if prefix in ("eq", "ge"):
                start = max(start, first)
            elif prefix in ("gt", "sa"):
                start = max(start, last)
            if prefix in ("eq", "le"):
                end = min(end, last)
            elif prefix in ("lt", "eb"):
                end = min(end, first)
        return start, max(start, end)


def _read_date(text: str) -> tuple[datetime, datetime, str]:
    """Return the span that a date stands for, and its prefix: a day is a day long."""
    found = _DATE.fullmatch(text.replace(" ", "+"))
    if found is None:
        raise SearchError(
            f"date={text[:40]}: write 2026-11-28 or 2026-11-28T07:00:00Z, with ge, le …"
        )
    prefix, year, month, day, clock = found.groups()
    try:
        first = datetime(int(year), int((month or "-01")[1:]), int((day or "-01")[1:]), tzinfo=UTC)
        if clock:
            first = datetime.fromisoformat(f"{year}{month}{day}{clock}")
            from_datetime(first)  # refuses a time without a zone
            step = timedelta(microseconds=1) if "." in clock else timedelta(seconds=1)
            last = first + step
        elif day:
            last = first + timedelta(days=1)
        elif month:
            last = (first + timedelta(days=32)).replace(day=1)
        else:
            last = first.replace(year=first.year + 1)
    except (ValueError, OverflowError) as error:
        raise SearchError(f"date={text[:40]}: {error}") from None
    return first, last, prefix or "eq"


def read_search(kind: str, parameters: Iterable[tuple[str, str]]) -> Search:
    """Return a search; raise SearchError naming a parameter that there is not, or cannot be so."""
    known = SEARCH[kind]
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        plain = name.partition(":")[0]
        if name not in known and plain not in RESULT:
            there = ", ".join((*known, "_count", *(("_sort",) if kind in SORTED else ())))
            raise SearchError(f"{name[:40]}: no parameter of {kind}; there are {there}")
        given.setdefault(plain, []).append(value)
    search = Search(kind, given)
    count = search.one("_count")
    if count is not None:
        if not count.isdecimal() or int(count) < 1:
            raise SearchError(f"_count={count[:20]}: a number from 1 on")
        search.count = min(int(count), LARGEST)
    sort = search.one("_sort")
    if sort is not None:
        if sort not in ("date", "-date") or kind not in SORTED:
            raise SearchError(f"_sort={sort[:20]}: date or -date, of {', '.join(sorted(SORTED))}")
        search.newest = sort == "-date"
    page = search.one("_page")
    if page is not None:
        search.cursor = _read_cursor(page)
    form = search.one("_format")
    if form is not None and "json" not in form:
        raise SearchError(f"_format={form[:40]}: json is spoken here")
    return search


def cursor(*where: Any) -> str:
    """Return where a page ended, opaque to those who ask for the next."""
    return base64.urlsafe_b64encode(json.encode(where)).decode().rstrip("=")


def _read_cursor(text: str) -> list[Any]:
    try:
        found: list[Any] = json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, DecodeError):
        found = []
    if not isinstance(found, list) or not found:
        raise SearchError("_page: take it from the link `next`, as it is")
    return found


def tokens(text: str | None) -> list[tuple[str | None, str]]:
    """Return the alternatives of a token parameter, each as (system or None, code)."""
    found: list[tuple[str | None, str]] = []
    for part in (text or "").split(","):
        system, bar, code = part.rpartition("|")
        if part:
            found.append((system or None if bar else None, code))
    return found


def capability(base: str) -> dict[str, Any]:
    """Return the CapabilityStatement: what ``SEARCH``, ``CREATED`` and ``UPDATED`` say."""
    resources = []
    for kind, parameters in SEARCH.items():
        interactions = ["read", "search-type"]
        interactions += ["create"] if kind in CREATED else []
        interactions += ["update"] if kind in UPDATED else []
        resources.append(
            {
                "type": kind,
                "interaction": [{"code": code} for code in interactions],
                "versioning": "no-version",
                "readHistory": False,
                "updateCreate": False,
                "searchParam": [{"name": n, "type": t} for n, t in parameters.items()],
            }
        )
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-28",
        "kind": "instance",
        "software": {"name": "Vigil", "version": VERSION},
        "implementation": {
            "description": "Vigil 守望. It supplements the bedside monitor.",
            "url": base,
        },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {"description": "a session's token: Authorization: Bearer …"},
                "resource": resources,
            }
        ],
    }
