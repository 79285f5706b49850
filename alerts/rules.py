"""Rules are data: a pack is a TOML file, read into frozen values and checked before anything runs.

A limit rule breaches beyond ``trigger`` and is normal only on the safe side of ``recovery``; the
band between keeps what was. ``hold_s`` is how long a breach must last, ``recovery_hold_s`` how
long normality must. ``samples`` is how many breaching readings there must be at the least.
"""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from math import inf
from pathlib import PurePath

from msgspec import Struct, ValidationError, convert

from schemas.alerts import Priority
from schemas.errors import SettingsError
from schemas.vitals import VITALS


class Condition(StrEnum):
    """What one value means to one rule."""

    NORMAL = "normal"
    BREACH = "breach"
    BAND = "band"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit on one vital. ``id`` is ``{rule}/{vital}``: ABP and NIBP are never one rule."""

    id: str
    vital: str
    above: bool
    trigger: float
    recovery: float
    hold_s: float
    recovery_hold_s: float
    samples: int
    priority: Priority
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class SilenceRule:
    """No reading from a bed for ``after_s`` (or three of the device's own intervals, if longer)."""

    id: str
    after_s: float
    priority: Priority
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Pack:
    """A checked set of rules. ``version`` is the hash of the file that it came from."""

    name: str
    version: str
    silence: SilenceRule
    by_vital: dict[str, tuple[LimitRule, ...]]

    @property
    def limits(self) -> dict[str, LimitRule]:
        """All limit rules by id."""
        return {rule.id: rule for rules in self.by_vital.values() for rule in rules}


class _LimitToml(Struct, forbid_unknown_fields=True):
    id: str
    vitals: list[str]
    priority: Priority
    zh: str
    en: str
    above: float | None = None
    below: float | None = None
    recovery: float | None = None
    hold_s: float = 0.0
    recovery_hold_s: float = 0.0
    samples: int = 1


class _SilenceToml(Struct, forbid_unknown_fields=True):
    after_s: float
    priority: Priority
    zh: str
    en: str


class _PackToml(Struct, forbid_unknown_fields=True):
    name: str
    silence: _SilenceToml
    limit: list[_LimitToml]


def parse_pack(text: bytes, path: PurePath) -> Pack:
    """Return the pack in a TOML file; raise SettingsError naming file, rule, key and fix."""
    try:
        raw = convert(tomllib.loads(text.decode()), _PackToml)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from None
    by_vital: dict[str, list[LimitRule]] = {}
    seen: set[str] = set()
    for limit in raw.limit:
        if limit.id in seen:
            raise SettingsError(f"{path}: limit {limit.id}: the id is used twice; rename one")
        seen.add(limit.id)
        for rule in _limits(limit, path):
            by_vital.setdefault(rule.vital, []).append(rule)
    silence = raw.silence
    if silence.after_s <= 0:
        raise SettingsError(f"{path}: silence.after_s is {silence.after_s}: must be above 0")
    return Pack(
        name=raw.name,
        version=sha256(text).hexdigest()[:12],
        silence=SilenceRule("no_data", silence.after_s, silence.priority, silence.zh, silence.en),
        by_vital={vital: tuple(rules) for vital, rules in by_vital.items()},
    )


def _limits(limit: _LimitToml, path: PurePath) -> list[LimitRule]:
    where = f"{path}: limit {limit.id}"
    if (limit.above is None) == (limit.below is None):
        raise SettingsError(f"{where}: give exactly one of above and below")
    above = limit.above is not None
    trigger = limit.above if limit.above is not None else limit.below
    assert trigger is not None
    recovery = trigger if limit.recovery is None else limit.recovery
    if (recovery > trigger) if above else (recovery < trigger):
        side = "below" if above else "above"
        raise SettingsError(
            f"{where}: recovery {recovery:g} contradicts trigger {trigger:g}; put it {side}"
        )
    if limit.hold_s < 0 or limit.recovery_hold_s < 0 or limit.samples < 1:
        raise SettingsError(f"{where}: hold_s, recovery_hold_s >= 0 and samples >= 1")
    unknown = [name for name in limit.vitals if name not in VITALS]
    if unknown or not limit.vitals:
        raise SettingsError(f"{where}: vitals {unknown}: unknown; see `vigil vitals`")
    return [
        LimitRule(
            f"{limit.id}/{vital}",
            vital,
            above,
            trigger,
            recovery,
            limit.hold_s,
            limit.recovery_hold_s,
            limit.samples,
            limit.priority,
            limit.zh,
            limit.en,
        )
        for vital in limit.vitals
    ]


def evaluate(rule: LimitRule, value: float) -> Condition:
    """Return what ``value`` means to ``rule``."""
    if rule.above:
        if value > rule.trigger:
            return Condition.BREACH
        return Condition.NORMAL if value <= rule.recovery else Condition.BAND
    if value < rule.trigger:
        return Condition.BREACH
    return Condition.NORMAL if value >= rule.recovery else Condition.BAND


def quiet_bands(pack: Pack) -> dict[str, tuple[float, float]]:
    """Return, for each vital with rules, the inclusive band in which none of them is broken."""
    return {
        vital: (
            max((r.trigger for r in rules if not r.above), default=-inf),
            min((r.trigger for r in rules if r.above), default=inf),
        )
        for vital, rules in pack.by_vital.items()
    }
