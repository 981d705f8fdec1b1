"""Runs: the time during which an app has containers.

Owns the pools of one run, the leaving of it, and the ambient runs that a call
outside of any run opens and that the interpreter's exit ends.  `App` opens and
leaves runs; `Function` asks the run for its pool.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread as _futures_thread  # before our shutdown callback: see below
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Final

from .. import config
from ..exception import ExecutionError
from ..runtime import forking
from ..runtime.background import flush, log
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.timekeeper import process_timekeeper
from ..runtime.guards.interrupts import interrupts
from ..runtime.places import shown_step, users_step
from ..runtime.pools.autoscaler import Limits
from ..runtime.pools.capacity import Capacity, process_capacity
from ..runtime.pools.kept import Kept, Memory
from ..runtime.pools.pool import Pool, drained_run, is_called_from_within
from ..runtime.pools.probing import Probing
from ..runtime.pools.statistics import ClassStatistics, PoolStatistics, count_class, count_kept
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..serialize.serializing import check_installed

logger: Final = logging.getLogger("moorage")

MakePool = Callable[[Clock, Capacity, Callable[[Pool], object], Probing | None], Pool]
"""Makes a pool: its clock, its capacity, whom to tell that it is retired, the run's probe."""


class Run:
    """The pools of one app, from the run's start until it has been left."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        grace: float | None = None,
        capacity: Capacity | None = None,
        ambient: bool = False,
        serialize: bool = False,
        probe: Probing | None = None,
    ) -> None:
        if serialize:
            check_installed()
        self.name: str = name
        self.probe: Probing | None = probe
        self.ambient: bool = ambient
        # The user's line, for whoever finds that it was not left.
        self.opened_at: str = shown_step(users_step(sys._getframe()))
        self.serialize: bool = serialize  # calls look at it: see ``serializing.py``
        self.clock: Clock = system_clock if clock is None else clock
        self.grace: float = config.exit_grace if grace is None else grace
        self._capacity = process_capacity if capacity is None else capacity
        self._lock = Real.Lock()
        # Guarded by the lock; read without it on the way of each call.
        self.pools: dict[Hashable, Pool] = {}
        # What outlives the pools.
        self._memory = Memory()
        self._draining = False
        self._closed = False
        # What strikes threads is sent from this thread, which a strike cannot start.
        process_timekeeper.start()
        interrupts.install()
        # Whether it stayed behind, in the process from which this one was forked.
        self.forked: bool = False
        forking.know(self)
        _open_runs[self] = None

    def _after_fork(self) -> None:
        """In a forked child: it has ended, without its exit hooks, which are the parent's."""
        self.forked = self._closed = True
        self._lock = Real.Lock()

    def pool(self, key: Hashable, make: MakePool) -> Pool:
        """The pool for `key`, made now if there is none."""
        with self._lock:
            if self.forked:
                raise forking.stayed_behind(f"the run of {self.name}")
            if self._closed:
                raise ExecutionError(
                    f"the run of {self.name} is ending or has ended; call inside `with app.run():`"
                )
            pool = self.pools.get(key)
            if pool is None:
                if self._draining and not is_called_from_within(self):
                    raise drained_run(f"a function of {self.name}")
                pool = make(self.clock, self._capacity, lambda old: self.drop(key, old), self.probe)
                pool.run = self
                if self._draining:
                    pool.drain()
                self.pools[key] = pool
            return pool

    def kept(self, key: Hashable, limits: Limits, family: Hashable) -> Kept:
        """What the pools of `key` left, for the next one; `limits` are those of a first one."""
        with self._lock:
            return self._memory.of(key, limits, family, self.clock.now())

    def statistics(self, key: Hashable) -> PoolStatistics | None:
        """The counts of `key`, whether it has a pool now or not; None if it never had one."""
        while True:
            # Under the lock no pool begins, so nobody counts meanwhile.
            with self._lock:
                pool, kept = self.pools.get(key), self._memory.find(key)
                if pool is None:
                    return None if kept is None else count_kept(kept, self.clock.now())
            seen = pool.statistics()
            if self.pools.get(key) is pool:
                return seen
            # 1. the pool is found here, 2. it retires, 3. another one begins, and counts in
            # the same tally, 4. the first one is asked, and knows nothing of what runs there.

    def class_statistics(self, name: str) -> ClassStatistics:
        """The counts of a class over all sets of parameters, those that fell out of memory too."""
        # Under the lock no pool begins or is forgotten, so each tally is counted once, and
        # by the pool that uses it.
        with self._lock:
            total = self._memory.fallen(name)
            for key, kept in self._memory.of_family(name):
                pool = self.pools.get(key)
                if pool is None:
                    total.add(kept.tally)
                else:
                    pool.add_to(total)
        return count_class(name, total)

    def find(self, key: Hashable) -> Pool | None:
        """The pool for `key`, if there is one: also one that is just being made."""
        with self._lock:
            return self.pools.get(key)

    def drop(self, key: Hashable, pool: Pool) -> None:
        """`pool` was retired; the next call for `key` gets a new one."""
        with self._lock:
            if self.pools.get(key) is pool:
                del self.pools[key]

    def drain(self) -> None:
        """Wait until every accepted input is settled, and what those call meanwhile.

        From now on it takes no calls but those of its own inputs and hooks.
        There is no limit; what it waits for is logged once.  Interrupted, it
        may be closed at once.
        """
        if self.forked:
            return
        draining = Draining(self)
        while True:
            waiter = self.clock.make_waiter()
            if draining.is_done(waiter.wake):
                return
            if not self.clock.wait(waiter, draining.silence):
                draining.report()

    async def drain_async(self) -> None:
        """As `drain`, for asyncio and trio."""
        if self.forked:
            return
        draining = Draining(self)
        while True:
            waiter = make_async_waiter()
            if draining.is_done(waiter.wake):
                return
            silence, timer = draining.silence, None
            if silence is not None:
                timer = self.clock.call_at(self.clock.now() + silence, waiter.wake)
            try:
                await waiter.wait()
            finally:
                if timer is not None:
                    timer.cancel()
            if draining.silence == 0:
                draining.report()

    def close(self) -> None:
        """Cancel what is queued and runs, run the exit hooks, join the threads.

        In `grace` seconds at most: see `close_runs`.
        """
        if not self.forked:
            close_runs([self])

    @property
    def closed(self) -> bool:
        """Whether it is being left: it takes no calls any more."""
        return self._closed

    @property
    def draining(self) -> bool:
        """Whether it finishes what it has: it takes calls of its own inputs only."""
        return self._draining and not self._closed

    @property
    def queued(self) -> int:
        return sum(pool.statistics().queued for pool in list(self.pools.values()))


