"""The executor of a container's loop: what ``asyncio.to_thread`` runs on.

Owns its threads and the queue of its work.  The threads are daemons, so that one
that is stuck does not hold up the interpreter's exit, as those of the standard
executor do; threads that lie idle for long end (``idle_threads.py``).  When no
thread can be made any more, as at that exit, work waits for those that there are.

The container makes it and shuts it down; the loop calls `submit`.  Begin there.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from ..forking import UserCode
from ..real import Real
from .idle_threads import IdleThreads

P = ParamSpec("P")
T = TypeVar("T")

# As many as the standard executor has.
MOST_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)

Work = Callable[[], None]


class Offloader:
    """One thread of an executor.  Parked while its bell is held; see `Parking`."""

    __slots__ = ("bell", "dismissed", "parked_at", "stays")

    def __init__(self, *, stays: bool) -> None:
        self.bell: threading.Lock = Real.Lock()
        self.bell.acquire()
        self.stays: bool = stays
        self.parked_at: float = math.inf
        self.dismissed: bool = False


class LoopExecutor(ThreadPoolExecutor):
    """A ThreadPoolExecutor to asyncio, which takes no other; its ways are its own."""

    def __init__(self, name: str) -> None:
        # Not the constructor of the standard executor: it makes a queue and a semaphore,
        # which nothing here uses, of classes that users patch.
        self.most_threads: int = MOST_THREADS
        self._max_workers = MOST_THREADS
        self._name = name
        self._guard = Real.Lock()
        # All below guarded by _guard.
        # Invariant: if there is work, all threads are awake (running work, or on their
        # way to look for it), or as many are on their way as there is work.
        self._work: deque[Work] = deque()
        self._idle: IdleThreads[Offloader] = IdleThreads(self._guard, self._dismissed)
        self._count = 0  # threads that have not ended, and were not dismissed
        self._ended = False
        # Dead ones are taken out when one is made.
        self.threads: list[threading.Thread] = []

    def start_thread(self) -> None:
        """Make one thread now, which stays, for a time when none can be made."""
        with self._guard:
            self._add_thread(stays=True)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` on a thread.

        Raises:
            RuntimeError: if the executor was shut down, or has no thread and
                none can be made.
        """
        future: Future[T] = Real.Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                with UserCode():
                    result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._guard:
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._work.append(work)
            idle = self._idle.stack.pop() if self._idle.stack else None
            if idle is None and self._count < MOST_THREADS:
                try:
                    self._add_thread()
                except RuntimeError:
                    if not self._count:
                        self._work.pop()
                        raise
        if idle is not None:
            idle.bell.release()
        return future

    def _add_thread(self, *, stays: bool = False) -> None:
        thread = Real.Thread(
            target=self._main,
            args=(Offloader(stays=stays),),
            name=f"{self._name}-to_thread",
            daemon=True,
        )
        thread.start()
        self._count += 1
        self.threads = [*(one for one in self.threads if one.is_alive()), thread]

    def _main(self, me: Offloader) -> None:
        while not me.dismissed:
            with self._guard:
                work = self._work.popleft() if self._work else None
                if work is None:
                    if self._ended:
                        return
                    self._idle.stack.append(me)
            if work is not None:
                work()
                del work
            else:
                self._idle.parked(me)
                me.bell.acquire()

    def _dismissed(self, idle: Sequence[Offloader]) -> None:
        self._count -= len(idle)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; the threads end when they have done what there is.

        Does not wait: the container joins :attr:`threads`, for a bounded time.
        """
        with self._guard:
            if self._ended:
                return
            self._ended = True
            idle = self._idle.stop()
        for one in idle:
            one.bell.release()
