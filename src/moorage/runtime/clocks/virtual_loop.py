"""Event loops in virtual time: what :meth:`VirtualClock.new_event_loop` returns.

Owns how a loop tells the clock that it is idle, how a thread that wakes the loop marks it
busy before it runs, and the participants for threads that work for the loop
(``asyncio.to_thread``, ``run_in_executor``).  Only ``virtual_clock.py`` makes these loops.
A field that "the clock's lock" guards is read and written under that lock only.

Begin at `VirtualSelector.select`, then `VirtualLoop.mark_busy`, then `run_in_executor`.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from ..real import Real
from .awaited_futures import find_futures
from .loop_parts import loop_begins, loop_busy, loop_closes, loop_ends, loop_idle
from .numbered import ChosenTimer, InOrder, NumberedFuture, NumberedTask, number_scopes
from .participants import LoopPart

if TYPE_CHECKING:
    from ...exception import ClockStuckError
    from .reach import VirtualTime
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
    """A selector that tells the clock when its loop is idle, and when the loop runs again."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.loop: VirtualLoop | None = None
        # The number of each registered file, by its descriptor.
        self._numbers: dict[int, int] = {}
        self._number = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if loop is None:
            return super().select(timeout)
        turns = self._clock.participants.turns
        if turns.holder is not loop:  # it was lent to another while this loop was blocked
            self._clock.participants.take_turn(loop)
        seen = loop.rung
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            if self._clock._choices is not None:
                # Callbacks are due, but this loop is one of several threads.
                self._clock.participants.may_switch(loop)
                events = super().select(0)
            return self._in_order(events)
        timer = loop_idle(self._clock, loop, seen, timeout)
        try:
            super().select(None)
        finally:
            loop_busy(self._clock, loop)
            if timer is not None:
                timer.cancel()
        # Again, because more may have come until it was the turn of this loop.
        events = super().select(0)
        if loop.error is not None:
            error, loop.error = loop.error, None
            raise error  # leaves `run_forever`, and so ends the test that runs the loop
        return self._in_order(events)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._number += 1
        self._numbers[key.fd] = self._number
        return key

    def _in_order(
        self, events: list[tuple[selectors.SelectorKey, int]]
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Return `events` in the order in which their files were registered.

        The kernel's own order depends on how often this loop has looked in between.
        """
        if len(events) > 1:
            events.sort(key=lambda event: self._numbers.get(event[0].fd, 0))
        return events


class VirtualLoop(SelectorEventLoop, LoopPart):
    """A loop in virtual time.  Real I/O works on this loop, but time does not wait for I/O."""

    _write_to_self: Callable[[], None]  # asyncio's own, which its stubs leave out
    _scheduled: list[asyncio.TimerHandle]
    _check_closed: Callable[[], None]
    _check_default_executor: Callable[[], None]
    _default_executor: Executor | None

    def __init__(self, clock: VirtualClock) -> None:
        self.clock: VirtualClock = clock
        # The clock's lock guards the fields below.
        # How often the loop was woken.
        self.rung: int = 0
        # How many wake-ups are being sent.
        self.sending: int = 0
        # True if the loop found nothing to do while a wake-up was being sent: the loop stays
        # busy, and the last sender wakes it once more.
        self.looks_again: bool = False
        # While the loop runs: the clock of its thread before the run.
        self.before: VirtualTime | None = None
        # True if a container runs the loop.
        self.owned: bool = False
        # True if the loop keeps the clock open.  A loop that no container runs does so, from
        # its first run to its close.
        self.counted: bool = False
        self.thread: threading.Thread | None = None
        # Raised in the loop when it wakes from its idle state.
        self.error: ClockStuckError | None = None
        self._timers_made = 0  # with a seed
        # With a seed: the timer that was put off within its instant, if there is one.
        self._put_off: list[ChosenTimer] = []
        self._jobs: set[Job] = set()
        # Set while `shutdown_default_executor` waits for the next job to end.
        self._jobs_end: asyncio.Future[None] | None = None
        selector = VirtualSelector(clock)
        super().__init__(selector)
        selector.loop = self
        self._asyncgens = InOrder()
        number_scopes()

    @property
    def waits_for_ever(self) -> bool:
        """Whether the loop's first timer is at infinity.  To be read on the loop's thread."""
        scheduled: list[asyncio.TimerHandle] = getattr(self, "_scheduled", [])
        return bool(scheduled) and scheduled[0].when() == math.inf

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        choices = self.clock._choices
        if choices is None:
            return super().call_at(when, callback, *args, context=context)
        self._check_closed()
        timer = ChosenTimer(when, callback, args, self, context)
        timer.choices, timer.tie = choices, choices.draw(1 << 30)
        self._timers_made += 1
        timer.number = self._timers_made
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def next_number(self) -> int:
        """Return a number for a task or future: see ``numbered.py``."""
        return next(self.clock._numbers)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if self.get_task_factory() is not None:
            return super().create_task(coro, **options)
        self._check_closed()
        return NumberedTask(coro, loop=self, **options)

    def create_future(self) -> asyncio.Future[Any]:
        return NumberedFuture(loop=self)

    def ask(self, callback: Callable[[], object], context: Context) -> None:
        """Run `callback` soon, to show that this loop is not blocked; from any thread.

        If this loop is idle, or waits for its turn, nothing blocks it, and the callback runs at
        once.  The loop is not woken then: how often the watch over a loop looks depends on
        real time, and must change nothing in virtual time.
        """
        with self.clock._lock:
            runs = self.clock.participants.turns.holder is self
            if runs:
                self.rung += 1  # so this loop does not become idle before the callback
                self.sending += 1
        if not runs:
            context.run(callback)
            return
        try:
            super().call_soon_threadsafe(callback, context=context)
        finally:
            self.mark_sent()

    def time(self) -> float:
        return self.clock.now()

    def run_forever(self) -> None:
        loop_begins(self.clock, self)
        try:
            super().run_forever()
        finally:
            loop_ends(self.clock, self)

    def close(self) -> None:
        super().close()
        # A closed loop does not hear of the end of its jobs.
        for job in list(self._jobs):
            self._answer(job)
        loop_closes(self.clock, self)

    def mark_busy(self) -> None:
        """Count the loop as busy, before the wake-up is sent; then call `mark_sent`."""
        clock = self.clock
        with clock._lock:
            self.rung += 1
            self.sending += 1
            clock.participants.changes += 1
            # A blocked loop runs again only when its blocking wait ends; `_fire` then marks
            # the loop busy.
            if self.is_running() and not self.waits:
                clock.participants.busy[self] = "an event loop that was woken"
                clock.participants.turns.want(self)

    def mark_sent(self) -> None:
        """Note that the wake-up was sent; called once for each `mark_busy`."""
        with self.clock._lock:
            self.sending -= 1
            looks_again = self.looks_again and not self.sending
            if looks_again:
                self.looks_again = False
        if looks_again and not self.is_closed():
            self._write_to_self()  # the loop may have consumed the wake-up already

    def ring(self) -> None:
        """Wake the loop, from any thread."""
        if not self.is_closed():
            self.mark_busy()
            try:
                self._write_to_self()
            finally:
                self.mark_sent()

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        find_futures(callback, self.clock)
        self.mark_busy()
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        finally:
            self.mark_sent()

    # -- threads that work for the loop ---------------------------------------

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        # A thread that works for this loop is a participant, so time stands while it runs.
        if executor is None:
            executor = self._default_executor
            if executor is None:
                executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
                self.set_default_executor(executor)
            chosen = None  # so that asyncio itself refuses it after its shutdown
        else:
            chosen = executor
        threads = executor if isinstance(executor, ThreadPoolExecutor) else None
        name = f"a thread that runs {getattr(func, '__name__', func)!s}"
        # A worker that users' code started stands in line itself, and then begins the job.
        in_line = threads is not None and not self.clock.participants.has_any_of(threads)
        job = Job(name, in_line)
        with self.clock._lock:
            job.line = self.clock._line_of(executor)
            self._jobs.add(job)
            job.line.join(job, self.clock)
        try:
            if threads is not None:
                future = self._run_in_threads(threads, chosen is None, job, func, args)
            else:
                # Runs `func` outside of this process, and could not pickle anything of ours.
                future = super().run_in_executor(chosen, func, *args)
        except BaseException:
            self._answer(job)
            raise
        future.add_done_callback(lambda _: self._answer(job))
        return future

    def _run_in_threads(
        self,
        executor: ThreadPoolExecutor,
        is_default: bool,
        job: Job,
        func: Callable[[*Ts], T],
        args: tuple[*Ts],
    ) -> asyncio.Future[T]:
        """As asyncio's `run_in_executor`; the job ends after the loop was told its result.

        Otherwise the job's thread would tell the loop without having the turn.
        """
        self._check_closed()
        if is_default:
            self._check_default_executor()

        def work() -> T:
            self._begin(job)
            return func(*args)

        running = executor.submit(work)
        # This adds the callback that tells the loop; `_end` must come after that callback.
        future: asyncio.Future[T] = Real.wrap_future(running, loop=self)
        running.add_done_callback(lambda _: self._end(job))
        return future

    def _begin(self, job: Job) -> None:
        """Note that the job runs from now on.  Called on the job's thread."""
        clock = self.clock
        with clock._lock:
            job.started, job.ended = True, False
            # The job may have no thread yet: the executor also has other work, or `_answer`
            # released the thread of a job that was cancelled too late to stop it.
            job.line.give(job, clock)
            clock.participants.changes += 1
        clock.participants.bind_thread(job)

    def _end(self, job: Job) -> None:
        """Note that the job has ended.  Called on the job's thread, or if it never began.

        The job stays busy until the loop has handled its end, in `_answer`.
        """
        clock = self.clock
        if not job.started:
            return  # it was cancelled, and `_answer` comes
        clock.participants.unbind_thread(job)
        with clock._lock:
            job.ended = True
            job.line.leave(job, clock)
            is_watched = self._jobs_end is not None
        if is_watched:
            try:
                self.call_soon_threadsafe(self._look_at_jobs)  # marks the loop busy first
            except RuntimeError:
                pass  # the loop was closed meanwhile
        with clock._lock:
            if job.answered:
                self._jobs.discard(job)
                clock.participants.idle(job)
            else:
                clock.participants.turns.give_up(job)

    def _answer(self, job: Job) -> None:
        """Note that the loop does not wait for the job any more: it has ended, or was cancelled."""
        clock = self.clock
        with clock._lock:
            job.answered = True
            if job.started and not job.ended:
                return  # its thread still runs, and time stands until `_end`
            job.ended = True
            job.line.leave(job, clock)
            self._jobs.discard(job)
            clock.participants.idle(job)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # First wait in virtual time for the jobs: a job may sleep, so time must go on.
        while True:
            with self.clock._lock:
                if not self._has_jobs():
                    break
                self._jobs_end = future = self.create_future()
            await future
        # The thread that joins the executor's threads is not a participant, so time would
        # go on meanwhile.
        key = object()
        self.clock.participants.hold_time(key, "the end of an executor")
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
        """Make `shutdown_default_executor` check again whether jobs are left."""
        with self.clock._lock:
            future, self._jobs_end = self._jobs_end, None
        if future is not None and not future.done():
            future.set_result(None)


class Job:
    """One function that an executor runs, as a participant.  The clock's lock guards a job."""

    __slots__ = ("answered", "ended", "has_thread", "in_threads", "line", "name", "started")

    line: Line

    def __init__(self, name: str, in_threads: bool) -> None:
        self.name: str = name
        # Whether a thread that takes no part will come for the job, so that the job may have
        # the turn before; else it runs in another process, or a participant begins it.
        self.in_threads: bool = in_threads
        self.has_thread: bool = False  # counted in `Line._running`
        self.started: bool = False  # its thread has begun it
        self.ended: bool = False  # its thread has ended it, or will not begin it
        self.answered: bool = False  # the loop does not wait for it any more


class Line:
    """The jobs of one executor.  The clock's lock guards a line.

    An executor with n threads runs n jobs at a time, so at most n jobs have a thread; a job
    without a thread does not count as busy.  Such a job cannot run while the jobs before it
    sleep; if it counted as busy, time would stand, and their sleep would never end.
    """

    __slots__ = ("_most", "_running", "_waiting")

    def __init__(self, executor: Executor) -> None:
        most = getattr(executor, "most_threads", None) or getattr(executor, "_max_workers", None)
        self._most: float = most or float("inf")
        self._running = 0
        # Invariant: a job waits here only if it has no thread and has not ended.
        self._waiting: deque[Job] = deque()

    def join(self, job: Job, clock: VirtualClock) -> None:
        """Add a job, and give it a thread if one is free."""
        if self._running < self._most:
            self.give(job, clock)
        else:
            self._waiting.append(job)

    def give(self, job: Job, clock: VirtualClock) -> None:
        """Give a job a thread, even beyond the number of threads, and count it as busy."""
        if not job.has_thread:
            if job in self._waiting:
                self._waiting.remove(job)
            job.has_thread = True
            self._running += 1
        clock.participants.busy[job] = job.name
        clock.participants.changes += 1
        if job.in_threads:
            clock.participants.turns.want(job)

    def leave(self, job: Job, clock: VirtualClock) -> None:
        """Take the thread of a job back, and give it to the first job that waits."""
        if job.has_thread:
            job.has_thread = False
            self._running -= 1
            if self._waiting and self._running < self._most:
                self.give(self._waiting[0], clock)
        elif job in self._waiting:
            self._waiting.remove(job)
