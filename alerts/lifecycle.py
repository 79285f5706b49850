"""The life of one rule on one bed, as one transition table.

    phase       condition  when                       → phase       action
    ----------  ---------  -------------------------  ------------  -------
    normal      breach     hold 0 and samples 1       firing        fire
    normal      breach     otherwise                  pending
    normal      doubt      -                          doubted       doubt
    pending     breach     hold and samples reached   firing        fire
    pending     breach     otherwise                  pending
    pending     doubt      -                          doubted       doubt
    pending     band       -                          normal
    pending     normal     -                          normal
    doubted     breach     hold and samples reached   firing        fire
    doubted     breach     otherwise                  pending
    doubted     doubt      another vital agrees, or   firing        fire
                           doubted long enough
    doubted     doubt      otherwise                  doubted
    doubted     band       -                          normal
    doubted     normal     -                          normal
    firing      breach     -                          firing
    firing      doubt      -                          firing
    firing      band       -                          firing
    firing      normal     recovery hold 0            over          resolve
    firing      normal     otherwise                  recovering
    recovering  breach     -                          firing
    recovering  doubt      -                          firing
    recovering  band       -                          firing
    recovering  normal     recovery hold reached      over          resolve
    recovering  normal     otherwise                  recovering
    latched     breach     -                          firing        recur
    latched     doubt      -                          latched
    latched     band       -                          latched
    latched     normal     -                          latched

*Over* is ``latched`` when the rule latches and nobody has acknowledged it (action ``latch``), else
``normal``. An acknowledgement turns ``latched`` into ``normal`` (``acknowledged`` below). Shelving,
muting, pauses and escalation are no phases: they are times and names on the alert, and never change
whether a condition is there.

Time passes too: a hold that ends between two samples fires at its end (``due_ns``), if the device
sends often enough for its last sample to stand.

A missing or unusable value is no condition: it changes nothing here (the signal's own loss is
another alert's business). But a hold needs unbroken evidence: after a break longer than
``max_break_ns`` without a judged value, or when measured time runs backwards, a pending, doubted or
recovering phase starts again at the new reading. Normal is the absence of a state.
"""

from enum import StrEnum

from msgspec import Struct

from alerts.rules import Condition, Rule
from schemas.times import S


class Phase(StrEnum):
    """Where a rule is in its life. Normal is the absence of a state."""

    PENDING = "pending"
    DOUBTED = "doubted"
    FIRING = "firing"
    RECOVERING = "recovering"
    LATCHED = "latched"


class Action(StrEnum):
    """What a transition asks for."""

    NONE = "none"
    DOUBT = "doubt"
    FIRE = "fire"
    RESOLVE = "resolve"
    LATCH = "latch"
    RECUR = "recur"


class RuleState(Struct, array_like=True):
    """One rule on one bed that is not normal. Times are measured, ns.

    ``onset_ns``/``onset_key``: measured time and key of the reading that began it. ``since_ns``:
    when the current phase began. ``announced``: whether people have been told. ``value``: the last
    that was judged. ``due_ns``: hub time at which time alone fires it; 0: it does not. ``gap_ns``:
    how far the last two samples were apart.
    """

    phase: Phase
    onset_ns: int
    onset_key: str
    since_ns: int
    last_ns: int
    samples: int
    announced: bool = False
    acknowledged_by: str | None = None
    value: float | None = None
    due_ns: int = 0
    gap_ns: int = 0


