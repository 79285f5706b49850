"""Lifecycle of a service process: a stop event from signals, a loop, a clean end."""

import asyncio
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def run(main: Callable[[asyncio.Event], Awaitable[None]], *, fast: bool = True) -> None:
    """Run ``main`` with an event that SIGTERM and SIGINT set: it drains and returns.

    ``fast`` runs it on uvloop, which cannot start a process as another user.
    """
    gc.set_threshold(50_000, 20, 50)  # messages come and go by the thousand; cycles are few

    async def start() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    (uvloop.run if fast else asyncio.run)(start())
