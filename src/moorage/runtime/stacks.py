"""Stacks: which frame each thread is at.

Owns the one way to ask for it, as CPython before 3.11.9 freezes the whole process when the
collector runs meanwhile (python/cpython#106883): it holds a lock of the interpreter,
and code that the collector calls may let another thread run, which wants that lock
while it ends and keeps the interpreter.
"""

from __future__ import annotations

import gc
import sys
import threading
from types import FrameType
from typing import Final

from . import forking
from .real import Real
from .uninterruptible import uninterruptible

FREEZES: Final = sys.version_info < (3, 11, 9)

# Held while the collector is off.  Reentrant, for a signal handler may ask.
_lock: threading.RLock = Real.RLock()


@uninterruptible
def current_frames() -> dict[int, FrameType]:
    """The innermost frame of each thread, by its ident."""
    if not FREEZES:
        return sys._current_frames()
    with _lock:
        # 1. one turns it off, 2. another finds it off and asks, 3. the first turns it
        # on again while the other asks: hence the lock.
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            if collects:
                gc.enable()


def _after_fork() -> None:
    global _lock
    _lock = Real.RLock()


forking.in_child(_after_fork)
