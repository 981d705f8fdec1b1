"""Asleep: whether a thread is blocked in something real.

Owns `Asleep`, which looks at one thread twice.  ``virtual_clock.py`` asks it about the
participant that has the turn.  Begin at `Asleep.is_still`.

A thread that computes, waits for the interpreter (the GIL), or was not scheduled because the
machine is busy, is not asleep: only a thread that the kernel has put to sleep, and that has not
run at all between two looks.  Where the kernel does not tell (not Linux), a thread is asleep
that is at the same instruction of the same frame at both looks.
"""

from __future__ import annotations

from typing import Final

from ..real import Real
from ..stacks import current_frames
from .turns import LOOKS_FOR_THREAD

# What `/proc` says if it does not exist.
_UNKNOWN: Final = "?"


class Asleep:
    """Looks at the holder of a turn, again and again."""

    def __init__(self) -> None:
        self._seen: tuple[object, ...] = ()
        self._looks = 0  # how often the holder was seen without a thread

    def is_still(self, given: int, ident: int) -> bool:
        """Whether the thread `ident` has slept since the last call, for the same turn `given`.

        `ident` is 0 if no thread has come for the turn; true then after `LOOKS_FOR_THREAD` calls.
        """
        if not ident:
            self._looks = self._looks + 1 if self._seen == (given,) else 0
            self._seen = (given,)
            return self._looks >= LOOKS_FOR_THREAD
        frame = current_frames().get(ident)
        if frame is None:
            seen: tuple[object, ...] = (given, ident)  # the thread has ended
        else:
            sleeps = _kernel_view(ident)
            if sleeps is None:
                self._seen = ()
                return False
            seen = (given, ident, id(frame), frame.f_lasti, sleeps)
        is_same, self._seen = self._seen == seen, seen
        return is_same


def _kernel_view(ident: int) -> str | None:
    """Return how long the thread has run, as the kernel says; None if it does not sleep now."""
    native = next((t.native_id for t in Real.all_threads() if t.ident == ident), None)
    if native is None:
        return _UNKNOWN
    try:
        state = _read(f"/proc/self/task/{native}/stat").rpartition(")")[2].split()[0]
        ran = _read(f"/proc/self/task/{native}/schedstat")
    except (OSError, IndexError):
        return _UNKNOWN
    return ran if state == "S" else None


def _read(path: str) -> str:
    with Real.open_file(path, encoding="ascii", errors="replace") as file:
        return file.read()
