"""Probation: which inputs must run alone, and the container in which they do.

Owns the line of these inputs and the one container of the pool that is *on probation*: it gets
one of these inputs at a time, and no other input.  An input comes here if it was lost twice with
its container and had neighbours there: alone, it shows whether it is the one that ends
containers.  Pure: no lock, no clock, no thread; the pool calls it under the pool's lock.

Begin at `Probation.put`, then `Pool._serve_probation`, which decides all this:

    1. Inputs wait here, QUEUED, and not in the backlog.  The pool chooses a container: an idle
       one, or a new one, or, if there may be no more containers, the emptiest one.
    2. The limit of that container becomes 1, so it gets nothing more from the backlog.
    3. When it is empty, it gets the first input of the line, and when it is empty again, the
       next one.
    4. When no input waits and the container is empty, it gets its limit back.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..containers.container import Container
from ..input import Input
from .fleet import Fleet


class Probation:
    """The inputs of one pool that must run alone."""

    __slots__ = ("_limit", "_target", "container", "holder", "waiting")

    def __init__(self) -> None:
        # The inputs that wait for their turn, first in line first.
        # Invariant: all QUEUED, and none of them is in the backlog.
        self.waiting: dict[Input, None] = {}
        # The container on probation.
        # Invariant: its limit is 1; it is neither STOPPING, STOPPED nor given up when an event
        # ends; and while it is READY and inputs wait that it can run, it holds a slot.
        self.container: Container | None = None
        # The input, or the batch of one input, that was put into `container` last; None if
        # that has ended.
        self.holder: Input | None = None
        # The limit and the target that `container` gets back.
        self._limit: int = 1
        self._target: int = 1

    @property
    def is_active(self) -> bool:
        return bool(self.waiting) or self.container is not None

    # -- inputs -----------------------------------------------------------------------

    def put(self, inputs: Sequence[Input]) -> None:
        """Have `inputs` wait behind the others."""
        self.waiting.update(dict.fromkeys(inputs))

    def put_back(self, inputs: Sequence[Input]) -> None:
        """Have `inputs` wait before the others."""
        self.waiting = {**dict.fromkeys(inputs), **self.waiting}

    def leave(self, input: Input) -> bool:
        """Remove `input`, which is settled; return false if it does not wait here."""
        if input not in self.waiting:
            return False
        del self.waiting[input]
        return True

    def first(self, *, sync_only: bool) -> Input | None:
        """Return the first input in line; with `sync_only` the first that needs no loop."""
        for input in self.waiting:
            if not (sync_only and input.call.target.is_async):
                return input
        return None

    # -- the container ----------------------------------------------------------------

    def begin(self, fleet: Fleet, container: Container) -> None:
        """Put `container` on probation."""
        self.container, self.holder = container, None
        self._limit, self._target = container.slots.limit, container.target
        fleet.resize(container, 1)

    def resize(self, limit: int) -> None:
        """Set the limit that the container gets back."""
        self._limit = self._target = limit

    def end(self, fleet: Fleet) -> None:
        """Let the container be as it was before."""
        container, self.container, self.holder = self.container, None, None
        if container is not None:
            fleet.resize(container, self._limit, self._target)

    def __repr__(self) -> str:
        return f"<Probation: {len(self.waiting)} inputs wait, in {self.container!r}>"
