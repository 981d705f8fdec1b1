"""The clocks: the only place that reads the time or waits with a timeout.

Owns the `Clock` protocol, the real clock, and the real clock's waiters.  The files above get
their clock as an argument.  Time is in seconds.  The virtual clock is in ``virtual_clock.py``.
Three things live in real time under a virtual clock too: the end of idle threads, the watch for
blocked loops, and `join_threads`.  (And the grace of cancels, as a last limit: ``cells.py``.)

Begin at `Clock`, then `RealClock`.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from ... import config
from ..real import Real
from ..thread_state import thread_state
from .bells import Bell, make_bell
from .timekeeper import Callback, Timer, process_timekeeper

if TYPE_CHECKING:
    from .participants import Participants


class Waiter(Protocol):
    """A place for one thread to wait, once.

    `wake` may be called before the thread waits, and more than once.
    """

    def wake(self) -> None: ...


class Clock(Protocol):
    """What the engine needs of a clock, real or virtual."""

    virtual: bool
    # The wall time when `now` is 0, in nanoseconds since 1970.  Of virtual clocks: see ``wall.py``.
    begins_ns: int

    @property
    def participants(self) -> Participants | None:
        """The participants of a virtual clock; None in real time."""
        ...

    def now(self) -> float:
        """Seconds since some fixed point."""
        ...

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Run `callback` at `when`, on the clock's own thread.  The callback must not block."""
        ...

    def call_when_past(self, when: float, callback: Callback) -> Timer:
        """As :meth:`call_at`, but virtual time does not jump to `when` for this timer."""
        ...

    def make_waiter(self) -> Waiter:
        """Return a new waiter for :meth:`wait`."""
        ...

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Block this thread until `waiter` is woken; false if `timeout` passes first."""
        ...

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop that runs in this clock's time."""
        ...


# Bells that nobody waits for, and nobody will ring.  Making one takes longer than a call.
_spare_bells: Final[list[Bell]] = []
_SPARES: Final = 64


class RealWaiter:
    """A waiter with a bell: the thread waits for the bell, the waker rings it."""

    __slots__ = ("_rings", "bell")

    def __init__(self) -> None:
        try:
            bell = _spare_bells.pop()
        except IndexError:
            bell = make_bell()
        # None once the waiter was woken and has waited.
        self.bell: Bell | None = bell
        # What `wake` takes: so the bell is rung once, whoever wakes.
        self._rings: list[Bell] = [bell]

    @property
    def is_woken(self) -> bool:
        return not self._rings

    def wake(self) -> None:
        try:
            bell = self._rings.pop()
        except IndexError:
            return  # already woken: a waiter is woken once
        bell.release()


class RealClock:
    """The real clock: monotonic time, and the timekeeper of the process."""

    virtual = False
    begins_ns = 0
    participants: Participants | None = None
    now: staticmethod[[], float] = staticmethod(Real.monotonic)
    make_waiter = RealWaiter

    def call_at(self, when: float, callback: Callback) -> Timer:
        return process_timekeeper.call_at(when, callback)

    call_when_past = call_at

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        assert isinstance(waiter, RealWaiter)
        bell = waiter.bell
        if bell is None:
            return True
        if timeout is None:
            while not bell.acquire():
                pass
        else:
            acquire, end = bell.acquire_within(max(timeout, 0.0)), self.now() + timeout
            while not acquire():
                if self.now() >= end:
                    return False
        # The bell has had its one ring, so it may serve the next waiter.
        waiter.bell = None
        if len(_spare_bells) < _SPARES:
            _spare_bells.append(bell)
        return True

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        make = find_uvloop() if config.uvloop else None
        return Real.new_event_loop() if make is None else make()

    def __repr__(self) -> str:
        return "<RealClock>"


def find_uvloop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes an event loop of uvloop; None if it is not installed."""
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


system_clock: Final[Clock] = RealClock()


def wall_seconds() -> int:
    """Return the time of day, in whole seconds since 1970: for what people and clients read."""
    return int(Real.wall_time())


def acquire_in_turns(lock: threading.Lock) -> None:
    """Acquire a lock whose owners hold it very briefly, without starting a lock convoy.

    How a convoy starts:
        1. thread A blocks on the lock,
        2. the owner releases the lock, so A owns it, but A still waits for the GIL,
        3. the running thread finds the lock taken, and blocks too, and so on:
           from then on every acquire costs a switch of threads.
    This function does not block at first.  It lets other threads run and tries again, so
    mostly the thread that acquires the lock has the GIL at that moment.  What many
    threads of a pool do for each input, or whenever they wake, acquires its lock in this way: one
    kind of acquire that blocks is enough for a convoy of all threads.
    """
    for _ in range(LOCK_TRIES):
        Real.sleep(0)
        if lock.acquire(False):
            return
    lock.acquire()


def acquire_within(lock: threading.Lock, seconds: float) -> bool:
    """Acquire a lock in real time; false if nobody releases it within `seconds`."""
    return lock.acquire(timeout=seconds)


# How often `acquire_in_turns` lets other threads run before it blocks.  Mostly one turn is
# enough; without a GIL, where the owner runs at the same time, a few are needed.
LOCK_TRIES: Final = 32


def join_threads(threads: Iterable[threading.Thread], timeout: float) -> list[threading.Thread]:
    """Join threads in real time, also threads of a virtual clock; return those still alive.

    `timeout` is in real seconds, for all threads together.  The calling thread is not joined,
    and counts as alive.
    """
    clock = thread_state.clock
    if clock is None or timeout <= 0:
        return _join_threads(threads, timeout)
    # The threads may be participants, which need the turn to end.
    with clock.participants.out_of_turn():
        return _join_threads(threads, timeout)


def _join_threads(threads: Iterable[threading.Thread], timeout: float) -> list[threading.Thread]:
    until = Real.monotonic() + timeout
    left: list[threading.Thread] = []
    for thread in threads:
        if thread is not Real.current_thread():
            if thread.ident is None:
                continue  # never started
            thread.join(max(0.0, until - Real.monotonic()))
        if thread.is_alive():
            left.append(thread)
    return left
