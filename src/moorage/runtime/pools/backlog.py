"""The backlog: the inputs of one pool that wait for a slot.

Owns the queue, its bound, and the inputs that are OUTSIDE, not accepted yet, while the queue
is full.  Pure: it has no lock, no clock and no thread; the pool calls it under the pool's
lock, and decides which input gets a slot.

Begin at `Backlog.put`, then `Backlog.next`; for the bound at `Backlog.room`; for inputs whose
container was lost at `Backlog.put_back`.

Inputs are of two kinds, sync and async.  While the event loop of a container is blocked, a
slot of that container can be used by sync inputs only.  So the queue has one *line* for each
kind.  Inputs of one kind are served in the order they came.  Inputs of different kinds are
ordered by their tickets; the backlog gives out tickets only once both kinds have come.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from ..input import Input, InputState

QUEUED: Final = InputState.QUEUED
OUTSIDE: Final = InputState.OUTSIDE

Wake = Callable[[], object]

# A line that is not longer than this is compacted only when all its inputs are settled.
SHORT: Final = 64


class Backlog:
    """The queue of one pool.

    Args:
        most: the most inputs that may be queued; no bound if None.
        size: the most inputs that one slot runs at once, as a batch; 1 without batching.
        discarded: receives the settled inputs that are taken out of a line.  The owner of
            the list frees them outside the lock, because dropping them may run users'
            destructors.
    """

    __slots__ = (
        "_discarded",
        "_front_ticket",
        "_outside",
        "_settled",
        "_tickets",
        "line",
        "lines",
        "most",
        "outside",
        "queued",
        "returned",
        "size",
    )

    def __init__(
        self, most: int | None = None, size: int = 1, discarded: list[Input] | None = None
    ) -> None:
        self.most: int | None = most
        self.size: int = size
        self._discarded: list[Input] = [] if discarded is None else discarded
        # The line of sync inputs, then that of async inputs: indexed by `Target.is_async`.  The
        # pool may append to the line that is `line`, too.
        self.lines: tuple[deque[Input], deque[Input]] = (deque(), deque())
        # Invariant: the number of settled inputs in each line.  They were cancelled there.
        self._settled: list[int] = [0, 0]
        # Invariant: the number of QUEUED inputs in both lines.
        self.queued: int = 0
        # The line of the only kind that has come so far; the other line is empty.  None once
        # both kinds have come.
        # Invariant: while it is None, each input in a line has a ticket, and the tickets of
        # a line grow from its front to its end.
        # Invariant: while it is not None, it is not empty if inputs are queued.  The pool may
        # take out the first input itself, if that input is QUEUED.
        self.line: deque[Input] | None = self.lines[False]
        self._tickets = 0  # the last ticket that was given out behind the queue
        self._front_ticket = 1  # the last ticket that was given out at the front; below 1
        # Inputs that were put back at the front, since they last came in by `put`.  They have
        # no deadline in the queue.  Some may have a slot by now.
        # Invariant: the returned inputs of a line are before all others of that line.
        # Invariant that the pool keeps: none of them is settled.
        self.returned: set[Input] = set()
        # The inputs that are OUTSIDE, by kind, indexed as the lines are, each with the
        # callable that tells its caller that it came in.  Each input has a ticket, and each
        # dict is in the order of the tickets.
        # Invariant: exactly the OUTSIDE inputs.  Invariant that the pool keeps: no input is
        # here while there is room for it.
        self._outside: tuple[OrderedDict[Input, Wake | None], OrderedDict[Input, Wake | None]] = (
            OrderedDict(),
            OrderedDict(),
        )
        self.outside: int = 0  # Invariant: the number of inputs in both dicts of `_outside`.

    # -- the queue --------------------------------------------------------------------

    def put(self, inputs: Sequence[Input]) -> None:
        """Queue `inputs`, which are all of one kind, behind all other inputs."""
        if not inputs:
            return
        kind = inputs[0].call.target.is_async
        line = self.lines[kind]
        if line is not self.line:
            if self.line:
                # Until now only the other kind has come, so its inputs are before these.
                self._give_tickets(self.line)
                self.line = None
            elif self.line is not None:
                self.line = line
            if self.line is None:
                self._give_tickets(inputs)
        line.extend(inputs)
        self.queued += len(inputs)

    def put_back(self, inputs: Sequence[Input]) -> None:
        """Queue `inputs` of any kinds before all other inputs, in this order.

        The queue may exceed its bound by them.
        """
        for input in reversed(inputs):
            line = self.lines[input.call.target.is_async]
            if line is not self.line:
                if self.line:
                    self._give_tickets(self.line)
                    self.line = None
                elif self.line is not None:
                    self.line = line
            if self.line is None:
                self._front_ticket -= 1
                input.ticket = self._front_ticket
            line.appendleft(input)
        self.queued += len(inputs)
        self.returned.update(inputs)

    def _give_tickets(self, inputs: Sequence[Input] | deque[Input]) -> None:
        ticket = self._tickets
        for input in inputs:
            ticket += 1
            input.ticket = ticket
        self._tickets = ticket

    def next(self) -> Input | None:
        """Take out the first input and return it; None if the queue is empty."""
        line = self.line
        if line is None:
            line = self._eldest_line()
        while line:
            input = line.popleft()
            if input.state is QUEUED:
                self.queued -= 1
                return input
            self._skip(input)
        return None

    def next_sync(self) -> Input | None:
        """Take out the first sync input and return it; None if there is none."""
        line = self.lines[False]
        while line:
            input = line.popleft()
            if input.state is QUEUED:
                self.queued -= 1
                return input
            self._skip(input)
        return None

    def first(self) -> Input | None:
        """Return the input that `next` would take out.  Discards settled inputs before it."""
        line = self._eldest_line()
        return line[0] if line else None

    def overdue(self, now: float, timeout: float) -> tuple[list[Input], float | None]:
        """Return the inputs that have been queued for `timeout` seconds.

        Returned inputs have no deadline, and do not hide the inputs behind them.

        Returns:
            Those inputs, eldest first; and when the next input will have been queued for as
            long, None if there is none.
        """
        late: list[Input] = []
        following: list[float] = []
        for line in self.lines:
            for input in line:
                if input.state is not QUEUED or input in self.returned:
                    continue
                if input.queued_at + timeout > now:
                    following.append(input.queued_at + timeout)
                    break
                late.append(input)
        late.sort(key=lambda input: input.queued_at)
        return late, min(following) if following else None

    def _eldest_line(self) -> deque[Input]:
        """Return the line whose first input came first; its first input is not settled."""
        for line in self.lines:
            while line and line[0].state is not QUEUED:
                self._skip(line.popleft())
        sync, async_ = self.lines
        if not (sync and async_):
            return sync or async_
        return sync if sync[0].ticket < async_[0].ticket else async_

    def _skip(self, input: Input) -> None:
        """Count and discard `input`, which is settled and was taken out of its line."""
        self._settled[input.call.target.is_async] -= 1
        self._discarded.append(input)

    def discard(self, input: Input) -> None:
        """Stop counting `input`, which was QUEUED and is settled now.

        The input stays in its line until the line is compacted.  That happens when all
        inputs of the line are settled, or more than half of a line longer than `SHORT`.  So
        discarding n inputs costs O(n), wherever they are in the line.
        """
        kind = input.call.target.is_async
        self.queued -= 1
        self._settled[kind] += 1
        line = self.lines[kind]
        settled = self._settled[kind]
        if settled == len(line) or (len(line) > SHORT and settled * 2 > len(line)):
            self._discarded += [input for input in line if input.state is not QUEUED]
            left = [input for input in line if input.state is QUEUED]
            line.clear()
            line.extend(left)
            self._settled[kind] = 0

    def inputs(self) -> list[Input]:
        """Return the queued inputs in the order they came."""
        sync, async_ = ([input for input in line if input.state is QUEUED] for line in self.lines)
        if not (sync and async_):
            return sync or async_
        return sorted(sync + async_, key=lambda input: input.ticket)

    # -- the bound --------------------------------------------------------------------

    def room(self, is_async: bool, usable: int) -> int:
        """Return how many inputs of one kind may come in now.

        An input that gets a slot at once takes no place in the queue, so it may come in even
        if the queue is full of inputs of the other kind.

        Args:
            usable: the number of free slots that inputs of this kind can use.
        """
        most = self.most
        assert most is not None
        if self._outside[is_async]:
            return 0  # the inputs of this kind that are OUTSIDE come in first
        if self.size > 1:
            # A batch that waits for more members has a slot, so its members take no place.
            return max(0, most - self.queued + usable * self.size)
        return max(0, most - self.queued) + usable

    def stand_outside(self, inputs: Sequence[Input]) -> None:
        """Make `inputs`, for which there is no room, wait OUTSIDE until there is."""
        self._give_tickets(inputs)
        for input in inputs:
            input.state = OUTSIDE
            self._outside[input.call.target.is_async][input] = None
        self.outside += len(inputs)

    def when_in(self, input: Input, wake: Wake) -> bool:
        """Have `wake` called when `input` is no longer OUTSIDE; return false if it is not now."""
        if input.state is not OUTSIDE:
            return False
        self._outside[input.call.target.is_async][input] = wake
        return True

    def leave(self, input: Input) -> Wake | None:
        """Remove `input`, which was OUTSIDE and is settled; return its `wake`, if any."""
        self.outside -= 1
        return self._outside[input.call.target.is_async].pop(input)

    def let_in(self, usable: Callable[[bool], int], now: float) -> tuple[list[Input], list[Wake]]:
        """Queue inputs that are OUTSIDE, as far as there is room, in the order they came.

        Args:
            usable: returns how many free slots inputs of a kind can use.
            now: the present time, which becomes their `queued_at`.

        Returns:
            The inputs that came in, and the callables that tell their callers so.
        """
        assert self.most is not None
        came: list[Input] = []
        wakes: list[Wake] = []
        places = self.most - self.queued
        free = [0, 0]
        if self.size > 1:
            places += usable(bool(self._outside[True])) * self.size
        else:
            free = [usable(False), usable(True)]
        while (kind := self._next_kind(free, places)) is not None:
            if free[kind] > 0:
                # Every slot for async inputs is also a slot for sync inputs.  Which slot the
                # input gets is decided later, so count one less for both kinds.
                free = [free[False] - 1, free[True] - 1]
            else:
                places -= 1
            input, wake = self._outside[kind].popitem(last=False)
            self.outside -= 1
            input.state = QUEUED
            input.queued_at = now
            self.put((input,))
            came.append(input)
            if wake is not None:
                wakes.append(wake)
        return came, wakes

    def _next_kind(self, free: list[int], places: int) -> bool | None:
        """Return the kind of the input that comes in next; None if no input may."""
        heads = [
            (next(iter(door)).ticket, kind)
            for kind, door in enumerate(self._outside)
            if door and (places > 0 or free[kind] > 0)
        ]
        return bool(min(heads)[1]) if heads else None

    def standing(self) -> list[Input]:
        """Return the inputs that are OUTSIDE, in the order they came."""
        return sorted(
            (input for door in self._outside for input in door), key=lambda input: input.ticket
        )

    def __repr__(self) -> str:
        return f"<Backlog: {self.queued} queued, {self.outside} outside>"
