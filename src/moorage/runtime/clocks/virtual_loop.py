"""Event loops in virtual time: what :meth:`VirtualClock.new_event_loop` makes.

Owns how a loop says that it has nothing to do, how whoever wakes it marks it busy
before it runs, and the part that threads take which work for it
(``asyncio.to_thread``, ``run_in_executor``).  What is guarded by "the clock's lock"
is touched with it only.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from ..real import Real
from .participants import LoopPart

if TYPE_CHECKING:
    from ...exception import ClockStuckError
    from .patched_time import VirtualTime
    from .virtual_clock import VirtualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


if TYPE_CHECKING:
    DefaultSelector = selectors.SelectSelector
    SelectorEventLoop = asyncio.SelectorEventLoop
else:
    DefaultSelector = Real.DefaultSelector
    SelectorEventLoop = Real.SelectorEventLoop


class VirtualSelector(DefaultSelector):
    """Tells the clock when its loop has nothing to do."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.loop: VirtualLoop | None = None

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
            events = super().select(None)
        finally:
            self._clock._loop_busy(loop)
            if timer is not None:
                timer.cancel()
        if loop.error is not None:
            error, loop.error = loop.error, None
            raise error  # out of run_forever, and so of whatever runs the test
        return events


class VirtualLoop(SelectorEventLoop, LoopPart):
    """A loop in virtual time.  Real I/O on it works, but time does not wait for it."""

    _write_to_self: Callable[[], None]  # asyncio's own, which its stubs leave out
    _default_executor: Executor | None

    def __init__(self, clock: VirtualClock) -> None:
        self.clock: VirtualClock = clock
        # All guarded by the clock's lock.
        # How often it was rung.
        self.rung: int = 0
        # Wake-ups that are being sent, and whether the loop waits for their end
        # rather than rest.
        self.sending: int = 0
        self.looks_again: bool = False
        # While it runs: the clock that its thread lived by before.
        self.before: VirtualTime | None = None
        # Whether a container runs it.  One that none does keeps the clock open,
        # from its first run to its close.
        self.owned: bool = False
        self.counted: bool = False
        self.thread: threading.Thread | None = None
        # To be raised where it idles.
        self.error: ClockStuckError | None = None
        self._jobs: set[Job] = set()
        # Set while somebody waits for the end of the jobs of the default executor.
        self._jobs_end: asyncio.Future[None] | None = None
        selector = VirtualSelector(clock)
        super().__init__(selector)
        selector.loop = self

    @property
    def waits_for_ever(self) -> bool:
        """Whether its first timer is at infinity.  On its thread."""
        scheduled: list[asyncio.TimerHandle] = getattr(self, "_scheduled", [])
        return bool(scheduled) and scheduled[0].when() == math.inf

    def time(self) -> float:
        return self.clock.now()

    def run_forever(self) -> None:
        self.clock._loop_begins(self)
        try:
            super().run_forever()
        finally:
            self.clock._loop_ends(self)

    def close(self) -> None:
        super().close()
        # Nobody will be told of their end.
        for job in list(self._jobs):
            self._answer(job)
        self.clock._loop_closes(self)

    def mark_busy(self) -> None:
        """Say, before the wake-up is sent, that the loop is about to run."""
        clock = self.clock
        with clock._lock:
            self.rung += 1
            self.sending += 1
            clock.participants.changes += 1
            # One that sits in a blocking wait runs when that ends, which marks it.
            if self.is_running() and not self.waits:
                clock.participants.busy[self] = "an event loop that was woken"

    def mark_sent(self) -> None:
        """Say that the wake-up was sent; once for each `mark_busy`."""
        with self.clock._lock:
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

    # -- threads that work for it ---------------------------------------------

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        # A thread that works for this loop holds up time, as the loop would.
        if executor is None:
            executor = self._default_executor
            if executor is None:
                executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
                self.set_default_executor(executor)
            chosen = None  # asyncio refuses it once it was shut down
        else:
            chosen = executor
        job = Job(f"a thread that runs {getattr(func, '__name__', func)!s}")
        with self.clock._lock:
            job.line = self.clock._line_of(executor)
            self._jobs.add(job)
            job.line.join(job, self.clock)

        def work() -> T:
            self._begin(job)
            try:
                return func(*args)
            finally:
                self._end(job)

        in_threads = isinstance(executor, ThreadPoolExecutor)
        try:
            # Other executors have no threads of this process, and could not pickle `work`.
            future = (
                super().run_in_executor(chosen, work)
                if in_threads
                else super().run_in_executor(chosen, func, *args)
            )
        except BaseException:
            self._answer(job)
            raise
        future.add_done_callback(lambda _: self._answer(job))
        return future

    def _begin(self, job: Job) -> None:
        """On the job's thread: it runs from here on."""
        clock = self.clock
        with clock._lock:
            job.started, job.ended = True, False
            # It may have no turn: the executor has other work, or it was cancelled too late.
            job.line.give(job, clock)
            clock.participants.changes += 1
        clock.participants.bind_thread(job)

    def _end(self, job: Job) -> None:
        """On the job's thread: it has ended.  It is busy until the loop has heard of it."""
        clock = self.clock
        clock.participants.unbind_thread(job)
        with clock._lock:
            job.ended = True
            job.line.leave(job, clock)
            is_watched = self._jobs_end is not None
        if is_watched:
            try:
                self.call_soon_threadsafe(self._look_at_jobs)  # which marks the loop busy first
            except RuntimeError:
                pass  # closed meanwhile
        with clock._lock:
            if job.answered:
                self._jobs.discard(job)
                clock.participants.idle(job)

    def _answer(self, job: Job) -> None:
        """Nobody waits for the job any more: it has ended, or was cancelled."""
        clock = self.clock
        with clock._lock:
            job.answered = True
            if job.started and not job.ended:
                return  # its thread goes on, and holds up time until its end
            job.ended = True
            job.line.leave(job, clock)
            self._jobs.discard(job)
            clock.participants.idle(job)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # What is left of it may sleep: time must go on for that.
        while True:
            with self.clock._lock:
                if not self._has_jobs():
                    break
                self._jobs_end = future = self.create_future()
            await future
        # The thread that joins the executor's takes no part: time would go on meanwhile.
        key = object()
        self.clock.participants.begin(key, "the end of an executor")
        try:
            await super().shutdown_default_executor()
        finally:
            self.clock.participants.end(key)

    def _has_jobs(self) -> bool:
        executor = self._default_executor
        if executor is None:
            return False
        line = self.clock._line_of(executor)
        return any(job.line is line and not job.ended for job in self._jobs)

    def _look_at_jobs(self) -> None:
        with self.clock._lock:
            future, self._jobs_end = self._jobs_end, None
        if future is not None and not future.done():
            future.set_result(None)


