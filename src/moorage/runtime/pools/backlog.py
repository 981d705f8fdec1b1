"""The backlog: the inputs of one pool that wait for a slot.

Owns the queue, its bound, and who stands outside while it is full.  Pure: it has no lock,
no clock and no thread; the pool calls it under its own lock, and decides who gets a slot.

Inputs are of two kinds, synchronous and asynchronous, and a slot may be of use to one
kind only, while its container's event loop is blocked.  So there is a line for each kind.
Within a kind inputs are served in the order in which they came; across kinds by their
tickets, which only a backlog that has seen both kinds hands out.

Start at `Backlog.put`, then `Backlog.next`; for the bound at `Backlog.room`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from ..input import Input, InputState

QUEUED: Final = InputState.QUEUED
OUTSIDE: Final = InputState.OUTSIDE

Wake = Callable[[], object]

# A shorter line is not looked through for its settled inputs.
SHORT: Final = 64


class Backlog:
    """The queue of one pool.

    Args:
        most: the most inputs that may be queued; no bound if None.
        size: the most inputs that one slot runs at once, as a batch.
        discarded: gets the settled inputs that are taken out of a line.  Whoever has the
            list lets go of them with no lock held: a user's objects may die with them.
    """

    __slots__ = (
        "_discarded",
        "_outside",
        "_lines",
        "_settled",
        "_tickets",
        "line",
        "most",
        "outside",
        "queued",
        "size",
    )

    def __init__(
        self, most: int | None = None, size: int = 1, discarded: list[Input] | None = None
    ) -> None:
        self.most: int | None = most
        self.size: int = size
        self._discarded: list[Input] = [] if discarded is None else discarded
        # Synchronous inputs, then asynchronous ones: indexed by `Target.is_async`.
        self._lines: tuple[deque[Input], deque[Input]] = (deque(), deque())
        # Invariant: how many inputs of each line are settled; they were cancelled there.
        self._settled: list[int] = [0, 0]
        # Invariant: how many inputs of both lines are QUEUED.
        self.queued: int = 0
        # The line of the one kind that has come so far, the other line being empty; None
        # once both kinds have come.
        # Invariant: while it is None, each input in a line has a ticket, and the tickets of
        # a line grow from its front to its end.
        # Not empty while inputs are queued.  The pool takes the first one out itself, if it
        # is QUEUED.
        self.line: deque[Input] | None = self._lines[False]
        self._tickets = 0  # the last one that was given out
        # Who stands outside, indexed as the lines are, each with how to wake who waits for
        # its coming in.  Each has a ticket, of which a door is in the order.
        # Invariant: those that are OUTSIDE; and, which the pool keeps, none while there is
        # room for it.
        self._outside: tuple[OrderedDict[Input, Wake | None], OrderedDict[Input, Wake | None]] = (
            OrderedDict(),
            OrderedDict(),
        )
        self.outside: int = 0  # Invariant: the length of both doors.

    # -- the queue --------------------------------------------------------------------

    def put(self, inputs: Sequence[Input]) -> None:
        """Queue `inputs`, which are of one kind, behind all others."""
        if not inputs:
            return
        kind = inputs[0].call.target.is_async
        line = self._lines[kind]
        if line is not self.line:
            if self.line:
                # The other kind was alone until now, and its inputs came before these.
                self._give_tickets(self.line)
                self.line = None
            elif self.line is not None:
                self.line = line
            if self.line is None:
                self._give_tickets(inputs)
        line.extend(inputs)
        self.queued += len(inputs)

    def _give_tickets(self, inputs: Sequence[Input] | deque[Input]) -> None:
        ticket = self._tickets
        for input in inputs:
            ticket += 1
            input.ticket = ticket
        self._tickets = ticket

    def next(self) -> Input | None:
        """Take out the first input; None if there is none."""
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
        """Take out the first synchronous input; None if there is none."""
        line = self._lines[False]
        while line:
            input = line.popleft()
            if input.state is QUEUED:
                self.queued -= 1
                return input
            self._skip(input)
        return None

    def first(self) -> Input | None:
        """The input that `next` would take out."""
        line = self._eldest_line()
        return line[0] if line else None

    def eldest(self) -> Input | None:
        """The input that is queued for the longest time."""
        line = self._eldest_line()
        if not line:
            return None
        other = self._lines[line is self._lines[False]]
        return other[0] if other and other[0].queued_at < line[0].queued_at else line[0]

    def _eldest_line(self) -> deque[Input]:
        """The line whose first input came first; it has no settled input in front."""
        for line in self._lines:
            while line and line[0].state is not QUEUED:
                self._skip(line.popleft())
        sync, asynchronous = self._lines
        if not (sync and asynchronous):
            return sync or asynchronous
        return sync if sync[0].ticket < asynchronous[0].ticket else asynchronous

    def _skip(self, input: Input) -> None:
        """`input`, which is settled, was taken out of its line."""
        self._settled[input.call.target.is_async] -= 1
        self._discarded.append(input)

    def discard(self, input: Input) -> None:
        """`input` was QUEUED and is settled now: count it no more.

        It stays in its line until that is looked through, which happens when more than half
        of the line is settled, or all of it.  So n inputs cost O(n), wherever in the line
        they are.
        """
        kind = input.call.target.is_async
        self.queued -= 1
        self._settled[kind] += 1
        line = self._lines[kind]
        settled = self._settled[kind]
        if settled == len(line) or (len(line) > SHORT and settled * 2 > len(line)):
            self._discarded += [input for input in line if input.state is not QUEUED]
            left = [input for input in line if input.state is QUEUED]
            line.clear()
            line.extend(left)
            self._settled[kind] = 0

    def inputs(self) -> list[Input]:
        """The queued inputs, in the order in which they came."""
        sync, asynchronous = (
            [input for input in line if input.state is QUEUED] for line in self._lines
        )
        if not (sync and asynchronous):
            return sync or asynchronous
        return sorted(sync + asynchronous, key=lambda input: input.ticket)

    # -- the bound --------------------------------------------------------------------

    def room(self, is_async: bool, usable: int) -> int:
        """How many inputs of one kind may come in now; `usable` slots are free for them.

        An input that gets a slot at once takes no place in the queue: so it may come in
        though the queue is full of the other kind.
        """
        most = self.most
        assert most is not None
        if self._outside[is_async]:
            return 0  # those come in first
        if self.size > 1:
            # A batch that waits for more members has a slot: they need no place.
            return max(0, most - self.queued + usable * self.size)
        return max(0, most - self.queued) + usable

    def stand_outside(self, inputs: Sequence[Input]) -> None:
        """There is no room for `inputs`, and they wait until there is."""
        self._give_tickets(inputs)
        for input in inputs:
            input.state = OUTSIDE
            self._outside[input.call.target.is_async][input] = None
        self.outside += len(inputs)

    def when_in(self, input: Input, wake: Wake) -> bool:
        """Have `wake` called when `input` stands outside no more; false if it does not."""
        if input.state is not OUTSIDE:
            return False
        self._outside[input.call.target.is_async][input] = wake
        return True

    def leave(self, input: Input) -> Wake | None:
        """`input` stood outside and is settled; return how to wake who waits for it."""
        self.outside -= 1
        return self._outside[input.call.target.is_async].pop(input)

    def let_in(self, usable: Callable[[bool], int], now: float) -> tuple[list[Input], list[Wake]]:
        """Queue who stands outside, as far as there is room, in the order of their coming.

        Args:
            usable: says how many slots are free for a kind.
            now: the time since when they are queued.

        Returns:
            Those that came in, and how to wake who waits for that.
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
                # The slots for asynchronous inputs are among those for synchronous ones,
                # and which of them the input gets is not decided here.
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
        """The kind of the input that comes in next; None if none may."""
        heads = [
            (next(iter(door)).ticket, kind)
            for kind, door in enumerate(self._outside)
            if door and (places > 0 or free[kind] > 0)
        ]
        return bool(min(heads)[1]) if heads else None

    def standing(self) -> list[Input]:
        """Who stands outside, in the order of their coming."""
        return sorted(
            (input for door in self._outside for input in door), key=lambda input: input.ticket
        )

    def __repr__(self) -> str:
        return f"<Backlog: {self.queued} queued, {self.outside} outside>"
