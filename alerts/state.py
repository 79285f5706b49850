"""What the engine remembers: one value, saved, restored and compared as a whole. Pure."""

from msgspec import Struct

from alerts.derive import Observed, Trend
from alerts.escalation import Climb
from alerts.lifecycle import RuleState
from schemas.alerts import AlertEvent
from schemas.care import BedCare, UnitCare


class Shelf(Struct, array_like=True):
    """A rule that a person put aside on one bed, until when and why."""

    until_ns: int
    by: str
    reason: str


class Heard(Struct, array_like=True):
    """When a device of a bed was last heard, and how often it sends: as it says, and as it does.

    ``gap_ns``/``before_ns``: measured time between its last readings, and those before.
    """

    at_ns: int
    interval_s: float
    measured_ns: int = 0
    gap_ns: int = 0
    before_ns: int = 0


class BedState(Struct, omit_defaults=True):
    """What the engine remembers of one bed.

    ``live``/``filling``: rules that are not normal. ``open``: alerts that people have been told of,
    by alert id, as their newest event. ``technical``: open conditions that are no rule's on values,
    rule to alert id. ``recent``: the last pulse rates and mean pressures, for contradictions.
    ``watched_ns``: since when its silence means something, after standby.
    ``alarms``: the monitor's own that are on, rule to ``device|id`` of each.
    ``excepted_ns``: until when expired exceptions have been taken out of the rules.
    ``queued_ns``: when time alone would change something next, as the engine has it in its queue.
    """

    live: dict[str, RuleState] = {}
    filling: dict[str, RuleState] = {}
    open: dict[str, AlertEvent] = {}
    technical: dict[str, str] = {}
    heard_ns: int = 0
    watched_ns: int = 0
    contested_ns: int = 0
    last_measured_ns: int = 0
    last_boot: str = ""
    last_seq: int = 0
    device: str = ""
    interval_s: float = 1.0
    ended: bool = False
    offline: bool = False
    offset_ns: int = 0
    derive_ns: int = 0
    devices: dict[str, Heard] = {}
    recent: list[tuple[int, float | None, float | None]] = []
    observed: dict[str, Observed] = {}
    trends: dict[str, Trend] = {}
    shelves: dict[str, Shelf] = {}
    pauses: dict[str, Shelf] = {}
    climbs: dict[str, Climb] = {}
    alarms: dict[str, list[str]] = {}
    excepted_ns: int = 0
    queued_ns: int = 0

    @property
    def last_key(self) -> str:
        """The key of the last reading, as ``Reading.key`` writes it."""
        return f"{self.device}|{self.last_boot}|{self.last_seq}|{self.last_measured_ns}"

    @property
    def shortest_interval_s(self) -> float:
        """The pace of its fastest device, by which it is missed: a cuff excuses no monitor."""
        return min([one.interval_s for one in self.devices.values()])


class EngineState(Struct):
    """All beds. ``listening_ns``: silence is counted from here, not over the hub's own absence.

    ``places``: units and hospitals, which have alerts of their own. ``care``/``units``: what care
    published. ``now_ns``: up to when everything has happened. ``presence``: until when each role of
    a unit has a receiver connected. ``lines``: hospitals that judge for themselves, when each was
    last heard.
    """

    beds: dict[str, BedState] = {}
    listening_ns: int = 0
    places: dict[str, BedState] = {}
    care: dict[str, BedCare] = {}
    units: dict[str, UnitCare] = {}
    presence: dict[str, dict[str, int]] = {}
    now_ns: int = 0
    lines: dict[str, int] = {}
