"""Background work: what must not run on a thread that keeps time runs here.

Owns two daemon threads of the process: "moorage-log" writes log records, in their order;
"moorage-cleanup" runs the work of finalizers, and drops references to users' objects.
Each thread starts when it is first needed, and ends after `IDLE` seconds without work.  The
user's log handlers, ``__repr__`` and ``__del__`` run on these threads, so a log handler that
blocks delays other log records only.

Begin at `Errands.add`, then `Errands._run`.

Any module may call `log_in_background`, `on_log_thread` and `log`, from any thread, also while
it holds locks of its own: this file takes no lock that another thread holds for long.  The
threads that keep time call `keep_time`; the end of a run calls `flush`.
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
    """A queue of work with its own thread, which does the work in the order of arrival."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        # No lock: any thread appends; `_thread` takes out, or `flush` if there is no thread.
        self._work: deque[Work] = deque()
        # The lock that the idle `_thread` waits on; `_ring` releases it.
        # Invariant: unlocked whenever work was added since `_thread` last looked.
        self._bell = Real.Lock()
        self._bell.acquire()
        # Held while a thread is started, and while `flush` works in place of one.  No thread ever
        # waits for this lock: see `_ensure_thread`.
        self._starting = Real.Lock()
        # Set by the holder of `_starting`; set to None by the thread itself when it ends.
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        """Start anew in a forked child: the parent has the thread, and does the old work."""
        forking.keep(self._work, self._thread)
        self._begin()

    def add(self, work: Work) -> None:
        """Do `work` soon, on the thread.  Never blocks, so finalizers may call this."""
        # The order of these three lines matters when the thread is about to end:
        #     1. the thread has waited for `IDLE` seconds, and sets `_thread` to None,
        #     2. the thread tries the bell a last time, and ends,
        #     3. `add` appends the work, rings, and finds `_thread` None: it starts a thread.
        # If the ring comes between 1 and 2, or `add` still sees the old thread, the old
        # thread finds the bell unlocked in step 2, and itself makes sure of a new thread.
        self._work.append(work)
        self._ring()
        self._ensure_thread()

    def flush(self, seconds: float) -> bool:
        """Wait until all work is done; false if that takes longer than `seconds`.

        While the interpreter exits, no thread can start, so this thread does the work.
        """
        if not self._work and self._thread is None:
            return True
        if self._thread is Real.current_thread():
            return False
        done = Real.Lock()
        done.acquire()
        self.add(done.release)
        # If another thread is about to start the thread, that does the work.
        if self._thread is None and self._starting.acquire(False):
            try:
                while self._thread is None and self._work:
                    _do(self._work.popleft())
            finally:
                self._starting.release()
            self._ensure_thread()  # as all who have held `_starting`
        return done.acquire(timeout=seconds)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # the bell is unlocked already: the thread will look

    def _ensure_thread(self) -> None:
        # Never wait for `_starting`: a finalizer may run on the thread that holds it, and
        # would wait for ever.  It need not wait, because the holder checks the condition of
        # the loop again after it has released the lock.
        # While the interpreter finalizes, a new thread never begins, and `Thread.start`
        # would wait for its beginning for ever.
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
                        # The system refuses a new thread: `flush` or the next `add` tries again.
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
                # Work came meanwhile, and its `add` may have seen this thread and so started
                # no other.  Ring again for the next thread.
                self._ring()
                self._ensure_thread()
                return


def _do(work: Work) -> None:
    try:
        work()
    except BaseException:
        pass  # the user's code failed: the thread must go on


_records: Final = Errands("moorage-log")
_cleanup: Final = Errands("moorage-cleanup")


def keep_time(expects: Callable[[Work], Work] | None = None) -> None:
    """Mark this thread as one that keeps time.

    From now on `log` and `let_go` hand work of this thread to the background threads.

    Args:
        expects: of a virtual clock; wraps the writing of a log record, so that virtual time
            stands until the record is written, and no participant runs meanwhile.
    """
    thread_state.keeps_time = True
    thread_state.expects = expects


def log_in_background(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    exc_info: BaseException | None = None,
) -> None:
    """Write a log record on the thread "moorage-log", which also formats `args`."""
    work: Work = partial(logger.log, level, message, *args, exc_info=exc_info)
    expects: Callable[[Work], Work] | None = thread_state.expects
    _records.add(work if expects is None else expects(work))


def on_log_thread(work: Work) -> None:
    """Do `work`, which logs, on the thread "moorage-log", after the records before it."""
    _records.add(work)


def log(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    exc_info: BaseException | None = None,
) -> None:
    """Write a log record before returning; in the background if this thread keeps time.

    Never raises: a failure of a user's log handler must not end a thread of moorage.
    """
    if thread_state.keeps_time:
        log_in_background(logger, level, message, *args, exc_info=exc_info)
        return
    try:
        logger.log(level, message, *args, exc_info=exc_info)
    except Exception:
        pass


def in_background(work: Work) -> None:
    """Do `work` soon, on the thread "moorage-cleanup", which may run user code."""
    _cleanup.add(work)


def let_go(gone: list[Any]) -> None:
    """Empty the list `gone`, whose items may be the last references to users' objects.

    Empties it at once, or on the thread "moorage-cleanup" if this thread keeps time.  The
    caller must not keep a reference to an item: if the other thread is faster, the caller's
    reference is the last one, and the user's destructor runs on the caller's thread.
    """
    if thread_state.keeps_time:
        _cleanup.add(gone.clear)
    else:
        gone.clear()


def flush(seconds: float) -> bool:
    """Wait until all log records are written; false if that takes longer than `seconds`."""
    clock = thread_state.clock
    if clock is None:
        return _records.flush(seconds)
    with clock.participants.out_of_turn():
        return _records.flush(seconds)
