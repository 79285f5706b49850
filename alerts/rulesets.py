"""The rule set of a group of hospitals: one baseline, overlays above it, exceptions for patients.

An overlay (region, hospital, unit, bed) may tighten a rule that declares a floor, never loosen it
or switch it off; without a floor it may do both. What ``effective`` returns for a bed is what the
engine runs; every rule says which overlay changed it last.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import PurePath

from alerts import pack_toml as toml
from alerts.pack_toml import LimitToml, OverlayToml, PackToml, SetToml, locate
from alerts.quantities import QUANTITIES, TRENDS
from alerts.rules import (
    Inhibition,
    Kind,
    Monitor,
    Pack,
    Rule,
    Silence,
    Technical,
    Term,
    quiet_bands,
)
from alerts.scores import SCORES
from schemas.alerts import URGENCY
from schemas.care import PatientException
from schemas.errors import SettingsError
from schemas.vitals import VITALS
from schemas.wire import RulesConfig

_LEVEL = "[a-z0-9][a-z0-9-]{0,47}"
_SCOPE = re.compile(rf"region:[a-z0-9][a-z0-9-]*|{_LEVEL}(/{_LEVEL}){{0,2}}")
HASH_DIGITS = 12
SIGNAL_CLEAR_S = 10.0
"""A signal must be good for this long before its technical alert is over."""
MONITOR = "monitor"
NO_DATA, DEVICE_SILENT, HOSPITAL_SILENT = "no_data", "device_silent", "hospital_silent"
DEVICE_CLOCK = "device_clock"


def content_hash(text: bytes) -> str:
    """Return the digits that name a pack's content."""
    return sha256(text).hexdigest()[:HASH_DIGITS]


@dataclass(frozen=True, slots=True)
class Overlay:
    """A checked overlay. ``name`` includes its content hash."""

    name: str
    scope: str
    changes: tuple[SetToml, ...]
    added: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A baseline with overlays, and which region a hospital is in."""

    baseline: Pack
    overlays: tuple[Overlay, ...] = ()
    regions: dict[str, str] | None = None

    @property
    def version(self) -> str:
        """The content hash of everything."""
        names = "\n".join([self.baseline.version, *sorted(o.name for o in self.overlays)])
        return content_hash(names.encode()) if self.overlays else self.baseline.version

    def of_bed(self, bed: str) -> tuple[Overlay, ...]:
        """Return the overlays that apply to a bed, the widest first."""
        hospital, unit, _ = bed.split("/")
        region = (self.regions or {}).get(hospital, "")
        scopes = (f"region:{region}", hospital, f"{hospital}/{unit}", bed)
        return tuple(o for scope in scopes for o in self.overlays if o.scope == scope)

    def effective(
        self, overlays: Sequence[Overlay], exceptions: Iterable[PatientException] = ()
    ) -> Pack:
        """Return the pack that these overlays and a patient's exceptions make of the baseline."""
        pack = self.baseline
        rules = {rule.id: rule for some in pack.by_vital.values() for rule in some}
        rules |= {rule.id: rule for rule in pack.derived}
        for overlay in overlays:
            for change in overlay.changes:
                _apply(rules, change, overlay.name)
            rules |= {rule.id: rule for rule in overlay.added}
        for exception in exceptions:
            change = SetToml(
                exception.rule, above=exception.above, below=exception.below, off=exception.off
            )
            if not refusal(rules, exception):
                _apply(rules, change, f"patient:{exception.by}")
        return _with_rules(pack, rules.values())


def refusal(rules: dict[str, Rule], exception: PatientException) -> str:
    """Return why an exception for a patient cannot be; empty: it can.

    It may go beyond a floor; an extreme it may only tighten, for nothing ever mutes one.
    """
    found = [rules[rule_id] for rule_id in _named(rules, exception.rule)]
    if not found:
        return f"no rule {exception.rule!r}; see `vigil rules show`"
    for rule in found:
        term = rule.terms[0] if rule.terms else None
        given = None if term is None else exception.above if term.above else exception.below
        if term is None or len(rule.terms) > 1:
            return f"{rule.id} has no single limit to change"
        if given is None and not exception.off:
            return f"{rule.id} is a limit {'above' if term.above else 'below'}"
        if rule.extreme and (exception.off or _looser(term, term.trigger, given or 0.0)):
            return f"{rule.id} is extreme: it may be tightened, never loosened or switched off"
    return ""


