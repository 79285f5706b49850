"""Why did it (not) alert? Every rule of a bed at one moment: inputs, ages, state, reason. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from alerts import derive, inhibition
from alerts.derive import Newest
from alerts.engine import Engine
from alerts.lifecycle import Phase, RuleState
from alerts.quantities import SOURCES, TRENDS
from alerts.rules import Condition, Kind, Pack, Rule, evaluate, unit_of
from alerts.scores import SCORES, Score, news2_risk
from alerts.sentences import names
from alerts.state import BedState
from schemas.alerts import hospital_place
from schemas.care import BedState as Occupancy
from schemas.observations import OBSERVATIONS
from schemas.times import S, format_time

Words = tuple[str, str]
INPUT_NAMES = {
    "rr": ("呼吸频率", "respiratory rate"),
    "spo2": ("血氧饱和度", "SpO₂"),
    "o2": ("是否吸氧", "oxygen or air"),
    "sbp": ("收缩压", "systolic pressure"),
    "pulse": ("心率", "pulse"),
    "consciousness": ("意识", "consciousness"),
    "temp": ("体温", "temperature"),
    "map": ("平均动脉压", "mean arterial pressure"),
}


def explain(
    engine: Engine,
    name: str,
    latest: Mapping[str, Newest],
    now_ns: int,
    rule: str | None = None,
) -> dict[str, Any]:
    """Return what the engine knows of a bed at ``now_ns``, rule by rule, and why each is as it is.

    ``rule``: only this one, by id or by name.
    """
    bed = engine.state.beds.get(name, BedState())
    pack, care = engine.pack(name), engine.care(name)
    inputs = derive.score_inputs(latest, bed.observed, care, bed.interval_s, now_ns)
    # copies: to look changes nothing
    trends = {key: replace(trend) for key, trend in bed.trends.items()}
    known = derive.quantities(inputs, trends, now_ns)
    scores = derive.scores(inputs)
    chosen = [r for r in pack.rules.values() if rule is None or rule in (r.id, r.name)]
    look = _Look(engine, name, bed, pack, latest, known, scores, now_ns)
    return {
        "bed": name,
        "at": format_time(now_ns),
        "state": care.state.value,
        "heard": format_time(bed.heard_ns) if bed.heard_ns else None,
        "silent_s": _age(bed.heard_ns, now_ns),
        "care": to_builtins(care),
        "pack": pack.name,
        "pack_version": pack.version,
        "overlays": [overlay.name for overlay in engine.rules.of_bed(name)],
        "inputs": {
            vital: {
                "value": round(found.value, 3),
                "unit": unit_of(vital),
                "age_s": _age(found.hub_ns, now_ns),
                "fresh": now_ns - found.hub_ns <= derive.fresh_ns(vital, bed.interval_s),
            }
            for vital, found in sorted(latest.items())
            if found.hub_ns
        },
        "observations": {
            kind: {
                "value": _observed(kind, found.value),
                "by": found.by,
                "age_s": _age(found.at_ns, now_ns),
                "expired": derive.observed(bed.observed, kind, now_ns) is None,
            }
            for kind, found in sorted(bed.observed.items())
        },
        "scores": {key: _score(key, score) for key, score in scores.items()}
        | {key: known.get(key) for key in ("shock_index", "modified_shock_index")},
        "rules": [look.at(r) for r in chosen],
        "open": [to_builtins(event) for event in bed.open.values()],
    }


def _age(then_ns: int, now_ns: int) -> float | None:
    return round((now_ns - then_ns) / S, 1) if then_ns else None


def _observed(kind: str, value: float) -> float | str:
    choices = OBSERVATIONS[kind].choices
    return choices[int(value)] if choices else value


def _score(name: str, score: Score) -> dict[str, Any]:
    found = {
        "total": score.total,
        "parts": score.parts,
        "partial": score.partial,
        "missing": list(score.missing),
        "blocked": score.blocked,
        "source": SCORES[name].source,
    }
    return found | {"risk": news2_risk(score)} if name == "news2" else found


class _Look:
    """One moment of one bed, looked at rule by rule."""

    def __init__(  # noqa: PLR0913 - one moment, as it is known
        self,
        engine: Engine,
        name: str,
        bed: BedState,
        pack: Pack,
        latest: Mapping[str, Newest],
        known: Mapping[str, float],
        scores: Mapping[str, Score],
        now_ns: int,
    ) -> None:
        self._engine, self._name, self._bed, self._pack = engine, name, bed, pack
        self._latest, self._known, self._scores, self._now_ns = latest, known, scores, now_ns

    def _value(self, of: str) -> float | None:
        if of in self._known:
            return self._known[of]
        if of in self._latest:
            return derive.newest(self._latest, (of,), self._bed.interval_s, self._now_ns)
        return None

    def at(self, rule: Rule) -> dict[str, Any]:
        """Return one rule: what it looks at, where it is in its life, and why."""
        state = self._bed.live.get(rule.id)
        values = {
            term.of: value for term in rule.terms if (value := self._value(term.of)) is not None
        }
        condition = evaluate(rule, values) if rule.terms else None
        alert = next((e for e in self._bed.open.values() if e.rule == rule.id), None)
        muted = ("", "")
        if alert is not None:
            place = self._engine.state.places.get(hospital_place(self._name.partition("/")[0]))
            care = self._engine.care(self._name)
            muted = inhibition.muted_by(alert, self._bed, care, self._pack, place, self._now_ns)
        reason, words = self._reason(rule, state, condition, muted)
        return {
            "rule": rule.id,
            "kind": rule.kind.value,
            "priority": rule.priority.value,
            "zh": rule.zh,
            "en": rule.en,
            "overlay": rule.overlay,
            "extreme": rule.extreme,
            "terms": [
                {
                    "of": term.of,
                    "side": "above" if term.above else "below",
                    "limit": term.trigger,
                    "recovery": term.recovery,
                    "value": values.get(term.of),
                    "age_s": self._age_of(term.of),
                    "condition": None
                    if term.of not in values
                    else term.condition(values[term.of]).value,
                }
                for term in rule.terms
            ],
            "hold_s": rule.hold_s,
            "samples": rule.samples,
            "condition": None if condition is None else condition.value,
            "phase": "normal" if state is None else state.phase.value,
            "onset": None if state is None else format_time(state.onset_ns),
            "alert": None if alert is None else alert.alert,
            "muted_by": muted[0],
            "acknowledged_by": None if alert is None else alert.acknowledged_by,
            "reason": reason,
            "why_zh": words[0],
            "why_en": words[1],
        }

    def _age_of(self, of: str) -> float | None:
        sources = SOURCES.get(TRENDS.get(of, of), (of,))
        ages = [
            age
            for source in sources
            if source in self._latest
            and (age := _age(self._latest[source].hub_ns, self._now_ns)) is not None
        ]
        return min(ages) if ages else None

    def _reason(
        self,
        rule: Rule,
        state: RuleState | None,
        condition: Condition | None,
        muted: tuple[str, str],
    ) -> tuple[str, Words]:
        """Return a stable word for why the rule is as it is, and the sentence."""
        if self._engine.care(self._name).state is Occupancy.EMPTY:
            return "bed_empty", ("空床，不报警", "the bed is empty; it never alarms")
        if muted[0]:
            return "muted", (
                f"已触发，但被 {muted[0]} 抑制（{muted[1]}）",
                f"fired, but muted by {muted[0]} ({muted[1]})",
            )
        if state is not None:
            return self._in_its_life(rule, state)
        if rule.kind in (Kind.SILENCE, Kind.TECHNICAL, Kind.MONITOR):
            return "normal", ("没有这种技术情况", "nothing of the kind is the case")
        if condition is None:
            return self._not_evaluated(rule)
        parts_zh, parts_en = [], []
        for term in rule.terms:
            zh, en, *_, decimals = names(term.of)
            value = self._value(term.of)
            shown = "?" if value is None else f"{value:.{max(decimals, 0)}f}"
            inside = term.condition(value) is not Condition.BREACH if value is not None else True
            if inside:
                side_zh, side_en = (
                    ("不高于", "not above") if term.above else ("不低于", "not below")
                )
                parts_zh.append(f"{zh} {shown}，{side_zh}报警限 {term.trigger:g}")
                parts_en.append(f"{en} {shown} is {side_en} the limit {term.trigger:g}")
        if not parts_zh:
            return "due", ("条件刚刚成立", "the condition has only just come true")
        return "within_limits", ("；".join(parts_zh), "; ".join(parts_en))

    def _in_its_life(self, rule: Rule, state: RuleState) -> tuple[str, Words]:
        held_s = max(0.0, (self._now_ns - self._bed.offset_ns - state.onset_ns) / S)
        if state.phase is Phase.PENDING:
            return "pending", (
                f"已超限 {held_s:.0f} 秒，须持续 {rule.hold_s:g} 秒、{rule.samples} 个样本",
                f"broken for {held_s:.0f} s; must last {rule.hold_s:g} s, {rule.samples} samples",
            )
        if state.phase is Phase.DOUBTED:
            return "doubted", (
                f"已超限 {held_s:.0f} 秒，但信号不可信，先报技术报警",
                f"broken for {held_s:.0f} s by a value not trusted; signal alerts",
            )
        if state.phase is Phase.LATCHED:
            return "latched", ("情况已过，等待确认", "over; it waits to be acknowledged")
        if not state.announced:
            return "history", (
                "数据迟到，按历史判断，未打扰任何人",
                "the data came late and were judged as history; nobody was called",
            )
        if state.phase is Phase.RECOVERING:
            return "recovering", (
                f"正在恢复，须持续正常 {rule.recovery_hold_s:g} 秒",
                f"recovering; must stay normal for {rule.recovery_hold_s:g} s",
            )
        return "firing", (f"已触发，持续 {held_s:.0f} 秒", f"firing for {held_s:.0f} s")

    def _not_evaluated(self, rule: Rule) -> tuple[str, Words]:
        score = self._scores.get(rule.terms[0].of)
        if score is not None and score.blocked:
            why = {"age": ("年龄小于16岁", "under 16"), "pregnancy": ("妊娠", "pregnancy")}
            zh, en = why[score.blocked]
            return "not_scored", (f"未评分：{zh}", f"not scored: {en}")
        if score is not None:
            missing = [INPUT_NAMES.get(key, (key, key)) for key in score.missing]
        else:
            missing = [names(t.of)[:2] for t in rule.terms if self._value(t.of) is None]
        return "not_evaluated", (
            "未评估，缺少：" + "、".join(zh for zh, _ in missing),
            "not evaluated; missing: " + ", ".join(en for _, en in missing),
        )