class Job:
    """Work for one thread of an executor, as a participant.  The clock's lock guards it."""

    __slots__ = ("answered", "ended", "has_turn", "line", "name", "started")

    line: Line

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.has_turn: bool = False  # it is one of as many as the executor has threads
        self.started: bool = False
        self.ended: bool = False
        self.answered: bool = False


class Line:
    """The jobs of one executor.  The clock's lock guards it.

    Those beyond its threads are not busy before their turn: they cannot run while
    those before them sleep, and would hold up the time that ends the sleep.
    """

    __slots__ = ("_most", "_turns", "_waiting")

    def __init__(self, executor: Executor) -> None:
        most = getattr(executor, "most_threads", None) or getattr(executor, "_max_workers", None)
        self._most: float = most or float("inf")
        self._turns = 0
        self._waiting: deque[Job] = deque()

    def join(self, job: Job, clock: VirtualClock) -> None:
        if self._turns < self._most:
            self.give(job, clock)
        else:
            self._waiting.append(job)

    def give(self, job: Job, clock: VirtualClock) -> None:
        if not job.has_turn:
            if job in self._waiting:
                self._waiting.remove(job)
            job.has_turn = True
            self._turns += 1
        clock.participants.busy[job] = job.name
        clock.participants.changes += 1

    def leave(self, job: Job, clock: VirtualClock) -> None:
        if job.has_turn:
            job.has_turn = False
            self._turns -= 1
            if self._waiting and self._turns < self._most:
                self.give(self._waiting[0], clock)
        elif job in self._waiting:
            self._waiting.remove(job)