def _named(rules: Iterable[str], name: str) -> list[str]:
    """Return the ids of a rule's name: itself, or one for each of its vitals."""
    return [rule for rule in rules if rule == name or rule.partition("/")[0] == name]


def _apply(rules: dict[str, Rule], change: SetToml, overlay: str) -> None:
    for rule_id in _named(rules, change.rule):
        if change.off:
            del rules[rule_id]
        else:
            rules[rule_id] = _changed(rules[rule_id], change, overlay)


def _changed(rule: Rule, change: SetToml, overlay: str) -> Rule:
    term = rule.terms[0]
    trigger = _trigger(term, change)
    if trigger is not None:
        # without a recovery of its own, the dead band keeps its width, within what can be
        recovery = (
            change.recovery
            if change.recovery is not None
            else (term.recovery + trigger - term.trigger)
        )
        vital = VITALS.get(term.of)
        if vital is not None and change.recovery is None:
            recovery = min(max(recovery, vital.low), vital.high)
        term = replace(term, trigger=trigger, recovery=recovery)
    elif change.recovery is not None:
        term = replace(term, recovery=change.recovery)
    return replace(
        rule,
        terms=(term, *rule.terms[1:]),
        hold_s=rule.hold_s if change.hold_s is None else change.hold_s,
        recovery_hold_s=(
            rule.recovery_hold_s if change.recovery_hold_s is None else change.recovery_hold_s
        ),
        priority=change.priority or rule.priority,
        overlay=overlay,
    )


def _trigger(term: Term, change: SetToml) -> float | None:
    if change.at_least is not None:
        return change.at_least - 0.5
    return change.above if term.above else change.below


def _with_rules(pack: Pack, rules: Iterable[Rule]) -> Pack:
    """Return ``pack`` with these limits, scores, trends and combinations instead of its own."""
    by_vital: dict[str, list[Rule]] = {}
    derived: list[Rule] = []
    for rule in rules:
        if rule.direct:
            by_vital.setdefault(rule.terms[0].of, []).append(rule)
        else:
            derived.append(rule)
    frozen = {vital: tuple(some) for vital, some in by_vital.items()}
    return replace(pack, by_vital=frozen, derived=tuple(derived), quiet=quiet_bands(frozen))


