"""Loops here: the event loops that a thread makes while it takes part in a virtual clock.

Owns the change to asyncio's event loop policy by which ``asyncio.run``, ``asyncio.Runner``,
``asyncio.new_event_loop``, ``anyio.run`` and ``unittest.IsolatedAsyncioTestCase`` get a loop of
the clock in which the calling thread takes part.  In other threads nothing changes.
``virtual_clock.py`` calls `install` once, when it is imported.  Begin at `_of_the_clock`.  Loops
that were made before, or stay behind, are in ``unfit_loops.py``.

A loop whose maker is named (``loop_factory=uvloop.new_event_loop``) stays in real time.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from asyncio import events
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from ..thread_state import thread_state
from .clock_of_here import clock_of_here

MakeLoop = Callable[[Any], asyncio.AbstractEventLoop]


def install() -> None:
    """Make asyncio's policies return loops of the clock from now on."""
    policy: Any = getattr(events, "_BaseDefaultEventLoopPolicy", None) or vars(events).get(
        "BaseDefaultEventLoopPolicy"
    )
    if policy is not None:
        policy.new_event_loop = _of_the_clock(policy.new_event_loop)


def _of_the_clock(make: MakeLoop) -> MakeLoop:
    @functools.wraps(make)
    def new_event_loop(self: Any) -> asyncio.AbstractEventLoop:
        if thread_state.clock is None or thread_state.makes_real_loops:
            return make(self)
        clock = clock_of_here()
        if clock is None:
            return make(self)
        loop = clock.new_event_loop()
        if sys._getframe(1).f_code.co_name == "get_event_loop":
            thread_state.implicit_loop = loop
        return loop

    return new_event_loop


@contextmanager
def real_loops() -> Generator[None]:
    """In this context, this thread makes loops in real time."""
    before, thread_state.makes_real_loops = thread_state.makes_real_loops, True
    try:
        yield
    finally:
        thread_state.makes_real_loops = before
