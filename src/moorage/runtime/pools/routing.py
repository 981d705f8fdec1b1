"""Routing: which ready container takes the next input.

Pure: reads counts, changes nothing.  The pool calls it under its lock, first
with :func:`fullest_below_target`, and when that finds none and the pool may
burst, with :func:`emptiest_below_limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ..containers.slots import Slots


class Routable(Protocol):
    @property
    def slots(self) -> Slots: ...
    @property
    def target(self) -> int: ...


R = TypeVar("R", bound=Routable)


def fullest_below_target(containers: Sequence[R]) -> R | None:
    """The container nearest below its target, so that idle ones stay idle and can go.

    Of equals, the first: the eldest container is kept warm.
    """
    if len(containers) == 1:  # most pools, and each input asks
        only = containers[0]
        slots = only.slots
        held = len(slots.held)
        return only if held < only.target and held < slots.limit else None
    best: R | None = None
    most = -1
    for container in containers:
        held = len(container.slots.held)
        if most < held < container.target and held < container.slots.limit:
            best, most = container, held
    return best


def emptiest_below_limit(containers: Sequence[R]) -> R | None:
    """The container with the most room to its limit, so that a burst spreads."""
    best: R | None = None
    most = 0
    for container in containers:
        room = container.slots.limit - len(container.slots.held)
        if room > most:
            best, most = container, room
    return best