class _Reader:
    """One file while it is read: knows where errors are."""

    def __init__(self, text: bytes, path: PurePath) -> None:
        self._text = text.decode(errors="replace")
        self._path = path
        self.ids: set[str] = set()

    def error(self, table: str, index: int, key: str, what: str) -> SettingsError:
        line = locate(self._text, table, index, key)
        return SettingsError(f"{self._path}:{line}: {table}: {key}: {what}")

    def take_id(self, table: str, index: int, rule_id: str) -> None:
        if rule_id in self.ids:
            raise self.error(table, index, "id", f"{rule_id!r} is used twice; rename one")
        self.ids.add(rule_id)

    def term(
        self,
        at: tuple[str, int],
        of: str,
        above: float | None,
        below: float | None,
        *,
        recovery: float | None,
    ) -> Term:
        table, index = at
        if of not in VITALS and of not in QUANTITIES:
            raise self.error(table, index, "vitals", f"{of!r} is unknown; see `vigil vitals`")
        if (above is None) == (below is None):
            raise self.error(table, index, "above", "give exactly one of above and below")
        trigger = above if above is not None else below
        assert trigger is not None
        back = trigger if recovery is None else recovery
        if (back > trigger) if above is not None else (back < trigger):
            side = "below" if above is not None else "above"
            raise self.error(
                table,
                index,
                "recovery",
                f"{back:g} contradicts the limit {trigger:g}; put it {side}",
            )
        return Term(of, above is not None, trigger, back)

    def limits(self, raw: LimitToml, index: int, overlay: str = "") -> list[Rule]:
        self.take_id("limit", index, raw.id)
        if not raw.vitals:
            raise self.error("limit", index, "vitals", "is empty; name one vital or more")
        for key, value, least in (
            ("hold_s", raw.hold_s, 0),
            ("recovery_hold_s", raw.recovery_hold_s, 0),
            ("samples", raw.samples, 1),
            ("within_s", raw.within_s, 0),
        ):
            if value < least:
                raise self.error("limit", index, key, f"is {value:g}; at least {least}")
        rules = []
        for vital in raw.vitals:
            if vital not in VITALS:
                raise self.error("limit", index, "vitals", f"{vital!r} is unknown; `vigil vitals`")
            term = self.term(("limit", index), vital, raw.above, raw.below, recovery=raw.recovery)
            _check_reachable(term, lambda what: self.error("limit", index, "recovery", what))
            if raw.floor is not None and _looser(term, raw.floor, term.trigger):
                raise self.error(
                    "limit", index, "floor", f"{raw.floor:g} is tighter than the limit itself"
                )
            rules.append(
                Rule(
                    id=f"{raw.id}/{vital}",
                    kind=Kind.LIMIT,
                    terms=(term,),
                    priority=raw.priority,
                    zh=raw.zh,
                    en=raw.en,
                    hold_s=raw.hold_s,
                    recovery_hold_s=raw.recovery_hold_s,
                    samples=raw.samples,
                    within_s=raw.within_s,
                    extreme=raw.extreme,
                    latching=raw.latching,
                    floor=term.trigger if raw.floor is None and raw.extreme else raw.floor,
                    overlay=overlay,
                )
            )
        return rules


def _check_reachable(term: Term, error: Callable[[str], SettingsError]) -> None:
    """Raise when no plausible value of the vital would ever end the alert."""
    vital = VITALS.get(term.of)
    if vital is not None and not vital.low <= term.recovery <= vital.high:
        raise error(
            f"{term.recovery:g} is not within {vital.low:g}-{vital.high:g}: it would never be over"
        )


def _looser(term: Term, floor: float, trigger: float) -> bool:
    """Return whether a trigger would let more pass than the floor does."""
    return trigger > floor if term.above else trigger < floor


def parse_baseline(text: bytes, path: PurePath) -> Pack:
    """Return the pack in a baseline file; raise SettingsError naming file, line, key and fix."""
    raw = toml.read(text, path, PackToml)
    reader = _Reader(text, path)
    limits = [rule for i, limit in enumerate(raw.limit) for rule in reader.limits(limit, i)]
    derived = _derived(raw, reader)
    technical = _technical(raw, reader)
    if raw.silence.after_s <= 0:
        raise reader.error("silence", 0, "after_s", f"is {raw.silence.after_s:g}; above 0")
    bed = raw.silence
    device, hospital = bed.device, bed.hospital
    by_vital: dict[str, list[Technical]] = {}
    for item in technical:
        by_vital.setdefault(item.vital, []).append(item)
    empty = Pack(
        name=raw.name,
        version=content_hash(text),
        silence=Silence(Rule(NO_DATA, Kind.SILENCE, (), bed.priority, bed.zh, bed.en), bed.after_s),
        device_silence=None
        if device is None
        else Silence(
            Rule(DEVICE_SILENT, Kind.SILENCE, (), device.priority, device.zh, device.en),
            device.after_s,
        ),
        hospital_silence=None
        if hospital is None
        else Rule(HOSPITAL_SILENT, Kind.SILENCE, (), hospital.priority, hospital.zh, hospital.en),
        by_vital={},
        technical=tuple(technical),
        technical_by_vital={vital: tuple(some) for vital, some in by_vital.items()},
        monitors=tuple(
            Monitor(frozenset(m.alarms), m.extreme, frozenset(m.same_as)) for m in raw.monitor
        ),
        annunciation=raw.annunciation,
    )
    pack = _with_rules(empty, [*limits, *derived])
    _check_contradictions(pack, lambda rule, what: _limit_error(raw, reader, rule, what))
    return replace(pack, inhibitions=_inhibitions(raw, pack, reader))


