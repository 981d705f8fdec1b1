"""The clocks: the only place that reads time or waits with a limit.

Owns the real clock and the virtual one, and the waiters that threads park on.
Everything above takes a clock as an argument.  Time is in seconds.

Virtual time stands still while any *participant* is busy and jumps to the next
timer once all of them sit in a wait of ours.  Participants are the loops made
by :meth:`VirtualClock.new_event_loop`, workers that hold an input, and threads
that entered the clock (``with clock:``, ``with clock.participate():``).
The idea is that of trio's MockClock with ``autojump_threshold=0``.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from types import FrameType, TracebackType
from typing import Final, Protocol, TypeVar, TypeVarTuple

from ..exception import ClockStuckError
from . import forking
from .regions import ours
from .stacks import current_frames
from .timekeeper import Callback, Timer, TimerQueue, process_timekeeper

logger: Final = logging.getLogger("moorage")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Real seconds without any participant's going idle or busy, while others wait
# for time to pass, after which virtual time is declared stuck.
STUCK_AFTER: Final = 5.0


class Waiter(Protocol):
    """A place for one thread to wait, once.  May be woken before, and more than once."""

    def wake(self) -> None: ...


class Clock(Protocol):
    """What the engine asks of time."""

    virtual: bool

    def now(self) -> float:
        """Seconds since some fixed point."""
        ...

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Run `callback` at `when`, on a thread of the clock's.  It must not block."""
        ...

    def make_waiter(self) -> Waiter:
        """A fresh waiter for :meth:`wait`."""
        ...

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Block this thread until `waiter` is woken; false if `timeout` passes first."""
        ...

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop that lives in this clock's time."""
        ...


class RealWaiter:
    """A waiter that is one lock, which the waker releases."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.lock.acquire()

    def wake(self) -> None:
        try:
            self.lock.release()
        except RuntimeError:
            pass  # woken before: once is enough


class RealClock:
    """Monotonic time and the process's timekeeper."""

    virtual = False
    now: staticmethod[[], float] = staticmethod(time.monotonic)
    make_waiter = RealWaiter

    def call_at(self, when: float, callback: Callback) -> Timer:
        return process_timekeeper.call_at(when, callback)

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        assert isinstance(waiter, RealWaiter)
        if timeout is None:
            return waiter.lock.acquire()
        return waiter.lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def __repr__(self) -> str:
        return "<RealClock>"


system_clock: Final[Clock] = RealClock()


def acquire_patiently(lock: threading.Lock) -> None:
    """Acquire a lock that is held for an instant only, without starting a convoy.

    A thread that blocks on a lock becomes its owner while it still waits for
    the interpreter, and so makes the next thread block, and so on: every
    acquire is a switch of threads from then on.  One that lets the others run
    and tries again is let in when the owner is out.
    """
    for _ in range(_PATIENCE):
        time.sleep(0)
        if lock.acquire(False):
            return
    lock.acquire()


def acquire_within(lock: threading.Lock, seconds: float) -> bool:
    """Acquire a lock in real time; false if it is not let go in `seconds`."""
    return lock.acquire(timeout=seconds)


# Turns given to other threads before blocking.  One suffices mostly; with no
# GIL, where the owner runs on meanwhile, a few.
_PATIENCE: Final = 32


def join_threads(threads: Iterable[threading.Thread], timeout: float) -> list[threading.Thread]:
    """Join in real time, which virtual threads need too; return those that still live.

    `timeout` seconds in all.  The calling thread counts among those that live.
    """
    until = time.monotonic() + timeout
    left: list[threading.Thread] = []
    for thread in threads:
        if thread is not threading.current_thread():
            if thread.ident is None:
                continue  # never started
            thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            left.append(thread)
    return left


class VirtualWaiter:
    """A waiter whose waker marks the waiting participant busy before it can run."""

    __slots__ = (
        "_clock",
        "error",
        "fired",
        "key",
        "lock",
        "name",
        "timed",
        "timed_out",
        "waiting",
    )

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.lock: threading.Lock = threading.Lock()
        self.lock.acquire()
        # All guarded by the clock's lock.
        self.fired: bool = False
        self.timed_out: bool = False
        self.timed: bool = False
        self.waiting: bool = False
        self.key: object = None  # the participant that waits here, if it is one
        self.name: str = ""
        self.error: ClockStuckError | None = None

    def wake(self) -> None:
        with self._clock._lock:
            self._clock._fire(self)


