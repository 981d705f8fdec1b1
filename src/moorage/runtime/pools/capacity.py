"""Capacity: how many containers and sync slots one process may have, over all pools.

Owns the counts, and the line of pools that wait for room.  *Room* is the right to have one
container with its sync slots.  The capacity's lock is a leaf: nothing is called while it is
held, so a pool may ask while the pool's own lock is held.  No thread ever holds the locks of
two pools: to make room by stopping another pool's idle container is an effect, carried out
with no lock held.

Begin at `Capacity.acquire_nowait`, then `Capacity.free_room` and `Capacity.make_room`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from ... import config
from .. import forking
from ..effects import Effect
from ..real import Real


class Tenant(Protocol):
    """What the capacity asks of a pool.  It calls all of these with no lock held."""

    @property
    def longest_idle(self) -> float | None:
        """When the longest idle container became idle; a hint, read without the lock."""
        ...

    def evict_idle(self) -> bool:
        """Stop the longest idle container above `min_containers`; false to decline."""
        ...

    def room_granted(self) -> None:
        """Take the room for one container that was set aside: use it, or free it."""
        ...


@dataclass(frozen=True, slots=True)
class CapacityStatistics:
    containers: int
    sync_slots: int
    waiting: int  # pools in the line


@dataclass(frozen=True, slots=True)
class CapacitySurvey:
    """The containers, the bounds, and the pools that wait for room, at one moment."""

    containers: int
    sync_slots: int
    most_containers: int
    most_sync_slots: int
    line: tuple[tuple[Tenant, int], ...]  # each pool with the sync slots of one container of it
    tenants: tuple[Tenant, ...]


class Capacity:
    """The room for containers.  One object per process, unless a test makes its own."""

    def __init__(
        self, max_containers: int | None = None, max_sync_slots: int | None = None
    ) -> None:
        self._lock = Real.Lock()
        # If None, the bound is read from `config` each time.
        self._max_containers = max_containers
        self._max_sync_slots = max_sync_slots

        # The lock guards all fields below.
        # Invariant: the containers that exist and were not given up, plus the room that is on
        # its way to pools; and the sync slots of all of these.
        self._containers = 0
        self._sync_slots = 0
        # Pools that wait for room, first come, first served, each with the sync slots that
        # one container of the pool takes.
        # Invariant: no pool is in the line twice, and the first pool does not fit.
        self._line: deque[tuple[Tenant, int]] = deque()
        # Pools that have had a container and still exist: `make_room` asks these.
        self._tenants: dict[Tenant, None] = {}
        # How many containers were asked to stop to make room and have not stopped.  A lower
        # bound: any container that stops counts as one of them.  At worst, `make_room` asks
        # for one idle container too many.
        self._evicting = 0
        # Invariant: true if a pool waits in the line, or if first containers took more than
        # the bounds allow.  A pool that finds itself with an idle container reads it without
        # the capacity's lock:
        #     1. the pool marks a container as idle, under the pool's lock, and reads this,
        #     2. another pool joins the line, which writes this, and then looks for idle
        #        containers in `make_room`.
        # If 1 reads before 2 writes, then 2 looks after 1 marked, and finds the container.
        self.crowded: bool = False
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: forget the room that containers of the parent hold."""
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
        """Forget a pool that is gone; return the same as `leave_line`."""
        with self._lock:
            self._tenants.pop(pool, None)
        return self.leave_line(pool)

    def acquire_nowait(self, pool: Tenant, sync_slots: int, *, first: bool) -> bool:
        """Take room for one container; false puts `pool` in the line for it, unless it is there.

        Args:
            sync_slots: the sync slots of the container.
            first: true if the pool has no container and needs one.  Room is granted then
                even beyond the bounds, so that a chain of calls through distinct pools
                always makes progress.  If the capacity is `crowded` after that, the caller
                calls `make_room`: idle containers of other pools stop until the bounds hold
                again.
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
        """Remove `pool` from the line; return the effects that grant room to other pools."""
        with self._lock:
            self._line = deque(entry for entry in self._line if entry[0] is not pool)
            return self._serve_line()

    def free_room(self, sync_slots: int) -> list[Effect]:
        """Free the room of one container; return the effects that grant room to other pools."""
        with self._lock:
            self._containers -= 1
            self._sync_slots -= sync_slots
            self._evicting = max(0, self._evicting - 1)
            return self._serve_line()

    def make_room(self) -> None:
        """Ask pools to stop idle containers, the longest idle first.  No lock held.

        Called when a pool joins the line, when first containers exceeded the bounds, when a
        container becomes idle while the capacity is crowded, and again if all that did not
        free enough room.

        Several threads may run it at once, and `longest_idle` may be out of date:
            1. this thread counts one container as asked to stop, before it asks any pool,
            2. another thread runs this, and asks for one container fewer,
            3. the pool that this thread asks declines, because its container got an input,
               and every other pool declines too: this thread takes its count back.
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
        """Return the counts and bounds without the lock, for people to read.

        The values may be of two moments.  The survey has an empty line and no pools.
        """
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
        """Return how many containers must stop for the bounds to hold.

        If only the sync slots exceed their bound, the answer is 1: one container at a time.
        """
        most, slots = self._bounds()
        return max(0, self._containers - most, self._sync_slots > slots)

    def _note_crowd(self) -> None:
        self.crowded = bool(self._line) or self._excess() > 0

    def _fits(self, sync_slots: int) -> bool:
        most, slots = self._bounds()
        return self._containers < most and self._sync_slots + sync_slots <= slots

    def _serve_line(self) -> list[Effect]:
        # Strictly first come, first served: small pools that overtake a big one could keep
        # the big one waiting for ever.
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
