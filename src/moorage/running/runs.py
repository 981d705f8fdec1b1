"""Runs: the time during which an app has containers.

Owns the pools of one run, the drain and the end of a run, and the table of open runs, which
are ended when the interpreter exits.  `AppRuns` opens and closes runs, also the ambient runs for
calls outside of any run; `AppService` and `Function` ask the run for a pool.

Begin at `Run.pool`, then `Draining.is_done`, then `close_runs`.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread as _futures_thread  # before our exit callback: see below
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from .. import config
from ..exception import ExecutionError, InvalidError
from ..placing.placements import Placements
from ..runtime import forking
from ..runtime.background import flush, log
from ..runtime.clocks.clock import Clock, find_uvloop, system_clock
from ..runtime.clocks.timekeeper import process_timekeeper
from ..runtime.containers.residents import Visit, is_visit
from ..runtime.guards.interrupts import interrupts
from ..runtime.places import shown_step, users_step
from ..runtime.pools.autoscaler import Limits
from ..runtime.pools.capacity import Capacity, process_capacity
from ..runtime.pools.kept import Kept, Memory
from ..runtime.pools.pool import Pool, drained_run, is_called_from_within
from ..runtime.pools.probing import Probing
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter, wait_in
from ..runtime.waiting.unread import report_all
from ..serialize.serializing import check_installed
from ..web.http_loop import process_http
from ..web.sites import HandOver, Sites
from .environment import RunEnvironment
from .schedules import RunSchedules

if TYPE_CHECKING:
    from ..runtime.pools.statistics import ClassStatistics, PoolStatistics

logger: Final = logging.getLogger("moorage")

MakePool = Callable[[Clock, Capacity, Callable[[Pool], object], Probing | None], Pool]
"""Makes a pool from: the clock, the capacity, a callback for its retirement, the probe."""


class Run:
    """The pools of one app, from the start of the run until its end."""

    is_elsewhere: ClassVar[bool] = False  # see ``placing/calls.py``

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
        environment_name: str | None = None,
        placements: Placements | None = None,
    ) -> None:
        if serialize:
            check_installed()
        if config.uvloop and find_uvloop() is None:
            raise InvalidError(
                "moorage.config.uvloop is true, and uvloop is not installed; "
                'write pip install "moorage[uvloop]"'
            )
        self.name: str = name
        self.probe: Probing | None = probe
        self.ambient: bool = ambient
        # The user's line that opened the run, for reports about runs that were not left.
        self.opened_at: str = shown_step(users_step(sys._getframe()))
        # The environment of objects that its functions look up, as it was given to the run.
        self.environment_name: str | None = environment_name
        self.serialize: bool = serialize  # see ``serialize/serializing.py``
        # Which containers are in other processes; None if all are threads of this one.
        self.placements: Placements | None = placements
        # Whether the arguments of some calls become bytes.  Read at each call.
        self.copies: bool = serialize or placements is not None
        self.clock: Clock = system_clock if clock is None else clock
        observe = getattr(self.clock, "observe", None)
        if observe is not None:
            self.probe = observe(probe)
        self.grace: float = config.exit_grace if grace is None else grace
        self._capacity = process_capacity if capacity is None else capacity
        self._lock = Real.Lock()
        # Written under the lock.  Calls, statistics, drains and the exit read it without the lock.
        self.pools: dict[Hashable, Pool] = {}
        # What outlives the pools: counts and what the autoscaler learned.  Guarded by the lock.
        self._memory = Memory()
        # The web functions that have a URL.
        self.sites: Sites = Sites()
        # The variables that the functions of this run have set.
        self.environment: RunEnvironment = RunEnvironment()
        self.schedules: RunSchedules = RunSchedules(self.clock)
        # Both are set under the lock, and never reset.
        self._draining = False
        self._closed = False
        # A strike (an exception raised asynchronously in another thread) that lands in a
        # finalizer is sent again by the timekeeper thread.  The finalizer must not start that
        # thread, so it is started here.
        process_timekeeper.start()
        interrupts.install()
        # True in a forked child for a run inherited from the parent.
        self.forked: bool = False
        forking.know(self)
        _open_runs[self] = None

    def _after_fork(self) -> None:
        """In a forked child: the run has ended.  Its exit hooks run only in the parent."""
        self.forked = self._closed = True
        self._lock = Real.Lock()

    def pool(self, key: Hashable, make: MakePool) -> Pool:
        """Return the pool for `key`; make it if there is none.

        Raises:
            ExecutionError: if the run is ending or has ended, was inherited by a forked child,
                or drains and the caller is not one of its own inputs or hooks.
        """
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
        """Return the memory of `key` for its next pool.  `limits` are used if there is none yet."""
        with self._lock:
            return self._memory.of(key, limits, family, self.clock.now())

    def statistics(self, key: Hashable) -> PoolStatistics | None:
        """Return the counts of `key`, also while it has no pool; None if it never had a pool."""
        from ..runtime.pools.statistics import count_kept

        while True:
            # While the lock is held no pool begins, so the memory does not change.
            with self._lock:
                pool, kept = self.pools.get(key), self._memory.find(key)
                if pool is None:
                    return None if kept is None else count_kept(kept, self.clock.now())
            seen = pool.statistics()
            if self.pools.get(key) is pool:
                return seen
            # Again, because the pool was replaced: 1. this thread finds the pool, 2. the pool
            # retires, 3. a second pool begins, and counts in the same tally, 4. this thread
            # asks the first pool, which does not know what runs in the second.

    def class_statistics(self, name: str) -> ClassStatistics:
        """Return the counts of a class over all sets of parameters, also of dropped memories."""
        from ..runtime.pools.statistics import count_class

        # While the lock is held no pool begins and no memory is dropped.  So each tally is
        # counted once, and under the lock of the pool that uses it.
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
        """Return the pool for `key`, or None.  Waits while another thread makes the pool."""
        with self._lock:
            return self.pools.get(key)

    def drop(self, key: Hashable, pool: Pool) -> None:
        """Remove `pool`, which was retired.  The next call for `key` gets a new pool."""
        with self._lock:
            if self.pools.get(key) is pool:
                del self.pools[key]

    def drain(self) -> None:
        """Wait until all accepted inputs are settled, including inputs that they call meanwhile.

        From now on the run takes calls from its own inputs and hooks only.  The wait has no
        time limit; after `DRAIN_SILENCE` seconds the unsettled inputs are logged, once.  After
        an interrupt the run may be closed at once.
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
        """Like `drain`, for asyncio and trio."""
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
                await wait_in(self.clock, waiter)
            finally:
                if timer is not None:
                    timer.cancel()
            if draining.silence == 0:
                draining.report()

    def close(self) -> None:
        """Cancel the queued and running inputs, run the exit hooks, join the threads.

        Takes about `grace` seconds at most: see `close_runs`.
        """
        if not self.forked:
            close_runs([self])

    @property
    def closed(self) -> bool:
        """Whether the run is being left: it takes no more calls."""
        return self._closed

    @property
    def draining(self) -> bool:
        """Whether the run drains: it takes calls from its own inputs and hooks only."""
        return self._draining and not self._closed

    def unsettled(self) -> str:
        """Return how many inputs of which function are not settled, for messages."""
        pools = list(self.pools.values())
        counts = [(pool.unsettled, pool.options.label) for pool in pools]
        return ", ".join(f"{count} of {label}" for count, label in counts if count)

    @property
    def queued(self) -> int:
        """The number of queued inputs over all pools."""
        # Not by `statistics`, because this is read when the interpreter exits.  An import that
        # makes a dataclass lets CPython forget that Ctrl-C has ended the program, whose exit code
        # is 1 then.
        return sum(pool.queued for pool in list(self.pools.values()))


