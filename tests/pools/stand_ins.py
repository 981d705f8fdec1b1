"""What the leaves of a pool are given in these tests: inputs, and containers that do nothing.

Owns no promise.  The states of inputs are set along their table of moves, as the pool does.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any

from moorage.runtime.containers.container import ContainerState
from moorage.runtime.containers.slots import Slots
from moorage.runtime.input import Input, InputState, Kind, Target, next_call_number


class StillCall:
    """A call that nobody waits for."""

    def __init__(self, kind: Kind = Kind.SYNC) -> None:
        self.number = next_call_number()
        self.target = Target("f", lambda: None, kind)
        self.context = Context()

    def settled(self, input: Input, /) -> None:
        return None


def make_inputs(count: int, kind: Kind = Kind.SYNC) -> list[Input]:
    """Inputs of one call, in the order of their indices."""
    call = StillCall(kind)
    return [Input(call, index, (index,), None) for index in range(count)]


def make_input(kind: Kind = Kind.SYNC) -> Input:
    return make_inputs(1, kind)[0]


def run(input: Input) -> Input:
    """Its code runs."""
    input.state = InputState.RUNNING
    return input


def settle(input: Input) -> Input:
    input.state = InputState.SETTLED
    return input


class StillContainer:
    """A container that does nothing."""

    def __init__(self, number: int = 1, limit: int = 2, target: int | None = None) -> None:
        self.number = number
        self.state = ContainerState.STARTING
        self.target = limit if target is None else target
        self.slots = Slots(limit)
        self.idle_since: float | None = None
        self.started_at = 0.0
        self.read_for = None
        self.takes_no_more = False
        self.given_up = False

    def __repr__(self) -> str:
        return f"<StillContainer {self.number}: {self.state.value}, {self.slots!r}>"


def ready_container(fleet: Any, number: int = 1, limit: int = 2) -> StillContainer:
    """A container of `fleet` that has started."""
    container = StillContainer(number, limit)
    fleet.add(container)
    fleet.move(container, ContainerState.READY)
    return container
