"""Started threads: those that users' code starts while a ``clock.patch_time()`` block is open.

Owns the methods that replace ``threading.Thread.start`` and ``Thread.join`` meanwhile, and what
is known about such threads: `as_is`, `away` and `at_work`.  Begin at `_start`, then `_join`.

A started thread takes no part in the clock, unless the clock is one of `explore`: then the thread
takes part from `start` to its end.  Virtual time cannot see what other threads do.  But while a
participant is blocked in a lock or a queue, such a thread may be at work for it (a pool's thread
that computes the result).  So the clock then lets time stand, until the threads that participants
started rest too: see `at_work`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Any, Final

from ...exception import ClockStuckError
from ..outcome import user_frames
from ..real import Real
from .blocked import Blocked, wait_until_free
from .reach import REAL_PACKAGES, VirtualTime, clock_of_wait, module_of, users_frame

# Real seconds for which `join` keeps the turn, after the joined thread has taken part: the thread
# is about to end.
ENDS_WITHIN: Final = 0.25
# Real seconds between two looks whether a joined thread takes part by now.
LOOKS_AGAIN: Final = 0.05

# The idents of threads whose blocking calls are real for a moment, whoever they are.
as_is: Final[set[int]] = set()

# Threads that take no part, and are blocked in a lock or queue: whether they can go on.
_away: Final[dict[int, Callable[[], bool]]] = {}


@contextmanager
def _real_calls() -> Generator[None, None, None]:
    ident = Real.get_ident()
    outer = ident in as_is
    as_is.add(ident)
    try:
        yield
    finally:
        if not outer:
            as_is.discard(ident)


@contextmanager
def away(can_go_on: Callable[[], bool]) -> Generator[None, None, None]:
    """Note that this thread is blocked for real, in a call that `can_go_on` may end."""
    ident = Real.get_ident()
    _away[ident] = can_go_on
    try:
        yield
    finally:
        _away.pop(ident, None)


def at_work(clock: VirtualTime) -> list[int]:
    """Return the idents of the threads that participants started, and that are not blocked."""
    found: list[int] = []
    for thread in list(clock.participants.others):
        if not thread.is_alive():
            clock.participants.others.pop(thread, None)
        elif thread.ident is not None and not clock.participants.has_thread(thread):
            can_go_on = _away.get(thread.ident)
            if can_go_on is None or can_go_on():
                found.append(thread.ident)
    return found


def is_background(clock: VirtualTime, frame: FrameType) -> bool:
    """Whether this thread was started by users' code, and runs none of that code now."""
    return clock.participants.is_started(Real.get_ident()) and users_frame(frame) is None


def _end_of(thread: threading.Thread, clock: VirtualTime, background: bool) -> Blocked:
    """Return what a `join` waits for: that `thread` takes part no more."""
    return Blocked(
        thread,
        lambda: not clock.participants.has_thread(thread),
        about=lambda: f"Thread.join of {thread.name}",
        background=background,
    )


def _join(self: threading.Thread, timeout: float | None = None) -> None:
    frame = sys._getframe(1)
    clock = None if Real.get_ident() in as_is else clock_of_wait(frame)
    if clock is None or self.ident is None or self is Real.current_thread():
        _join_really(self, timeout)  # or its error
        return
    who = clock.participants
    until = None if timeout is None else clock.now() + max(0.0, timeout)
    left = None if timeout is None else max(0.0, timeout)  # real seconds, for another thread
    while True:
        rested = False
        try:
            while who.has_thread(self):
                rested = True
                end = _end_of(self, clock, is_background(clock, frame))
                if not wait_until_free(clock, end, until):
                    return
        except ClockStuckError as error:
            raise error.with_traceback(user_frames(error.__traceback__))
        if rested:
            _join_really(self, ENDS_WITHIN)
        if not _is_alive(self):
            _join_really(self, timeout)
            return
        if left is not None and left <= 0:
            return
        seconds = LOOKS_AGAIN if left is None else min(left, LOOKS_AGAIN)
        with who.out_of_turn():
            _join_really(self, seconds)
        if left is not None:
            left -= seconds


def _join_really(thread: threading.Thread, timeout: float | None) -> None:
    with _real_calls():
        _real["join"](thread, timeout)


def _is_alive(thread: threading.Thread) -> bool:
    with _real_calls():
        return thread.is_alive()


def _start(self: threading.Thread) -> None:
    clock = None if Real.get_ident() in as_is else clock_of_wait(sys._getframe(1))
    if clock is not None and _is_of_tools(sys._getframe(1)):
        clock = None
    # The wait for the new thread is short, and must not hand on the turn.
    with _real_calls():
        if clock is None:
            _real["start"](self)
        elif clock.participants.brings_threads:
            _start_taking_part(self, clock)
        else:
            _real["start"](self)
            clock.participants.others[self] = None


def _is_of_tools(frame: FrameType) -> bool:
    """Whether moorage or a test tool starts the thread, and not the user's code."""
    user = users_frame(frame)
    package = "" if user is None else module_of(user).partition(".")[0]
    return package == "moorage" or package in REAL_PACKAGES


def _start_taking_part(thread: Any, clock: VirtualTime) -> None:
    """Start `thread` as a participant: it has its place in line from now on."""
    who = clock.participants
    run = thread.run
    had: Any = thread.__dict__.get("run")

    def put_back() -> None:
        if had is None:
            thread.__dict__.pop("run", None)
        else:
            thread.run = had

    def in_turn() -> None:
        put_back()
        who.bind_thread(key)
        try:
            run()
        finally:
            who.end_started(thread)

    key = who.begin_started(thread)
    thread.run = in_turn
    try:
        _real["start"](thread)
    except BaseException:
        put_back()
        who.end_started(thread)
        raise


_NAMES: Final = ("start", "join")
_VIRTUAL: Final[dict[str, Callable[..., None]]] = {"start": _start, "join": _join}
_real: Final[dict[str, Callable[..., None]]] = {}

for _name, _function in _VIRTUAL.items():
    _function.__name__, _function.__qualname__ = _name, f"Thread.{_name}"
    _function.__doc__ = vars(Thread)[_name].__doc__
    _real[_name] = vars(Thread)[_name]


def install() -> None:
    """Replace the two methods; called by ``blocking.py``."""
    for name in _NAMES:
        _real[name] = vars(Thread)[name]
        setattr(Thread, name, _VIRTUAL[name])


def uninstall() -> None:
    """Undo `install`."""
    for name in _NAMES:
        if vars(Thread).get(name) is _VIRTUAL[name]:
            setattr(Thread, name, _real[name])