class Draining:
    """The drain of one run: when it is done, and when it logs what it waits for.

    Used by the one thread or task that drains.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        run.schedules.end()
        with run._lock:
            run._draining = True
            pools = list(run.pools.values())
        for pool in pools:
            pool.drain()
            _dismiss_visits(pool, run.grace)
        # When to log, by the run's clock; None after that.
        self._report_at: float | None = run.clock.now() + DRAIN_SILENCE

    def is_done(self, wake: Callable[[], object]) -> bool:
        """Return True if every accepted input is settled.

        Otherwise `wake` is called when a pool has settled its inputs: check again then.
        """
        return _all_settled((self._run,), wake)

    @property
    def silence(self) -> float | None:
        """Seconds until `report` is due; None after it."""
        if self._report_at is None:
            return None
        return max(0.0, self._report_at - self._run.clock.now())

    def report(self) -> None:
        """Log which inputs the drain still waits for."""
        self._report_at = None
        left = self._run.unsettled()
        if left:
            log(
                logger,
                logging.WARNING,
                "leaving %s has waited %g s for its inputs, and still waits for: %s; "
                "Ctrl-C cancels them",
                self._run.name,
                DRAIN_SILENCE,
                left,
            )


def drain_runs(
    runs: Sequence[Run],
    seconds: float,
    hand_over: HandOver | None = None,
    *,
    finishes_streams: bool = False,
) -> bool:
    """Let `runs` finish what they have accepted, for at most `seconds`; return whether they did.

    The sites accept no more connections; what is still asked on those that there are is answered,
    with ``Connection: close``.  WebSockets and streams of events get a disconnect.  Schedules end.
    Calls go on, because an input of one run may call another run: so the wait is for a moment in
    which no run has an unsettled input.  The caller closes the runs.

    Args:
        hand_over: takes idle connections: see `Sites.wind_down`.
        finishes_streams: give streams of events their disconnect `STREAMS_GET` seconds before the
            end, or at half of a short time.  A stream may have an end of its own, such as the
            answer of a language model, and nobody can see which stream has none.
    """
    until = system_clock.now() + seconds
    for run in runs:
        run.schedules.end()
        run.sites.wind_down(hand_over)
    if finishes_streams:
        _dismiss_all(runs, seconds, only_websockets=True)
        if _wait_finished(runs, until - min(STREAMS_GET, seconds / 2)):
            return True
    _dismiss_all(runs, max(0.0, until - system_clock.now()))
    return _wait_finished(runs, until)


def _wait_finished(runs: Sequence[Run], until: float) -> bool:
    """Wait until no connection is left and all inputs are settled; false if the time comes."""
    for run in runs:
        if not run.sites.wait_emptied(max(0.0, until - system_clock.now())):
            return False
    while True:
        waiter = system_clock.make_waiter()
        if _all_settled(runs, waiter.wake):
            return True
        left = until - system_clock.now()
        if left <= 0 or not system_clock.wait(waiter, left):
            return False


def _all_settled(runs: Sequence[Run], wake: Callable[[], object]) -> bool:
    """Return whether there was a moment in which no input of `runs` was unsettled.

    Otherwise `wake` is called when a pool has settled its inputs: check again then.
    """
    # One pass over the pools is not enough, because an input of one pool may call another:
    # 1. this thread checks pool B: all is settled, 2. an input of A calls B and ends,
    # 3. this thread checks A: all is settled.  The input of B is missed.  So there are two passes:
    # if no pool accepted an input between them, then there was a moment between the two when no
    # pool had an unsettled input.
    accepted: dict[Pool, int] | None = None
    while True:
        seen: dict[Pool, int] = {}
        for run in runs:
            for pool in list(run.pools.values()):
                count = pool.accepted_if_settled(wake)
                if count is None:
                    return False
                seen[pool] = count
        if seen == accepted:
            return True
        accepted = seen


@uninterruptible
def close_runs(runs: Sequence[Run]) -> None:
    """Leave `runs` together, each within its grace.

    Queued inputs are cancelled at once.  Running inputs are cancelled at once too, except in
    an ambient run, which the program never left explicitly: its running inputs get the first
    half of the grace to end by themselves.  Exit hooks wait for inputs that do not end, until
    three fifths of the grace have passed.  Code that still runs at the end of the grace is
    logged with the line where it is.

    An interrupt (Ctrl-C) ends the wait for inputs.  The exit hooks then get another second,
    and the code that still runs is logged all the same, before the interrupt is raised.
    """
    steps = _Steps()
    closing = [_Closing(run) for run in runs]
    for one in closing:
        for step in one.begin():
            steps.run(step)
    # Each pair: wait until this fraction of the grace has passed, then do this to every pool.
    for part, then in ((0.5, Pool.cancel_running), (0.6, Pool.stop_by_force), (1.0, None)):
        for one in closing:
            if steps.error is None:
                steps.run_wait(partial(one.wait, part))
        if then is not None:
            for one in closing:
                for pool in one.pools:
                    steps.run(partial(then, pool))
    if steps.error is not None:
        # Inputs are not waited for any more, but quick exit hooks get time to end.
        last = _Steps()
        for one in closing:
            if last.error is None:
                last.run_wait(one.wait_a_moment)
    for one in closing:
        steps.run(one.finish)
    # Records that were logged on the timekeeper threads are written before this returns,
    # unless a logging handler blocks.
    steps.run(partial(flush, LAST_JOIN))
    if steps.error is not None:
        raise steps.error


class _Steps:
    """Runs steps to the end, and keeps the first exception (such as a Ctrl-C) for later."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def run(self, step: Callable[[], object]) -> None:
        """Run `step`; keep its exception."""
        try:
            step()
        except BaseException as error:
            if self.error is None:
                self.error = error

    def run_wait(self, step: Callable[[], object]) -> None:
        """Like `run`, for a step that waits: a Ctrl-C ends the wait."""
        self.run(partial(interrupts.let_in, step))


