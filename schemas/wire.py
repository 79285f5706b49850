"""The messages on the wire, as typed structures. ``docs/wire.md`` tells strangers the same.

From devices: JSON, validated here, every field named in the error. Between our own services:
MessagePack (``Judged``) or JSON (alerts, commands). Times from devices are RFC 3339 strings with
a zone, or integer milliseconds since the epoch.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.alerts import Priority
from schemas.deliveries import Delivery
from schemas.vitals import Quality

NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
"""What a device, a boot and an id may be called, all of it."""
Name = Annotated[str, Meta(pattern=rf"^{NAME}\Z")]
Time = Annotated[int, Meta(ge=-(2**53), le=2**53)] | datetime
Interval = Annotated[float, Meta(ge=0.1, le=86_400)]
Sequence = Annotated[int, Meta(ge=0, le=2**53)]


class NumericsMessage(Struct, gc=False):
    """What a device publishes on ``…/numerics``: one set of numbers measured at one time.

    The codec checks the names in it, once each: a pattern here would be matched for every message.
    """

    v: Literal[1]
    device: str
    measured_at: Time
    vitals: Annotated[dict[str, float | None], Meta(min_length=1, max_length=64)]
    boot: str | None = None
    seq: Sequence | None = None
    sent_at: Time | None = None
    interval_s: Interval | None = None
    quality: Annotated[dict[str, Quality], Meta(max_length=64)] | None = None


class StatusMessage(Struct):
    """What a device publishes, retained, on ``…/status``, and leaves there as its last will.

    ``patient``: an opaque reference to whom the monitor says it watches (a hash, never a name):
    when it changes while the same stay lies there, the bedside is asked.
    """

    v: Literal[1]
    device: Name
    state: Literal["online", "offline", "ended"]
    sent_at: Time | None = None
    interval_s: Interval | None = None
    patient: Name | None = None


Person = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+\Z")]
Reason = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x1f]*\Z")]
RuleName = Annotated[str, Meta(max_length=80, pattern=r"^[A-Za-z0-9_./:-]*\Z")]


CommandKind = Literal[
    "acknowledge",
    "decline",
    "shelve",
    "unshelve",
    "audio_pause",
    "audio_resume",
    "alarm_pause",
    "alarm_resume",
]
"""What a person may do to a bed's alerts."""


class CommandMessage(Struct, omit_defaults=True):
    """What the console publishes on ``…/commands`` for a person.

    ``acknowledge`` and ``decline`` ("I can't take it") name an ``alert``; ``shelve`` and
    ``unshelve`` a ``rule``; ``shelve`` and the pauses need ``until_ns`` and a ``reason``.
    """

    v: Literal[1]
    id: Name
    kind: CommandKind
    by: Person
    at_ns: int
    alert: Name | None = None
    rule: RuleName = ""
    reason: Reason = ""
    until_ns: Annotated[int, Meta(ge=0, le=2**62)] = 0


class ObservationMessage(Struct, omit_defaults=True):
    """What people observed, published on ``…/observations``: see ``schemas.observations``."""

    v: Literal[1]
    id: Name
    by: Person
    at: Time
    values: Annotated[dict[str, float | str | bool], Meta(min_length=1, max_length=16)]


class DeviceAlarmMessage(Struct, omit_defaults=True):
    """The monitor's own alarm, published on ``…/device-alarms`` when it starts, changes and ends.

    ``alarm`` is its stable name (``asystole``, ``vf``, ``vt``, ``apnoea``, or the device's code);
    ``id`` tells two episodes apart; ``zh``/``en`` are the device's words.
    """

    v: Literal[1]
    device: Name
    id: Name
    alarm: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,47}\Z")]
    phase: Literal["start", "continue", "update", "end"]
    priority: Priority
    at: Time
    type: Literal["physiological", "technical"] = "physiological"
    zh: Reason = ""
    en: Reason = ""


class RulesConfig(Struct):
    """The published rule set, retained on ``vigil/v1/hub/config/rules``: files as text."""

    v: Literal[1]
    at_ns: int
    by: str
    reason: str
    baseline: str
    overlays: dict[str, str] = {}
    regions: dict[str, str] = {}


