"""The fleet: the containers of one pool, their states and their slots.

Owns the list of containers, their states, their slots, and the counts by which the pool
decides.  `Fleet.move` is the only writer of a container's state.  Pure: it has no lock, no
clock and no thread; the pool calls it under the pool's lock.  A pool that is direct does what
`grant`, `release` and `mark_idle` do itself, in fewer steps: see `Pool._takes_directly`.

Begin at `Fleet.move`, then `Fleet.grant` and `Fleet.release`.
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
        # Invariant: all containers that are not STOPPED, in the order of their starts.
        self.containers: list[Container] = []
        # Invariant: the READY ones of `containers`, in the order in which they became READY.
        self.ready: list[Container] = []
        self.starting: int = 0  # Invariant: the number of STARTING containers.
        # Invariant: the number of slots held, STOPPED containers included: a container that
        # was stopped by force may leave a running thread, which releases its slot later.
        self.running: int = 0
        # Invariant: the number of slots of `ready` that may be granted, including the slots
        # of containers with a blocked loop.
        self.free: int = 0
        # Containers whose event loop sits in a blocking call of this library, each with the
        # number of such calls.  They take no async inputs.
        # Invariant: no number is 0.  The container may be in any state; it stays here until
        # its calls have ended.
        self.blocked: dict[Container, int] = {}
        # Invariant: a container has an `idle_since` exactly if it is READY, holds no input,
        # and is not in `emptied`.
        self.idle: int = 0  # Invariant: the number of containers with an `idle_since`.
        # Invariant: the least `idle_since`; None if no container is idle.  Written under the
        # pool's lock; the capacity reads it without the lock.
        self.longest_idle: float | None = None
        # Containers that released their last slot, or became READY without any input, since
        # the last call of `mark_idle`.  By now they may hold a slot again, or be in any other
        # state.  A container may be in the list twice.
        # Invariant that the pool keeps: empty whenever no thread holds the lock.
        self.emptied: list[Container] = []
        # STOPPED containers whose threads are not joined yet.  The pool removes them.
        self.stopped: list[Container] = []

    # -- states -----------------------------------------------------------------------

    def add(self, container: Container) -> None:
        """Add `container`, which is STARTING."""
        self.containers.append(container)
        self.starting += 1

    def move(self, container: Container, state: ContainerState) -> None:
        """Change the state of `container`, and update all lists and counts.

        Raises:
            IllegalMove: if the table of states forbids the move; nothing is changed.
        """
        before = container.state
        check_move(before, state)
        container.state = state
        if before is STARTING:
            self.starting -= 1
        elif before is READY:
            self.ready.remove(container)
            self.free -= container.slots.free
            self.end_idle(container)
        if state is READY:
            self.ready.append(container)
            self.free += container.slots.free
            if not container.slots.held:
                self.emptied.append(container)
        elif state is STOPPED:
            self.containers.remove(container)
            self.stopped.append(container)

    def resize(self, container: Container, limit: int, target: int | None = None) -> None:
        """Set the limit of `container`; set the target to `target`, to the limit if None.

        Invariant: a target never exceeds its limit, so a container that holds no more inputs
        than its target may hand a slot over.
        """
        ready = container.state is READY
        slots = container.slots
        before = slots.free
        slots.set_limit(limit)
        container.target = slots.limit if target is None else min(target, slots.limit)
        if ready:
            self.free += slots.free - before

    def block(self, container: Container) -> None:
        """Count one more blocking call of the loop of `container`."""
        self.blocked[container] = self.blocked.get(container, 0) + 1

    def unblock(self, container: Container) -> None:
        """Count one blocking call less of the loop of `container`; of a lost one, do nothing."""
        if container.state is STOPPED and container not in self.blocked:
            return
        self.blocked[container] -= 1
        if not self.blocked[container]:
            del self.blocked[container]

    def forget_loop(self, container: Container) -> None:
        """Count no blocking call of `container` any more, because it is lost."""
        self.blocked.pop(container, None)

    # -- slots ------------------------------------------------------------------------

    def grant(self, container: Container, holder: Hashable, now: float) -> bool:
        """Grant `holder` a slot of `container`, which is READY; return true if it was idle.

        Raises:
            SlotError: if no slot is free, or `holder` has one already; nothing is changed.
        """
        container.slots.acquire_nowait(holder, now)
        self.running += 1
        self.free -= 1
        if container.idle_since is None:
            return False
        self.end_idle(container)
        return True

    def release(self, container: Container, holder: Hashable) -> None:
        """Release the slot of `holder`."""
        slots = container.slots
        slots.release(holder)
        self.running -= 1
        held = len(slots.held)
        if container.state is READY and held < slots.limit:
            self.free += 1
        if not held:
            self.emptied.append(container)

    def mark_idle(self, now: float) -> Container | None:
        """Count the emptied containers as idle; return a draining container that can stop.

        After it has returned a container, the caller calls it again, until it returns None.
        """
        emptied = self.emptied
        while emptied:
            container = emptied.pop()
            if container.slots.held:
                continue  # the container got an input again
            if container.state is READY:
                if container.idle_since is not None:
                    continue  # the container is in `emptied` twice
                self.idle += 1
                container.idle_since = now
                if self.longest_idle is None:
                    self.longest_idle = now
            elif container.state is DRAINING:
                return container
        return None

    def end_idle(self, container: Container) -> None:
        """Count `container` as idle no more, because it leaves or gets an input."""
        since, container.idle_since = container.idle_since, None
        if since is None:
            return
        self.idle -= 1
        if not self.idle:
            self.longest_idle = None
        elif since == self.longest_idle:
            others = [c.idle_since for c in self.ready if c.idle_since is not None]
            self.longest_idle = min(others)

    # -- questions --------------------------------------------------------------------

    @property
    def count(self) -> int:
        """The number of containers that take inputs, or will: READY or STARTING."""
        return len(self.ready) + self.starting

    def unblocked(self) -> list[Container]:
        """Return the READY containers that take async inputs."""
        if not self.blocked:
            return self.ready
        return [container for container in self.ready if container not in self.blocked]

    def usable(self, is_async: bool) -> int:
        """Return the number of free slots that inputs of a kind can use."""
        if is_async and self.blocked:
            return sum(container.slots.free for container in self.unblocked())
        return self.free

    def longest_idle_first(self) -> list[Container]:
        """Return the idle containers, longest idle first; of equals, the latest start first."""
        idle = [c for c in self.ready if c.idle_since is not None]
        return sorted(idle, key=lambda c: (c.idle_since or 0.0, -c.number))

    def warm(self) -> list[Container]:
        """Return the draining containers that may become READY again."""
        if len(self.containers) == self.count:
            return []
        return [c for c in self.containers if c.state is DRAINING and not c.takes_no_more]

    def lost(self) -> int:
        """Return the number of slots held in containers that take no more inputs for good.

        The policy does not count them as load.  Those of a container that was given up may never
        be released.  The others are released where they are, so they need no further container: a
        container that was started for them would have no work, and would be stopped in its start.
        """
        if len(self.containers) == self.count:
            return 0
        return sum(len(c.slots.held) for c in self.containers if c.given_up or c.takes_no_more)

    def holders(self) -> Iterator[Hashable]:
        """Yield the holders of slots, container by container, in the order of the grants."""
        for container in self.containers:
            yield from container.slots.held

    def __repr__(self) -> str:
        return (
            f"<Fleet: {len(self.ready)} ready, {self.starting} starting, "
            f"{self.running} slots held, {self.free} free>"
        )