class Draining:
    """One run that finishes what it has."""

    def __init__(self, run: Run) -> None:
        self._run = run
        with run._lock:
            run._draining = True
            pools = list(run.pools.values())
        for pool in pools:
            pool.drain()
        self._report_at: float | None = run.clock.now() + DRAIN_SILENCE

    def is_done(self, wake: Callable[[], object]) -> bool:
        """Whether no accepted input is left; else `wake` is called when there may be none."""
        # Pools are looked at one after the other, and an input of one may call
        # another: 1. B is looked at, 2. an input of A calls B and ends, 3. A is
        # looked at.  So twice: if nobody accepted anything from one look to the
        # next, there was a moment between the two when nothing was left anywhere.
        accepted: dict[Pool, int] | None = None
        while True:
            seen: dict[Pool, int] = {}
            for pool in list(self._run.pools.values()):
                count = pool.accepted_if_settled(wake)
                if count is None:
                    return False
                seen[pool] = count
            if seen == accepted:
                return True
            accepted = seen

    @property
    def silence(self) -> float | None:
        """Seconds until it should say what it waits for; None if it has."""
        if self._report_at is None:
            return None
        return max(0.0, self._report_at - self._run.clock.now())

    def report(self) -> None:
        self._report_at = None
        left = [
            f"{count} of {pool.options.name}"
            for pool in list(self._run.pools.values())
            if (count := pool.unsettled)
        ]
        if left:
            log(
                logger,
                logging.WARNING,
                "leaving %s has waited %g s for its inputs, and goes on: %s; Ctrl-C cancels them",
                self._run.name,
                DRAIN_SILENCE,
                ", ".join(left),
            )


@uninterruptible
def close_runs(runs: Sequence[Run]) -> None:
    """Leave `runs` together, each within its grace.

    What is queued is cancelled at once.  So is what runs, but in an ambient
    run, which the program never said it left: there it gets the first half of
    the grace to end by itself.  Inputs that do not end hold up the exit hooks
    until three fifths of the grace have passed.  What is left at its end is
    logged with the place where it sits.  An interrupt on the way ends the
    waiting for inputs; exit hooks get another second then, and what did not
    come to its end is logged all the same, before the interrupt is raised.
    """
    held = _Interrupts()
    closing = [_Closing(run) for run in runs]
    for one in closing:
        for step in one.begin():
            held.hold(step)
    for part, then in ((0.5, Pool.cancel_running), (0.6, Pool.stop_by_force), (1.0, None)):
        for one in closing:
            if held.first is None:
                held.hold_in_wait(partial(one.wait, part))
        if then is not None:
            for one in closing:
                for pool in one.pools:
                    held.hold(partial(then, pool))
    if held.first is not None:
        # Nobody waits for inputs any more, but quick exit hooks are let end.
        last = _Interrupts()
        for one in closing:
            if last.first is None:
                last.hold_in_wait(one.wait_a_moment)
    for one in closing:
        held.hold(one.finish)
    # What was logged on threads that keep time is written when the run has been left,
    # unless a handler blocks.
    held.hold(partial(flush, LAST_JOIN))
    if held.first is not None:
        raise held.first


