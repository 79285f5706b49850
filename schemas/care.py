"""Who lies where, as the rules need it: what care publishes, retained, for intake. No names.

A hospital's configuration is one message on ``vigil/v1/{hospital}/config/care``; the database is
its master. A bed that it does not list is monitored, by a patient of whom nothing is known.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

Text = Annotated[str, Meta(max_length=300)]
When = Annotated[int, Meta(ge=0, le=2**62)]
Limit = Annotated[float, Meta(ge=-100_000, le=100_000)]
Seconds = Annotated[float, Meta(ge=0, le=604_800)]
_LEVEL = "[a-z0-9][a-z0-9-]{0,47}"
BedName = Annotated[str, Meta(pattern=rf"^{_LEVEL}/{_LEVEL}/{_LEVEL}\Z")]
UnitName = Annotated[str, Meta(pattern=rf"^{_LEVEL}/{_LEVEL}\Z")]


class BedState(StrEnum):
    """Whether a bed's silence and values mean something."""

    EMPTY = "empty"
    MONITORED = "monitored"
    STANDBY = "standby"


class PatientException(Struct, frozen=True, omit_defaults=True):
    """A limit changed for one patient: by whom, why, until when. It may go beyond a floor."""

    rule: Text
    by: Text
    reason: Text
    until_ns: When
    above: Limit | None = None
    below: Limit | None = None
    off: bool = False


class BedCare(Struct, frozen=True, omit_defaults=True):
    """One bed: its state, and of its patient what rules depend on.

    ``until_ns``: when a patient on standby is expected back. ``age`` in years at the time of
    publishing. ``spo2_scale`` 2 only on a documented order. ``limits``: treatment limits, shown.
    """

    state: BedState = BedState.MONITORED
    stay: str = ""
    until_ns: When = 0
    reason: Text = ""
    age: Annotated[float, Meta(ge=0, le=150)] | None = None
    pregnant: bool = False
    spo2_scale: Annotated[int, Meta(ge=1, le=2)] = 1
    limits: tuple[Text, ...] = ()
    exceptions: tuple[PatientException, ...] = ()


NOBODY = BedCare()
"""A bed of which care knows nothing: monitored, and no patient is named."""


class Rung(Struct, frozen=True):
    """A step of a unit's ladder: who, and after how long without acknowledgement, by priority.

    A priority that is not named does not reach this step.
    """

    role: Text
    after_s: dict[str, Seconds]


class UnitCare(Struct, frozen=True):
    """One unit's ladder, and who is on duty by role, as account names."""

    ladder: tuple[Rung, ...] = ()
    duty: dict[str, tuple[Text, ...]] = {}


class CareConfig(Struct, frozen=True):
    """All of a hospital. Beds by ``hospital/unit/bed``, units by ``hospital/unit``."""

    v: int
    at_ns: When
    beds: dict[BedName, BedCare] = {}
    units: dict[UnitName, UnitCare] = {}


class Presence(Struct, frozen=True):
    """Which roles have a receiver connected, by unit: said again every few seconds."""

    v: int
    at_ns: When
    units: dict[UnitName, dict[str, Annotated[int, Meta(ge=0, le=100_000)]]] = {}


class Line(Struct, frozen=True):
    """What a hospital's edge says every few seconds: it judges for itself, and what still waits.

    ``backlog``: messages that wait at the edge. ``oldest_ns``: when the oldest of them was made.
    """

    v: int
    at_ns: When
    backlog: Annotated[int, Meta(ge=0, le=10**12)] = 0
    oldest_ns: When = 0
    version: Text = ""


DEFAULT_LADDER = (
    Rung("county-nurse", {"high": 0, "medium": 0, "low": 0}),
    Rung("charge-nurse", {"high": 60, "medium": 180}),
    Rung("county-physician", {"high": 120, "medium": 420}),
    Rung("remote-intensivist", {"high": 180, "medium": 900}),
)
"""A setting, to be agreed by each unit."""
