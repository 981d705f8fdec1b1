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
from collections.abc import Callable, Hashable
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
                    f"the run of {self.name} was left; call inside `with app.run():`"
                )
            pool = self.pools.get(key)
            if pool is None:
                pool = make(self.clock, self._capacity, lambda old: self.drop(key, old))
                self.pools[key] = pool
            return pool

    def drop(self, key: Hashable, pool: Pool) -> None:
        """`pool` was retired; the next call for `key` gets a new one."""
        with self._lock:
            if self.pools.get(key) is pool:
                del self.pools[key]

    def close(self) -> None:
        """Cancel what is queued and runs, run the exit hooks, join the threads.

        Takes `grace` seconds at most, of which inputs that do not end get half
        and the exit hooks the rest; what is left then is logged with the place
        where it sits.
        """
        clock = self.clock
        with self._lock:
            self._closed = True
            pools = list(self.pools.values())
        deadline = clock.now() + self.grace
        for pool in pools:
            pool.close()
        waited = [pool.wait_stopped(deadline - self.grace / 2) for pool in pools]
        if not all(waited):
            for pool in pools:
                pool.stop_by_force()
            for pool in pools:
                pool.wait_stopped(deadline)
        left = [name for pool in pools for name in pool.join(1.0)]
        if left:
            logger.warning(
                "%s was left while this still ran, %g s after it was cancelled: %s",
                self.name,
                self.grace,
                "; ".join(left),
            )
        with self._lock:
            self.pools.clear()
        _open_runs.pop(self, None)

    @property
    def queued(self) -> int:
        return sum(pool.statistics().queued for pool in list(self.pools.values()))


# Every run that has not been left, for the interpreter's exit.  A dict, for
# its single operations are atomic.
_open_runs: Final[dict[Run, None]] = {}


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
    for run in runs:
        try:
            run.close()
        except Exception:
            logger.exception("leaving the run of %s failed", run.name)
    process_timekeeper.stop()


# Callbacks run last in, first out: registered after concurrent.futures.thread's
# own, ours runs while exit hooks may still use its executors.
assert _futures_thread
try:
    threading._register_atexit(_end_open_runs)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
except (AttributeError, RuntimeError):  # pragma: no cover - not CPython, or at exit
    atexit.register(_end_open_runs)