class Reading(Struct, gc=False):
    """One device's numbers at one time, decoded and then, by the pipeline, judged in place.

    ``values`` holds every number that came, usable or not; ``flags`` a quality for each vital
    that is not ok, so a vital in ``flags`` but not in ``values`` is missing with a reason.
    ``offset_ns`` is the device clock offset in use (receive minus send, 0 when unknown).
    ``late``: judged as history, not as news. ``behind``: it fills a gap behind what was judged.
    ``numbered``: ``seq`` is the device's own; else it stands for the content.
    """

    bed: str
    device: str
    boot: str
    seq: int
    measured_ns: int
    sent_ns: int | None
    received_ns: int
    values: dict[str, float]
    flags: dict[str, Quality]
    interval_s: float = 1.0
    numbered: bool = True
    offset_ns: int = 0
    late: bool = False
    behind: bool = False

    @property
    def key(self) -> str:
        """The identity of this reading: device, boot, sequence number, measured time."""
        return f"{self.device}|{self.boot}|{self.seq}|{self.measured_ns}"


class ClockOffset(Struct, array_like=True):
    """From ``since_ns`` (hub time) on, this device's clock is behind ours by ``offset_ns``."""

    device: str
    bed: str
    since_ns: int
    offset_ns: int


class Stream(Struct, array_like=True, frozen=True):
    """What the readings of one boot of one device on one bed have in common."""

    bed: str
    device: str
    boot: str
    interval_s: float
    numbered: bool


class DeviceStatus(Struct, array_like=True):
    """A device's own word on itself, as intake took it."""

    bed: str
    device: str
    state: str
    interval_s: float | None
    received_ns: int
    patient: str = ""


class TakenInput(Struct, array_like=True):
    """Something else that intake decided from, as it took it: for replays and ``vigil why``.

    ``scope``: the bed, hospital or ``hub`` it is about; ``kind``: the topic's kind, or ``config``
    with its name; ``body``: the message as it came.
    """

    scope: str
    kind: str
    received_ns: int
    body: bytes


class Refusal(Struct, array_like=True):
    """A person's command or observation that could not be taken: which, and why."""

    scope: str
    id: str
    detail: str


class JudgedBatch(Struct):
    """What intake publishes on ``vigil/v1/{hospital}/judged`` every 50-100 ms (MessagePack).

    Readings stand as columns of equal length, a row a reading: ``stream`` and ``shape`` are indices
    into ``streams`` and ``shapes``; a shape names the vitals of ``values`` in order. ``flags``
    holds only qualities that are not ok, as (row, vital, quality). ``schemas.judged`` packs. The
    notifier publishes there too: batches of nothing but ``deliveries``.
    """

    v: int
    judged_ns: int
    streams: list[Stream] = []
    shapes: list[tuple[str, ...]] = []
    stream: list[int] = []
    shape: list[int] = []
    seq: list[int] = []
    measured_ns: list[int] = []
    sent_ns: list[int | None] = []
    received_ns: list[int] = []
    offset_ns: list[int] = []
    late: list[bool] = []
    values: list[list[float]] = []
    flags: list[tuple[int, str, Quality]] = []
    clocks: list[ClockOffset] = []
    statuses: list[DeviceStatus] = []
    inputs: list[TakenInput] = []
    deliveries: list[Delivery] = []
    refusals: list[Refusal] = []


class Rejected(Struct):
    """One kind of refusal by one device: how often, when last, and the newest example of it.

    ``epoch`` names the intake state that counts: counts grow within one, add up over several.
    """

    epoch: str
    device: str
    reason: str
    count: int
    first_ns: int
    last_ns: int
    detail: str
    topic: str
    sample: str


class Health(Struct):
    """What each service says of itself, retained on ``vigil/v1/hub/health/{service}``."""

    service: str
    pid: int
    version: str
    started_ns: int
    at_ns: int
    state: Literal["running", "degraded", "stopped"]
    detail: str
    counters: dict[str, float]
