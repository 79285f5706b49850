import pytest

from alerts.lifecycle import Action, Phase, transition
from alerts.rules import Condition, LimitRule
from schemas.alerts import Priority
from schemas.times import S

N, B, D = Condition.NORMAL, Condition.BREACH, Condition.BAND
BREAK = 60 * S


def rule(hold_s=0.0, recovery_hold_s=0.0, samples=1):
    return LimitRule(
        "x/hr", "hr", True, 130, 125, hold_s, recovery_hold_s, samples, Priority.HIGH, "", ""
    )


def run(the_rule, *steps):
    """Return phase and action after each (seconds, condition)."""
    state, out = None, []
    for t_s, condition in steps:
        state, action = transition(the_rule, state, condition, int(t_s * S), str(t_s), BREAK)
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
        (rule(), [(0, B), (1, B)], (Phase.FIRING, Action.NONE)),
        (rule(), [(0, B), (1, D)], (Phase.FIRING, Action.NONE)),
        (rule(), [(0, B), (1, N)], (None, Action.RESOLVE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N)], (Phase.RECOVERING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (3, D)], (Phase.FIRING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (3, B)], (Phase.FIRING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (5.9, N)], (Phase.RECOVERING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (6, N)], (None, Action.RESOLVE)),
        (rule(hold_s=10), [(0, B), (61, B)], (Phase.PENDING, Action.NONE)),
        (rule(hold_s=10), [(0, B), (61, B), (71, B)], (Phase.FIRING, Action.FIRE)),
        (rule(hold_s=10), [(9, B), (8, B), (17, B)], (Phase.PENDING, Action.NONE)),
        (rule(recovery_hold_s=5), [(0, B), (1, N), (99, N)], (Phase.RECOVERING, Action.NONE)),
    ],
)
def test_every_row_of_the_table(the_rule, steps, last):
    assert run(the_rule, *steps)[-1] == last


def test_it_fires_once_per_episode():
    steps = [(t, B if t % 20 < 15 else N) for t in range(40)]
    actions = [action for _, action in run(rule(hold_s=5), *steps)]
    assert actions.count(Action.FIRE) == 2
    assert actions.count(Action.RESOLVE) == 2
