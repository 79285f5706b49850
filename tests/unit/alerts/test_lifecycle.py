import pytest

from alerts.lifecycle import Action, Phase, transition
from alerts.rules import Condition, Kind, Rule, Term
from schemas.alerts import Priority
from schemas.times import S

N, B, D, U = Condition.NORMAL, Condition.BREACH, Condition.BAND, Condition.DOUBT
BREAK = 60 * S
DOUBT_NS = 15 * S


def rule(**given):
    return Rule("x/hr", Kind.LIMIT, (Term("hr", True, 130, 125),), Priority.HIGH, "", "", **given)


def run(the_rule, *steps, doubt_ns=DOUBT_NS, announced=True):
    """Return phase and action after each (seconds, condition)."""
    state, out = None, []
    for t_s, condition in steps:
        state, action = transition(
            the_rule, state, condition, int(t_s * S), str(t_s), BREAK, doubt_ns=doubt_ns
        )
        if state is not None and announced and state.phase is Phase.FIRING:
            state.announced = True
        out.append((state.phase if state else None, action))
    return out


@pytest.mark.parametrize(
    ("the_rule", "steps", "last"),
    [
        (rule(), [(0, N)], (None, Action.NONE)),
        (rule(), [(0, D)], (None, Action.NONE)),
        (rule(), [(0, B)], (Phase.FIRING, Action.FIRE)),
        (rule(hold_s=10), [(0, B), (9.99, B)], (Phase.PENDING, Action.NONE)),
        (rule(hold_s=10), [(0, B), (10, B)], (Phase.FIRING, Action.FIRE)),
        (rule(hold_s=10), [(0, B), (5, D)], (None, Action.NONE)),
        (rule(hold_s=10), [(0, B), (5, N), (10, B)], (Phase.PENDING, Action.NONE)),
        (rule(samples=2), [(0, B)], (Phase.PENDING, Action.NONE)),
        (rule(samples=2), [(0, B), (1, B)], (Phase.FIRING, Action.FIRE)),
        (rule(samples=2, within_s=3), [(0, B), (3, B)], (Phase.FIRING, Action.FIRE)),
        (rule(samples=2, within_s=3), [(0, B), (3.1, B)], (Phase.PENDING, Action.NONE)),
        (rule(samples=2, within_s=3), [(0, B), (1, N), (2, B)], (Phase.PENDING, Action.NONE)),
        (rule(), [(0, B), (1, B)], (Phase.FIRING, Action.NONE)),
        (rule(), [(0, B), (1, D)], (Phase.FIRING, Action.NONE)),
        (rule(), [(0, B), (1, U)], (Phase.FIRING, Action.NONE)),
        (rule(), [(0, B), (1, N)], (None, Action.RESOLVE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N)], (Phase.RECOVERING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (3, D)], (Phase.FIRING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (3, B)], (Phase.FIRING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (3, U)], (Phase.FIRING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (5.9, N)], (Phase.RECOVERING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (6, N)], (None, Action.RESOLVE)),
        (rule(hold_s=10), [(0, B), (61, B)], (Phase.PENDING, Action.NONE)),
        (rule(hold_s=10), [(0, B), (61, B), (71, B)], (Phase.FIRING, Action.FIRE)),
        (rule(hold_s=10), [(9, B), (8, B), (17, B)], (Phase.PENDING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (99, N)], (Phase.RECOVERING, Action.NONE)),
        (rule(), [(0, U)], (Phase.DOUBTED, Action.DOUBT)),
        (rule(), [(0, U), (14.9, U)], (Phase.DOUBTED, Action.DOUBT)),
        (rule(), [(0, U), (15, U)], (Phase.FIRING, Action.FIRE)),
        (rule(), [(0, U), (5, N)], (None, Action.NONE)),
        (rule(), [(0, U), (5, D)], (None, Action.NONE)),
        (rule(), [(0, U), (5, B)], (Phase.FIRING, Action.FIRE)),
        (rule(hold_s=10), [(0, B), (5, U)], (Phase.DOUBTED, Action.DOUBT)),
        (rule(latching=True), [(0, B), (1, N)], (Phase.LATCHED, Action.LATCH)),
        (rule(latching=True), [(0, B), (1, N), (2, N)], (Phase.LATCHED, Action.NONE)),
        (rule(latching=True), [(0, B), (1, N), (2, U)], (Phase.LATCHED, Action.NONE)),
        (rule(latching=True), [(0, B), (1, N), (2, B)], (Phase.FIRING, Action.RECUR)),
    ],
)
def test_every_row_of_the_table(the_rule, steps, last):
    assert run(the_rule, *steps)[-1] == last


def test_doubt_is_believed_at_once_when_another_vital_agrees():
    assert run(rule(), (0, U), doubt_ns=0) == [(Phase.FIRING, Action.FIRE)]


def test_an_acknowledged_alert_does_not_latch():
    state, _ = transition(rule(latching=True), None, B, 0, "0", BREAK)
    state.announced, state.acknowledged_by = True, "nurse"
    assert transition(rule(latching=True), state, N, S, "1", BREAK) == (None, Action.RESOLVE)


def test_it_fires_once_per_episode():
    steps = [(t, B if t % 20 < 15 else N) for t in range(40)]
    actions = [action for _, action in run(rule(hold_s=5), *steps)]
    assert actions.count(Action.FIRE) == 2
    assert actions.count(Action.RESOLVE) == 2