class VirtualClock:
    """Time that jumps.  Starts at 0; ``with clock:`` makes this thread take part.

    Timers that are due at the same time fire in the order in which they were
    set, each once all that the one before set off has come to rest.

    Raises:
        ClockStuckError: in threads that wait here, when another participant
            has been busy for five real seconds and nothing moved meanwhile.
    """

    virtual = True

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a leaf: nothing is called while it is held
        self._now = 0.0  # guarded by _lock, as all below
        self._timers = TimerQueue()
        # Invariant: time moves only while this is empty.
        self._busy: dict[object, str] = {}
        self._key_of_thread: dict[int, object] = {}
        self._waiting: set[VirtualWaiter] = set()
        self._changes = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._bell = threading.Lock()
        self._bell.acquire()
        self._scopes: list[tuple[int, object]] = []
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: of those that took part, this thread is left."""
        forking.keep(self._timers, self._waiting, self._busy)
        me = threading.get_ident()
        key = self._key_of_thread.get(me)
        self._lock = threading.Lock()
        self._timers = TimerQueue()
        self._busy = {} if key is None else {key: threading.current_thread().name}
        self._key_of_thread = {} if key is None else {me: key}
        self._waiting = set()
        self._thread = None
        self._bell = threading.Lock()
        self._bell.acquire()
        self._scopes = [scope for scope in self._scopes if scope[0] == me]

    # -- the clock's contract -------------------------------------------------

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callback) -> Timer:
        timer = Timer(when, callback)
        with self._lock:
            self._timers.push(timer)
            self._start()
            self._look()
        return timer

    def make_waiter(self) -> VirtualWaiter:
        return VirtualWaiter(self)

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        assert isinstance(waiter, VirtualWaiter)
        timer: Timer | None = None
        try:
            with ours, self._lock:
                if not waiter.fired:
                    waiter.waiting = True
                    waiter.key = self._key_of_thread.get(threading.get_ident())
                    waiter.name = threading.current_thread().name
                    if isinstance(waiter.key, _VirtualLoop):
                        waiter.key.waits = True
                    self._waiting.add(waiter)
                    if timeout is not None:
                        timer = Timer(self._now + max(timeout, 0.0), lambda: self._time_out(waiter))
                        waiter.timed = True
                        if self._timers.push(timer):
                            self._ring()  # it may be asleep without any timer to watch
                    self._idle(waiter.key)
                    self._start()
            waiter.lock.acquire()
        except BaseException:  # KeyboardInterrupt, or a strike: the thread runs again, unwoken
            with ours, self._lock:
                self._fire(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if waiter.error is not None:
            raise waiter.error
        return not waiter.timed_out

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass in this thread, as ``time.sleep`` does: no cancel ends it."""
        self.wait(self.make_waiter(), seconds)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """An asyncio loop in virtual time, which takes part while it runs."""
        return _VirtualLoop(self)

    # -- participants ---------------------------------------------------------

    @ours
    def begin(self, key: object, name: str) -> None:
        """Count `key` as busy from now on, on behalf of whoever will serve it."""
        with self._lock:
            self._busy[key] = name
            self._changes += 1

    @ours
    def bind_thread(self, key: object) -> None:
        """Let this thread's waits of ours count as those of `key`."""
        with self._lock:
            self._key_of_thread[threading.get_ident()] = key

    @ours
    def end(self, key: object) -> None:
        """`key` takes no part any more."""
        with self._lock:
            for ident, bound in list(self._key_of_thread.items()):
                if bound is key:
                    del self._key_of_thread[ident]
            self._idle(key)

    @contextmanager
    def participate(self, name: str | None = None) -> Generator[None, None, None]:
        """Make this thread a participant: time stands still unless it waits."""
        if threading.get_ident() in self._key_of_thread:
            yield  # it takes part already
            return
        key = object()
        self.begin(key, name or threading.current_thread().name)
        self.bind_thread(key)
        try:
            yield
        finally:
            self.end(key)

    @ours
    def __enter__(self) -> VirtualClock:
        key = object()
        self.begin(key, threading.current_thread().name)
        self.bind_thread(key)
        self._scopes.append((threading.get_ident(), key))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(self._scopes.pop()[1])
        if not self._scopes:
            self.close()

    @ours
    def close(self) -> None:
        """End the clock's thread.  Timers that are left never fire."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            self._ring()
        if thread is not None:
            thread.join()

    def __repr__(self) -> str:
        with self._lock:
            busy = ", ".join(self._busy.values()) or "nobody"
            return f"<VirtualClock at {self._now:g} s, busy: {busy}>"

    # -- inside, all under _lock ----------------------------------------------

    def _idle(self, key: object) -> None:
        self._changes += 1
        if self._busy.pop(key, None) is not None:
            self._look()

    def _look(self) -> None:
        if not self._busy:
            self._ring()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # the thread has yet to look

    def _fire(self, waiter: VirtualWaiter) -> None:
        if waiter.fired:
            return
        waiter.fired = True
        self._changes += 1
        if waiter.waiting:
            waiter.waiting = False
            self._waiting.discard(waiter)
            if waiter.key is not None:
                self._busy[waiter.key] = waiter.name
                if isinstance(waiter.key, _VirtualLoop):
                    waiter.key.waits = False
        waiter.lock.release()

    def _time_out(self, waiter: VirtualWaiter) -> None:
        with self._lock:
            if not waiter.fired:
                waiter.timed_out = True
                self._fire(waiter)

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(
                target=self._run, name="moorage-virtual-clock", daemon=True
            )
            self._thread.start()

    # -- the clock's own thread -----------------------------------------------

    def _run(self) -> None:
        while True:
            callback: Callback | None = None
            with self._lock:
                if self._closed:
                    return
                pending = self._timers.next_when()
                seen = self._changes
                if not self._busy and pending is not None:
                    self._now = max(self._now, pending)
                    callback = self._timers.pop_due(self._now)
            if callback is not None:
                try:
                    callback()
                except Exception:
                    logger.exception("a timer of moorage failed")
                continue
            if pending is None:
                self._bell.acquire()
            elif not self._bell.acquire(timeout=STUCK_AFTER):
                self._report_if_stuck(seen)

    def _report_if_stuck(self, seen: int) -> None:
        with self._lock:
            if self._changes != seen or not self._busy:
                return
            threads = {key: ident for ident, key in self._key_of_thread.items()}
            frames = current_frames()
            lines = [
                f"{name}{_place_of(frames.get(threads.get(key, -1)))}"
                for key, name in self._busy.items()
            ]
            message = (
                f"virtual time stands at {self._now:g} s: for {STUCK_AFTER:g} real seconds "
                f"{' and '.join(lines)} ran without waiting in moorage; "
                "wait with clock.sleep() or asyncio.sleep(), or leave the clock"
            )
            for waiter in list(self._waiting):
                if waiter.key is not None or waiter.timed:
                    waiter.error = ClockStuckError(message)
                    self._fire(waiter)

    # -- loops ----------------------------------------------------------------

    def _loop_begins(self, loop: _VirtualLoop) -> object:
        with self._lock:
            me = threading.get_ident()
            key = self._key_of_thread.get(me)
            # The loop takes the thread's part, or the thread would hold up time
            # while its loop is idle.
            self._busy[loop] = f"event loop of {threading.current_thread().name}"
            self._busy.pop(key, None)
            self._key_of_thread[me] = loop
            return key

    def _loop_ends(self, loop: _VirtualLoop, key: object) -> None:
        with self._lock:
            me = threading.get_ident()
            if key is not None:
                self._busy[key] = threading.current_thread().name
                self._key_of_thread[me] = key
            else:
                self._key_of_thread.pop(me, None)
            self._idle(loop)

    def _loop_idle(self, loop: _VirtualLoop, seen: int, timeout: float | None) -> Timer | None:
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
            if timeout is not None:
                if self._timers.push(timer):
                    self._ring()
                self._start()
            self._idle(loop)
            return timer

    def _loop_busy(self, loop: _VirtualLoop) -> None:
        with self._lock:
            self._changes += 1
            self._busy[loop] = f"event loop of {threading.current_thread().name}"


def _place_of(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    return f" (in {frame.f_code.co_name}, {frame.f_code.co_filename}:{frame.f_lineno})"


class _VirtualSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Tells the clock when its loop has nothing to do."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.loop: _VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if loop is None:
            return super().select(timeout)
        seen = loop.rung
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        timer = self._clock._loop_idle(loop, seen, timeout)
        try:
            return super().select(None)
        finally:
            self._clock._loop_busy(loop)
            if timer is not None:
                timer.cancel()


class _VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time.  Real I/O on it works, but time does not wait for it."""

    _write_to_self: Callable[[], None]  # asyncio's own, which its stubs leave out

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        # How often it was rung.  Guarded by the clock's lock.
        self.rung = 0
        # Whether its thread sits in a wait of the clock's.  Guarded likewise.
        self.waits = False
        # Wake-ups that are being sent, and whether the loop waits for their end
        # rather than rest.  Guarded likewise.
        self.sending = 0
        self.looks_again = False
        selector = _VirtualSelector(clock)
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._clock.now()

    def run_forever(self) -> None:
        key = self._clock._loop_begins(self)
        try:
            super().run_forever()
        finally:
            self._clock._loop_ends(self, key)

    def mark_busy(self) -> None:
        """Say, before the wake-up is sent, that the loop is about to run."""
        clock = self._clock
        with clock._lock:
            self.rung += 1
            self.sending += 1
            clock._changes += 1
            # One that sits in a blocking wait runs when that ends, which marks it.
            if self.is_running() and not self.waits:
                clock._busy[self] = "an event loop that was woken"

    def mark_sent(self) -> None:
        """Say that the wake-up was sent; once for each `mark_busy`."""
        with self._clock._lock:
            self.sending -= 1
            looks_again = self.looks_again and not self.sending
            if looks_again:
                self.looks_again = False
        if looks_again and not self.is_closed():
            self._write_to_self()  # it may have taken the wake-up already

    def ring(self) -> None:
        if not self.is_closed():
            self.mark_busy()
            try:
                self._write_to_self()
            finally:
                self.mark_sent()

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.mark_busy()
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        finally:
            self.mark_sent()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # The thread that joins the executor's takes no part: time would jump
        # to the end of the timeout at once.
        key = object()
        self._clock.begin(key, "the end of an executor")
        try:
            await super().shutdown_default_executor()
        finally:
            self._clock.end(key)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        # A thread that works for this loop holds up time, as the loop would.
        key = object()
        self._clock.begin(key, f"a thread that runs {getattr(func, '__name__', func)!s}")

        def work() -> T:
            self._clock.bind_thread(key)
            return func(*args)

        future = super().run_in_executor(executor, work)
        future.add_done_callback(lambda _: self._clock.end(key))
        return future
