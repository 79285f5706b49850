"""The one place that reads the wall clock."""

import time


def now_ns() -> int:
    """Return the time now, nanoseconds UTC since the Unix epoch."""
    return time.time_ns()
