"""Who is told of an alert event, and in which words. Pure.

Notifications go to phones: secondary to the ward station, never the alert path, and they say so.
One sentence with bed, value, limit, duration; no patient. When many fall due for one person at
once (a power cut), they are one message by hospital; each is still recorded.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from msgspec import Struct, ValidationError, convert

from schemas.alerts import URGENCY, AlertEvent, EventKind, Priority, make_id
from schemas.care import UnitCare
from schemas.errors import SettingsError

CALLS = frozenset(
    {
        EventKind.FIRED,
        EventKind.RECURRED,
        EventKind.ESCALATED,
        EventKind.RAISED,
        EventKind.UNMUTED,
        EventKind.UNSHELVED,
    }
)
"""Events that call somebody."""
WORTH = frozenset({Priority.HIGH, Priority.MEDIUM})
"""Priorities that go to a phone."""
TOGETHER = 5
"""More than so many at once for one person are one message."""

SECONDARY = {
    "zh": "手机通知仅为辅助，请以床旁监护仪和护士站为准。",
    "en": "A phone is secondary: rely on the bedside monitor and the ward station.",
}


class Person(Struct, forbid_unknown_fields=True):
    """Somebody who can be told: account name, language, and Apprise addresses."""

    name: str
    urls: list[str]
    language: Literal["zh", "en"] = "zh"


class _PeopleToml(Struct, forbid_unknown_fields=True):
    person: list[Person] = []


def parse_people(text: bytes, path: PurePath) -> dict[str, Person]:
    """Return the people in a file of ``[[person]]``; raise SettingsError naming key and fix."""
    try:
        people = convert(tomllib.loads(text.decode()), _PeopleToml).person
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from None
    return {person.name: person for person in people}


@dataclass(frozen=True, slots=True)
class Notice:
    """One person to be told of one event. ``id`` is the same whenever the event comes again."""

    id: str
    person: str
    role: str
    event: AlertEvent


def notices(event: AlertEvent, units: Mapping[str, UnitCare]) -> list[Notice]:
    """Return who is told of an event: those on duty in the role that it calls."""
    if event.kind not in CALLS or event.quiet or event.priority not in WORTH or not event.role:
        return []
    unit = units.get(event.bed.rpartition("/")[0])
    people = unit.duty.get(event.role, ()) if unit is not None else ()
    return [
        Notice(make_id(event.alert, event.kind, str(event.step), person), person, event.role, event)
        for person in dict.fromkeys(people)
    ]


def wording(language: str, some: Sequence[Notice]) -> tuple[str, str]:
    """Return title and text for what one person is told at once."""
    if len(some) <= TOGETHER:
        lines = [_sentence(language, notice.event) for notice in some]
    else:
        lines = _grouped(language, [notice.event for notice in some])
    mark = {Priority.HIGH: "***", Priority.MEDIUM: "**", Priority.LOW: "*"}
    worst = max((n.event.priority for n in some), key=URGENCY.__getitem__)
    title = "Vigil 守望 报警" if language == "zh" else "Vigil alert"
    if any(n.event.kind is EventKind.ESCALATED for n in some):
        title += "（升级）" if language == "zh" else " (escalated)"
    return f"{mark[worst]} {title}", "\n".join([*lines, SECONDARY[language]])


def _sentence(language: str, event: AlertEvent) -> str:
    return event.zh if language == "zh" else event.en


def _grouped(language: str, events: Iterable[AlertEvent]) -> list[str]:
    """Return one line a hospital: how many, and the first of the worst."""
    by_hospital: dict[str, list[AlertEvent]] = {}
    for event in events:
        by_hospital.setdefault(event.bed.partition("/")[0], []).append(event)
    lines = []
    for hospital, some in sorted(by_hospital.items()):
        worst = min(some, key=lambda e: (-URGENCY[e.priority], e.onset_ns))
        beds = len({event.bed for event in some})
        if language == "zh":
            lines.append(f"{hospital}：{beds} 张床共 {len(some)} 条报警，如 {worst.zh}")
        else:
            lines.append(f"{hospital}: {len(some)} alerts on {beds} beds, such as {worst.en}")
    return lines
