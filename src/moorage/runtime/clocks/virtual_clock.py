"""Virtual time: a clock that jumps.

Owns the time, its timers, and the thread that fires them.  Who takes part is in
``participants.py``.

Virtual time stands still while any *participant* is busy and jumps to the next
timer once all of them sit in a wait of ours.  Participants are the loops made
by :meth:`VirtualClock.new_event_loop`, workers that hold an input, and threads
that entered the clock (``with clock:``, ``with app.run(clock=clock):``).
The idea is that of trio's MockClock with ``autojump_threshold=0``.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...exception import ClockStuckError, InvalidError
from ...with_aio import with_aio
from .. import forking
from ..background import keep_time
from ..outcome import user_frames
from ..real import Real
from ..thread_state import thread_state
from ..uninterruptible import uninterruptible
from .participants import BEFORE_ALL, Participants
from .patched_time import patched
from .stuck import Stuck, StuckLoop, StuckWait, why_busy, why_for_ever
from .timekeeper import Callback, Rank, Timer, TimerQueue, run_timer
from .virtual_loop import Line, VirtualLoop

if TYPE_CHECKING:
    from .clock import Waiter

T = TypeVar("T")


class VirtualWaiter:
    """A waiter whose waker marks the waiting participant busy before it can run."""

    __slots__ = (
        "_clock",
        "about",
        "error",
        "fired",
        "key",
        "lock",
        "name",
        "thread",
        "timed",
        "timed_out",
        "waiting",
    )

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.lock: threading.Lock = Real.Lock()
        self.lock.acquire()
        # Says what it waits for, if set; called with no lock held.
        self.about: Callable[[], str] | None = None
        # All guarded by the clock's lock.
        self.fired: bool = False
        self.timed_out: bool = False
        self.timed: bool = False
        self.waiting: bool = False
        self.key: object = None  # the participant that waits here, if it is one
        self.name: str = ""
        self.thread: int = 0
        self.error: ClockStuckError | None = None

    def wake(self) -> None:
        with self._clock._lock:
            self._clock._fire(self)

    def time_out(self) -> None:
        with self._clock._lock:
            if not self.fired:
                self.timed_out = True
                self._clock._fire(self)


# Real seconds that `rest` waits for a participant that waits in real time itself, maybe
# for what is to happen after the rest.
REST_WITHIN: Final = 0.25


class _Keeping:
    """What the participants ask of their clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def ring(self) -> None:
        self._clock._ring()

    def shut(self) -> threading.Thread | None:
        return self._clock._shut()

    def rest(self) -> None:
        clock = self._clock
        clock._wait(VirtualWaiter(clock), 0.0, rests=True)


