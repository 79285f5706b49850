"""The ladder of a unit: who is told next of an alert that nobody has acknowledged. Pure.

Steps depend on time, acknowledgement and connection only. A step whose role has no receiver
connected is skipped at once; "I can't take it" goes to the next step at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from schemas.alerts import Priority
from schemas.care import Rung
from schemas.times import S

PRESENT_NS = 30 * S
"""A receiver that has not been heard for this long is not connected."""


class Climb(Struct, array_like=True):
    """Where one alert stands: when it began, the step that was reached, and when the next is due.

    ``skew_ns``: by how much "I can't take it" brought every later step forward.
    """

    began_ns: int
    step: int
    next_ns: int
    skew_ns: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was reached, and why: ``time``, ``declined`` or ``no_receiver``."""

    step: int
    role: str
    reason: str


def rungs(ladder: Sequence[Rung], priority: Priority) -> list[tuple[str, int]]:
    """Return the steps that a priority climbs: role, and nanoseconds without acknowledgement."""
    return [
        (rung.role, int(rung.after_s[priority.value] * S))
        for rung in ladder
        if priority.value in rung.after_s
    ]


def climb(
    steps: Sequence[tuple[str, int]],
    state: Climb,
    connected: frozenset[str],
    now_ns: int,
    *,
    declined: bool = False,
) -> list[Step]:
    """Return the steps that are reached at ``now_ns``, and move ``state`` there.

    ``declined``: who was told cannot take it, so the next step is due now. After a step that was
    brought forward, those that follow keep their distance.

    >>> state = Climb(0, -1, 0)
    >>> steps = [("nurse", 0), ("physician", 60 * S)]
    >>> [step.role for step in climb(steps, state, frozenset({"nurse", "physician"}), 0)]
    ['nurse']
    >>> state.next_ns == 60 * S
    True
    """
    reached: list[Step] = []
    at_once = declined
    reason = "declined" if declined else "time"
    state.next_ns = 0
    while (following := state.step + 1) < len(steps):
        role, after_ns = steps[following]
        due = state.began_ns + after_ns - state.skew_ns
        if due > now_ns and not at_once:
            state.next_ns = due
            return reached
        state.skew_ns += max(0, due - now_ns)
        state.step = following
        at_once = role not in connected
        reached.append(Step(following, role, "no_receiver" if at_once else reason))
        reason = "time"
    return reached
