"""Thread state: what the engine stores for each thread.

Owns the one thread-local object of the engine, `thread_state`, and the `Guard` protocol.  The
comment beside a field names the file that writes it; any file of moorage may read it.

Begin at `ThreadState`, then `Guard`.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Final, Protocol


class Wakes(Protocol):
    """The part of a waiter that a guard needs: see `Waiter` in ``clocks/clock.py``."""

    def wake(self) -> None: ...


class Guard(Protocol):
    """Delays exceptions from outside while its thread is in an uninterruptible region.

    An exception from outside is a strike (an InputCancellation that another thread raises in
    this thread) or a KeyboardInterrupt.  Only the guarded thread calls its guard.
    """

    # Lengths, in seconds, of short waits at the beginning of a long wait in real time.
    first_waits: ClassVar[tuple[float, ...]]

    def enter(self) -> None:
        """Begin a region.

        A strike that was sent before is raised here, before the region begins, or is dropped.
        """
        ...

    def exit(self) -> None:
        """End a region; at the end of the outermost region, raise the delayed exception."""
        ...

    def begin_wait(self, waiter: Wakes, /) -> None:
        """Begin a wait that an exception from outside may end.  Raises one that is due already."""
        ...

    def end_wait(self) -> None:
        """End a wait.  Raises the exception that ended it, if any."""
        ...

    def may_strike(self) -> bool:
        """Whether this guard may ever strike the user's code that runs on this thread now."""
        ...

    def strike_again(self) -> None:
        """Send a strike again, soon: the first was raised in code that cannot pass it on."""
        ...


class ThreadState(threading.local):
    """The state of the calling thread."""

    # The guard of this thread; None for most threads.  Written by ``guards/cells.py`` for
    # workers, and by ``guards/interrupts.py`` for the main thread.
    guard: Guard | None = None
    # The virtual clock in which this thread last took part; the thread may have left it since.
    # Written by ``clocks/participants.py`` and ``clocks/virtual_clock.py``.
    clock: Any = None
    # True while new event loops are real, whatever the clock.  Written by
    # ``clocks/loops_here.py``.
    makes_real_loops: bool = False
    # The loop of a virtual clock that ``asyncio.get_event_loop()`` has made here.  Written by
    # ``clocks/loops_here.py``, reset by ``clocks/unfit_loops.py``.
    implicit_loop: Any = None
    # The mailbox of the event loop that last ran on this thread.  Written by
    # ``waiting/async_waiters.py``.
    mailbox: Any = None
    # The same for requests on their way.  Written by ``web/mailbox.py``.
    web_mailbox: Any = None
    # The container whose main thread this is: it runs the container's loop and hooks.
    # Written by ``containers/local.py``; set to None by ``context.py`` in a forked child.
    container: Any = None
    # True for a thread that fires the timers of a clock, or reads for all: others log for it.
    # Written by ``background.py`` and ``placing/channel.py``.
    keeps_time: bool = False
    # True for a thread while it reads what other processes write.  No user code is called on it,
    # but Python may run finalizers there; if one waits for a process, nobody reads the answer.
    # Written by ``placing/post.py`` and ``placing/channel.py``.
    reads_for_all: bool = False
    # On a thread that fires the timers of a virtual clock: wraps work for another thread, so
    # that the work has its place among the clock's participants.  Written by ``background.py``.
    expects: Any = None


thread_state: Final = ThreadState()