def transition(  # noqa: C901, PLR0911, PLR0913 - the table above, row by row
    rule: Rule,
    state: RuleState | None,
    condition: Condition,
    at_ns: int,
    key: str,
    max_break_ns: int,
    samples: int | None = None,
    doubt_ns: int = 0,
) -> tuple[RuleState | None, Action]:
    """Return the state after ``condition`` was seen at measured time ``at_ns``, and the action.

    ``samples``: how many it takes, where the device sends too seldom for the rule's own number.
    ``doubt_ns``: how long doubt lasts before it is believed; 0 when another vital agrees.
    """
    samples = rule.samples if samples is None else samples
    if state is None:
        if condition is Condition.BREACH:
            fresh = RuleState(Phase.PENDING, at_ns, key, at_ns, at_ns, 1)
            return _fire_when_due(rule, fresh, at_ns, samples)
        if condition is Condition.DOUBT:
            fresh = RuleState(Phase.DOUBTED, at_ns, key, at_ns, at_ns, 0)
            return _believe_when_due(fresh, at_ns, doubt_ns)
        return None, Action.NONE
    _restart_after_break(rule, state, at_ns, key, max_break_ns, samples)
    if at_ns > state.last_ns:
        state.gap_ns = at_ns - state.last_ns
    state.last_ns = at_ns
    match (state.phase, condition):
        case (Phase.PENDING | Phase.DOUBTED, Condition.BREACH):
            state.phase, state.samples = Phase.PENDING, state.samples + 1
            return _fire_when_due(rule, state, at_ns, samples)
        case (Phase.PENDING, Condition.DOUBT):
            state.phase, state.since_ns, state.due_ns = Phase.DOUBTED, at_ns, 0
            return _believe_when_due(state, at_ns, doubt_ns)
        case (Phase.DOUBTED, Condition.DOUBT):
            return _believe_when_due(state, at_ns, doubt_ns)
        case (Phase.PENDING | Phase.DOUBTED, _):
            return None, Action.NONE
        case (Phase.FIRING, Condition.NORMAL):
            state.phase, state.since_ns = Phase.RECOVERING, at_ns
            return _resolve_when_due(rule, state, at_ns)
        case (Phase.RECOVERING, Condition.NORMAL):
            return _resolve_when_due(rule, state, at_ns)
        case (Phase.RECOVERING, _):
            state.phase, state.since_ns = Phase.FIRING, at_ns
        case (Phase.LATCHED, Condition.BREACH):
            state.phase, state.since_ns, state.acknowledged_by = Phase.FIRING, at_ns, None
            return state, Action.RECUR
    return state, Action.NONE


def elapse(state: RuleState, at_ns: int) -> Action:
    """Let a pending hold end between two samples, at measured time ``at_ns``."""
    state.due_ns = 0
    if state.phase is Phase.PENDING:
        state.phase, state.since_ns = Phase.FIRING, at_ns
        return Action.FIRE
    return Action.NONE


def _restart_after_break(
    rule: Rule, state: RuleState, at_ns: int, key: str, max_break_ns: int, samples: int
) -> None:
    gap = at_ns - state.last_ns
    within = rule.within_s * S
    few = state.phase is Phase.PENDING and within and gap > within and samples > 1
    if 0 <= gap <= max_break_ns and not few:
        return
    if state.phase in (Phase.PENDING, Phase.DOUBTED):
        state.onset_ns, state.onset_key, state.since_ns, state.samples = at_ns, key, at_ns, 0
    elif state.phase is Phase.RECOVERING:
        state.since_ns = at_ns


def _fire_when_due(
    rule: Rule, state: RuleState, at_ns: int, samples: int
) -> tuple[RuleState, Action]:
    if state.samples >= samples and at_ns - state.onset_ns >= rule.hold_s * S:
        state.phase, state.since_ns, state.due_ns = Phase.FIRING, at_ns, 0
        return state, Action.FIRE
    return state, Action.NONE


def _believe_when_due(state: RuleState, at_ns: int, doubt_ns: int) -> tuple[RuleState, Action]:
    if at_ns - state.since_ns >= doubt_ns:
        state.phase, state.since_ns = Phase.FIRING, at_ns
        return state, Action.FIRE
    return state, Action.DOUBT


def _resolve_when_due(rule: Rule, state: RuleState, at_ns: int) -> tuple[RuleState | None, Action]:
    if at_ns - state.since_ns < rule.recovery_hold_s * S:
        return state, Action.NONE
    if rule.latching and state.announced and state.acknowledged_by is None:
        state.phase, state.since_ns = Phase.LATCHED, at_ns
        return state, Action.LATCH
    return None, Action.RESOLVE
