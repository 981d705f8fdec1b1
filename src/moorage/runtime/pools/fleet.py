"""The fleet: the containers of one pool, and what follows from their states.

Owns which containers there are, their states, their slots, and the counts that the pool
decides by.  `Fleet.move` is the only writer of a container's state.  Pure: it has no
lock, no clock and no thread; the pool calls it under its own lock.

Start at `Fleet.move`, then `Fleet.grant` and `Fleet.release`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from ..containers.container import Container, ContainerState, check_move

STARTING = ContainerState.STARTING
READY = ContainerState.READY
DRAINING = ContainerState.DRAINING
STOPPING = ContainerState.STOPPING
STOPPED = ContainerState.STOPPED


class Fleet:
    """The containers of one pool."""

    __slots__ = (
        "blocked",
        "containers",
        "emptied",
        "free",
        "idle",
        "longest_idle",
        "ready",
        "running",
        "starting",
        "stopped",
    )

    def __init__(self) -> None:
        # Invariant: all but the STOPPED ones, in the order of their starts.
        self.containers: list[Container] = []
        # Invariant: the READY ones of `containers`, in the order in which they became so.
        self.ready: list[Container] = []
        self.starting: int = 0  # Invariant: how many of `containers` are STARTING.
        # Invariant: the slots held, those of STOPPED containers too: a container that was
        # stopped by force may leave a thread that runs on, and that gives its slot back late.
        self.running: int = 0
        # Invariant: the slots that may be granted in `ready`, blocked loops included.
        self.free: int = 0
        # Containers whose event loop sits in a blocking call of this library, each with
        # the number of such calls.  They take no asynchronous inputs.
        # Invariant: no number is 0.  A container of any state may be in it, until its call
        # has ended.
        self.blocked: dict[Container, int] = {}
        # Invariant: a container has an `idle_since` exactly if it is READY, holds nothing,
        # and is not in `emptied`.
        self.idle: int = 0  # Invariant: how many have one.
        # Invariant: the least of them; None if there is none.  Written under the pool's
        # lock; the capacity reads it without.
        self.longest_idle: float | None = None
        # Containers that gave back their last slot, or became READY without any holder,
        # since `mark_idle` was last called.  They may hold a slot again by now, be in any other
        # state, and be in it twice.
        # Invariant, which the pool keeps: empty whenever nobody holds the lock.
        self.emptied: list[Container] = []
        # STOPPED ones whose threads are still to be joined.  The pool takes them out.
        self.stopped: list[Container] = []

    # -- states -----------------------------------------------------------------------

    def add(self, container: Container) -> None:
        """`container` begins to start."""
        self.containers.append(container)
        self.starting += 1

    def move(self, container: Container, state: ContainerState) -> None:
        """Change the state of `container`, and all that follows from it.

        Raises:
            IllegalMove: if the table of states forbids it; nothing is changed.
        """
        before = container.state
        check_move(before, state)
        container.state = state
        if before is STARTING:
            self.starting -= 1
        elif before is READY:
            self.ready.remove(container)
            self.free -= container.slots.free
            self._end_idle(container)
        if state is READY:
            self.ready.append(container)
            self.free += container.slots.free
            if not container.slots.held:
                self.emptied.append(container)
        elif state is STOPPED:
            self.containers.remove(container)
            self.stopped.append(container)

    def resize(self, container: Container, limit: int) -> None:
        """Let `container` run up to `limit` inputs, and make that its target.

        A target never exceeds its limit: who is at the target has a slot to hand over.
        """
        ready = container.state is READY
        slots = container.slots
        before = slots.free
        slots.set_limit(limit)
        container.target = slots.limit
        if ready:
            self.free += slots.free - before

    def block(self, container: Container) -> None:
        """The loop of `container` begins a blocking call."""
        self.blocked[container] = self.blocked.get(container, 0) + 1

    def unblock(self, container: Container) -> None:
        """A blocking call of the loop of `container` has ended."""
        self.blocked[container] -= 1
        if not self.blocked[container]:
            del self.blocked[container]

    # -- slots ------------------------------------------------------------------------

    def grant(self, container: Container, holder: Hashable, now: float) -> bool:
        """Give `holder` a slot of `container`, which is READY; true if that was idle.

        Raises:
            SlotError: if no slot is free, or `holder` has one; nothing is changed.
        """
        container.slots.acquire_nowait(holder, now)
        self.running += 1
        self.free -= 1
        if container.idle_since is None:
            return False
        self._end_idle(container)
        return True

    def release(self, container: Container, holder: Hashable) -> None:
        """Take the slot of `holder` back."""
        slots = container.slots
        slots.release(holder)
        self.running -= 1
        held = len(slots.held)
        if container.state is READY and held < slots.limit:
            self.free += 1
        if not held:
            self.emptied.append(container)

    def mark_idle(self, now: float) -> Container | None:
        """Count emptied containers as idle; return one that drains, and can stop.

        Once one was returned it is to be called again, for there may be others.
        """
        emptied = self.emptied
        while emptied:
            container = emptied.pop()
            if container.slots.held:
                continue  # it has an input again
            if container.state is READY:
                if container.idle_since is not None:
                    continue  # it was emptied twice
                self.idle += 1
                container.idle_since = now
                if self.longest_idle is None:
                    self.longest_idle = now
            elif container.state is DRAINING:
                return container
        return None

    def _end_idle(self, container: Container) -> None:
        since, container.idle_since = container.idle_since, None
        if since is None:
            return
        self.idle -= 1
        if since == self.longest_idle:
            others = [c.idle_since for c in self.ready if c.idle_since is not None]
            self.longest_idle = min(others) if others else None

    # -- questions --------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Containers that take inputs, or will."""
        return len(self.ready) + self.starting

    def unblocked(self) -> list[Container]:
        """READY containers that take asynchronous inputs."""
        if not self.blocked:
            return self.ready
        return [container for container in self.ready if container not in self.blocked]

    def usable(self, is_async: bool) -> int:
        """Free slots that an input of this kind may have."""
        if is_async and self.blocked:
            return sum(container.slots.free for container in self.unblocked())
        return self.free

    def longest_idle_first(self) -> list[Container]:
        """Idle containers, the longest idle first; of equals, the youngest first."""
        idle = [c for c in self.ready if c.idle_since is not None]
        return sorted(idle, key=lambda c: (c.idle_since or 0.0, -c.number))

    def warm(self) -> list[Container]:
        """Containers that drain and may be taken back."""
        if len(self.containers) == self.count:
            return []
        return [c for c in self.containers if c.state is DRAINING and not c.takes_no_more]

    def lost(self) -> int:
        """Slots held in containers that were given up: no load, for they may never be free."""
        if len(self.containers) == self.count:
            return 0
        return sum(len(c.slots.held) for c in self.containers if c.given_up)

    def holders(self) -> Iterator[Hashable]:
        """Who holds a slot, container by container, in the order of the grants."""
        for container in self.containers:
            yield from container.slots.held

    def __repr__(self) -> str:
        return (
            f"<Fleet: {len(self.ready)} ready, {self.starting} starting, "
            f"{self.running} slots held, {self.free} free>"
        )
