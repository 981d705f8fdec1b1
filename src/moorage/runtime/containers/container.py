"""What a container is: its states, and the contract between it and its pool.

Owns the states with their legal moves and the two protocols.  ``local.py`` is
the container that runs in this process; other kinds are files beside it, held
to the same contract.  The pool guards a container's state, slots and counts
with the pool's lock.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..clocks.clock import Clock
from ..effects import Around
from ..input import IllegalMove, Input
from ..outcome import Outcome
from .lifecycle import Lifecycle
from .slots import Slots

Effect = Callable[[], object]


class ContainerState(enum.Enum):
    """What a container is doing.  It moves along :data:`CONTAINER_MOVES` only."""

    STARTING = "starting"  # runs its enter hooks
    READY = "ready"  # takes inputs
    DRAINING = "draining"  # takes no more; those it has may end; may be taken back
    STOPPING = "stopping"  # runs its exit hooks, or will once its enter hooks end
    STOPPED = "stopped"  # its thread is about to end, its room is free


CONTAINER_MOVES: Final[Mapping[ContainerState, frozenset[ContainerState]]] = {
    ContainerState.STARTING: frozenset(
        {ContainerState.READY, ContainerState.STOPPING, ContainerState.STOPPED}
    ),
    ContainerState.READY: frozenset({ContainerState.DRAINING}),
    ContainerState.DRAINING: frozenset({ContainerState.READY, ContainerState.STOPPING}),
    ContainerState.STOPPING: frozenset({ContainerState.STOPPED}),
    ContainerState.STOPPED: frozenset(),
}


def check_move(before: ContainerState, after: ContainerState) -> None:
    """Raise IllegalMove unless the table has it."""
    if after not in CONTAINER_MOVES[before]:
        raise IllegalMove(f"a {before.value} container cannot become {after.value}")


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """What a container of a pool is made of."""

    name: str
    max_inputs: int
    has_async: bool  # whether any callable of the pool is asynchronous
    lifecycle: Lifecycle


class Host(Protocol):
    """What a container asks of its pool."""

    @property
    def lock(self) -> threading.Lock: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def around(self) -> Around | None:
        """What the code of an input is run in; None for nothing."""
        ...

    def settle(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None, /
    ) -> tuple[Input | None, Sequence[Effect]]:
        """The code of `input` has ended.  Under the lock; see `Pool.settle`."""
        ...

    def container_ready(self, container: Container, /) -> bool:
        """The enter hooks are done; false if the container is to stop again."""
        ...

    def container_failed(self, container: Container, error: BaseException, /) -> None:
        """An enter hook raised; the container is gone, no exit hook has run."""
        ...

    def container_stopped(self, container: Container, /) -> None:
        """The exit hooks have ended; the container is gone."""
        ...

    def resize(self, container: Container, limit: int, /) -> None:
        """Set how many inputs the container may run at once."""
        ...

    def stop_fetching(self, container: Container, /) -> None:
        """Give the container no more inputs."""
        ...


class Container(Protocol):
    """What a pool asks of a container."""

    # All below written by the pool, under its lock.
    number: int  # in the order of the starts; one number for one container of a run's key
    state: ContainerState  # written by `Fleet.move` only
    # The inputs up to which it is filled at first.  Invariant: not above `slots.limit`.
    target: int
    # Invariant: empty unless the state is READY or DRAINING; apart from threads that outlive
    # a container which was stopped by force.
    slots: Slots
    idle_since: float | None  # Invariant: None while it holds an input, or is not READY
    started_at: float  # when it was told to boot
    # It gets no further inputs, and is not taken back.  Once true, for ever.
    takes_no_more: bool
    # Its inputs or its start do not end: it counts no more, and its room was given back.
    # Once true, for ever.  Invariant: the state is neither STARTING nor READY then.
    given_up: bool

    @property
    def host(self) -> Host:
        """Its pool."""
        ...

    @property
    def thread(self) -> threading.Thread:
        """The one that runs its hooks and its loop."""
        ...

    def boot(self) -> None:
        """Begin to start.  No lock held."""
        ...

    def place(self, input: Input, /) -> Effect | None:
        """Run `input`, which holds a slot.  Under the lock."""
        ...

    def cancel(self, input: Input, /) -> Effect | None:
        """How to cancel `input`, which runs.  Under the lock."""
        ...

    def stop(self) -> None:
        """Run the exit hooks and end; called once.  No lock held."""
        ...

    def places(self) -> list[str]:
        """Where its threads sit that run something.  No lock held."""
        ...

    def give_up(self) -> None:
        """It takes too long to start: cancel what can be of its enter hooks.  No lock held."""
        ...

    @property
    def ended(self) -> bool:
        """Whether none of its threads lives; the calling one does."""
        ...

    def join(self, timeout: float, /) -> list[str]:
        """Join the threads in `timeout` seconds; name those that are left."""
        ...


ContainerFactory = Callable[[Host, int, int, int], Container]
"""Makes a container: host, number, target, limit."""
