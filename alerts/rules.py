"""Rules as values: what a pack says of one bed, compiled. ``alerts.rulesets`` reads them from TOML.

A rule is one term or several that must all be broken. A term breaches beyond ``trigger`` and is
normal only on the safe side of ``recovery``; the band between keeps what was. A rule of several
terms breaches when all do and is normal when one is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from msgspec import Struct

from alerts.quantities import QUANTITIES
from schemas.alerts import Priority
from schemas.vitals import VITALS, Quality


class Condition(StrEnum):
    """What values mean to one rule. ``doubt``: it is broken by a value that cannot be trusted."""

    NORMAL = "normal"
    BREACH = "breach"
    BAND = "band"
    DOUBT = "doubt"


class Kind(StrEnum):
    """What a rule looks at."""

    LIMIT = "limit"
    SCORE = "score"
    TREND = "trend"
    COMBINATION = "combination"
    TECHNICAL = "technical"
    MONITOR = "monitor"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Term:
    """One limit on one vital or derived quantity, in its own unit."""

    of: str
    above: bool
    trigger: float
    recovery: float

    def condition(self, value: float) -> Condition:
        """Return what ``value`` means."""
        if self.above:
            if value > self.trigger:
                return Condition.BREACH
            return Condition.NORMAL if value <= self.recovery else Condition.BAND
        if value < self.trigger:
            return Condition.BREACH
        return Condition.NORMAL if value >= self.recovery else Condition.BAND


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it applies to a bed. ``id`` is ``{name}/{vital}`` for limits: ABP is not NIBP.

    ``samples`` breaching values are needed at the least, the last of them within ``within_s`` (0:
    no bound). ``extreme``: never shelved, paused or inhibited while the signal is valid.
    ``latching``: when over, it waits for a person. ``floor``: the loosest trigger that an overlay
    may set; None: it may be loosened and switched off. ``overlay``: what changed it, name@hash.
    """

    id: str
    kind: Kind
    terms: tuple[Term, ...]
    priority: Priority
    zh: str
    en: str
    hold_s: float = 0.0
    recovery_hold_s: float = 0.0
    samples: int = 1
    within_s: float = 0.0
    extreme: bool = False
    latching: bool = False
    floor: float | None = None
    overlay: str = ""

    @property
    def name(self) -> str:
        """The name in the pack, without the vital."""
        return self.id.partition("/")[0]

    @property
    def direct(self) -> bool:
        """Whether one reading's own value decides it."""
        return self.kind is Kind.LIMIT


class Pulse(Struct, frozen=True, forbid_unknown_fields=True):
    """A pulse that contradicts a heart rate: present for ``for_s``, within bounds, and steady."""

    low: float
    high: float
    span: float
    for_s: float


class Perfusion(Struct, frozen=True, forbid_unknown_fields=True):
    """A pressure that contradicts a count of no beats: pulsatile, perfusing and not falling."""

    below: float
    pulse_pressure: float
    low: float
    high: float
    fall: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Technical:
    """A signal that cannot be trusted: by the device's own word, or by what contradicts it.

    It alerts when ``qualities`` last for ``after_s``; and at once when a limit is broken by such a
    value. That limit's own alert follows when another vital agrees, or after ``doubt_s`` if it is
    extreme and ``doubt_other_s`` if not; never while a ``pulse`` or ``perfusion`` contradicts it.
    """

    rule: Rule
    vital: str
    qualities: frozenset[Quality]
    after_s: float
    doubt_s: float
    doubt_other_s: float
    pi_below: float | None = None
    pr_differs: float | None = None
    pulse: Pulse | None = None
    perfusion: Perfusion | None = None


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert of ``source`` is open, those of ``target`` on the same bed are muted.

    ``across``: the source stands for the hospital of the bed.
    """

    source: str
    target: frozenset[str]
    across: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """No reading for ``after_s`` (or three of the device's own intervals, if that is longer)."""

    rule: Rule
    after_s: float


@dataclass(frozen=True, slots=True)
class Monitor:
    """What is known of the monitor's own alarms: which are extreme, and what ours they equal."""

    alarms: frozenset[str]
    extreme: bool = False
    same_as: frozenset[str] = frozenset()


class Annunciation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long acknowledgement and pauses hold. Seconds."""

    reminder_s: float = 180
    audio_pause_max_s: float = 120
    alarm_pause_max_s: float = 300
    shelve_max_s: float = 43_200


@dataclass(frozen=True, slots=True)
class Pack:
    """All that applies to one bed. ``version`` is the content hash of the baseline.

    ``by_vital`` holds limits, ``derived`` what is evaluated on derived quantities. ``quiet``: for
    each vital with limits, the inclusive band in which none of them is broken.
    """

    name: str
    version: str
    silence: Silence
    by_vital: dict[str, tuple[Rule, ...]]
    derived: tuple[Rule, ...] = ()
    device_silence: Silence | None = None
    hospital_silence: Rule | None = None
    technical: tuple[Technical, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()
    monitors: tuple[Monitor, ...] = ()
    annunciation: Annunciation = field(default_factory=Annunciation)
    quiet: dict[str, tuple[float, float]] = field(default_factory=dict)
    technical_by_vital: dict[str, tuple[Technical, ...]] = field(default_factory=dict)

    @property
    def rules(self) -> dict[str, Rule]:
        """Every rule by id, those of signals and silence included."""
        found = {rule.id: rule for rules in self.by_vital.values() for rule in rules}
        found |= {rule.id: rule for rule in self.derived}
        found |= {technical.rule.id: technical.rule for technical in self.technical}
        found[self.silence.rule.id] = self.silence.rule
        if self.device_silence is not None:
            found[self.device_silence.rule.id] = self.device_silence.rule
        if self.hospital_silence is not None:
            found[self.hospital_silence.id] = self.hospital_silence
        return found


def evaluate(rule: Rule, values: Mapping[str, float]) -> Condition | None:
    """Return what ``values`` mean to ``rule``; None when one that it needs is not known."""
    found = Condition.BREACH
    for term in rule.terms:
        value = values.get(term.of)
        if value is None:
            return None
        condition = term.condition(value)
        if condition is Condition.NORMAL or found is Condition.BREACH:
            found = condition
    return found


def quiet_bands(by_vital: Mapping[str, tuple[Rule, ...]]) -> dict[str, tuple[float, float]]:
    """Return, for each vital with rules, the inclusive band in which none of them is broken."""
    return {
        vital: (
            max((r.terms[0].trigger for r in rules if not r.terms[0].above), default=-inf),
            min((r.terms[0].trigger for r in rules if r.terms[0].above), default=inf),
        )
        for vital, rules in by_vital.items()
    }


def unit_of(quantity: str) -> str:
    """Return the UCUM unit of a vital or derived quantity."""
    if quantity in VITALS:
        return VITALS[quantity].unit
    return QUANTITIES[quantity].unit if quantity in QUANTITIES else ""