class _Closing:
    """The closing of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        run.schedules.end()
        with run._lock:
            run._closed = True
            self.pools = list(run.pools.values())
        self._began = run.clock.now()

    def begin(self) -> list[Callable[[], object]]:
        """Return the steps that close the pools of the run, one step per pool."""
        cancels = not self._run.ambient
        # The sites first: a request that comes later is refused, and not answered with an error.
        steps: list[Callable[[], object]] = [self._run.sites.refuse]
        for pool in self.pools:
            grace = pool.options.exit_grace
            steps.append(partial(pool.close, cancel_running=cancels and not grace))
            if cancels and grace:
                when = self._began + grace
                steps.append(partial(pool.clock.call_at, when, pool.cancel_running))
        if not cancels:
            steps += [partial(_dismiss_visits, pool, self._run.grace / 2) for pool in self.pools]
        return steps

    def wait_a_moment(self) -> None:
        """Wait `LAST_JOIN` seconds at most until every container has stopped."""
        until = self._run.clock.now() + LAST_JOIN
        for pool in self.pools:
            pool.wait_stopped(until)

    def wait(self, part: float) -> None:
        """Wait until every container has stopped, or this part (0 to 1) of the grace is over."""
        for pool in self.pools:
            pool.wait_stopped(self._began + self._run.grace * part)

    def finish(self) -> None:
        """Join the threads, log the code that still runs, and drop the pools.

        The variables that the run has set go last: exit hooks need them.
        """
        try:
            self._join()
        finally:
            self._run.environment.end()

    def _join(self) -> None:
        run = self._run
        left: list[str] = []
        for pool in self.pools:
            # Each container's threads get up to LAST_JOIN seconds.  After the first thread that
            # does not end, no other thread is waited for.
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
                # Ctrl-C may have ended the wait.
                min(run.grace, round(run.clock.now() - self._began, 1)),
                "; ".join(shown),
            )
        run.sites.close()
        with run._lock:
            run.pools.clear()
        _open_runs.pop(run, None)
        give_sigint_back()


def _dismiss_all(runs: Sequence[Run], seconds: float, *, only_websockets: bool = False) -> None:
    for run in runs:
        for pool in list(run.pools.values()):
            _dismiss_visits(pool, seconds, only_websockets=only_websockets)


def _dismiss_visits(pool: Pool, seconds: float, *, only_websockets: bool = False) -> None:
    """End the WebSockets and the streams of events of a pool, within `seconds`."""
    for input in pool.unsettled_inputs():
        arguments = input.args  # dropped when the input is settled
        if arguments and is_visit(input.call.target):
            visit: Visit = arguments[0]
            if visit.is_websocket or not only_websockets:
                visit.dismiss(seconds)


def give_sigint_back() -> None:
    """Restore Python's handler of SIGINT if no run is open.  Works in the main thread only."""
    if not _open_runs:
        interrupts.uninstall()


