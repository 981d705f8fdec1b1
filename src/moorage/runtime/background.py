"""Elsewhere: what must not run on the thread that keeps time runs here.

Owns two daemon threads of the process: "moorage-log" writes log records, in their order;
"moorage-cleanup" runs what finalizers handed over, and drops what may be the user's.
Each starts when it is first needed, and ends after `IDLE` seconds without work.  Log
handlers, ``__repr__`` and ``__del__`` of the user's run on these threads, so a log
handler that blocks delays other records only.

Every module may call `log_in_background` and `log`, from any thread, with or without locks of
its own: nothing here takes a lock that somebody else holds for long.  `keep_time` is
called by the threads that keep time, `flush` by whoever leaves a run.

Begin reading at `Errands.add`, then `Errands._run`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from . import forking
from .real import Real
from .thread_state import thread_state

Work = Callable[[], object]

# Seconds without work after which a thread ends.
IDLE: Final = 5.0


class Errands:
    """Work for one thread of its own, done in the order in which it was added."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        # Added to by any thread, taken from by `_thread`, and by `flush` if there is none.
        self._work: deque[Work] = deque()
        # Invariant: unlocked whenever work was added since `_thread` last looked.
        self._bell = Real.Lock()
        self._bell.acquire()
        # Held while a thread is started.  Nobody waits for it: see `_ensure_thread`.
        self._starting = Real.Lock()
        # Set by whoever holds `_starting`; set to None by the thread itself.
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        """In a forked child: the parent does the work that there was, and has the thread."""
        forking.keep(self._work, self._thread)
        self._begin()

    def add(self, work: Work) -> None:
        """Have `work` done soon.  Blocks nowhere, so finalizers may call it."""
        # In this order, for a thread that is about to end:
        #     1. the thread has waited for `IDLE` seconds, and sets `_thread` to None,
        #     2. it looks at the bell for the last time,
        #     3. work is added, the bell is rung, and here is no thread.
        # If 3 comes before 2, the thread sees the bell.
        self._work.append(work)
        self._ring()
        self._ensure_thread()

    def flush(self, seconds: float) -> bool:
        """Wait until all that was added is done; false if that takes longer than `seconds`.

        While the interpreter exits no thread can be started: the work is done here then.
        """
        if not self._work and self._thread is None:
            return True
        if self._thread is Real.current_thread():
            return False
        done = Real.Lock()
        done.acquire()
        self.add(done.release)
        if self._thread is None:
            while self._work:
                _do(self._work.popleft())
        return done.acquire(timeout=seconds)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # the thread has yet to look

    def _ensure_thread(self) -> None:
        # Whoever holds `_starting` looks again when it has let go.  A finalizer may come
        # in between, on the same thread, so waiting for the lock could last for ever.
        # While the interpreter finalizes, a thread would never begin, and its start
        # would wait for that for ever.
        while self._thread is None and self._work and not sys.is_finalizing():
            if not self._starting.acquire(False):
                return
            try:
                if self._thread is None:
                    thread = Real.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread = thread
                    try:
                        thread.start()
                    except RuntimeError:
                        # No thread can be made: `flush`, or the next `add`, tries again.
                        self._thread = None
                        return
            finally:
                self._starting.release()

    def _run(self) -> None:
        while True:
            while self._work:
                _do(self._work.popleft())
            if not self._bell.acquire(timeout=IDLE):
                self._thread = None
                if not self._bell.acquire(False):
                    return
                # Rung meanwhile, and whoever rang may have seen this thread.
                self._ring()
                self._ensure_thread()
                return


def _do(work: Work) -> None:
    try:
        work()
    except BaseException:  # of the user's code: its thread goes on
        pass


_records: Final = Errands("moorage-log")
_cleanup: Final = Errands("moorage-cleanup")


def keep_time() -> None:
    """Say that this thread keeps time: `log` and `let_go` hand their work over from now on."""
    thread_state.keeps_time = True


def log_in_background(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    exc_info: BaseException | None = None,
) -> None:
    """Write a log record on the thread for it.  `args` are formatted there too."""
    _records.add(partial(logger.log, level, message, *args, exc_info=exc_info))


def log(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    exc_info: BaseException | None = None,
) -> None:
    """Write a log record: here, so that it is there on return; elsewhere if this keeps time.

    Never raises: a handler or a patch of the user's that fails must not end a thread of ours.
    """
    if thread_state.keeps_time:
        log_in_background(logger, level, message, *args, exc_info=exc_info)
        return
    try:
        logger.log(level, message, *args, exc_info=exc_info)
    except Exception:
        pass


def in_background(work: Work) -> None:
    """Do `work` soon, on the thread for cleaning up, which may run the user's code."""
    _cleanup.add(work)


def let_go(gone: list[Any]) -> None:
    """Empty `gone`, whose items may be the last references to objects of the user's.

    On the thread for cleaning up, if this one keeps time, else here and now.  The caller
    keeps no reference of its own to an item: that would be the last one if the other
    thread is the faster one.
    """
    if thread_state.keeps_time:
        _cleanup.add(gone.clear)
    else:
        gone.clear()


def flush(seconds: float) -> bool:
    """Wait until all log records are written; false if that takes longer than `seconds`."""
    return _records.flush(seconds)
