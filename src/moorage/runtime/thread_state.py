"""Thread state: what the engine knows of the thread that asks.

Owns one thread-local object for all of it, so that there is one place to look.  Each field
is written by one file, named beside it; any file below may read it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .uninterruptible import Guard


class ThreadState(threading.local):
    """The state of the calling thread."""

    # Holds off what would strike this thread from outside; None for no guard.  Written by
    # ``cells.py`` for workers, and by ``interrupts.py`` for the main thread.
    guard: Guard | None = None
    # The virtual clock in which this thread took part last; it may have left it.  Written by
    # ``participants.py`` and ``virtual_clock.py``.
    clock: Any = None
    # The mailbox of the event loop that ran last on this thread.  Written by ``async_waiters.py``.
    mailbox: Any = None
    # The container whose thread T this is, which runs its loop or its hooks.  Written by
    # ``local.py``.
    container: Any = None
    # Whether this thread fires the timers of a clock.  Written by ``background.py``.
    keeps_time: bool = False


thread_state: Final = ThreadState()
