"""The contract between a container and its pool, and the states of a container.

Owns the states with their legal moves (`CONTAINER_MOVES`) and the two protocols: `Host`,
which a pool provides to its containers, and `Container`, which a container provides to its
pool.  Begin at `ContainerState`, then `Container`, then `Host`.

``local.py`` implements `Container` in this process.  Any other kind of container is one more
file beside it and keeps the same contract (``tests/contract``).  The pool's lock guards the
state, the slots and the other fields of a container.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..clocks.clock import Clock, RealWaiter
from ..clocks.first_look import WhyItWaits
from ..effects import Around, Effect
from ..input import IllegalMove, Input
from ..outcome import Outcome
from .lifecycle import Lifecycle
from .slots import Slots


class ContainerState(enum.Enum):
    """What a container is doing.  The state changes only as :data:`CONTAINER_MOVES` allows."""

    STARTING = "starting"  # the container runs its enter hooks
    READY = "ready"  # the container takes inputs
    DRAINING = "draining"  # takes no new inputs, finishes its own; may become ready again
    STOPPING = "stopping"  # runs its exit hooks, or first finishes its enter hooks
    STOPPED = "stopped"  # lost, or its thread is about to end; its room in the capacity is free


CONTAINER_MOVES: Final[Mapping[ContainerState, frozenset[ContainerState]]] = {
    ContainerState.STARTING: frozenset(
        {ContainerState.READY, ContainerState.STOPPING, ContainerState.STOPPED}
    ),
    # From READY and DRAINING to STOPPED: the container was lost.
    ContainerState.READY: frozenset({ContainerState.DRAINING, ContainerState.STOPPED}),
    ContainerState.DRAINING: frozenset(
        {ContainerState.READY, ContainerState.STOPPING, ContainerState.STOPPED}
    ),
    ContainerState.STOPPING: frozenset({ContainerState.STOPPED}),
    ContainerState.STOPPED: frozenset(),
}


def check_move(before: ContainerState, after: ContainerState) -> None:
    """Check that `CONTAINER_MOVES` allows the move.

    Raises:
        IllegalMove: if the table does not allow it.
    """
    if after not in CONTAINER_MOVES[before]:
        raise IllegalMove(f"a {before.value} container cannot become {after.value}")


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """The options that the containers of one pool are made with."""

    name: str
    max_inputs: int
    has_async: bool  # true if any callable of the pool is async
    lifecycle: Lifecycle
    # Called on the thread of the container's loop with the task of an input whose time is over;
    # returns a note for the error: see ``waiting/other_loops.py``.  None: no notes.
    why_it_waits: WhyItWaits | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """How a container was lost: it is gone, and its code did not come to its end.

    Args:
        how: how the container ended, as a clause of a sentence: "it was killed by SIGKILL".
            It becomes a part of error messages.
        unwritten: inputs, or batches, that hold a slot and are RUNNING although nothing of
            them has left this process, so their code has not begun.  Inputs that are GRANTED
            count as unwritten without being named.
        counts: false if the inputs cannot have caused the loss: this library killed the
            container, or the process that all containers come from died.
        was_ready: false if the container was never READY, so it has run no input.
    """

    how: str
    unwritten: Collection[Input] = ()
    counts: bool = True
    was_ready: bool = True


class Host(Protocol):
    """What a pool provides to its containers."""

    @property
    def lock(self) -> threading.Lock: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def around(self) -> Around | None:
        """Wraps the function of each input; None if the pool wraps none.  See `Around`."""
        ...

    def settle(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None, /
    ) -> tuple[Input | None, Sequence[Effect]]:
        """Record that the code of `input` has ended.

        Called under the lock.  For `runs_async` and the result see `Pool.settle`.
        """
        ...

    def container_ready(self, container: Container, /) -> bool:
        """Report that the enter hooks have ended; false if the container must stop at once.

        If false, the container runs its exit hooks; the pool does not call `stop`.
        """
        ...

    def container_failed(self, container: Container, error: BaseException, /) -> None:
        """Report that the start failed: the container has ended and runs no exit hook."""
        ...

    def start_hangs(self, container: Container, error: BaseException, /) -> None:
        """Give up a container that starts, because of `error`.  On any thread."""
        ...

    def container_stopped(self, container: Container, /) -> None:
        """Report that the exit hooks have ended, and the container with them."""
        ...

    def container_lost(self, container: Container, loss: Loss, /) -> None:
        """Report that the container is gone, in any state, and runs no hook any more.

        The first report counts; after it, and after `container_failed` or
        `container_stopped`, a further report does nothing.  Before the report, the container
        settles every outcome that it has received.  From the report on, it settles nothing:
            1. the pool takes the lock, and puts the inputs of the container back in the queue,
            2. an outcome that the container has received too late must not arrive now,
               because the input may run in another container.
        The pool may have noted effects before the report that it carries out after the
        report: `boot`, `stop`, `give_up`, and those of `place` and `cancel`.  They do nothing
        then.
        """
        ...

    def resize(self, container: Container, limit: int, /) -> None:
        """Set how many inputs the container may run at once."""
        ...

    def stop_fetching(self, container: Container, /) -> None:
        """Give the container no further inputs."""
        ...


class Container(Protocol):
    """What a container provides to its pool."""

    # The pool writes all fields below, under its lock.
    # Counts the containers of one key in one run, in the order of their starts; unique there.
    number: int
    state: ContainerState  # written by `Fleet.move` only
    # The pool fills the container up to this many inputs at first, later up to the limit.
    # Invariant: target <= slots.limit.
    target: int
    # Invariant: no slot is held unless the state is READY or DRAINING.  Exception: inputs that
    # run when the container is stopped by force keep their slots, async inputs until the
    # container is STOPPED, sync inputs until their code ends.
    slots: Slots
    # Invariant: None while an input holds a slot, and while the state is not READY.
    idle_since: float | None
    started_at: float  # when the pool decided to start the container
    # The container gets no further inputs, and never moves from DRAINING back to READY.
    # Invariant: once true, it stays true.
    takes_no_more: bool
    # Code in the container (its inputs or its enter hooks) does not end, so the pool does not
    # use the container any more, and its room in the capacity is free.
    # Invariant: once true, it stays true; and then the state is neither STARTING nor READY.
    given_up: bool

    @property
    def host(self) -> Host:
        """The pool of this container."""
        ...

    @property
    def thread(self) -> threading.Thread | None:
        """The thread that runs the hooks and the loop; None if it is in another process."""
        ...

    @property
    def read_for(self) -> Callable[[Input, RealWaiter], object] | None:
        """Reads what comes of an input on the thread of its caller, until the waiter is woken.

        For a moment at most: the caller waits as ever after it.  No other thread has to wake the
        caller then.  None if nothing is to be read, because the container is in this process.
        """
        ...

    def boot(self) -> None:
        """Start the container's thread, which runs the enter hooks.  Call with no lock held."""
        ...

    def place(self, input: Input, /) -> Effect | None:
        """Take `input`, which holds a slot, to run it.  Call under the lock.

        The input is GRANTED.  The container makes the input RUNNING before its code can begin:
        a container of another process does so before it writes the input's first byte.

        Returns:
            The effect that wakes the thread or loop for `input`; None if none is needed.
        """
        ...

    def cancel(self, input: Input, /) -> Effect | None:
        """Return the effect that cancels `input`, which runs; None if none is needed.

        Call under the lock.
        """
        ...

    def stop(self) -> None:
        """Make the container run its exit hooks and end.  Called once, with no lock held.

        Only for a container that became ready: see `Host.container_ready`.
        """
        ...

    def places(self) -> list[str]:
        """Return the user's lines at which threads run inputs now.  Call with no lock held."""
        ...

    def give_up(self) -> None:
        """Cancel the enter hooks, which take too long; async hooks only.

        Sync hooks cannot be cancelled and run on.  Call with no lock held.
        """
        ...

    def kill(self) -> None:
        """End the container at once, whatever its code does, if it is a process of its own.

        Its inputs are lost without a count: see `Loss`.  Does nothing to a container that is
        threads of this process, which nobody can kill.  Call with no lock held.
        """
        ...

    @property
    def ended(self) -> bool:
        """True if no thread of the container is alive; so false on a thread of its own."""
        ...

    def join(self, timeout: float, /) -> list[str]:
        """Join the threads within `timeout` seconds; return the places of those still alive."""
        ...


ContainerFactory = Callable[[Host, int, int, int], Container]
"""Makes a container from its host, number, target and limit."""