def _limit_error(raw: PackToml, reader: _Reader, rule: Rule, what: str) -> SettingsError:
    index = next(i for i, limit in enumerate(raw.limit) if limit.id == rule.name)
    return reader.error("limit", index, "above" if rule.terms[0].above else "below", what)


def _check_contradictions(pack: Pack, error: Callable[[Rule, str], SettingsError]) -> None:
    """Raise when two limits leave a vital no value that breaks neither."""
    for vital, (low, high) in pack.quiet.items():
        if low > high:
            rule = next(r for r in pack.by_vital[vital] if r.terms[0].trigger == low)
            what = f"{vital} below {low:g} and above {high:g} leaves no normal value; part them"
            raise error(rule, what)


def _derived(raw: PackToml, reader: _Reader) -> list[Rule]:
    rules = []
    for i, score in enumerate(raw.score):
        reader.take_id("score", i, score.id)
        if score.score not in SCORES:
            raise reader.error("score", i, "score", f"{score.score!r}: one of {', '.join(SCORES)}")
        back = score.at_least - 1 if score.recovery is None else score.recovery
        if back >= score.at_least:
            raise reader.error("score", i, "recovery", f"{back:g} must be below at_least")
        term = Term(score.score, above=True, trigger=score.at_least - 0.5, recovery=back)
        floor = None if score.floor is None else score.floor - 0.5
        rules.append(_derived_rule(Kind.SCORE, score, (term,), floor))
    for i, trend in enumerate(raw.trend):
        reader.take_id("trend", i, trend.id)
        if trend.of not in TRENDS:
            raise reader.error("trend", i, "of", f"{trend.of!r}: one of {', '.join(TRENDS)}")
        falls = None if trend.falls is None else -trend.falls
        recovery = trend.recovery
        if recovery is not None and falls is not None:
            recovery = -recovery
        term = reader.term(("trend", i), trend.of, trend.rises, falls, recovery=recovery)
        rules.append(_derived_rule(Kind.TREND, trend, (term,)))
    for i, combination in enumerate(raw.combination):
        reader.take_id("combination", i, combination.id)
        if not combination.all:
            raise reader.error("combination", i, "all", "is empty; give at least one term")
        terms = tuple(
            reader.term(("combination", i), t.of, t.above, t.below, recovery=t.recovery)
            for t in combination.all
        )
        rules.append(_derived_rule(Kind.COMBINATION, combination, terms))
    return rules


def _derived_rule(
    kind: Kind,
    raw: toml.ScoreToml | toml.TrendToml | toml.CombinationToml,
    terms: tuple[Term, ...],
    floor: float | None = None,
) -> Rule:
    return Rule(
        id=raw.id,
        kind=kind,
        terms=terms,
        priority=raw.priority,
        zh=raw.zh,
        en=raw.en,
        hold_s=raw.hold_s,
        recovery_hold_s=raw.recovery_hold_s,
        floor=floor,
    )


def _technical(raw: PackToml, reader: _Reader) -> list[Technical]:
    found = []
    for i, item in enumerate(raw.technical):
        reader.take_id("technical", i, item.id)
        for vital in item.vitals:
            if vital not in VITALS:
                raise reader.error("technical", i, "vitals", f"{vital!r} is unknown")
            rule = Rule(
                id=f"{item.id}/{vital}",
                kind=Kind.TECHNICAL,
                terms=(),
                priority=item.priority,
                zh=item.zh,
                en=item.en,
                hold_s=item.after_s,
                recovery_hold_s=SIGNAL_CLEAR_S,
            )
            found.append(
                Technical(
                    rule=rule,
                    vital=vital,
                    qualities=frozenset(item.qualities),
                    after_s=item.after_s,
                    doubt_s=item.doubt_s,
                    doubt_other_s=item.doubt_other_s,
                    pi_below=item.pi_below,
                    pr_differs=item.pr_differs,
                    pulse=item.pulse,
                    perfusion=item.perfusion,
                )
            )
    return found


