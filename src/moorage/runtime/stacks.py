"""Stacks: the current frame of each thread.

Owns :func:`current_frames`, the only caller of ``sys._current_frames``, and what names a thread and
walks its frames.  Any file may call it.

Begin at `current_frames`.

CPython before 3.11.9 can freeze the whole process there (python/cpython#106883):
    1. ``sys._current_frames`` takes a lock of the interpreter,
    2. the garbage collector runs meanwhile, and code that it calls releases the GIL,
    3. another thread gets the GIL and ends: to end, it waits for that lock, with the GIL.
So this file turns the collector off meanwhile.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

from . import forking
from .real import Real
from .uninterruptible import uninterruptible

FREEZES: Final = sys.version_info < (3, 11, 9)

# Held while the collector is off.  Reentrant, because a signal handler may call this file.
_lock: threading.RLock = Real.RLock()


@uninterruptible
def current_frames() -> dict[int, FrameType]:
    """Return the innermost frame of each thread, by the thread's ident."""
    if not FREEZES:
        return sys._current_frames()
    with _lock:
        # Without the lock:
        #     1. thread A turns the collector off,
        #     2. thread B finds the collector off, and calls `_current_frames`,
        #     3. thread A turns the collector on, while B is still in `_current_frames`.
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            if collects:
                gc.enable()


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield `frame` and the frames that called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def thread_name(ident: int) -> str:
    """Return the name of a thread, for a message; "a thread" if the thread has ended."""
    return next((t.name for t in Real.all_threads() if t.ident == ident), "a thread")


def _after_fork() -> None:
    global _lock
    _lock = Real.RLock()


forking.in_child(_after_fork)
