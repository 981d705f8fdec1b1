"""Batches: when the inputs of a batched pool form a batch, and how many of them.

Owns the size and the wait of the batches of one pool.  Pure: it has no lock, no clock and no
thread; the pool calls it under the pool's lock.  ``batching.py`` says what a batch is.

Begin at `Batches.due_at`, then `Batches.form`.
"""

from __future__ import annotations

from ..input import Input
from .backlog import Backlog
from .batching import BatchOptions, make_batch


class Batches:
    """Forms the batches of one pool, whenever a slot is free for one."""

    __slots__ = ("_target", "is_async", "size", "wait")

    def __init__(self, options: BatchOptions) -> None:
        # All set once.  Running batches are in the fleet, queued inputs are in the backlog.
        self._target = options.target
        self.is_async: bool = options.target.is_async
        self.size: int = options.max_batch_size
        self.wait: float = options.wait  # seconds, counted from when the first member came

    def due_at(self, backlog: Backlog) -> float | None:
        """Return when the first batch of the queue stops waiting for more members.

        Minus infinity if the batch is full, or if its first member was in a batch before, whose
        container was lost; None if no input is queued.
        """
        if backlog.queued >= self.size:
            return float("-inf")
        first = backlog.first()
        if first is None:
            return None
        return float("-inf") if first in backlog.returned else first.queued_at + self.wait

    def form(self, backlog: Backlog) -> tuple[Input, list[Input]]:
        """Take the first batch out of the queue, which must not be empty.

        Returns:
            The batch, and its members in the order they came.
        """
        members: list[Input] = []
        while len(members) < self.size and (input := backlog.next()) is not None:
            members.append(input)
        return make_batch(self._target, members), members

    def alone(self, input: Input) -> Input:
        """Return a batch of `input` only."""
        return make_batch(self._target, [input])