# The most places that the warning about code that still runs names.
PLACES_SHOWN: Final = 5

# Seconds after which leaving with drain=True logs what it waits for.
DRAIN_SILENCE: Final = 10.0

# Seconds before the end of a drain at which streams of events get their disconnect.
STREAMS_GET: Final = 1.0

# Seconds that threads of stopped containers, and exit hooks after a Ctrl-C, get to end.
LAST_JOIN: Final = 1.0

# Every run that has not been left, for the interpreter's exit.  A dict, because each of its
# operations is atomic: no lock guards it.
_open_runs: Final[dict[Run, None]] = {}


forking.in_child(_open_runs.clear)


def open_runs() -> list[Run]:
    """Return all runs that have not been left, in the order in which they were opened."""
    return list(_open_runs)


def open_pools() -> list[Pool]:
    """Return the pools of all runs that have not been left."""
    return [pool for run in list(_open_runs) for pool in list(run.pools.values())]


def _end_open_runs() -> None:
    """At the interpreter's exit, end the runs that were not left.  Starts no thread."""
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
        text = "ending the runs that were open at exit failed"
        log(logger, logging.ERROR, text, exc_info=error)
    finally:
        process_http.stop(LAST_JOIN)
        process_timekeeper.stop()
        # After the end of the inputs, which may fail until then.
        report_all()
        flush(LAST_JOIN)


# Exit callbacks run last in, first out.  Ours is registered after the callback of
# concurrent.futures.thread, so ours runs first, while exit hooks may still use its executors.
assert _futures_thread
try:
    threading._register_atexit(_end_open_runs)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
except (AttributeError, RuntimeError):  # pragma: no cover - not CPython, or at exit
    atexit.register(_end_open_runs)
