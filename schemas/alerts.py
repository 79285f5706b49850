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


URGENCY = {priority: rank for rank, priority in enumerate(reversed(Priority))}
"""How urgent a priority is: the higher, the more."""


class EventKind(StrEnum):
    """What happened to an alert. ``docs/alerts.md`` draws which may follow which.

    ``finding``: it was over before its data arrived. ``latched``: the condition is over, the alert
    waits for a person. ``recurred``: the condition came back while it waited. ``escalated``: the
    next step of the unit's ladder was reached. ``muted``/``unmuted``: by another alert, a pause or
    a state of the bed. ``raised``: the monitor gave its alarm a higher priority.
    """

    FIRED = "fired"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    FINDING = "finding"
    LATCHED = "latched"
    RECURRED = "recurred"
    ESCALATED = "escalated"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    MUTED = "muted"
    UNMUTED = "unmuted"
    RAISED = "raised"


ENDS = frozenset({EventKind.RESOLVED, EventKind.FINDING})
"""The kinds after which an alert is over."""


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

    ``onset_ns`` is the measured time at which the condition began, ``at_ns`` the time of this event
    (measured time for what a reading caused, hub time else). ``delayed``: the data was old when it
    was judged. ``value``/``limit`` are in ``unit``; both None where no number is involved.
    ``values``: every quantity that the rule looked at. ``overlay``: what changed the rule for this
    bed, as name@hash; empty: the baseline as it is. ``muted_by``: what keeps it from people, and
    ``reason`` why (of a shelf, a mute, an escalation). ``step``/``role``: how far up the ladder.
    ``by``: who did what this event says.
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
    overlay: str = ""
    values: dict[str, float] = {}
    extreme: bool = False
    latched: bool = False
    muted_by: str = ""
    reason: str = ""
    shelved_until_ns: int = 0
    acknowledged_ns: int = 0
    step: int = 0
    role: str = ""
    by: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the alert goes on after this event."""
        return self.kind not in ENDS

    @property
    def quiet(self) -> bool:
        """Whether people are not to be called: muted or shelved. It stays in the ledger."""
        return bool(self.muted_by) or self.shelved_until_ns > 0


UNIT = "unit"
HOSPITAL = "hospital"


def unit_place(hospital: str, unit: str) -> str:
    """Return the name under which a unit itself has alerts, beside its beds."""
    return f"{hospital}/{unit}/{UNIT}"


def hospital_place(hospital: str) -> str:
    """Return the name under which a hospital itself has alerts."""
    return f"{hospital}/{HOSPITAL}/{HOSPITAL}"


def is_unit_place(name: str) -> bool:
    """Return whether ``name`` stands for a unit itself."""
    return name.endswith(f"/{UNIT}")


def is_place(bed: str) -> bool:
    """Return whether ``bed`` names a unit or a hospital, not a bed.

    >>> is_place(hospital_place("kaihua")), is_place("kaihua/icu/bed-01")
    (True, False)
    """
    return bed.endswith((f"/{UNIT}", f"/{HOSPITAL}/{HOSPITAL}"))


def make_id(*parts: str) -> str:
    """Return a deterministic 20-digit identifier of ``parts``, the same on every machine.

    >>> make_id("bed", "rule") == make_id("bed", "rule")
    True
    """
    return blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()
