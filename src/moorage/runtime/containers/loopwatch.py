"""Loop watch: finds asynchronous inputs that block their container's event loop.

Owns, for one task lane, the question "do you still answer?", which is put to the
loop a few times per `config.slow_loop_seconds` while the lane has inputs, and
what is said when it does not.  Without that setting there is no watch, and the
lane pays a comparison for each input.  While the lane has no input, nothing is
asked and no timer is left.

Time is real, also in virtual runs: a loop that computes takes real time.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import Final

from .. import forking
from ..background import log_in_background
from ..clocks.clock import system_clock
from ..clocks.timekeeper import Timer
from ..input import Input
from ..places import place_in_stack
from ..real import Real
from ..stacks import current_frames

logger: Final = logging.getLogger("moorage")

# How often the loop is asked in the time that it may be blocked for.
ASKED: Final = 4

# Guards `Target.is_reported`, as each function is reported once.
_reporting: Final = Real.Lock()
forking.in_child(lambda: forking.renew(_reporting))


class LoopWatch:
    """The watch over one loop, which runs on the thread with this ident."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ident: int, seconds: float) -> None:
        self._loop = loop
        self._ident = ident
        self._seconds = seconds
        self._lock = Real.Lock()  # a leaf, guards all below
        self._inputs: dict[Input, None] = {}
        # Invariant: there is a timer while _inputs is not empty, and the watch not closed.
        self._timer: Timer | None = None
        self._asked_at: float | None = None  # None once the loop has answered
        self._told = False  # of the block that goes on
        self._closed = False

    # -- on the loop's thread -------------------------------------------------------

    def begin(self, input: Input) -> None:
        """The task of `input` is made."""
        with self._lock:
            self._inputs[input] = None
            if self._timer is None:
                self._asked_at, self._told = None, False
                self._set_timer(system_clock.now())

    def end(self, input: Input) -> None:
        """Its task is at its end."""
        with self._lock:
            self._inputs.pop(input, None)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._inputs.clear()
            if self._timer is not None:
                self._timer.cancel()

    def _answer(self) -> None:
        with self._lock:
            self._asked_at = None
            self._told = False

    # -- on the timekeeper's thread ---------------------------------------------------

    def _set_timer(self, now: float) -> None:
        self._timer = system_clock.call_at(now + self._seconds / ASKED, self._tick)

    def _tick(self) -> None:
        ask = blocked = False
        seconds = 0.0
        with self._lock:
            now = system_clock.now()
            due = self._timer.when if self._timer is not None else now
            self._timer = None
            if self._closed or not self._inputs:
                return
            if self._asked_at is None:
                self._asked_at, ask = now, True
            elif now - due > self._seconds / ASKED:
                # The whole process stood still, or this thread: that was no input's doing.
                self._asked_at = now
            else:
                seconds = now - self._asked_at
                blocked = seconds >= self._seconds and not self._told
                self._told = self._told or blocked
            self._set_timer(now)
        if ask:
            try:
                self._loop.call_soon_threadsafe(self._answer, context=Context())
            except RuntimeError:
                pass  # it is closed, and so is this in a moment
        elif blocked:
            self._report(seconds)

    def _report(self, seconds: float) -> None:
        """Say who blocks the loop, and where, unless that is known."""
        task = Real.current_task(self._loop)
        place = place_in_stack(current_frames().get(self._ident))
        with self._lock:
            if self._asked_at is None or Real.current_task(self._loop) is not task:
                return  # it has got on meanwhile
            running = [input for input in self._inputs if input.runner is task]
        if task is None or place is None or not running:
            return  # no input's doing: a callback's, or that of a thread with the interpreter
        target = running[0].call.target
        with _reporting:
            if target.is_reported:
                return
            target.is_reported = True
        log_in_background(
            logger,
            logging.WARNING,
            "%s has blocked the event loop of its container for %.1f s, in %s; "
            "write `await asyncio.to_thread(...)` around what takes long there, "
            "or make %s a def, which runs in a thread",
            target.name,
            seconds,
            place,
            target.name,
        )
