"""Loop watch: finds async inputs that block the event loop of their container.

Owns, for one task lane, the timer that sends a callback to the loop a few times per
`config.slow_loop_seconds` while the lane has inputs, and the warning that is logged if the
loop does not run the callback in time.  The task lane makes the watch and calls `begin`, `end`
and `close`.  Begin at `begin`, then `_tick`, then `_report`.

If `config.slow_loop_seconds` is None, there is no watch, and the lane only pays a comparison
for each input.  While the lane has no input, no callback is sent and no timer is set.

Time is real, also in runs on a virtual clock: code that computes on the loop takes real time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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

# How many ticks there are in the time for which the loop may be blocked.
ASKED: Final = 4

# Guards `Target.is_reported`: each function is reported once.
_reporting: Final = Real.Lock()
forking.in_child(lambda: forking.renew(_reporting))


class LoopWatch:
    """The watch over one loop, which runs on the thread with the ident `ident`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ident: int, seconds: float) -> None:
        self._loop = loop
        # A loop in virtual time must not be woken because real time passes.
        self._ask: Callable[..., object] = getattr(loop, "ask", loop.call_soon_threadsafe)
        self._ident = ident
        self._seconds = seconds
        # Guards all fields below.  A leaf: no other lock of the engine is taken under it, except
        # that of the timekeeper, to set a timer.
        self._lock = Real.Lock()
        self._inputs: dict[Input, None] = {}  # the inputs that have a task on the loop
        # Invariant: a timer is set while _inputs is not empty and the watch is not closed.
        self._timer: Timer | None = None
        # When the callback was sent to the loop; None once the loop has run it.
        self._asked_at: float | None = None
        self._reported = False  # true if the present block of the loop was reported
        self._closed = False

    # -- on the loop's thread -------------------------------------------------------

    def begin(self, input: Input) -> None:
        """Watch the loop from now on; the task of `input` was made."""
        with self._lock:
            self._inputs[input] = None
            if self._timer is None:
                self._asked_at, self._reported = None, False
                self._set_timer(system_clock.now())

    def end(self, input: Input) -> None:
        """Forget `input`, whose task ends.  The next tick sets no timer if no input is left."""
        with self._lock:
            self._inputs.pop(input, None)

    def close(self) -> None:
        """Stop watching, for ever."""
        with self._lock:
            self._closed = True
            self._inputs.clear()
            if self._timer is not None:
                self._timer.cancel()

    def _on_answer(self) -> None:
        with self._lock:
            self._asked_at = None
            self._reported = False

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
                # The tick is late: the whole process stood still, or the timekeeper's thread.
                # No input caused that, so measure the block from now on.
                self._asked_at = now
            else:
                seconds = now - self._asked_at
                blocked = seconds >= self._seconds and not self._reported
                self._reported = self._reported or blocked
            self._set_timer(now)
        if ask:
            try:
                self._ask(self._on_answer, context=Context())
            except RuntimeError:
                pass  # the loop is closed; its container has closed or will close the watch
        elif blocked:
            self._report(seconds)

    def _report(self, seconds: float) -> None:
        """Log which function blocks the loop, and where, once for each function."""
        task = Real.current_task(self._loop)
        place = place_in_stack(current_frames().get(self._ident))
        with self._lock:
            if self._asked_at is None or Real.current_task(self._loop) is not task:
                return  # the loop has gone on in the meantime
            running = [input for input in self._inputs if input.runner is task]
        if task is None or place is None or not running:
            # No input blocks the loop: a callback does, or another thread that keeps the
            # interpreter (the GIL).
            return
        target = running[0].call.target
        with _reporting:
            if target.is_reported:
                return
            target.is_reported = True
        log_in_background(
            logger,
            logging.WARNING,
            "%s has blocked the event loop of its container for %.1f s, in %s; "
            "write `await asyncio.to_thread(...)` around the slow code there, "
            "or make %s a def, which runs in a thread",
            target.name,
            seconds,
            place,
            target.name,
        )
