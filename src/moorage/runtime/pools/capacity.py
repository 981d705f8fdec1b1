"""Capacity: how many containers and sync slots one process may hold, over all pools.

Owns the counts and the line of pools that wait for room, under a lock that is
a leaf: nothing is called while it is held, so a pool may ask under its own.
No path ever holds two pools' locks: making room by stopping another pool's
idle container is an effect, carried out with no lock held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ... import config
from .. import forking
from ..real import Real

Effect = Callable[[], object]


class Tenant(Protocol):
    """What capacity asks of a pool.  All without any lock held."""

    @property
    def longest_idle(self) -> float | None:
        """Since when its longest idle container is; a hint, read without the lock."""
        ...

    def evict_idle(self) -> bool:
        """Stop the longest idle container above `min_containers`; false to decline."""
        ...

    def room_granted(self) -> None:
        """Room for one container was set aside for this pool: use it or give it back."""
        ...


@dataclass(frozen=True, slots=True)
class CapacityStatistics:
    containers: int
    sync_slots: int
    waiting: int  # pools in line


@dataclass(frozen=True, slots=True)
class CapacitySurvey:
    """Who has room and who waits for it, in order, at one moment."""

    containers: int
    sync_slots: int
    most_containers: int
    most_sync_slots: int
    line: tuple[tuple[Tenant, int], ...]  # with the sync slots of a container of it
    tenants: tuple[Tenant, ...]


class Capacity:
    """Room for containers.  One per process, unless a test makes its own."""

    def __init__(
        self, max_containers: int | None = None, max_sync_slots: int | None = None
    ) -> None:
        self._lock = Real.Lock()
        # None for what is configured at the moment of the question.
        self._max_containers = max_containers
        self._max_sync_slots = max_sync_slots

        # All below guarded by the lock.
        # Invariant: the containers that exist and were not given up, and the rooms that are
        # on their way to pools; and the sync slots of all these.
        self._containers = 0
        self._sync_slots = 0
        # Pools that wait for room, first come, first served, each with the sync slots that a
        # container of it takes.
        # Invariant: no pool is in it twice, and the first one does not fit.
        self._line: deque[tuple[Tenant, int]] = deque()
        # Pools that have had a container and are not gone: those to ask for idle ones.
        self._tenants: dict[Tenant, None] = {}
        # Containers that were told to stop to make room, and have not.  It is a bound from
        # below: whatever container stops first counts as one of them.  At worst one idle
        # container too many is asked for.
        self._evicting = 0
        # Invariant: whether a pool waits in line, or first containers took more than the
        # bounds allow.  Read without the lock, by pools that find themselves with an idle
        # container:
        #     1. a pool marks a container as idle, under its own lock, and reads this,
        #     2. another pool joins the line, which writes this, and then looks for idle
        #        containers, as `make_room`.
        # If 1 reads before 2 writes, 2 looks after 1 marked, and finds the container.
        self.crowded: bool = False
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: what held room stayed behind."""
        forking.keep(self._line, self._tenants)
        self._lock = Real.Lock()
        self._containers = self._sync_slots = self._evicting = 0
        self._line = deque()
        self._tenants = {}
        self.crowded = False

    def register(self, pool: Tenant) -> None:
        with self._lock:
            self._tenants[pool] = None

    def forget_pool(self, pool: Tenant) -> list[Effect]:
        """The pool is gone: it gives up its place in line."""
        with self._lock:
            self._tenants.pop(pool, None)
        return self.leave_line(pool)

    def acquire_nowait(self, pool: Tenant, sync_slots: int, *, first: bool) -> bool:
        """Take room for one container; false puts `pool` in line for it, once.

        `first`: the pool has no container.  Granted beyond the bounds, so that
        a chain of calls through distinct pools always gets on.  The capacity is `crowded`
        then, and who was granted asks it to `make_room`: idle containers of other pools
        go, until the bounds hold again.
        """
        with self._lock:
            if first or (not self._line and self._fits(sync_slots)):
                self._containers += 1
                self._sync_slots += sync_slots
                self._note_crowd()
                return True
            if all(waiting is not pool for waiting, _ in self._line):
                self._line.append((pool, sync_slots))
                self._note_crowd()
            return False

    def leave_line(self, pool: Tenant) -> list[Effect]:
        """`pool` needs no more room; returns whom to tell that it is their turn."""
        with self._lock:
            self._line = deque(entry for entry in self._line if entry[0] is not pool)
            return self._serve_line()

    def free_room(self, sync_slots: int) -> list[Effect]:
        """Give back the room of one container; returns whom to tell, with no lock held."""
        with self._lock:
            self._containers -= 1
            self._sync_slots -= sync_slots
            self._evicting = max(0, self._evicting - 1)
            return self._serve_line()

    def make_room(self) -> None:
        """Ask pools for idle containers, the longest idle first.  No lock held.

        Called when a pool joins the line, when first containers went beyond the bounds,
        when a container turns idle while the capacity is crowded, and again when that was
        not room enough.

        Several threads may do it at once, and `longest_idle` may be out of date:
            1. this thread counts a container as told to stop, before it tells any,
            2. another thread comes here, and tells one fewer,
            3. the pool that this thread asks declines, because its container has an input
               again, and so does each other: this thread counts one back.
        """
        tenants: list[Tenant] | None = None
        while True:
            with self._lock:
                if self._evicting >= len(self._line) + self._excess():
                    return
                self._evicting += 1
                if tenants is None:
                    tenants = list(self._tenants)
            idle = sorted(
                (since, index)
                for index, pool in enumerate(tenants)
                if (since := pool.longest_idle) is not None
            )
            if not any(tenants[index].evict_idle() for _, index in idle):
                with self._lock:
                    self._evicting = max(0, self._evicting - 1)
                return

    def statistics(self) -> CapacityStatistics:
        with self._lock:
            return CapacityStatistics(self._containers, self._sync_slots, len(self._line))

    def hint(self) -> CapacitySurvey:
        """As `survey`, without the lock, and so maybe of two moments: for people to read."""
        return CapacitySurvey(self._containers, self._sync_slots, *self._bounds(), (), ())

    def survey(self) -> CapacitySurvey:
        with self._lock:
            return CapacitySurvey(
                self._containers,
                self._sync_slots,
                *self._bounds(),
                tuple(self._line),
                tuple(self._tenants),
            )

    def _bounds(self) -> tuple[int, int]:
        most = config.max_containers if self._max_containers is None else self._max_containers
        slots = config.max_sync_slots if self._max_sync_slots is None else self._max_sync_slots
        return most, slots

    def _excess(self) -> int:
        """Containers that must go for the bounds to hold; where slots must, one at a time."""
        most, slots = self._bounds()
        return max(0, self._containers - most, self._sync_slots > slots)

    def _note_crowd(self) -> None:
        self.crowded = bool(self._line) or self._excess() > 0

    def _fits(self, sync_slots: int) -> bool:
        most, slots = self._bounds()
        return self._containers < most and self._sync_slots + sync_slots <= slots

    def _serve_line(self) -> list[Effect]:
        # First come, first served, and strictly: a small pool that overtook a
        # big one could keep it waiting for ever.
        effects: list[Effect] = []
        while self._line and self._fits(self._line[0][1]):
            pool, sync_slots = self._line.popleft()
            self._containers += 1
            self._sync_slots += sync_slots
            effects.append(pool.room_granted)
        self._note_crowd()
        if self.crowded:
            effects.append(self.make_room)
        return effects


process_capacity: Final = Capacity()
