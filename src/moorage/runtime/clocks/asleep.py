"""Asleep: whether a thread is blocked in something real, or only polls for it.

Owns `Asleep`, which looks at one thread again and again.  ``clock_thread.py`` asks it about the
participant that has the turn.  Begin at `Asleep.gives_way`.

A thread that computes, waits for the interpreter (the GIL), or was not scheduled because the
machine is busy, is not asleep.  Two kinds of threads are:
    1. a thread that the kernel has put to sleep, and that has not run at all for `LOOKS` looks;
    2. a thread that polls (``while not ready: time.sleep(0.001)``): at half of the looks it is
       asleep in a real wait, and not for the GIL.  The kernel tells the two apart: a wait for
       the GIL is a futex.  So is a wait with a timeout in ``threading``, which the frame tells.
Where the kernel does not tell (not Linux), a thread is asleep that is at the same instruction
of the same frame at all looks.
"""

from __future__ import annotations

import platform
import threading
from collections import deque
from typing import Final, NamedTuple

from ..real import Real
from ..stacks import current_frames

# Real seconds between two looks, and how many looks decide.  Long in all, because on a busy
# machine a thread that waits for a lock of another thread may be blocked for a while without
# any fault of the test.
LOOK_EVERY: Final = 0.02
LOOKS: Final = 10

# At how many looks a thread that takes no part must be asleep, until virtual time goes on without
# it: 1 s.  Long, because such a thread may wait for a server.
LOOKS_FOR_QUIET: Final = 50

# At how many of these looks a thread that polls must be asleep.
POLLS_AT: Final = 5

# How many looks a holder may take whose thread has not come yet: 3 s.
LOOKS_FOR_THREAD: Final = 150

# What `/proc` says if it does not exist.
_UNKNOWN: Final = "?"

# The number of the system call `futex`, in which a thread also waits for the GIL.
_FUTEX: Final = {"x86_64": "202", "aarch64": "98"}.get(platform.machine())

# The file of ``threading``, whose code waits with a timeout at a lock of its own.
_THREADING: Final = threading.Condition.wait.__code__.co_filename


class _Look(NamedTuple):
    """What one look at a thread has shown."""

    # Equal at two looks if the thread has not run in between; None if the thread runs.
    state: tuple[object, ...] | None
    waits: bool  # whether the thread is asleep in a real wait


class Asleep:
    """Looks at the holder of a turn, again and again."""

    def __init__(self) -> None:
        self._turn: tuple[int, int] = (-1, 0)  # which turn of which thread was looked at
        self._looks: deque[_Look] = deque(maxlen=LOOKS)
        self._absent = 0  # how often the holder was seen without a thread

    def gives_way(self, given: int, ident: int) -> bool:
        """Look at the thread `ident`; whether it has slept at the last looks of the turn `given`.

        `ident` is 0 if no thread has come for the turn; true then after `LOOKS_FOR_THREAD` calls.
        """
        if (given, ident) != self._turn:
            self._turn = (given, ident)
            self._looks.clear()
            self._absent = 0
        if not ident:
            self._absent += 1
            return self._absent > LOOKS_FOR_THREAD
        look = _look_at(ident)
        self._looks.append(look)
        if len(self._looks) < LOOKS:
            return False
        if look.state is not None and all(each.state == look.state for each in self._looks):
            return True
        return sum(each.waits for each in self._looks) >= POLLS_AT


class Quiet:
    """Looks at several threads, which take no part, again and again."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, _Look]] = []
        self._looks = 0  # how many looks in a row were equal

    def since_long(self, idents: list[int]) -> bool:
        """Look at the threads; whether they all have slept at the last `LOOKS_FOR_QUIET` looks."""
        if not idents:
            return True
        seen = [(ident, _look_at(ident)) for ident in idents]
        if seen != self._seen or any(look.state is None for _, look in seen):
            self._seen, self._looks = seen, 0
        self._looks += 1
        return self._looks > LOOKS_FOR_QUIET


def _look_at(ident: int) -> _Look:
    frame = current_frames().get(ident)
    if frame is None:
        return _Look((), False)  # the thread has ended
    native = next((t.native_id for t in Real.all_threads() if t.ident == ident), None)
    kernel = _UNKNOWN if native is None else _kernel_view(native)
    if kernel is None:
        return _Look(None, False)
    waits = frame.f_code.co_filename == _THREADING or _sleeps_not_for_the_gil(native)
    return _Look((id(frame), frame.f_lasti, kernel), waits)


def _kernel_view(native: int) -> str | None:
    """Return how long the thread has run, as the kernel says; None if it does not sleep now."""
    try:
        state = _read(f"/proc/self/task/{native}/stat").rpartition(")")[2].split()[0]
        ran = _read(f"/proc/self/task/{native}/schedstat")
    except (OSError, IndexError):
        return _UNKNOWN
    return ran if state == "S" else None


def _sleeps_not_for_the_gil(native: int | None) -> bool:
    """Whether the thread is in a system call that is no futex; false if the kernel does not say."""
    if native is None or _FUTEX is None:
        return False
    try:
        call = _read(f"/proc/self/task/{native}/syscall").split()[0]
    except (OSError, IndexError):
        return False
    return call.isdigit() and call != _FUTEX


def _read(path: str) -> str:
    with Real.open_file(path, encoding="ascii", errors="replace") as file:
        return file.read()
