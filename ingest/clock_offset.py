"""How far is a device's clock behind ours? The windowed minimum of receive minus send time.

Delay only ever adds, so the smallest difference in a window is the offset plus the fastest
delivery. Two half-windows slide. A clock that is set back or forth shows as a run of differences
that agree with each other and not with the minimum: that starts a new window at once.
"""

from msgspec import Struct

from schemas.times import S

HALF_WINDOW_NS = 30 * S
STEP_RUN = 5
STEP_NS = 2 * S
STEP_SPREAD_NS = S // 2
REPORT_NS = S // 4


class ClockState(Struct):
    """What is remembered of one device's clock. ``reported_ns`` is the offset in use."""

    window_since_ns: int = 0
    current_ns: int | None = None
    previous_ns: int | None = None
    run: list[int] = []
    reported_ns: int | None = None


def observe(state: ClockState, difference_ns: int, received_ns: int) -> bool:
    """Add one receive-minus-send difference; return whether the offset in use changed."""
    current, previous = state.current_ns, state.previous_ns
    if (
        current is not None
        and current <= difference_ns
        and received_ns - state.window_since_ns < HALF_WINDOW_NS
        and not state.run
        and difference_ns - (current if previous is None else min(current, previous)) <= STEP_NS
    ):
        return False  # the ordinary case: a little later than the fastest
    if received_ns - state.window_since_ns >= HALF_WINDOW_NS:
        state.window_since_ns = received_ns
        state.previous_ns, state.current_ns = state.current_ns, None
    if state.current_ns is None or difference_ns < state.current_ns:
        state.current_ns = difference_ns
    best = state.current_ns
    if state.previous_ns is not None:
        best = min(best, state.previous_ns)
    if difference_ns - best > STEP_NS:
        best = _step(state, difference_ns, best)
    else:
        state.run.clear()
    if state.reported_ns is None or abs(best - state.reported_ns) > REPORT_NS:
        state.reported_ns = best
        return True
    return False


def _step(state: ClockState, difference_ns: int, best: int) -> int:
    """Follow a clock that was set: a run of agreeing differences replaces the minimum."""
    state.run.append(difference_ns)
    run = state.run[-STEP_RUN:]
    state.run[:] = run
    if len(run) == STEP_RUN and max(run) - min(run) < STEP_SPREAD_NS:
        state.current_ns, state.previous_ns = min(run), None
        state.run.clear()
        return state.current_ns
    return best
