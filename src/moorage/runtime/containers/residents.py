"""Residents: what lives in a container beside its inputs, such as a web application.

Owns the `Resident` protocol, and `make_visit_target`: the target of inputs that do not run a
function of the user's, but visit a resident.  ``lifecycle.py`` makes and begins the residents after
the enter hooks, and ends them before the exit hooks.  ``web/`` has the residents that there are:
a web request is a visit to the web application of its container.

A resident may live in another process than the one who visits it.  Then the visit has two halves,
one in each process, which send notes to each other on a `Line`: see `RemoteVisit` and
`ArrivedVisit`.

Begin at `Resident`, then `Visit`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ..context import running_input
from ..input import Target
from ..kinds import Kind
from ..thread_state import thread_state


class Resident(Protocol):
    """How one object that lives in a container is made, begun and ended.

    The order in a container: `prepare`, the enter hooks, `make`, `begin`, the inputs, `end`, the
    exit hooks, `close`.
    """

    @property
    def name(self) -> str:
        """The name under which inputs find the object; unique in the container."""
        ...

    def prepare(self) -> None:
        """Prepare the container for the object, on thread T, before anything of the user's runs."""
        ...

    def make(self, instance: Any, max_inputs: int, /) -> Any:
        """Make the object.  Runs user code, on the container's thread T, with no loop running.

        Args:
            instance: the container's instance; None for a function.
            max_inputs: how many inputs the container may run at once.
        """
        ...

    async def begin(self, made: Any, /) -> None:
        """Begin to live, on the container's loop.  If this raises, the container fails to start."""
        ...

    async def end(self, made: Any, /) -> None:
        """End, on the container's loop.  An error is logged, and the container ends all the same.

        Only for an object whose `begin` returned.
        """
        ...

    def close(self) -> None:
        """Undo `prepare` and `make`, on thread T, after the exit hooks; also of a failed start."""
        ...


class Visit(Protocol):
    """The only argument of an input that visits a resident."""

    @property
    def resident(self) -> str:
        """The name of the resident."""
        ...

    @property
    def is_websocket(self) -> bool:
        """Whether the visit is a conversation, which lasts until a side ends it."""
        ...

    async def pay(self, made: Any, task: Any, /) -> None:
        """Visit `made`, which the resident's `make` gave; `task` is the task of the input."""
        ...

    def dismiss(self, seconds: float, /) -> None:
        """End a visit that has no end of its own, within `seconds`.  From any thread."""
        ...


Blob = bytes | bytearray | memoryview

Note = tuple[int, int, Sequence[Blob]]
"""What one half of a visit says to the other: a kind, a number, and data; the halves know them."""


class Line(Protocol):
    """Carries the notes of one visit to the other process, in their order.

    Once the visit is over there, notes are dropped.
    """

    def send(self, *notes: Note) -> None:
        """Send notes.  Never blocks.  No lock held."""
        ...


class HalfVisit(Protocol):
    """One half of a visit whose other half is in another process."""

    def heard(self, kind: int, number: int, data: Sequence[Blob], /) -> None:
        """Take a note of the other half.  On the thread that reads, with no lock held."""
        ...


class RemoteVisit(HalfVisit, Protocol):
    """The half of a visit that stays in the process of the visitor."""

    def departs(self, line: Line, /) -> Sequence[Blob]:
        """Begin the visit on `line`; return what the other process makes its half of.

        Called under the pool's lock, each time when a container gets the input.
        """
        ...

    def departed(self) -> None:
        """Go on: what `departs` returned is written.  No lock held."""
        ...


class ArrivedVisit(Visit, HalfVisit, Protocol):
    """The half of a visit that is in the process of the resident."""


Arrive = Callable[[Line, Sequence[Blob]], ArrivedVisit]
"""Makes the half in the process of the resident, of what `departs` has returned."""


def _visit(visit: Visit) -> Awaitable[None]:
    container, input = thread_state.container, running_input.get()
    assert input is not None
    return visit.pay(container.residents[visit.resident], input.runner)


def _visit_as_method(instance: object, visit: Visit) -> Awaitable[None]:
    return _visit(visit)


def make_visit_target(name: str, *, is_method: bool) -> Target:
    """Return a target whose inputs have one argument, a `Visit`, and run on the container's loop.

    Args:
        name: the function as messages show it.
        is_method: whether the function is a method of a class.
    """
    function = _visit_as_method if is_method else _visit
    return Target(name, function, Kind.ASYNC, is_method=is_method)


def is_visit(target: Target) -> bool:
    """Whether the inputs of `target` are visits."""
    return target.function is _visit or target.function is _visit_as_method
