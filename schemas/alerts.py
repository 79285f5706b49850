"""Alerts as values: priorities, phases and the one event that the ledger is made of.

Priorities are those of IEC 60601-1-8 (high, medium, low). Vigil is a supplementary information
system: the bedside monitor stays the primary alarm.
"""

from enum import StrEnum
from hashlib import blake2b

from msgspec import Struct


class Priority(StrEnum):
    """Priority of an alert condition, IEC 60601-1-8."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class EventKind(StrEnum):
    """What happened to an alert. ``finding``: it was over before its data arrived."""

    FIRED = "fired"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    FINDING = "finding"


class Stages(Struct, frozen=True, kw_only=True):
    """When the reading behind an event passed each stage, ns UTC. ``sent`` may be unknown."""

    measured_ns: int
    sent_ns: int | None
    received_ns: int
    judged_ns: int
    fired_ns: int
    published_ns: int = 0


class AlertEvent(Struct, frozen=True, kw_only=True):
    """One line of the ledger, and the whole state of its alert after it.

    ``onset_ns`` is the measured time at which the condition began, ``at_ns`` the measured time of
    this event. ``delayed``: the data was old when it was judged. ``value``/``limit`` are in
    ``unit``; both None where no number is involved.
    """

    v: int = 1
    event: str
    alert: str
    kind: EventKind
    bed: str
    rule: str
    technical: bool
    priority: Priority
    vital: str | None
    value: float | None
    limit: float | None
    unit: str
    pack: str
    pack_version: str
    onset_ns: int
    at_ns: int
    delayed: bool
    acknowledged_by: str | None
    device: str
    zh: str
    en: str
    stages: Stages


def make_id(*parts: str) -> str:
    """Return a deterministic 20-digit identifier of ``parts``, the same on every machine.

    >>> make_id("bed", "rule") == make_id("bed", "rule")
    True
    """
    return blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()
