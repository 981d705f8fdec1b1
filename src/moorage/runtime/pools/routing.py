"""Routing: which ready container takes the next input.

Owns the two rules of choice.  Pure: they read counts and change nothing.  The pool calls them
under its lock: first :func:`fullest_below_target`, and if that returns None and the pool may
use slots above the target, :func:`emptiest_below_limit`.
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
    """Return the fullest container below its target, so that idle ones stay idle and can stop.

    Of equally full containers, return the first: the oldest container stays warm.
    """
    if len(containers) == 1:  # a fast path: true for most pools, and each input comes here
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
    """Return the container with the most free slots, so that a burst is spread."""
    best: R | None = None
    most = 0
    for container in containers:
        room = container.slots.limit - len(container.slots.held)
        if room > most:
            best, most = container, room
    return best