def _inhibitions(raw: PackToml, pack: Pack, reader: _Reader) -> tuple[Inhibition, ...]:
    """Return source by source what is muted; refuse unknown names, extremes and cycles."""
    rules = pack.rules
    found: list[Inhibition] = []  # ids of device_silent end in a device: the name stands for them
    edges: dict[str, set[str]] = {}
    for i, item in enumerate(raw.inhibition):
        for key, names in (("source", item.source), ("target", item.target)):
            for name in names:
                if not _named(rules, name):
                    raise reader.error("inhibition", i, key, f"no rule {name!r} in this pack")
        targets = {t for name in item.target for t in _named(rules, name)}
        extremes = sorted(t for t in targets if rules[t].extreme)
        if extremes:
            raise reader.error(
                "inhibition", i, "target", f"{extremes[0]} is extreme: nothing may mute it"
            )
        for name in item.source:
            for source in _named(rules, name):
                found.append(
                    Inhibition(source, frozenset(targets - {source}), source == HOSPITAL_SILENT)
                )
                edges.setdefault(source, set()).update(targets - {source})
        cycle = _cycle(edges)
        if cycle:
            raise reader.error(
                "inhibition", i, "source", f"mutes in a circle: {' → '.join(cycle)}; break it"
            )
    return tuple(found)


