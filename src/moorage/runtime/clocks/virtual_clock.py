"""Virtual time: a clock that jumps.

Owns the virtual time, its timers, and the waits.  The thread that moves the time and fires the
timers is in ``clock_thread.py``, the participants are in ``participants.py``, the event loops in
``virtual_loop.py``.  The engine uses this clock through the `Clock` protocol of ``clock.py``; tests
use `VirtualClock` directly.

Begin at `VirtualClock.wait` and `VirtualClock.call_at`, then `_fire`.

Virtual time stands still while any *participant* is busy, and jumps to the next timer when
all participants wait in moorage.  Of the busy participants one runs at a time: see
``turns.py``.  Participants are the loops made by :meth:`VirtualClock.new_event_loop`, workers
that hold an input, and threads that entered the clock (``with clock:``,
``with app.run(clock=clock):``).  The idea comes from trio's MockClock with
``autojump_threshold=0``.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...exception import ClockStuckError, InvalidError
from ...with_aio import with_aio
from .. import forking
from ..outcome import user_frames
from ..real import Real
from ..uninterruptible import uninterruptible
from . import anyio_threads, loops_here
from .choices import Choices
from .clock_thread import ClockThread
from .participants import BEFORE_ALL, Participants
from .patched_time import patched
from .timekeeper import Callback, Rank, Timer, TimerQueue
from .turns import Gate
from .virtual_loop import Line, VirtualLoop
from .virtual_waiter import VirtualWaiter as VirtualWaiter
from .wall import beginning

if TYPE_CHECKING:
    from .clock import Waiter

T = TypeVar("T")


# Real seconds without any change after which `rest` stops waiting for busy participants: one
# of them may itself wait in real time for what the caller does after the rest.
REST_WITHIN: Final = 0.25

# Real seconds for which a thread whose wait was interrupted (Ctrl-C) waits for its turn.  Then
# it goes on without the turn: the participant that has the turn may never rest.
INTERRUPTED_WAITS: Final = 0.25


class _Keeping:
    """What the participants need of their clock: see `Timekeeping` in ``participants.py``."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def ring(self) -> None:
        self._clock._ring()

    def shut(self) -> threading.Thread | None:
        return self._clock._shut()

    def rest(self) -> None:
        clock = self._clock
        clock._wait(VirtualWaiter(clock), 0.0, rests=True)

    def fire(self, waiter: VirtualWaiter) -> None:
        self._clock._fire(waiter)

    def watch(self) -> None:
        self._clock._start()
        if self._clock._sleeps:
            self._clock._ring()


