"""The executor of a container's loop: ``asyncio.to_thread`` runs functions on it.

Owns the executor's threads and the queue of its work.  The container makes the executor and
shuts it down, and the loop calls `submit`; ``waiting/async_waiters.py`` makes an executor for
a single call.  Begin at `submit`, then `_main`.

The threads are daemons, so a thread that is stuck does not delay the interpreter's exit; the
threads of the standard executor do.  Threads that are idle for long end (``idle_threads.py``).
If no thread can be started any more, for example while the interpreter exits, work waits for
the threads that exist.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from ..clocks.bells import Bell, make_bell
from ..forking import UserCode
from ..real import Real
from .idle_threads import IdleThreads

P = ParamSpec("P")
T = TypeVar("T")

# The number that the standard executor uses.
MOST_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)

Work = Callable[[], None]


class Offloader:
    """The state of one thread of an executor; for the fields see `Parking`."""

    __slots__ = ("bell", "dismissed", "parked_at", "stays")

    def __init__(self, *, stays: bool) -> None:
        self.bell: Bell = make_bell()
        self.stays: bool = stays
        self.parked_at: float = math.inf
        self.dismissed: bool = False


class LoopExecutor(ThreadPoolExecutor):
    """The executor.  A ThreadPoolExecutor only because asyncio accepts nothing else.

    No code of the base class runs.
    """

    def __init__(self, name: str) -> None:
        # Does not call the constructor of the base class.  That makes a queue and a semaphore,
        # which are not used here, from classes that users patch.
        self.most_threads: int = MOST_THREADS
        self._max_workers = MOST_THREADS
        self._name = name
        self._guard = Real.Lock()
        # _guard guards all fields below.
        # Invariant: if _work is not empty, then all threads are awake (each runs work, or is
        # about to look for it), or at least as many threads are about to look as there are
        # items of work.
        self._work: deque[Work] = deque()
        self._idle: IdleThreads[Offloader] = IdleThreads(self._guard, self._dismissed)
        self._count = 0  # threads that have not ended, and were not dismissed
        self._ended = False
        # `_add_thread` removes dead threads.
        self.threads: list[threading.Thread] = []

    def start_thread(self) -> None:
        """Start one thread now, which never ends for being idle.

        For work that comes when no thread can be started any more.
        """
        with self._guard:
            self._add_thread(stays=True)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` on a thread; return a future for its result.

        Raises:
            RuntimeError: if the executor was shut down, or if it has no thread
                and cannot start one.
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
                while not me.bell.acquire():
                    pass

    def _dismissed(self, idle: Sequence[Offloader]) -> None:
        self._count -= len(idle)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; the threads end when they have done the work in the queue.

        Does not wait, whatever `wait` is: the container joins :attr:`threads`, for a bounded
        time.  `cancel_futures` has no effect.
        """
        with self._guard:
            if self._ended:
                return
            self._ended = True
            idle = self._idle.stop()
        for one in idle:
            one.bell.release()
