"""Loops here: the event loops that a thread makes while it takes part in a virtual clock.

Owns the change to asyncio's event loop policy by which ``asyncio.run``, ``asyncio.Runner``,
``asyncio.new_event_loop``, ``anyio.run`` and ``unittest.IsolatedAsyncioTestCase`` get a loop of
the clock in which the calling thread takes part.  In other threads nothing changes.
``virtual_clock.py`` calls `install` once, when it is imported.

A loop whose class is named (``loop_factory=uvloop.new_event_loop``) stays in real time.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import events
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from ..thread_state import thread_state
from .clock_of_here import clock_of_here


def install() -> None:
    """Make asyncio's policies return loops of the clock from now on."""
    policy: Any = getattr(events, "_BaseDefaultEventLoopPolicy", None) or vars(events).get(
        "BaseDefaultEventLoopPolicy"
    )
    if policy is not None:
        policy.new_event_loop = _of_the_clock(policy.new_event_loop)


def _of_the_clock(
    make: Callable[[Any], asyncio.AbstractEventLoop],
) -> Callable[[Any], asyncio.AbstractEventLoop]:
    @functools.wraps(make)
    def new_event_loop(self: Any) -> asyncio.AbstractEventLoop:
        if thread_state.clock is None or thread_state.makes_real_loops:
            return make(self)
        clock = clock_of_here()
        return make(self) if clock is None else clock.new_event_loop()

    return new_event_loop


@contextmanager
def real_loops() -> Generator[None]:
    """In this context, this thread makes loops in real time."""
    before, thread_state.makes_real_loops = thread_state.makes_real_loops, True
    try:
        yield
    finally:
        thread_state.makes_real_loops = before
