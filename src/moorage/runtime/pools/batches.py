"""Batches: when the inputs of a batched pool go, and how many together.

Owns the size and the wait of the batches of one pool.  Pure: it has no lock, no clock and
no thread; the pool calls it under its own lock.  What a batch is, is in ``batching.py``.

Start at `Batches.due_at`, then `Batches.form`.
"""

from __future__ import annotations

from ..input import Input
from .backlog import Backlog
from .batching import BatchOptions, make_batch


class Batches:
    """How one pool forms batches, which it does when a slot is free for one."""

    __slots__ = ("_target", "is_async", "size", "wait")

    def __init__(self, options: BatchOptions) -> None:
        # All set once: the batches that run are the fleet's, those to come the backlog's.
        self._target = options.target
        self.is_async: bool = options.target.is_async
        self.size: int = options.max_batch_size
        self.wait: float = options.wait  # seconds from the coming of the first member

    def due_at(self, backlog: Backlog) -> float | None:
        """When the first batch of the queue waits for no more members.

        Minus infinity if it is full; None if nothing is queued.
        """
        if backlog.queued >= self.size:
            return float("-inf")
        first = backlog.first()
        return None if first is None else first.queued_at + self.wait

    def form(self, backlog: Backlog) -> tuple[Input, list[Input]]:
        """Take the first batch out of the queue, which is not empty.

        Returns:
            The batch, and its members in the order of their coming.
        """
        members: list[Input] = []
        while len(members) < self.size and (input := backlog.next()) is not None:
            members.append(input)
        return make_batch(self._target, members), members