def _cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return a path that comes back to its start; empty when there is none."""

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        for after in sorted(edges.get(node, ())):
            found = walk(after, [*path, node])
            if found:
                return found
        return []

    return next((found for start in sorted(edges) if (found := walk(start, []))), [])


def parse_overlay(text: bytes, path: PurePath, baseline: Pack) -> Overlay:
    """Return a checked overlay; raise SettingsError naming file, line, key and fix."""
    raw = toml.read(text, path, OverlayToml)
    reader = _Reader(text, path)
    rules = {rule.id: rule for some in baseline.by_vital.values() for rule in some}
    rules |= {rule.id: rule for rule in baseline.derived}
    if not _SCOPE.fullmatch(raw.scope):
        raise reader.error(
            "",
            0,
            "for",
            f"{raw.scope!r}: write region:NAME, hospital, hospital/unit or a whole bed",
        )
    name = f"{raw.name}@{content_hash(text)}"
    for i, change in enumerate(raw.set):
        ids = _named(rules, change.rule)
        if not ids:
            near = get_close_matches(change.rule, [*rules, *(r.name for r in rules.values())], 1)
            hint = f"; did you mean {near[0]}?" if near else "; `vigil rules show` lists them"
            raise reader.error(
                "set", i, "rule", f"no rule {change.rule!r} in {baseline.name}{hint}"
            )
        for rule_id in ids:
            _check_change(reader, i, rules[rule_id], change)
        if not change.off:
            _apply(rules, change, name)
    for rule_id in [r for i in raw.set if i.off for r in _named(rules, i.rule)]:
        rules.pop(rule_id, None)
    reader.ids = {rule.partition("/")[0] for rule in baseline.rules} | {MONITOR}
    added = [rule for i, limit in enumerate(raw.limit) for rule in reader.limits(limit, i, name)]
    merged = _with_rules(baseline, [*rules.values(), *added])
    _check_contradictions(merged, lambda _, what: reader.error("set", 0, "rule", what))
    return Overlay(name, raw.scope, tuple(raw.set), tuple(added))


def _bound(rule: Rule, term: Term) -> str:
    """Return how a floor bounds: a limit above it or a score at most, a limit below at least."""
    return "at most" if term.above or rule.kind is Kind.SCORE else "at least"


def _shown(rule: Rule, term: Term) -> float:
    """Return a limit as people write it."""
    return term.trigger + (0.5 if rule.kind is Kind.SCORE else 0)


def _check_change(reader: _Reader, index: int, rule: Rule, change: SetToml) -> None:
    """Raise when a change loosens a floor, contradicts itself, or does nothing to this rule."""
    term = rule.terms[0]
    wrong = "below" if term.above else "above"
    if rule.kind is not Kind.SCORE and getattr(change, wrong) is not None:
        raise reader.error(
            "set", index, wrong, f"{rule.id} is a limit {'above' if term.above else 'below'}"
        )
    if rule.floor is not None:
        floor = rule.floor + (0.5 if rule.kind is Kind.SCORE else 0)
        if change.off:
            raise reader.error(
                "set", index, "off", f"{rule.id} has the floor {floor:g}: it cannot be switched off"
            )
        trigger = _trigger(term, change)
        if trigger is not None and _looser(term, rule.floor, trigger):
            key = "at_least" if rule.kind is Kind.SCORE else "above" if term.above else "below"
            raise reader.error(
                "set",
                index,
                key,
                f"{rule.id} has the floor {floor:g}: an overlay may set {_bound(rule, term)} "
                f"{floor:g} (the baseline says {_shown(rule, term):g})",
            )
        if change.hold_s is not None and change.hold_s > rule.hold_s:
            raise reader.error(
                "set", index, "hold_s", f"{rule.id} has a floor: at most {rule.hold_s:g} s"
            )
        if change.priority is not None and URGENCY[change.priority] < URGENCY[rule.priority]:
            raise reader.error(
                "set", index, "priority", f"{rule.id} has a floor: at least {rule.priority}"
            )
    if change.hold_s is not None and change.hold_s < 0:
        raise reader.error("set", index, "hold_s", "at least 0")
    if change.off:
        return
    after = _changed(rule, change, "").terms[0]
    _check_reachable(after, lambda what: reader.error("set", index, "recovery", what))
    if (after.recovery > after.trigger) if after.above else (after.recovery < after.trigger):
        raise reader.error(
            "set", index, "recovery", f"{after.recovery:g} contradicts the limit {after.trigger:g}"
        )


def make_rule_set(
    baseline: tuple[bytes, PurePath],
    overlays: Sequence[tuple[bytes, PurePath]] = (),
    regions: dict[str, str] | None = None,
) -> RuleSet:
    """Return a checked rule set from the texts of its files; raise SettingsError."""
    pack = parse_baseline(*baseline)
    found = tuple(parse_overlay(text, path, pack) for text, path in overlays)
    _check_added(found)
    rules = RuleSet(pack, found, regions or {})
    scopes = {overlay.scope for overlay in found}
    for scope in sorted(scopes):  # what is fine alone may contradict what lies above it
        if scope.startswith("region:"):
            rules.effective([o for o in found if o.scope == scope])
        else:
            place = "/".join([*scope.split("/"), "x", "x"][:3])
            _check_contradictions(rules.effective(rules.of_bed(place)), _together(scope))
    return rules


def _check_added(overlays: Sequence[Overlay]) -> None:
    """Raise when two overlays add a limit of the same name: one would hide the other."""
    known: dict[str, str] = {}
    for overlay in overlays:
        for name in sorted({rule.name for rule in overlay.added}):
            if name in known:
                raise SettingsError(
                    f"overlays {known[name]} and {overlay.name} both add the limit {name!r}; "
                    "rename one"
                )
            known[name] = overlay.name


def _together(scope: str) -> Callable[[Rule, str], SettingsError]:
    return lambda rule, what: SettingsError(f"overlays for {scope}, together: {rule.id}: {what}")


def from_config(config: RulesConfig) -> RuleSet:
    """Return the rule set that was published; raise SettingsError."""
    return make_rule_set(
        (config.baseline.encode(), PurePath("baseline")),
        [(text.encode(), PurePath(name)) for name, text in sorted(config.overlays.items())],
        config.regions,
    )
