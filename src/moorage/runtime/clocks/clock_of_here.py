"""The clock by which the calling thread lives, where nobody has named one.

Owns :func:`clock_of_here`, which ``app.run()`` and the fake container ask.
"""

from __future__ import annotations

from typing import cast

from ..real import Real
from .clock import Clock
from .participants import LoopPart, in_trio
from .patched_time import current_virtual_clock


def clock_of_here() -> Clock | None:
    """The virtual clock that this thread lives by, and so does the event loop in it, if any."""
    clock = current_virtual_clock()
    if clock is None:
        return None
    loop: object = Real._get_running_loop()
    if loop is None:
        return None if in_trio() else cast("Clock", clock)
    return cast("Clock", clock) if isinstance(loop, LoopPart) and loop.clock is clock else None
