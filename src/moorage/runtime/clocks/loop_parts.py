"""When an event loop of a virtual clock takes part: begins, idles, is busy again, ends.

Owns these five steps.  While a loop runs, the loop is the participant of its thread (see
``participants.py``).  ``virtual_loop.py`` calls this file.

Begin at `loop_begins`, then `loop_idle`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..real import Real
from ..thread_state import thread_state
from .timekeeper import Timer

if TYPE_CHECKING:
    from .virtual_clock import VirtualClock
    from .virtual_loop import VirtualLoop


def loop_begins(clock: VirtualClock, loop: VirtualLoop) -> None:
    """Make `loop` the participant of this thread, which begins to run the loop."""
    me = Real.get_ident()
    with clock._lock:
        loop.thread = Real.current_thread()
        loop.outer = key = clock.participants.key_of_thread.get(me)
        loop.owned = key is not None and me not in clock.participants.parts
        if not loop.owned and not loop.counted:
            loop.counted = True
            clock.participants.keep_open()
        # The loop replaces the thread as a participant.  Otherwise the thread would
        # count as busy, and stop the time, while its loop is idle.
        clock.participants.busy[loop] = f"event loop of {loop.thread.name}"
        clock.participants.busy.pop(key, None)
        clock.participants.key_of_thread[me] = loop
        if key is not None:
            clock.participants.turns.hand_over(key, loop)
    loop.before, thread_state.clock = thread_state.clock, clock
    clock.participants.take_turn(loop)


def loop_ends(clock: VirtualClock, loop: VirtualLoop) -> None:
    """Undo `loop_begins`, on the same thread: `run_forever` returns."""
    me = Real.get_ident()
    with clock._lock:
        key, loop.outer = loop.outer, None
        loop.error = None
        if key is not None:
            clock.participants.busy[key] = Real.current_thread().name
            clock.participants.key_of_thread[me] = key
            clock.participants.turns.hand_over(loop, key)
        else:
            clock.participants.key_of_thread.pop(me, None)
        clock.participants.idle(loop)
    thread_state.clock = clock if key is not None else loop.before
    loop.before = None


def loop_closes(clock: VirtualClock, loop: VirtualLoop) -> None:
    """Close the clock if `loop` was the last that kept it open."""
    thread: threading.Thread | None = None
    with clock._lock:
        if loop.counted:
            loop.counted = False
            thread = clock.participants.stop_keeping_open()
    if thread is not None:
        thread.join()


def loop_idle(
    clock: VirtualClock, loop: VirtualLoop, seen: int, timeout: float | None
) -> Timer | None:
    """Count the loop as idle, unless it was rung since `seen`; return its timer.

    None if the loop stays busy.
    """
    with clock._lock:
        if loop.rung != seen:
            return None
        if loop.sending:
            # A wake-up is being sent:
            #     1. the sender marks the loop busy,
            #     2. the loop looks here, and has found no wake-up yet,
            #     3. the sender sends the wake-up, and then waits.
            # If the loop became idle in step 2, time would move before the loop wakes.
            # So the loop stays busy, and `mark_sent` makes the loop look once more.
            loop.looks_again = True
            return None
        timer = Timer(
            clock._now + (timeout if timeout is not None else 0.0),
            loop.ring,
        )
        if timeout is not None and loop.waits_for_ever:
            timeout = None  # ``anyio.sleep_forever()`` sets a timer at infinity
        if timeout is not None:
            if clock._timers.push(timer, clock._rank(loop)):
                clock._ring()
            clock._start()
        elif not loop.owned:
            clock._start()  # the clock's thread reports a loop that idles for ever
        clock._idle_loops.add(loop)
        clock.participants.idle(loop)
        return timer


def loop_busy(clock: VirtualClock, loop: VirtualLoop) -> None:
    """Undo `loop_idle`: the loop runs again, when its turn comes."""
    with clock._lock:
        clock.participants.changes += 1
        clock._idle_loops.discard(loop)
        clock.participants.busy[loop] = f"event loop of {Real.current_thread().name}"
    clock.participants.take_turn(loop)
