"""The timekeeper: one thread per process that owns every deadline in real time.

Owns a queue of timers and the thread that fires them; sleeps until the next
one is due and uses no CPU in between.  Callbacks run on that thread, must not
block, log, or run user code: what is the user's goes through ``background.py``.
Nothing that a callback raises ends the thread.  ``clock.py`` calls it, and what
strikes threads through :meth:`Timekeeper.post`.

Begin reading at `Timekeeper.call_at`, then `Timekeeper._run`.
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
    """One callback that is due at a time.  Cancelling it twice, or late, is harmless."""

    __slots__ = ("callback", "queue", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when: float = when
        # None once fired or cancelled.  A plain store: whoever fires takes the
        # callback out first, and a callback that still runs sees current state.
        self.callback: Callback | None = callback
        self.queue: TimerQueue | None = None  # in which it is; set once

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            if self.queue is not None:
                self.queue.cancelled += 1


Rank = tuple[int, ...]
"""Orders timers that are due at the same time, before their arrival does."""


class TimerQueue:
    """Timers ordered by time, then by rank, then by arrival.  Not thread-safe: the owner locks.

    To set or to cancel a timer costs about the logarithm of their number: the queue is
    walked over only when most of its timers were cancelled since it was last walked over.
    """

    __slots__ = ("_heap", "_order", "cancelled")

    def __init__(self) -> None:
        self._heap: list[tuple[float, Rank, int, Timer]] = []
        self._order = itertools.count()
        # About how many timers in the heap are cancelled.  `Timer.cancel` adds to it without
        # a lock, so two threads may count as one, and nothing but the time of the next walk
        # depends on it.  Each walk sets it right.
        self.cancelled: int = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, timer: Timer, rank: Rank = ()) -> bool:
        """Add a timer; true if it is now the first one due."""
        heap = self._heap
        if self.cancelled > 64 and self.cancelled * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[3].callback is not None]
            heapq.heapify(heap)
            self.cancelled = 0
        timer.queue = self
        heapq.heappush(heap, (timer.when, rank, next(self._order), timer))
        return heap[0][3] is timer

    def next_when(self) -> float | None:
        """When the first live timer is due; None if there is none."""
        heap = self._heap
        while heap and heap[0][3].callback is None:
            heapq.heappop(heap)
            self.cancelled -= 1
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> Callback | None:
        """Take out the first callback that is due; None if none is."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[3]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                return callback
            self.cancelled -= 1
        return None


class Timekeeper:
    """Fires timers at their time, on one daemon thread started when first needed."""

    def __init__(self) -> None:
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        self._lock = Real.Lock()
        self._timers = TimerQueue()  # guarded by _lock
        self._thread: threading.Thread | None = None  # guarded by _lock
        self._stopping = False  # guarded by _lock
        self._posted: deque[Callback] = deque()
        self._bell = Real.Lock()  # held while there is nothing to look at
        self._bell.acquire()

    def _after_fork(self) -> None:
        """In a forked child: all timers are the parent's, and so is the thread."""
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
        """Run `callback` soon.  Takes no lock: finalizers may call it from anywhere.

        If no thread was ever started the callback waits for the first timer;
        pools start the thread before they hand out what needs it.
        """
        self._posted.append(callback)
        self._ring()

    def start(self) -> None:
        """Start the thread, so that :meth:`post` is served."""
        with self._lock:
            self._ensure_thread()

    def stop(self) -> None:
        """End the thread and forget its timers; a later timer starts a new one."""
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
            pass  # already ringing: the thread has yet to look

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
    """Run the one callback in `due`, and drop it; this thread keeps time.

    Nothing that the callback raises ends the thread.  It comes in a list, which holds the
    only reference: a closure may lead to an input, and so to objects of the user's, whose
    ``__del__`` must not run here.
    """
    try:
        try:
            due[0]()
        except BaseException as error:
            log_in_background(logger, logging.ERROR, "a timer of moorage failed", exc_info=error)
        if type(due[0]) is not MethodType:  # methods are those of the engine
            let_go(due)
    except BaseException:  # no memory is left
        pass


# The process's one timekeeper.  Threads are a resource of the process, so this
# is one of its few module-level objects.
process_timekeeper: Final = Timekeeper()
