"""Waiting in a browser from outside: the console's policy lets no text be evaluated inside."""

import time


def until(page, expression, argument=None, timeout=30):
    """Poll until ``expression`` is true in the page."""
    deadline = time.monotonic() + timeout
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"within {timeout} s not so: {expression}"
        page.wait_for_timeout(50)
