"""The life of one limit rule on one bed, as one transition table.

    phase       condition  when                      → phase       action
    ----------  ---------  ------------------------  ------------  -------
    normal      breach     hold 0 and samples 1      firing        fire
    normal      breach     otherwise                 pending
    pending     breach     hold and samples reached  firing        fire
    pending     breach     otherwise                 pending
    pending     band       -                         normal
    pending     normal     -                         normal
    firing      breach     -                         firing
    firing      band       -                         firing
    firing      normal     recovery hold 0           normal        resolve
    firing      normal     otherwise                 recovering
    recovering  breach     -                         firing
    recovering  band       -                         firing
    recovering  normal     recovery hold reached     normal        resolve
    recovering  normal     otherwise                 recovering

A missing or unusable value is no condition: it changes nothing here (the signal's own loss is
another alert's business). But a hold needs unbroken evidence: after a break longer than
``max_break_ns`` without a judged value, or when measured time runs backwards, a pending or
recovering phase starts again at the new reading. Normal is the absence of a state.
"""

from enum import StrEnum

from msgspec import Struct

from alerts.rules import Condition, LimitRule
from schemas.times import S


class Phase(StrEnum):
    """Where a rule is in its life. Normal is the absence of a state."""

    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Action(StrEnum):
    """What a transition asks for."""

    NONE = "none"
    FIRE = "fire"
    RESOLVE = "resolve"


class RuleState(Struct, array_like=True):
    """One rule on one bed that is not normal.

    ``onset_ns``/``onset_key``: measured time and key of the reading that began it. ``since_ns``:
    when the current phase began. ``announced``: whether people have been told.
    """

    phase: Phase
    onset_ns: int
    onset_key: str
    since_ns: int
    last_ns: int
    samples: int
    announced: bool = False
    acknowledged_by: str | None = None


def transition(
    rule: LimitRule,
    state: RuleState | None,
    condition: Condition,
    at_ns: int,
    key: str,
    max_break_ns: int,
) -> tuple[RuleState | None, Action]:
    """Return the state after ``condition`` was seen at measured time ``at_ns``, and the action."""
    if state is not None:
        _restart_after_break(state, at_ns, key, max_break_ns)
        state.last_ns = at_ns
    match (state.phase if state else None, condition):
        case (None, Condition.BREACH):
            fresh = RuleState(Phase.PENDING, at_ns, key, at_ns, at_ns, 1)
            return _fire_when_due(rule, fresh, at_ns)
        case (None, _):
            return None, Action.NONE
    assert state is not None
    match (state.phase, condition):
        case (Phase.PENDING, Condition.BREACH):
            state.samples += 1
            return _fire_when_due(rule, state, at_ns)
        case (Phase.PENDING, _):
            return None, Action.NONE
        case (Phase.FIRING, Condition.NORMAL):
            state.phase, state.since_ns = Phase.RECOVERING, at_ns
            return _resolve_when_due(rule, state, at_ns)
        case (Phase.RECOVERING, Condition.NORMAL):
            return _resolve_when_due(rule, state, at_ns)
        case (Phase.RECOVERING, _):
            state.phase, state.since_ns = Phase.FIRING, at_ns
    return state, Action.NONE


def _restart_after_break(state: RuleState, at_ns: int, key: str, max_break_ns: int) -> None:
    if 0 <= at_ns - state.last_ns <= max_break_ns:
        return
    if state.phase is Phase.PENDING:
        state.onset_ns, state.onset_key, state.since_ns, state.samples = at_ns, key, at_ns, 0
    elif state.phase is Phase.RECOVERING:
        state.since_ns = at_ns


def _fire_when_due(
    rule: LimitRule, state: RuleState, at_ns: int
) -> tuple[RuleState | None, Action]:
    if state.samples >= rule.samples and at_ns - state.onset_ns >= rule.hold_s * S:
        state.phase, state.since_ns = Phase.FIRING, at_ns
        return state, Action.FIRE
    return state, Action.NONE


def _resolve_when_due(
    rule: LimitRule, state: RuleState, at_ns: int
) -> tuple[RuleState | None, Action]:
    if at_ns - state.since_ns >= rule.recovery_hold_s * S:
        return None, Action.RESOLVE
    return state, Action.NONE
