"""The timekeeper: one thread per process that owns every deadline in real time.

Owns a queue of timers and the thread that fires them.  The thread sleeps until the next
timer is due and uses no CPU in between.  Callbacks run on that thread, so they must not
block, log, or run user code: ``runtime/background.py`` does that for them.  An exception
of a callback does not end the thread.  ``clock.py`` calls `Timekeeper.call_at`; the guards
call `Timekeeper.post` to strike a thread (to raise an exception in it from outside).

Begin at `Timekeeper.call_at`, then `Timekeeper._run`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from types import MethodType
from typing import Final

from .. import forking
from ..background import keep_time, let_go, log_in_background
from ..real import Real

logger: Final = logging.getLogger("moorage")

Callback = Callable[[], object]


class Timer:
    """One callback and the time at which it is due.  `cancel` may be called twice, or late."""

    __slots__ = ("callback", "queue", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when: float = when
        # None once the timer has fired or is cancelled.  `cancel` needs no lock: the thread
        # that fires takes the callback out first, so the callback may still run after a late
        # cancel; every callback decides from the state at the time when it runs.
        self.callback: Callback | None = callback
        self.queue: TimerQueue | None = None  # the queue that holds this timer; set once

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            if self.queue is not None:
                self.queue.cancelled += 1


Rank = tuple[int, ...]
"""Orders timers that are due at the same time; timers of equal rank fire in order of arrival."""


class TimerQueue:
    """Timers ordered by time, then by rank, then by arrival.

    Not thread-safe: the owner holds its own lock around each call.  Adding or cancelling a
    timer costs about O(log n): the whole heap is cleaned of cancelled timers only when more
    than half of it are cancelled.
    """

    __slots__ = ("_heap", "_order", "cancelled")

    def __init__(self) -> None:
        self._heap: list[tuple[float, Rank, int, Timer]] = []
        self._order = itertools.count()
        # About how many timers in the heap are cancelled.  `Timer.cancel` increments it
        # without a lock, so a count may be lost.  Only the time of the next clean-up depends
        # on this number, and each clean-up sets it to 0.
        self.cancelled: int = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, timer: Timer, rank: Rank = ()) -> bool:
        """Add a timer; true if this timer is now the first that is due."""
        heap = self._heap
        if self.cancelled > 64 and self.cancelled * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[3].callback is not None]
            heapq.heapify(heap)
            self.cancelled = 0
        timer.queue = self
        heapq.heappush(heap, (timer.when, rank, next(self._order), timer))
        return heap[0][3] is timer

    def next_when(self) -> float | None:
        """Return when the first timer that is not cancelled is due; None if there is none."""
        heap = self._heap
        while heap and heap[0][3].callback is None:
            heapq.heappop(heap)
            self.cancelled -= 1
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> Callback | None:
        """Remove and return the first callback that is due by `now`; None if there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[3]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                return callback
            self.cancelled -= 1
        return None

    def due(self, now: float) -> list[tuple[Rank, Timer]]:
        """Return the timers that are due first, all at the same time, in their order."""
        when = self.next_when()
        if when is None or when > now:
            return []
        due = sorted(entry for entry in self._heap if entry[0] == when)
        return [(rank, timer) for _, rank, _, timer in due if timer.callback is not None]

    def pop(self, timer: Timer) -> Callback | None:
        """Remove `timer`, which is due; return its callback."""
        self._heap[:] = [entry for entry in self._heap if entry[3] is not timer]
        heapq.heapify(self._heap)
        callback, timer.callback = timer.callback, None
        return callback


class Timekeeper:
    """Fires timers at their time, on one daemon thread that starts when it is first needed."""

    def __init__(self) -> None:
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        self._lock = Real.Lock()
        self._timers = TimerQueue()  # guarded by _lock
        self._thread: threading.Thread | None = None  # guarded by _lock
        self._stopping = False  # guarded by _lock
        # Callbacks to run soon.  No lock: any thread appends, only `_thread` takes out.
        self._posted: deque[Callback] = deque()
        # The lock that the sleeping thread waits on; `_ring` releases it to wake the thread.
        # Invariant: unlocked if there is news that the thread has not seen yet.
        self._bell = Real.Lock()
        self._bell.acquire()

    def _after_fork(self) -> None:
        """Start anew in a forked child: the timers and the thread belong to the parent."""
        forking.keep(self._timers, self._posted)
        self._begin()

    @property
    def thread(self) -> threading.Thread | None:
        return self._thread

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Run `callback` on the timekeeper's thread once `time.monotonic()` reaches `when`."""
        timer = Timer(when, callback)
        with self._lock:
            first = self._timers.push(timer)
            self._ensure_thread()
        if first:
            self._ring()
        return timer

    def post(self, callback: Callback) -> None:
        """Run `callback` soon, on the timekeeper's thread.

        Takes no lock that others hold, so finalizers may call it anywhere.  If the thread was
        never started, the callback waits until the first timer starts the thread; `start`
        makes sure that the thread exists.
        """
        self._posted.append(callback)
        self._ring()

    def start(self) -> None:
        """Start the thread, so that :meth:`post` is served."""
        with self._lock:
            self._ensure_thread()

    def stop(self) -> None:
        """End the thread and drop its timers; a later timer starts a new thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._stopping = True
        self._ring()
        thread.join()
        with self._lock:
            self._timers = TimerQueue()
            self._stopping = False

    def _ensure_thread(self) -> None:
        if self._thread is None and not self._stopping:
            thread = Real.Thread(target=self._run, name="moorage-timekeeper", daemon=True)
            thread.start()
            self._thread = thread

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # the bell is unlocked already: the thread will look

    def _run(self) -> None:
        keep_time()
        while True:
            with self._lock:
                if self._stopping:
                    return
                now = Real.monotonic()
                callback = self._timers.pop_due(now)
                when = self._timers.next_when()
            if callback is None and self._posted:
                callback = self._posted.popleft()
            if callback is not None:
                due = [callback]
                del callback
                run_timer(due)
                del due
                continue
            if when is None:
                self._bell.acquire()
            else:
                self._bell.acquire(timeout=min(when - now, threading.TIMEOUT_MAX))


def run_timer(due: list[Callback]) -> None:
    """Run the one callback in `due`, on a thread that keeps time, and drop the callback.

    An exception of the callback does not end the thread.  The list `due` holds the only
    reference to the callback: a closure may refer to an input, and so to the user's objects,
    whose ``__del__`` must not run on this thread.
    """
    try:
        try:
            due[0]()
        except BaseException as error:
            log_in_background(logger, logging.ERROR, "a timer of moorage failed", exc_info=error)
        # A bound method refers to an object of the engine only, so it may be dropped here.
        if type(due[0]) is not MethodType:
            let_go(due)
    except BaseException:  # out of memory: the thread must go on
        pass


# The one timekeeper of the process.  Threads belong to the process, so this is one of the
# few module-level objects.
process_timekeeper: Final = Timekeeper()