class VirtualClock:
    """Time that jumps: a test that waits for an hour takes milliseconds.

    ``with clock:`` makes the calling thread take part, and so does
    ``with app.run(clock=clock):``.  Time starts at 0 and stands still while any
    participant runs: the test's thread, an event loop of this clock, a container
    that has something to do.  Time jumps to the next timer when all participants
    wait: in ``clock.sleep``, ``asyncio.sleep``, ``remote``, ``get`` and other waits of
    this library, or with nothing to do on an event loop.

    Within one instant one participant runs at a time, until it waits or ends; then
    the participant that became busy first goes on.  So each run of a test is the same:
    the order of all steps, the virtual times, which container gets which input, the
    timeline.  Not so: hash order of the user's own objects, ids, random numbers
    without a seed, real I/O.

    Timers that are due at the same time fire in the order in which they were set.
    Each timer fires when all participants wait again after the timer before it.  If
    several participants set timers within one instant, the timers fire in the order in
    which the containers and inputs of these participants began; the timers of the
    test's thread fire last.

    The clock does not see real I/O on an event loop, and threads that the user's code
    starts: time does not wait for them, and may jump meanwhile.  The clock sees
    ``asyncio.to_thread``, ``run_in_executor`` and ``anyio.to_thread``, and the portal of
    a ``TestClient``.  Event loops that a thread of the clock makes (``asyncio.run``) are
    loops of the clock.

    A participant that waits for something real (a socket, a real ``time.sleep``) counts
    as busy.  After 0.2 real seconds another participant goes on meanwhile, because it may
    end that wait.  Locks, events, queues and results of threads are real, too, except in
    ``with clock.patch_time():``.

    Args:
        at: the wall time at which virtual time begins: what ``time.time()`` and
            ``datetime.now()`` say in ``with clock.patch_time():``, and what `Cron` and the
            calendar parts of `Period` go by.  A datetime without a time zone is in the time zone
            of this computer.  None: the present time, without a fraction of a second.
        stuck_after: real seconds without any change after which waits end with
            `ClockStuckError`; None for never, for example while a debugger stops a thread.
        seed: choose by this number what is first within an instant, wherever no order is
            promised; see `explore`.  None: always the same defined order.

    Raises:
        ClockStuckError: in threads and event loops that wait for time to pass, if a
            participant is busy for `stuck_after` seconds, also in those that take no
            part; in participants that wait for ever,
            if no participant is busy and no timer is left that could end a wait.  Also
            in threads that still wait when the clock is closed.
        InvalidError: if `at` is no datetime, `stuck_after` is not a number above 0, or `seed` is
            no whole number.
    """

    virtual: bool = True

    def __init__(
        self,
        *,
        at: datetime | None = None,
        stuck_after: float | None = 5.0,
        seed: int | None = None,
    ) -> None:
        self.begins_ns: int = beginning(at)
        # Not written as `stuck_after <= 0`: NaN compares false, and would be accepted.
        if stuck_after is not None and not (_is_number(stuck_after) and stuck_after > 0):
            raise InvalidError(
                f"stuck_after must be a number above 0 or None, got {stuck_after!r}; "
                "write VirtualClock(stuck_after=5)"
            )
        self._stuck_after = stuck_after
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"seed must be a whole number or None, got {seed!r}; write VirtualClock(seed=7)"
            )
        self.seed: int | None = seed
        self._choices: Choices | None = None if seed is None else Choices(seed)
        # If set, each run that begins in this clock passes the probe that it was given through
        # this function, and uses what the function returns.
        self.observe: Callable[[Any], Any] | None = None
        self.participants: Participants = Participants(self, _Keeping(self), self._choices)
        # One lock for the clock and its participants.  It guards the fields below, except
        # `_patches`.
        self._lock = self.participants.lock
        self._numbers = itertools.count(1)  # of tasks and futures: see ``numbered.py``
        self._now = 0.0  # never decreases; `now` reads it without the lock
        self._timers = TimerQueue()
        # Timers that time does not jump to: see `call_when_past`.
        self._bystanders = TimerQueue()
        # How often all participants waited at once, so that the clock could move.  Two timers
        # with the same number were set within one instant.
        self._rests = 0
        # `_rests` when time last moved: timers with a higher number were set within this instant.
        self._instant = 0
        self._waiting: set[VirtualWaiter] = set()
        self._idle_loops: set[VirtualLoop] = set()
        self._thread: threading.Thread | None = None
        # The lock that `_thread` waits on while it has nothing to do; `_ring` releases it.
        self._bell = Real.Lock()
        self._bell.acquire()
        # True while `_thread` waits for the bell without a limit.
        self._sleeps = False
        self._lines: weakref.WeakKeyDictionary[Executor, Line] = weakref.WeakKeyDictionary()
        # One set of module names for each `patch_time` in force; an empty set means all
        # modules.  Guarded by the lock of ``patched_time.py``; read without it.
        self._patches: tuple[frozenset[str], ...] = ()
        forking.know(self)

    def _after_fork(self) -> None:
        """Keep this thread only, in a forked child: the other participants are gone there."""
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
        self._sleeps = False

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
                pass  # the loop was closed meanwhile

        # Not `loop.call_at`: a timer of the loop that is due at once fires although other
        # participants are busy, and `sleep(0)` must wait for them.
        timer = self.call_at(self._now + max(seconds, 0.0), wake)
        try:
            await passed
        finally:
            timer.cancel()

    @with_aio(_sleep_async)
    def sleep(self, seconds: float) -> None:
        """Block this thread for `seconds` of virtual time.

        The cancellation of an input does not end this sleep.  ``sleep(0)`` waits until all
        other participants wait, so everything started before has run as far as it can.
        ``await clock.sleep.aio(...)`` is for tasks on a loop of this clock, and can be
        cancelled as any other await.

        Raises:
            ClockStuckError: if time cannot go on.
        """
        _check_seconds(seconds)
        try:
            self.wait(self.make_waiter(), seconds)
        except ClockStuckError as error:
            raise error.with_traceback(user_frames(error.__traceback__))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on a new event loop in virtual time: ``asyncio.run`` for this clock.

        Raises:
            RuntimeError: if a loop is running in this thread.
            ClockStuckError: if time cannot go on.
        """
        with self, Real.Runner(loop_factory=self.new_event_loop) as runner:
            return runner.run(main)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return an asyncio event loop in virtual time, a participant while it runs.

        For ``asyncio.Runner(loop_factory=clock.new_event_loop)``.  Real I/O works on this
        loop, but time does not wait for I/O.
        """
        return VirtualLoop(self)

    def patch_time(self, *modules: ModuleType) -> AbstractContextManager[None]:
        """Make ``time``, dates and the waits of threads virtual: ``with clock.patch_time():``.

        The patched functions are ``sleep``, ``monotonic``, ``perf_counter``, ``time`` and
        the ``_ns`` variants, ``localtime``, ``gmtime``, ``ctime``, ``asctime`` and ``strftime``
        of the present time, ``datetime.now``, ``datetime.utcnow``, ``datetime.today`` and
        ``date.today``, in threads that take part in this clock.  Other threads, also those of
        another clock, keep their functions.  The wall time is what the clock was made with
        (``VirtualClock(at=...)``), or the time at which the clock was made, and goes on with
        virtual time.

        The patch also replaces what ``from time import sleep`` has bound in a module,
        under any name, and restores it afterwards.  The patch does not find the real
        function in a default argument or in an attribute of a class, nor a method that was
        bound before, as in ``field(default_factory=datetime.now)``.

        Calls of ``time`` from the standard library, and all calls from test tools (pytest,
        pluggy, anyio, trio, hypothesis) stay real, because this code waits for real things.

        A thread that takes part, and blocks in a lock, condition, event, barrier, semaphore
        or ``join`` of ``threading``, in a queue of ``queue``, or for a result of
        ``concurrent.futures``, waits in virtual time: others go on, and a timeout is in
        virtual seconds.  So it is for objects made before the patch, too.  Needs CPython; on
        another interpreter these calls stay real.

        If a sync input is cancelled or runs out of time, its virtual sleep ends at once,
        at the virtual time of the cancellation; a real sleep would first run to its end.
        In an input that is ``@cooperative`` or shielded, the virtual sleep also runs to
        its end.

        Args:
            modules: patch only calls from these modules, and from the modules within a
                package; without arguments, from all modules.

        Raises:
            InvalidArgumentsError: on entering, if an argument is not a module.
        """
        return patched(self, modules)

    @contextmanager
    def participate(self, name: str | None = None) -> Generator[None, None, None]:
        """Make this thread take part: time stands still unless this thread waits.

        As ``with clock:``, but the end of this block never closes the clock.  Errors call
        the thread `name`.  Nothing changes in a thread that takes part already.
        """
        ident = self.participants.enter_scope(name, opens=False)
        try:
            yield
        finally:
            self.participants.leave(ident, opens=False)

    def __enter__(self) -> VirtualClock:
        """Make this thread take part until the end of the block.  Blocks nest.

        The end of the last block closes the clock: the clock's thread ends, and timers
        stand still until a thread enters the clock again.

        Raises:
            InvalidError: on an event loop that runs in real time.
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
                "entered; write `with clock:`, so that one thread both enters and leaves it"
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
        """End the clock's thread; threads that still wait get a `ClockStuckError`.

        The end of the last ``with clock:`` calls this method.
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
        """Run `callback` at `when`, on the clock's thread.  The callback must not block.

        Returns a timer that can be cancelled: ``timer.cancel()``.
        """
        timer = Timer(when, callback)
        with self._lock:
            if self._timers.push(timer, self._rank(self._key_here(), of_engine=True)):
                self._ring()  # as in `_wait`
            self._start()
            self.participants.ring_if_idle()
        return timer

    def call_when_past(self, when: float, callback: Callback) -> Timer:
        """As `call_at`, but time does not jump to `when` for this timer.

        The callback runs when time reaches or passes `when` because of another timer.
        """
        timer = Timer(when, callback)
        with self._lock:
            self._bystanders.push(timer)
        return timer

    def make_waiter(self) -> VirtualWaiter:
        """Return a new waiter: ``clock.wait(waiter)`` blocks until ``waiter.wake()``, once."""
        return VirtualWaiter(self)

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Block this thread until `waiter` is woken; false if `timeout` passes first.

        Raises:
            ClockStuckError: if time cannot go on.
        """
        assert isinstance(waiter, VirtualWaiter)
        return self._wait(waiter, timeout)

    def _wait(self, waiter: VirtualWaiter, timeout: float | None, *, rests: bool = False) -> bool:
        """As `wait`.  With `rests`: before all other timers, for `Participants.rest`."""
        timer: Timer | None = None
        try:
            with uninterruptible, self._lock:
                if waiter.blocked is not None and waiter.blocked.is_free():
                    self._fire(waiter)
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
                            # The clock's thread may sleep without a timeout, because there
                            # was no timer: it must watch from now on whether time is stuck.
                            self._ring()
                    self.participants.idle(waiter.key)
                    self._start()
                    if waiter.blocked is not None:
                        self.participants.block(waiter)
            seen = self.participants.changes
            while not waiter.lock.acquire(
                timeout=REST_WITHIN if rests and not waiter.fired else -1.0
            ):
                with uninterruptible, self._lock:
                    # Nothing has changed for `REST_WITHIN` seconds: end the rest.  Otherwise
                    # the other participants make progress, so go on waiting.
                    if self.participants.changes == seen:
                        self._fire(waiter)
                    seen = self.participants.changes
        except BaseException:
            # KeyboardInterrupt, or a strike (an exception that another thread raised in this
            # one): this thread runs again although nobody woke it, so it is busy again.
            with uninterruptible, self._lock:
                self._fire(waiter)
                is_busy = waiter.key in self.participants.busy
            if is_busy:
                self.participants.take_turn(waiter.key, INTERRUPTED_WAITS)
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
        """Return the participant of this thread; for the clock's thread, that thread."""
        me = Real.current_thread()
        return me if me is self._thread else self.participants.key_of_thread.get(me.ident or 0)

    def _rank(self, key: object, *, of_engine: bool = False) -> Rank:
        """Return the rank of a timer that the participant `key` sets now.

        Orders the timers that several threads set within one instant: by the participant
        that sets the timer, and not by which thread comes first.  Why:
            1. two containers start inputs at one instant,
            2. both inputs sleep for the same time,
            3. the input that wakes first gets the first free slot; it must be the same
               input in each run.
        """
        side = (-1, 0) if key is self._thread else self.participants.side_of(key)
        return (self._rests, 0 if of_engine else 1, *side)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # the bell is unlocked already: the thread will look

    def _fire(self, waiter: VirtualWaiter) -> None:
        """End the wait of `waiter`: mark its participant busy; its thread runs in its turn."""
        if waiter.fired:
            return
        waiter.fired = True
        self.participants.changes += 1
        if waiter.waiting:
            waiter.waiting = False
            self._waiting.discard(waiter)
            self.participants.blocked.pop(waiter, None)
            # The participant may have ended while its thread waited, for example because
            # another thread left the scope.
            if (
                waiter.key is not None
                and self.participants.key_of_thread.get(waiter.thread) is waiter.key
            ):
                self.participants.busy[waiter.key] = waiter.name
                if isinstance(waiter.key, VirtualLoop):
                    waiter.key.waits = False
                gate = Gate(waiter.lock.release, waiter.thread, waiter)
                self.participants.turns.want_at(waiter.key, gate)
                return
        waiter.lock.release()

    def _start(self) -> None:
        if self._thread is None and not self.participants.closed:
            self._thread = Real.Thread(
                target=ClockThread(self).run,
                args=(self._bell,),
                name="moorage-virtual-clock",
                daemon=True,
            )
            self._thread.start()

    def _shut(self) -> threading.Thread | None:
        """Close the clock; return its thread, which the caller joins without the lock."""
        self.participants.closed = True
        self.participants.free_started()
        thread, self._thread = self._thread, None
        for waiter in list(self._waiting):
            waiter.error = ClockStuckError(
                f"the virtual clock was left at {self._now:g} s while {waiter.name} waited in it; "
                "leave the clock after all threads that use it have ended"
            )
            self._fire(waiter)
        # This thread still needs a ring to see that the clock is closed.  The next thread
        # gets a new bell, or this thread could take a ring meant for the next.
        self._ring()
        self._bell = Real.Lock()
        self._bell.acquire()
        return thread

    def _line_of(self, executor: Executor) -> Line:
        line = self._lines.get(executor)
        if line is None:
            line = self._lines[executor] = Line(executor)
        return line


def _check_seconds(seconds: float) -> None:
    if not _is_number(seconds) or seconds != seconds:
        raise InvalidError(f"seconds must be a number, got {seconds!r}; write clock.sleep(1.5)")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


anyio_threads.install()
loops_here.install()
