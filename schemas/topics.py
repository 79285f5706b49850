"""The MQTT topic grammar. A topic names a bed, never a patient.

    vigil/v1/{hospital}/{unit}/{bed}/numerics           device  → hub
    vigil/v1/{hospital}/{unit}/{bed}/status             device  → hub, retained, also the last will
    vigil/v1/{hospital}/{unit}/{bed}/device-alarms      device  → hub
    vigil/v1/{hospital}/{unit}/{bed}/observations       people  → hub
    vigil/v1/{hospital}/{unit}/{bed}/waves/{channel}    device  → recorder, console
    vigil/v1/{hospital}/{unit}/{bed}/commands           people  → intake
    vigil/v1/{hospital}/{unit}/{bed}/alerts/{alert}     intake  → recorder, console, retained
    vigil/v1/{hospital}/judged                          intake, notifier → recorder, console
    vigil/v1/{hospital}/config/care                     console → intake, retained
    vigil/v1/{hospital}/config/presence                 console → intake, every few seconds
    vigil/v1/hub/config/rules                           console → intake, retained
    vigil/v1/{hospital}/rejected                        gateway → recorder
    vigil/v1/hub/rejected                               intake  → recorder
    vigil/v1/hub/health/{service}                       services → doctor, console, retained

Hospital, unit and bed are ``[a-z0-9][a-z0-9-]{0,47}``; ``hub`` is reserved.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from schemas.errors import TopicError

ROOT = "vigil/v1"
JUDGED_FILTER = f"{ROOT}/+/judged"
ALERTS_FILTER = f"{ROOT}/+/+/+/alerts/+"
WAVES_FILTER = f"{ROOT}/+/+/+/waves/+"
CONFIG_FILTER = f"{ROOT}/+/config/+"
CARE_FILTER = f"{ROOT}/+/config/care"
RULES_TOPIC = f"{ROOT}/hub/config/rules"
FIVE_LEVELS_FILTER = f"{ROOT}/+/+/+"
"""Health and configuration together: a session's filters share one allowance, so few are many."""
REJECTED_TOPIC = f"{ROOT}/hub/rejected"
REJECTED_FILTER = f"{ROOT}/+/rejected"
HEALTH_FILTER = f"{ROOT}/hub/health/+"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
_RESERVED = frozenset({"hub"})
_LEVELS = 6


class Kind(StrEnum):
    """What a bed's topic carries: its sixth level."""

    NUMERICS = "numerics"
    STATUS = "status"
    DEVICE_ALARMS = "device-alarms"
    OBSERVATIONS = "observations"
    COMMANDS = "commands"
    WAVES = "waves"
    ALERTS = "alerts"


RAW_FILTERS = (f"{ROOT}/+/+/+/+", CONFIG_FILTER)
"""What intake subscribes to: everything six levels deep, so that an unknown kind is refused aloud,
and what people configured. Few filters: each has its own allowance of unacknowledged messages, and
a session's sum is bounded by the broker.
"""


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed bed topic. ``bed`` is ``hospital/unit/bed``, the name used everywhere inside."""

    hospital: str
    bed: str
    kind: Kind
    tail: str = ""


def check_bed(bed: str) -> str:
    """Return ``bed`` if it is ``hospital/unit/bed`` in the grammar, else raise TopicError.

    >>> check_bed("kaihua/icu/bed-01")
    'kaihua/icu/bed-01'
    """
    levels = bed.split("/")
    if len(levels) != 3:
        raise TopicError("topic", f"bed {bed[:200]!r}: write it as hospital/unit/bed")
    for field, level in zip(("hospital", "unit", "bed"), levels, strict=True):
        check_level(field, level)
    return bed


def check_level(field: str, level: str) -> None:
    """Raise TopicError unless a topic's level can name a hospital, unit or bed (``field``)."""
    if not _NAME.fullmatch(level) or (field == "hospital" and level in _RESERVED):
        raise TopicError(
            "topic",
            f"topic level {field} is {level[:60]!r}: use 1-48 of a-z, 0-9 and '-', "
            "starting with a letter or digit; 'hub' is reserved",
        )


@lru_cache(maxsize=20_000)
def parse_topic(topic: str) -> Topic:
    """Parse a bed topic; raise TopicError naming the level that is wrong.

    >>> parse_topic("vigil/v1/kaihua/icu/bed-01/numerics").bed
    'kaihua/icu/bed-01'
    """
    levels = topic.split("/")
    if len(levels) < _LEVELS or levels[:2] != ["vigil", "v1"]:
        raise TopicError("topic", f"topic {topic[:200]!r}: expected {ROOT}/hospital/unit/bed/kind")
    bed = check_bed("/".join(levels[2:5]))
    try:
        kind = Kind(levels[5])
    except ValueError:
        raise TopicError(
            "topic", f"topic level kind is {levels[5][:60]!r}: one of {', '.join(Kind)}"
        ) from None
    return Topic(levels[2], bed, kind, "/".join(levels[6:]))


def rejected_topic(hospital: str) -> str:
    """Return where a hospital's gateway says what it could not take."""
    return f"{ROOT}/{hospital}/rejected"


def format_topic(bed: str, kind: Kind, tail: str = "") -> str:
    """Return the topic of ``kind`` for ``bed``: the inverse of :func:`parse_topic`."""
    return f"{ROOT}/{bed}/{kind}" + (f"/{tail}" if tail else "")


def judged_topic(hospital: str) -> str:
    """Return the topic of a hospital's judged batches."""
    return f"{ROOT}/{hospital}/judged"


def config_topic(hospital: str, name: str) -> str:
    """Return the topic of a hospital's configuration: ``care`` or ``presence``."""
    return f"{ROOT}/{hospital}/config/{name}"


def parse_config(topic: str) -> tuple[str, str] | None:
    """Return hospital and name of a configuration's topic; None when it is another kind.

    >>> parse_config("vigil/v1/kaihua/config/care")
    ('kaihua', 'care')
    """
    levels = topic.split("/")
    if len(levels) != 5 or levels[3] != "config" or levels[:2] != ["vigil", "v1"]:
        return None
    if levels[2] not in _RESERVED and not _NAME.fullmatch(levels[2]):
        raise TopicError("topic", f"topic level hospital is {levels[2][:60]!r}")
    return levels[2], levels[4]


def health_topic(service: str) -> str:
    """Return the retained topic of a service's health."""
    return f"{ROOT}/hub/health/{service}"
