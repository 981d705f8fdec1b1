"""Thread state: what the engine knows of the thread that asks.

Owns one thread-local object for all of it, so that there is one place to look.  Each field
is written by one file, named beside it; any file below may read it.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Final, Protocol


class Wakes(Protocol):
    """A wait under way, as far as a guard needs it: see `Waiter`."""

    def wake(self) -> None: ...


class Guard(Protocol):
    """Holds off, for one thread, what would strike it from outside.  Its own thread calls it."""

    # Seconds after which a wait looks up, before it waits for good.
    first_waits: ClassVar[tuple[float, ...]]

    def enter(self) -> None:
        """A region begins; what was on its way strikes here, before it, or never."""
        ...

    def exit(self) -> None:
        """It ends: raise what was held off meanwhile, if this was the outermost."""
        ...

    def begin_wait(self, waiter: Wakes, /) -> None:
        """A wait begins, which what comes from outside may end.  Raises what is due already."""
        ...

    def end_wait(self) -> None:
        """It has ended.  Raises what ended it."""
        ...

    def may_strike(self) -> bool:
        """Whether the user's code on this thread may be struck at all, wherever it is."""
        ...

    def strike_again(self) -> None:
        """What struck landed where it cannot be raised: let it come once more, soon."""
        ...


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
