"""The executor of a container's loop: what ``asyncio.to_thread`` runs on.

Owns its threads, which are daemons, so that one that is stuck does not hold up
the interpreter's exit, as those of the standard executor do.  When no thread
can be made any more, as at that exit, work waits for those that there are.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from .forking import UserCode
from .real import Real

P = ParamSpec("P")
T = TypeVar("T")

# As many as the standard executor has.
MOST_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)

Work = Callable[[], None]


class LoopExecutor(ThreadPoolExecutor):
    """A ThreadPoolExecutor to asyncio, which takes no other; its ways are its own."""

    def __init__(self, name: str) -> None:
        # Not the constructor of the standard executor: it makes a queue and a semaphore,
        # which nothing here uses, of classes that users patch.
        self.most_threads: int = MOST_THREADS
        self._max_workers = MOST_THREADS
        self._name = name
        self._guard = Real.Lock()
        # None tells one thread to end.
        self._work: queue.SimpleQueue[Work | None] = Real.SimpleQueue()
        # Guarded by _guard.
        self._unfinished = 0
        self._ended = False
        self.threads: list[threading.Thread] = []

    def start_thread(self) -> None:
        """Make one thread now, for a time when none can be made."""
        with self._guard:
            self._add_thread()

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
            if self._unfinished >= len(self.threads) < MOST_THREADS:
                try:
                    self._add_thread()
                except RuntimeError:
                    if not self.threads:
                        raise
            self._unfinished += 1
            self._work.put(work)
        return future

    def _add_thread(self) -> None:
        thread = Real.Thread(target=self._main, name=f"{self._name}-to_thread", daemon=True)
        thread.start()
        self.threads.append(thread)

    def _main(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work
            with self._guard:
                self._unfinished -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; the threads end when they have done what there is.

        Does not wait: the container joins :attr:`threads`, for a bounded time.
        """
        with self._guard:
            if self._ended:
                return
            self._ended = True
            for _ in self.threads:
                self._work.put(None)