class _Interrupts:
    """Keeps the first Ctrl-C, so that all that is left is done nevertheless."""

    def __init__(self) -> None:
        self.first: BaseException | None = None

    def hold(self, step: Callable[[], object]) -> None:
        try:
            step()
        except BaseException as error:
            if self.first is None:
                self.first = error

    def hold_in_wait(self, step: Callable[[], object]) -> None:
        """As `hold`, for a step that waits: a Ctrl-C ends it."""
        self.hold(partial(interrupts.let_in, step))


class _Closing:
    """One run on its way out."""

    def __init__(self, run: Run) -> None:
        self._run = run
        with run._lock:
            run._closed = True
            self.pools = list(run.pools.values())
        self._began = run.clock.now()

    def begin(self) -> list[Callable[[], object]]:
        """What closes its pools, one by one."""
        cancels = not self._run.ambient
        return [partial(pool.close, cancel_running=cancels) for pool in self.pools]

    def wait_a_moment(self) -> None:
        until = self._run.clock.now() + LAST_JOIN
        for pool in self.pools:
            pool.wait_stopped(until)

    def wait(self, part: float) -> None:
        """Until every container has stopped, or this part of the grace has passed."""
        for pool in self.pools:
            pool.wait_stopped(self._began + self._run.grace * part)

    def finish(self) -> None:
        run = self._run
        left: list[str] = []
        for pool in self.pools:
            # One bound for all: nobody waits for the second stuck thread too.
            left += pool.join(0.0 if left else LAST_JOIN)
        if left:
            places = Counter(left).most_common()
            shown = [f"{count} x {place}" for place, count in places[:PLACES_SHOWN]]
            if len(places) > PLACES_SHOWN:
                shown.append(f"and in {len(places) - PLACES_SHOWN} other places")
            log(
                logger,
                logging.WARNING,
                "%s was left while this still ran, after %g s: %s",
                run.name,
                run.grace,
                "; ".join(shown),
            )
        with run._lock:
            run.pools.clear()
        _open_runs.pop(run, None)
        give_sigint_back()


def give_sigint_back() -> None:
    """Leave SIGINT alone again, if no run is open.  Only the main thread can."""
    if not _open_runs:
        interrupts.uninstall()


# The most places that the warning about leftovers names.
PLACES_SHOWN: Final = 5

# Seconds after which leaving with drain=True says what it waits for.
DRAIN_SILENCE: Final = 10.0

# Seconds in which threads that have nothing left to do must end.
LAST_JOIN: Final = 1.0

# Every run that has not been left, for the interpreter's exit.  A dict, for
# its single operations are atomic.
_open_runs: Final[dict[Run, None]] = {}


forking.in_child(_open_runs.clear)


def open_runs() -> list[Run]:
    """All runs that have not been left, in the order in which they were opened."""
    return list(_open_runs)


def open_pools() -> list[Pool]:
    """The pools of all runs that have not been left."""
    return [pool for run in list(_open_runs) for pool in list(run.pools.values())]


def _end_open_runs() -> None:
    """The interpreter exits: end the runs that nobody left.  Starts no thread."""
    runs = list(_open_runs)
    queued = sum(run.queued for run in runs)
    if queued:
        log(
            logger,
            logging.WARNING,
            "the program ends with %d inputs queued, which are cancelled; "
            "wait for them, or use `with app.run():`",
            queued,
        )
    try:
        close_runs(runs)
    except Exception as error:
        text = "ending what the program left running failed"
        log(logger, logging.ERROR, text, exc_info=error)
    finally:
        process_timekeeper.stop()
        flush(LAST_JOIN)


# Callbacks run last in, first out: registered after concurrent.futures.thread's
# own, ours runs while exit hooks may still use its executors.
assert _futures_thread
try:
    threading._register_atexit(_end_open_runs)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
except (AttributeError, RuntimeError):  # pragma: no cover - not CPython, or at exit
    atexit.register(_end_open_runs)