class VirtualClock:
    """Time that jumps: a test that waits for an hour takes milliseconds.

    ``with clock:`` makes the calling thread take part, and so does
    ``with app.run(clock=clock):``.  Time starts at 0 and stands still while any
    participant runs: the test's thread, an event loop of this clock, a container
    that has something to do.  When all of them wait (in ``clock.sleep``,
    ``asyncio.sleep``, ``remote``, ``get`` and other waits of this library, or with
    nothing to do on an event loop) it jumps to the next timer.

    Timers that are due at the same time fire in the order in which they were
    set, each once all that the one before set off has come to rest; those that
    several threads set within one instant, in the order in which their containers
    and inputs began, and before those of the test's thread.  The same on
    each run: virtual times, the order in which slots are granted, and the containers
    that are chosen.  Not the same: how the code of several threads interleaves
    within one instant; order it with a `Sequencer` or a gate.

    What is not seen: real I/O on an event loop, threads that the user's code starts,
    and what ``anyio.to_thread`` runs.  Time does not wait for them, and may jump
    meanwhile.  ``asyncio.to_thread`` and ``run_in_executor`` are seen.

    A participant that waits for something real (``Event.wait``, ``queue.get``,
    ``Thread.join``, ``Future.result``, a real ``time.sleep``) counts as busy.

    Args:
        stuck_after: real seconds without any change after which waits end with
            `ClockStuckError`; None for never, as while a debugger holds a thread.

    Raises:
        ClockStuckError: in threads and event loops that wait for time to pass, if a
            participant is busy all that while; in those that wait for ever, if
            nobody is busy and no timer is left that could end a wait.  Also
            in threads that still wait when the clock has been left.
        InvalidError: if `stuck_after` is no number above 0.
    """

    virtual: bool = True

    def __init__(self, *, stuck_after: float | None = 5.0) -> None:
        # Written so that NaN, which compares false with everything, is refused.
        if stuck_after is not None and not (_is_number(stuck_after) and stuck_after > 0):
            raise InvalidError(
                f"stuck_after must be a number above 0 or None, got {stuck_after!r}; "
                "write VirtualClock(stuck_after=5)"
            )
        self._stuck_after = stuck_after
        # Who takes part; whose lock is that of the clock too.
        self.participants: Participants = Participants(self, _Keeping(self))
        self._lock = self.participants.lock
        self._now = 0.0  # guarded by _lock, as all below
        self._timers = TimerQueue()
        # Timers for whose sake time does not go on: see `call_when_past`.
        self._bystanders = TimerQueue()
        # How often all have come to rest.
        self._rests = 0
        self._waiting: set[VirtualWaiter] = set()
        self._idle_loops: set[VirtualLoop] = set()
        self._thread: threading.Thread | None = None
        self._bell = Real.Lock()
        self._bell.acquire()
        self._lines: weakref.WeakKeyDictionary[Executor, Line] = weakref.WeakKeyDictionary()
        # What `time` is patched for: module names; empty for all.
        self._patches: tuple[frozenset[str], ...] = ()
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: of those that took part, this thread is left."""
        who = self.participants
        forking.keep(self._timers, self._waiting, who.busy, self._idle_loops, self._lines)
        forking.keep(self._bystanders)
        self._bystanders = TimerQueue()
        who.after_fork()
        self._lock = who.lock
        self._timers = TimerQueue()
        self._waiting = set()
        self._idle_loops = set()
        self._lines = weakref.WeakKeyDictionary()
        self._thread = None
        self._bell = Real.Lock()
        self._bell.acquire()

    # -- for tests ------------------------------------------------------------

    def now(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._now

    async def _sleep_async(self, seconds: float) -> None:
        self.participants.refuse_real_loop("await clock.sleep.aio(...)")
        _check_seconds(seconds)
        loop = Real.get_running_loop()
        passed = loop.create_future()

        def tell() -> None:
            if not passed.done():
                passed.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(tell)
            except RuntimeError:
                pass  # closed meanwhile

        # Not by the loop's own timers: those that are due at once fire while others run.
        timer = self.call_at(self._now + max(seconds, 0.0), wake)
        try:
            await passed
        finally:
            timer.cancel()

    @with_aio(_sleep_async)
    def sleep(self, seconds: float) -> None:
        """Let virtual time pass in this thread.  The cancel of an input does not end it.

        ``sleep(0)`` waits until all others wait: what was set off before has come to rest.
        ``await clock.sleep.aio(...)`` is for tasks on a loop of this clock, and cancelled
        as any wait of theirs.

        Raises:
            ClockStuckError: if time cannot go on.
        """
        _check_seconds(seconds)
        try:
            self.wait(self.make_waiter(), seconds)
        except ClockStuckError as error:
            raise error.with_traceback(user_frames(error.__traceback__))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on an event loop in virtual time, as ``asyncio.run`` does in real.

        Raises:
            RuntimeError: if a loop is running in this thread.
            ClockStuckError: if time cannot go on.
        """
        with self, Real.Runner(loop_factory=self.new_event_loop) as runner:
            return runner.run(main)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """An asyncio event loop in virtual time, which takes part while it runs.

        For ``asyncio.Runner(loop_factory=clock.new_event_loop)``.  Real I/O on it
        works, but time does not wait for it.
        """
        return VirtualLoop(self)

    def patch_time(self, *modules: ModuleType) -> AbstractContextManager[None]:
        """Make ``time.sleep`` and the clocks of ``time`` virtual: ``with clock.patch_time():``.

        That is ``sleep``, ``monotonic``, ``perf_counter``, ``time`` and the ``_ns`` of
        each, in threads that take part in this clock; threads that do not, and threads
        of another clock, keep theirs.  ``time.time()`` counts from 2020-01-01
        00:00 UTC.  ``datetime.now()`` and other clocks stay real.

        Modules that did ``from time import sleep`` are found, also under another
        name, and are as before afterwards.  A default argument or an attribute of
        a class that holds the real function is not found.

        Calls from the standard library and from test tools (pytest, pluggy, anyio,
        trio, hypothesis) stay real, for they wait for real things.

        A cancelled or timed-out synchronous input leaves a virtual sleep at once, at
        the virtual time of its cancel; a real one only when the sleep has ended.  In
        an input that is ``@cooperative`` or shielded the sleep goes on to its end.

        Args:
            modules: only calls from these, and from modules within them if they are
                packages; all if none is given.

        Raises:
            InvalidArgumentsError: on entering, for what is no module.
        """
        return patched(self, modules)

    @contextmanager
    def participate(self, name: str | None = None) -> Generator[None, None, None]:
        """Make this thread take part: time stands still unless it waits.

        As ``with clock:``, but leaving it last does not close the clock.  `name` is
        what errors call the thread.  In a thread that takes part already it
        changes nothing.
        """
        ident = self.participants.enter_scope(name, opens=False)
        try:
            yield
        finally:
            self.participants.leave(ident, opens=False)

    def __enter__(self) -> VirtualClock:
        """Make this thread take part until it leaves; nests, and may be entered again.

        The last scope that is left closes the clock: its thread ends, and timers
        stand still until the clock is entered once more.

        Raises:
            InvalidError: on an event loop that lives in real time.
        """
        self.participants.enter("with clock:")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ident = Real.get_ident()
        if ident not in self.participants.parts:
            raise InvalidError(
                f"{Real.current_thread().name} leaves a virtual clock that it has not "
                "entered; write `with clock:` so that it begins and ends in one thread"
            )
        self.participants.leave(ident)

    async def __aenter__(self) -> VirtualClock:
        """As ``with clock:``, on an event loop of this clock."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    @uninterruptible
    def close(self) -> None:
        """End the clock's thread; whoever still waits gets a `ClockStuckError`.

        Leaving the last ``with clock:`` does it.
        """
        with self._lock:
            thread = self._shut()
        if thread is not None:
            thread.join()

    def __repr__(self) -> str:
        with self._lock:
            busy = (
                ", ".join(
                    [*self.participants.busy.values(), *list(self.participants.awaited.values())]
                )
                or "nobody"
            )
            return f"<VirtualClock at {self._now:g} s, busy: {busy}>"

    # -- the clock's contract with the engine -----------------------------------

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Run `callback` at `when`, on the clock's thread.  It must not block.

        Returns what can be cancelled: ``timer.cancel()``.
        """
        timer = Timer(when, callback)
        with self._lock:
            if self._timers.push(timer, self._rank(self._key_here(), of_engine=True)):
                self._ring()  # as in `wait`
            self._start()
            self.participants.ring_if_idle()
        return timer

    def call_when_past(self, when: float, callback: Callback) -> Timer:
        """As `call_at`, but time does not jump to `when`.

        The callback runs once time has come to `when`, or past it, for another timer.
        """
        timer = Timer(when, callback)
        with self._lock:
            self._bystanders.push(timer)
        return timer

    def make_waiter(self) -> VirtualWaiter:
        """A place for one thread to wait, once: ``clock.wait(waiter)``, ``waiter.wake()``."""
        return VirtualWaiter(self)

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Block this thread until `waiter` is woken; false if `timeout` passes first.

        Raises:
            ClockStuckError: if time cannot go on.
        """
        assert isinstance(waiter, VirtualWaiter)
        return self._wait(waiter, timeout)

    def _wait(self, waiter: VirtualWaiter, timeout: float | None, *, rests: bool = False) -> bool:
        timer: Timer | None = None
        try:
            with uninterruptible, self._lock:
                if not waiter.fired:
                    waiter.waiting = True
                    waiter.thread = Real.get_ident()
                    waiter.key = self.participants.key_of_thread.get(waiter.thread)
                    waiter.name = Real.current_thread().name
                    if isinstance(waiter.key, VirtualLoop):
                        waiter.key.waits = True
                    self._waiting.add(waiter)
                    if timeout is not None:
                        timer = Timer(self._now + max(timeout, 0.0), waiter.time_out)
                        waiter.timed = True
                        rank = self._rank(waiter.key)
                        if rests:
                            rank = (BEFORE_ALL, *rank[1:])
                        if self._timers.push(timer, rank):
                            self._ring()  # it may be asleep without any timer to watch
                    self.participants.idle(waiter.key)
                    self._start()
            seen = self.participants.changes
            while not waiter.lock.acquire(timeout=REST_WITHIN if rests else -1.0):
                with uninterruptible, self._lock:
                    if self.participants.changes == seen:  # else the others get on, if slowly
                        self._fire(waiter)
                        break
                    seen = self.participants.changes
        except BaseException:  # KeyboardInterrupt, or a strike: the thread runs again, unwoken
            with uninterruptible, self._lock:
                self._fire(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if waiter.error is not None:
            raise waiter.error
        return not waiter.timed_out

    @property
    def _has_this_thread(self) -> bool:
        return self.participants.has_this_thread

    # -- inside, all under _lock ----------------------------------------------

    def _key_here(self) -> object:
        me = Real.current_thread()
        return me if me is self._thread else self.participants.key_of_thread.get(me.ident or 0)

    def _rank(self, key: object, *, of_engine: bool = False) -> Rank:
        """Orders what is set between two rests, when several threads run at once.

        By who set it, and not by which thread came first: 1. two containers start
        inputs at one instant, 2. both sleep as long, 3. who wakes first, and so has the
        first slot that comes free, must be the same in each run.
        """
        side = (-1, 0) if key is self._thread else self.participants.side_of(key)
        return (self._rests, 0 if of_engine else 1, *side)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # the thread has yet to look

    def _fire(self, waiter: VirtualWaiter) -> None:
        if waiter.fired:
            return
        waiter.fired = True
        self.participants.changes += 1
        if waiter.waiting:
            waiter.waiting = False
            self._waiting.discard(waiter)
            # It may have been ended while it waited, as a scope that another thread left.
            if (
                waiter.key is not None
                and self.participants.key_of_thread.get(waiter.thread) is waiter.key
            ):
                self.participants.busy[waiter.key] = waiter.name
                if isinstance(waiter.key, VirtualLoop):
                    waiter.key.waits = False
        waiter.lock.release()

    def _start(self) -> None:
        if self._thread is None and not self.participants.closed:
            self._thread = Real.Thread(
                target=self._run, args=(self._bell,), name="moorage-virtual-clock", daemon=True
            )
            self._thread.start()

    def _shut(self) -> threading.Thread | None:
        """Close; return the thread to be joined once the lock is let go."""
        self.participants.closed = True
        thread, self._thread = self._thread, None
        for waiter in list(self._waiting):
            waiter.error = ClockStuckError(
                f"the virtual clock was left at {self._now:g} s while {waiter.name} waited in it; "
                "leave it when all that use it have ended"
            )
            self._fire(waiter)
        # The next thread has a bell of its own: this one may still take a ring.
        self._ring()
        self._bell = Real.Lock()
        self._bell.acquire()
        return thread

    def _line_of(self, executor: Executor) -> Line:
        line = self._lines.get(executor)
        if line is None:
            line = self._lines[executor] = Line(executor)
        return line

    # -- the clock's own thread -----------------------------------------------

    def _run(self, bell: threading.Lock) -> None:
        me = Real.current_thread()
        keep_time()
        while True:
            callback: Callback | None = None
            watches = False
            with self._lock:
                if self._thread is not me:
                    return  # closed, and maybe open again with another
                pending = self._timers.next_when()
                seen = self.participants.changes
                if self.participants.busy or self.participants.awaited:
                    watches = pending is not None
                elif pending is not None:
                    self._now = max(self._now, pending)
                    callback = self._bystanders.pop_due(self._now)
                    if callback is None:
                        callback = self._timers.pop_due(self._now)
                    self._rests += 1
                else:
                    watches = self._somebody_waits_for_ever()
            if callback is not None:
                due = [callback]
                del callback
                run_timer(due)
                del due
            elif pending is not None and not watches:
                pass  # it was cancelled just now
            elif not watches or self._stuck_after is None:
                bell.acquire()
            elif not bell.acquire(timeout=min(self._stuck_after, threading.TIMEOUT_MAX)):
                self._report_if_stuck(seen)

    def _somebody_waits_for_ever(self) -> bool:
        return any(waiter.key is not None for waiter in self._waiting) or any(
            not loop.owned for loop in self._idle_loops
        )

    def _report_if_stuck(self, seen: int) -> None:
        """End the waits that cannot end, if nothing has changed since `seen`."""
        with self._lock:
            if self.participants.changes != seen:
                return
            threads = {key: ident for ident, key in self.participants.key_of_thread.items()}
            busy = [(name, threads.get(key, 0)) for key, name in self.participants.busy.items()]
            busy += [(name, 0) for name in list(self.participants.awaited.values())]
            waiters = [w for w in self._waiting if w.key is not None or w.timed]
            loops = list(self._idle_loops)
            if busy and not waiters and all(loop.owned for loop in loops):
                # Threads that take no part, for one of which the busy one may wait.
                waiters = list(self._waiting)
            now = self._now
        assert self._stuck_after is not None
        stuck = Stuck(
            now,
            self._stuck_after,
            busy,
            [StuckWait(w.name, w.thread, w.about) for w in waiters],
            [StuckLoop(loop, loop.thread.name if loop.thread else "") for loop in loops],
        )
        message = why_busy(stuck) if busy else why_for_ever(stuck)
        with self._lock:
            if self.participants.changes != seen:
                return
            for waiter in waiters:
                waiter.error = ClockStuckError(message)
                self._fire(waiter)
            loops = [loop for loop in loops if not loop.owned]
            for loop in loops:
                loop.error = ClockStuckError(message)
        for loop in loops:
            loop.ring()

    # -- loops ----------------------------------------------------------------

    def _loop_begins(self, loop: VirtualLoop) -> None:
        me = Real.get_ident()
        with self._lock:
            loop.thread = Real.current_thread()
            loop.outer = key = self.participants.key_of_thread.get(me)
            loop.owned = key is not None and me not in self.participants.parts
            if not loop.owned and not loop.counted:
                loop.counted = True
                self.participants.keep_open()
            # The loop takes the thread's part, or the thread would hold up time
            # while its loop is idle.
            self.participants.busy[loop] = f"event loop of {loop.thread.name}"
            self.participants.busy.pop(key, None)
            self.participants.key_of_thread[me] = loop
        loop.before, thread_state.clock = thread_state.clock, self

    def _loop_ends(self, loop: VirtualLoop) -> None:
        me = Real.get_ident()
        with self._lock:
            key, loop.outer = loop.outer, None
            loop.error = None
            if key is not None:
                self.participants.busy[key] = Real.current_thread().name
                self.participants.key_of_thread[me] = key
            else:
                self.participants.key_of_thread.pop(me, None)
            self.participants.idle(loop)
        thread_state.clock = self if key is not None else loop.before
        loop.before = None

    def _loop_closes(self, loop: VirtualLoop) -> None:
        thread: threading.Thread | None = None
        with self._lock:
            if loop.counted:
                loop.counted = False
                thread = self.participants.one_less()
        if thread is not None:
            thread.join()

    def _loop_idle(self, loop: VirtualLoop, seen: int, timeout: float | None) -> Timer | None:
        """Let the loop rest, unless it was rung since `seen`."""
        with self._lock:
            if loop.rung != seen:
                return None
            if loop.sending:
                # 1. somebody marks the loop busy, 2. it looks here, and finds no
                # wake-up, 3. that is sent, and its sender waits: were the loop at
                # rest, time would move on before the loop has woken.
                loop.looks_again = True
                return None
            timer = Timer(
                self._now + (timeout if timeout is not None else 0.0),
                loop.ring,
            )
            if timeout is not None and loop.waits_for_ever:
                timeout = None  # as ``anyio.sleep_forever()``, which is a timer at infinity
            if timeout is not None:
                if self._timers.push(timer, self._rank(loop)):
                    self._ring()
                self._start()
            elif not loop.owned:
                self._start()  # which finds out that it idles for ever
            self._idle_loops.add(loop)
            self.participants.idle(loop)
            return timer

    def _loop_busy(self, loop: VirtualLoop) -> None:
        with self._lock:
            self.participants.changes += 1
            self._idle_loops.discard(loop)
            self.participants.busy[loop] = f"event loop of {Real.current_thread().name}"


def _check_seconds(seconds: float) -> None:
    if not _is_number(seconds) or seconds != seconds:
        raise InvalidError(f"seconds must be a number, got {seconds!r}; write clock.sleep(1.5)")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
