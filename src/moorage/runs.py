"""Runs: the time during which an app has containers.

Owns the pools of one run, the leaving of it, and the ambient runs that a call
outside of any run opens and that the interpreter's exit ends.  `App` opens and
leaves runs; `Function` asks the run for its pool.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread as _futures_thread  # before our shutdown callback: see below
import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from . import config
from .exception import ExecutionError
from .runtime.capacity import Capacity, process_capacity
from .runtime.clock import Clock, system_clock
from .runtime.pool import Pool
from .runtime.timekeeper import process_timekeeper

logger: Final = logging.getLogger("moorage")

MakePool = Callable[[Clock, Capacity, Callable[[Pool], object]], Pool]


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
    ) -> None:
        self.name: str = name
        self.ambient: bool = ambient
        self.clock: Clock = system_clock if clock is None else clock
        self.grace: float = config.exit_grace if grace is None else grace
        self._capacity = process_capacity if capacity is None else capacity
        self._lock = threading.Lock()
        # Guarded by the lock; read without it on the way of each call.
        self.pools: dict[Hashable, Pool] = {}
        self._closed = False
        # Finalizers hand their work to this thread.
        process_timekeeper.start()
        _open_runs[self] = None

    def pool(self, key: Hashable, make: MakePool) -> Pool:
        """The pool for `key`, made now if there is none."""
        with self._lock:
            if self._closed:
                raise ExecutionError(
                    f"the run of {self.name} is ending or has ended; call inside `with app.run():`"
                )
            pool = self.pools.get(key)
            if pool is None:
                pool = make(self.clock, self._capacity, lambda old: self.drop(key, old))
                self.pools[key] = pool
            return pool

    def find(self, key: Hashable) -> Pool | None:
        """The pool for `key`, if there is one: also one that is just being made."""
        with self._lock:
            return self.pools.get(key)

    def drop(self, key: Hashable, pool: Pool) -> None:
        """`pool` was retired; the next call for `key` gets a new one."""
        with self._lock:
            if self.pools.get(key) is pool:
                del self.pools[key]

    def close(self) -> None:
        """Cancel what is queued and runs, run the exit hooks, join the threads.

        In `grace` seconds at most: see `close_runs`.
        """
        close_runs([self])

    @property
    def closed(self) -> bool:
        """Whether it is being left: it takes no calls any more."""
        return self._closed

    @property
    def queued(self) -> int:
        return sum(pool.statistics().queued for pool in list(self.pools.values()))


def close_runs(runs: Sequence[Run]) -> None:
    """Leave `runs` together, each within its grace.

    What is queued is cancelled at once.  So is what runs, but in an ambient
    run, which the program never said it left: there it gets the first half of
    the grace to end by itself.  Inputs that do not end hold up the exit hooks
    until three fifths of the grace have passed.  What is left at its end is
    logged with the place where it sits.
    """
    closing = [_Closing(run) for run in runs]
    interrupted: BaseException | None = None
    for part, then in ((0.5, Pool.cancel_running), (0.6, Pool.stop_by_force), (1.0, None)):
        for one in closing:
            try:
                if interrupted is None:
                    one.wait(part)
            except BaseException as error:
                # A second Ctrl-C: wait no longer, but do all that is left.
                interrupted = error
        if then is not None:
            for one in closing:
                for pool in one.pools:
                    then(pool)
    for one in closing:
        one.finish()
    if interrupted is not None:
        raise interrupted


class _Closing:
    """One run on its way out."""

    def __init__(self, run: Run) -> None:
        self._run = run
        with run._lock:
            run._closed = True
            self.pools = list(run.pools.values())
        self._began = run.clock.now()
        for pool in self.pools:
            pool.close(cancel_running=not run.ambient)

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
            logger.warning(
                "%s was left while this still ran, after %g s: %s",
                run.name,
                run.grace,
                "; ".join(shown),
            )
        with run._lock:
            run.pools.clear()
        _open_runs.pop(run, None)


# The most places that the warning about leftovers names.
PLACES_SHOWN: Final = 5

# Seconds in which threads that have nothing left to do must end.
LAST_JOIN: Final = 1.0

# Every run that has not been left, for the interpreter's exit.  A dict, for
# its single operations are atomic.
_open_runs: Final[dict[Run, None]] = {}


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
        logger.warning(
            "the program ends with %d inputs queued, which are cancelled; "
            "wait for them, or use `with app.run():`",
            queued,
        )
    try:
        close_runs(runs)
    except Exception:
        logger.exception("ending what the program left running failed")
    process_timekeeper.stop()


# Callbacks run last in, first out: registered after concurrent.futures.thread's
# own, ours runs while exit hooks may still use its executors.
assert _futures_thread
try:
    threading._register_atexit(_end_open_runs)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
except (AttributeError, RuntimeError):  # pragma: no cover - not CPython, or at exit
    atexit.register(_end_open_runs)
