"""The virtual clock of the calling thread, for callers that got no clock as an argument.

Owns :func:`clock_of_here`.  ``app.run()`` and the fake container call it.
"""

from __future__ import annotations

from typing import cast

from ..real import Real
from .clock import Clock
from .participants import LoopPart, in_trio
from .reach import current_virtual_clock


def clock_of_here() -> Clock | None:
    """Return the virtual clock in which this thread takes part; None in real time.

    None also if the thread runs an event loop that is not a loop of that clock, or trio.
    """
    clock = current_virtual_clock()
    if clock is None:
        return None
    loop: object = Real._get_running_loop()
    if loop is None:
        return None if in_trio() else cast("Clock", clock)
    return cast("Clock", clock) if isinstance(loop, LoopPart) and loop.clock is clock else None
