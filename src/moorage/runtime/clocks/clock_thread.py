"""The thread of a virtual clock: it moves the time, and fires the timers.

Owns `ClockThread`: when time may move, which timer fires next, when the turn is taken from a holder
that blocks (``turns.py``), and when the waits are told that time is stuck (``stuck.py``).
`VirtualClock` starts the thread when there is something to do, and has all the state.

Begin at `ClockThread.run`.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Final

from ...exception import ClockStuckError
from ..background import keep_time
from ..real import Real
from .asleep import LOOK_EVERY, Asleep, Quiet
from .choices import Choices
from .foreign import ForeignWait
from .participants import BEFORE_ALL
from .started import at_work
from .stuck import Stuck, StuckForeign, StuckLoop, StuckWait, why_busy, why_for_ever
from .timekeeper import Callback, run_timer
from .virtual_loop import VirtualLoop
from .virtual_waiter import VirtualWaiter

if TYPE_CHECKING:
    from .virtual_clock import VirtualClock

# The part of `stuck_after` after which a holder of the turn that computes, and rests never, lets
# the others go on.  It may be a loop that looks again and again at what another participant does.
LENDS_AT: Final = 0.8

# Real seconds after which the clock first looks again whether a thread that takes no part has
# released a lock; the pauses become longer, up to `LOOK_EVERY`.
FIRST_POLL: Final = 0.001


class ClockThread:
    """What the thread of one clock does."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock

    def run(self, bell: threading.Lock) -> None:
        """Move the time and fire timers until the clock is closed.

        This thread has the turn while it runs a timer's callback.

        If time cannot move although a thread or loop waits (`watches`), sleep for at most
        `stuck_after` seconds, and report if nothing has changed by then.  While a participant
        waits for its turn, look every `LOOK_EVERY` seconds whether the holder is blocked or polls.
        """
        me = Real.current_thread()
        expects = self.clock.participants.expected
        keep_time(lambda work: expects(work, "a log record", optional=True))
        participants = self.clock.participants
        # The last time at which something had changed, in real time, and the changes by then.
        changed_at, seen = Real.monotonic(), -1
        asleep, quiet = Asleep(), Quiet()
        pause = FIRST_POLL
        while True:
            due: list[Callback] = []
            watches = looks = polls = False
            limit = self.clock._stuck_after
            others_work = self._started_threads_work(quiet, changed_at)
            with self.clock._lock:
                self.clock._sleeps = False
                turns = participants.turns
                if turns.holder is me:
                    turns.give_up(me)
                if self.clock._thread is not me:
                    return  # the clock is closed, and may be open again with another thread
                pending = self.clock._timers.next_when()
                if participants.changes != seen:
                    changed_at, seen = Real.monotonic(), participants.changes
                    pause = FIRST_POLL
                if participants.blocked and turns.holder is None:
                    if participants.look():
                        continue  # a thread that takes no part has released a lock
                    polls = True
                if participants.busy or participants.awaited:
                    watches = pending is not None or turns.is_wanted
                    looks = turns.is_wanted or participants.has_busy_started
                    looks = looks or (not polls and bool(participants.blocked))
                elif pending is None:
                    watches = self._somebody_waits_for_ever()
                elif pending <= self.clock._now or not others_work:
                    due = self._move_time(pending)
                    if due:
                        turns.hold(me)
                self.clock._sleeps = not due and not looks and not polls
            if due:
                while due:
                    run_timer([due.pop()])
                continue
            if pending is not None and not watches and not polls:
                continue  # the timer was cancelled just now: look again
            left = math.inf
            if watches and limit is not None:
                left = max(0.0, changed_at + limit - Real.monotonic())
            wait = min(left, LOOK_EVERY) if looks else left
            if polls:
                wait = min(left, pause)
                pause = min(2 * pause, LOOK_EVERY)
            rang = bell.acquire(timeout=-1.0 if wait > threading.TIMEOUT_MAX else wait)
            if rang:
                continue
            if looks:
                long = limit is not None and left <= (1 - LENDS_AT) * limit
                if self._lend_turn(asleep, even_if_it_computes=long):
                    continue
            if left <= wait:
                self._report_if_stuck(seen)
                changed_at = Real.monotonic()

    def _move_time(self, when: float) -> list[Callback]:
        """Move the time to `when`; return the callbacks to run now.  Under the lock."""
        clock = self.clock
        if when > clock._now:
            clock._instant = clock._rests
            clock._now = when
        callback = clock._bystanders.pop_due(clock._now)
        if callback is None and clock._choices is not None:
            due = self._choose_timers(clock._choices)
        else:
            if callback is None:
                callback = clock._timers.pop_due(clock._now)
            due = [] if callback is None else [callback]
        clock._rests += 1
        return due

    def _choose_timers(self, choices: Choices) -> list[Callback]:
        """With a seed: choose a timer that is due, and perhaps others that fire with it.

        The rests of several containers may end together.  Any other timer that was set within
        this instant fires alone: it may be a ``sleep(0)``, which waits until all other
        participants wait.
        """
        due = self.clock._timers.due(self.clock._now)
        rests = [entry for entry in due if entry[0][0] == BEFORE_ALL]
        left = rests or due
        chosen: list[Callback] = []
        while left and (not chosen or choices.also()):
            _, timer = left.pop(choices.pick(len(left)))
            callback = self.clock._timers.pop(timer)
            if callback is not None:
                chosen.append(callback)
            left = [entry for entry in left if entry[0][0] <= self.clock._instant]
        return chosen

    def _lend_turn(self, asleep: Asleep, *, even_if_it_computes: bool) -> bool:
        """Give the turn to another, if the holder blocks in something real, or polls for it."""
        with self.clock._lock:
            turns = self.clock.participants.turns
            given, ident = turns.given, turns.thread
        if not asleep.gives_way(given, ident) and not even_if_it_computes:
            return False
        with self.clock._lock:
            if not (turns.given == given and turns.thread == ident):
                return False
            self.clock.participants.look()
            key = turns.holder
            if key is self.clock._thread:
                return False
            if turns.is_wanted:
                turns.lend()
        if even_if_it_computes:
            return True
        # Time does not wait for the real I/O of threads that users' code started.
        return self.clock.participants.let_started_go(key) or turns.holder is not key

    def _started_threads_work(self, quiet: Quiet, since: float) -> bool:
        """Whether threads that users' code started may be at work for a blocked participant.

        Not if they all have slept for a while, and not for longer than the wait of a stuck clock.
        """
        participants = self.clock.participants
        if not participants.blocked or not participants.others:
            return False
        limit = math.inf if self.clock._stuck_after is None else LENDS_AT * self.clock._stuck_after
        if Real.monotonic() - since > limit:
            return False
        return not quiet.since_long(at_work(self.clock))

    def _somebody_waits_for_ever(self) -> bool:
        """Whether a participant waits; without timers, nothing in this clock can end the wait.

        A container's loop does not count: to wait for inputs is its normal state.
        """
        return any(
            waiter.key is not None and not _is_background(waiter) for waiter in self.clock._waiting
        ) or any(not loop.owned for loop in self.clock._idle_loops)

    def _report_if_stuck(self, seen: int) -> None:
        """End all stuck waits with `ClockStuckError`, if nothing has changed since `seen`."""
        with self.clock._lock:
            if self.clock.participants.changes != seen:
                return
            threads = {key: ident for ident, key in self.clock.participants.key_of_thread.items()}
            # Those that wait for their turn do not hold up the time.
            busy = [
                (name, threads.get(key, 0))
                for key, name in self.clock.participants.busy.items()
                if not self.clock.participants.turns.waits(key)
            ]
            busy += [(name, 0) for name in list(self.clock.participants.awaited.values())]
            waiters = [w for w in self.clock._waiting if w.key is not None or w.timed]
            waiters = [w for w in waiters if not _is_background(w)]
            loops = list(self.clock._idle_loops)
            foreign = self._foreign_waits() if busy else []
            threads_out = [wait for wait in foreign if isinstance(wait, VirtualWaiter)]
            waiters += [wait for wait in threads_out if not wait.timed]
            now = self.clock._now
        assert self.clock._stuck_after is not None
        stuck = Stuck(
            now,
            self.clock._stuck_after,
            busy,
            [StuckWait(w.name, w.thread, w.about) for w in waiters],
            [StuckLoop(loop, loop.thread.name if loop.thread else "") for loop in loops],
            [_stuck_foreign(wait) for wait in foreign],
        )
        # Without the lock, because `about` of a waiter may call the engine.
        message = why_busy(stuck) if busy else why_for_ever(stuck)
        with self.clock._lock:
            if self.clock.participants.changes != seen:
                return  # there was progress meanwhile
            for waiter in waiters:
                waiter.error = ClockStuckError(message)
                self.clock._fire(waiter)
            tasks = [wait for wait in foreign if isinstance(wait, ForeignWait)]
            for wait in tasks:
                wait.error = ClockStuckError(message)
            loops = [loop for loop in loops if not loop.owned]
            # Those whose wait has ended, and that only wait for their turn.
            for key, gate in self.clock.participants.turns.release():
                if gate.waiter is not None:
                    gate.waiter.error = ClockStuckError(message)
                    gate.open()
                elif isinstance(key, VirtualLoop) and not key.owned:
                    loops.append(key)
                    gate.open()
                else:
                    self.clock.participants.turns.want_at(key, gate)
            for loop in loops:
                loop.error = ClockStuckError(message)
        for loop in loops:
            loop.ring()
        for wait in tasks:
            wait.wake()

    def _foreign_waits(self) -> list[VirtualWaiter | ForeignWait]:
        """Return the waits of threads and loops that take no part, in their order.

        A busy participant may wait, in real time, for one of these.  They do not hear that a
        wait has no timer: somebody who takes no part may end it.
        """
        threads = [waiter for waiter in self.clock._waiting if waiter.key is None]
        tasks = list(self.clock.participants.foreign)
        return sorted([*threads, *tasks], key=lambda wait: wait.thread)


def _is_background(waiter: VirtualWaiter) -> bool:
    return waiter.blocked is not None and waiter.blocked.background


def _stuck_foreign(wait: VirtualWaiter | ForeignWait) -> StuckForeign:
    if isinstance(wait, VirtualWaiter):
        return StuckForeign(wait.name, wait.thread, wait.about, None, "")
    runs = f"{wait.loop} in real time" if wait.clock is None else f"{wait.loop} of another clock"
    return StuckForeign(wait.thread_name, wait.thread, None, wait.coroutine, runs)
