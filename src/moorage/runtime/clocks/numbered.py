"""Numbered tasks and futures: what loops of a virtual clock make.

Owns `NumberedTask`, `NumberedFuture`, `InOrder`, `ChosenTimer` and `number_scopes`.  asyncio
keeps tasks in sets: a TaskGroup its children, ``asyncio.wait`` what it waits for, the loop's
clean-up all tasks that are left.  A plain task is hashed by its address, so the order in which
these cancel or wake tasks differs from run to run.  The hash of a numbered task is its number, in
the order in which the tasks of one clock were made.  ``virtual_loop.py`` makes them.  The same
holds for the cancel scopes of anyio.

A set promises no order.  So with a seed the hash is mixed with the salt of the clock's choices
(`in_set`): another seed, another order.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from typing import Any, Final

from ..real import Real
from .choices import Choices

_64_BITS: Final = (1 << 64) - 1


def in_set(number: int, loop: Any) -> int:
    """Return the hash of the task or future `number` of `loop`: its place in a set."""
    choices: Choices | None = loop.clock.participants.choices
    if choices is None:
        return number
    # The steps of splitmix64.  A checksum would not do: with another salt, it changes the same
    # bits of all numbers.
    mixed = (number + choices.salt) * 0x9E3779B97F4A7C15 & _64_BITS
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    return (mixed ^ mixed >> 27) >> 4


class NumberedTask(asyncio.Task[Any]):
    """A task that is hashed and named by its number."""

    def __init__(self, coroutine: Any, *, loop: Any, name: str | None = None, **more: Any) -> None:
        # Before the constructor, which puts the task in a set.
        self.number: int = loop.next_number()
        self._hash = in_set(self.number, loop)
        self._choices: Choices | None = loop.clock.participants.choices
        super().__init__(coroutine, loop=loop, name=name or f"Task-{self.number}", **more)

    def __hash__(self) -> int:
        return self._hash

    def cancel(self, msg: Any = None) -> bool:
        # With a seed, the order in which a set of tasks is cancelled is a part of the order.
        if self._choices is not None and not self.done():
            self._choices.note(self.number)
        return super().cancel(msg)


class NumberedFuture(asyncio.Future[Any]):
    """A future that is hashed by its number."""

    def __init__(self, *, loop: Any) -> None:
        self.number: int = loop.next_number()
        self._hash = in_set(self.number, loop)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash


class ChosenTimer(asyncio.TimerHandle):
    """A timer of a loop whose clock has a seed.

    asyncio promises no order of timers that are due at the same time, nor of a timer and a
    callback of ``call_soon``.  So the tie is chosen, and a timer may come a little later within
    its instant.
    """

    # `asyncio.TimerHandle` has slots; this class has a dict.
    choices: Choices
    number: int
    tie: int
    put_off: int = 0  # how often

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, ChosenTimer) and self.when() == other.when():
            return self.tie < other.tie
        return super().__lt__(other)

    def _run(self) -> None:
        choices = self.choices
        loop: Any = getattr(self, "_loop")  # noqa: B009
        late: list[ChosenTimer] = loop._put_off
        if late and late[0].cancelled():
            late.clear()  # the loop drops a cancelled timer without a call of this method
        if late and late[0] is not self and late[0].when() < self.when():
            loop._ready.append(self)  # a timer of an earlier time goes first
            return
        if self.put_off < 3 and (not late or late[0] is self):
            # Else nothing could come before the timer.
            others = loop._ready or loop.clock.participants.turns.is_contended
            if others and choices.one_in(3):
                self.put_off += 1
                late[:] = [self]
                loop._ready.append(self)
                return
        if late and late[0] is self:
            late.clear()
        choices.note(self.number)
        super()._run()


def number_scopes() -> None:
    """Make anyio hash the cancel scopes of loops with numbered tasks by numbers, too.

    A cancel scope keeps its child scopes in a set, and cancels them in the order of that set.
    The method is set once, on anyio's class; a scope of any other loop keeps the hash that it
    had.
    """
    from anyio._backends import _asyncio

    scope: Any = getattr(_asyncio, "CancelScope", None)
    if getattr(scope, "__hash__", None) is _PLAIN_HASH:
        scope.__hash__ = _hash_of_scope


_PLAIN_HASH: Final[Any] = object.__hash__


def _hash_of_scope(scope: Any) -> int:
    """Return the hash of a scope: the same for its whole life, also off its loop."""
    key = id(scope)
    known = _scopes.get(key)
    if known is not None:
        return known[1]
    loop: Any = Real._get_running_loop()
    if not hasattr(loop, "next_number"):
        number = object.__hash__(scope)
    else:
        number = in_set(loop.next_number(), loop)
    _scopes[key] = weakref.ref(scope, lambda _: _scopes.pop(key, None)), number
    return number


# The hash of each scope that lives and was hashed, by its id: a scope takes no attributes.
_scopes: dict[int, tuple[weakref.ref[Any], int]] = {}


class InOrder:
    """A weak set that keeps the order of arrival, for the async generators of a loop."""

    def __init__(self) -> None:
        self._items: dict[int, weakref.ref[Any]] = {}

    def add(self, item: Any) -> None:
        self._items[id(item)] = weakref.ref(item)

    def discard(self, item: Any) -> None:
        self._items.pop(id(item), None)

    def clear(self) -> None:
        self._items.clear()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        for ref in list(self._items.values()):
            item = ref()
            if item is not None:
                yield item
