"""Turns: of the busy participants of a virtual clock, one at a time runs its code.

Owns the turn of one clock: which participant has it, and the line of those that want it.
Makes every run of a test the same: threads run side by side, so the system's scheduling would
decide which of several busy participants goes first.  Begin at `want`, then `_pass_on`.

The rules:
    1. A participant that becomes busy is put at the end of the line.
    2. The participant with the turn, the *holder*, keeps the turn until it rests: until it
       waits in moorage, its loop has nothing to do, or it ends.  Then the first in line gets
       the turn.
    3. The holder's own deeds alone order the line, so the order is the same in each run.  A
       participant that another thread made busy (a thread that takes no part, real I/O, a
       thread that was joined) stands in a second line, which moves only while the first is
       empty: then all other participants rest, however fast that other thread was.
    4. Work of background threads (`expected`) comes last, in the order in which it was
       handed over.

A participant in line needs no more than the turn: its thread runs, or will come by itself.  So
a turn may be given to a participant whose thread has not come yet; all others then wait for
that thread.  A holder that blocks in something real may block for something that another
participant does: ``virtual_clock.py`` then takes the turn away from the holder (`lend`).

Everything here is called under the clock's lock, and calls nothing but the openers of gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..real import Real
from .choices import Choices


class Gate(NamedTuple):
    """Where the thread of a participant waits for the turn."""

    open: Callable[[], object]
    ident: int  # of the thread that waits
    waiter: Any  # the VirtualWaiter at whose end the thread waits; None if it is another wait


class Turns:
    """The turn of one virtual clock."""

    __slots__ = (
        "_choices",
        "_contended",
        "_expected",
        "_gates",
        "_late",
        "_line",
        "given",
        "holder",
        "optional",
        "thread",
    )

    def __init__(
        self,
        expected: dict[object, str],
        contended: Callable[[], object],
        choices: Choices | None = None,
    ) -> None:
        self._expected = expected  # read here; see `Participants.awaited`
        # Called when a participant must wait for its turn: somebody must then watch the holder.
        self._contended = contended
        self._choices = choices  # with these, the next holder is chosen from the first line
        self.holder: object = None
        # The ident of the holder's thread; 0 while that thread has not come yet.
        self.thread: int = 0
        # The keys of `_expected` that nobody waits for if their thread is blocked.
        self.optional: dict[object, None] = {}
        # How often the turn was given.
        self.given: int = 0
        # Both are sets that keep their order.
        # Invariant: if there is no holder, both are empty, and so is `_expected`, or its thread
        # has not asked for the turn yet.
        self._line: dict[object, None] = {}
        self._late: dict[object, None] = {}
        # Invariant: a key has a gate only while its thread waits for the turn.
        self._gates: dict[object, Gate] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether a participant waits for the turn."""
        others = self._expected.keys() - {self.holder}
        return bool(self._line or self._late or others or self.holder in self.optional)

    @property
    def is_contended(self) -> bool:
        """Whether a participant stands in the first line."""
        return bool(self._line)

    def waits(self, key: object) -> bool:
        """Whether `key` waits for its turn."""
        return key in self._line or key in self._late

    def want(self, key: object) -> None:
        """Put `key` in line, unless it is there or has the turn."""
        if self.holder is key or key in self._line:
            return
        if key in self._expected:
            pass  # it has its place there
        elif self.thread == Real.get_ident():
            self._late.pop(key, None)
            self._line[key] = None
        else:
            self._late[key] = None
        if self.holder is None:
            self._pass_on()
        if self.holder is not key:
            self._contended()

    def stand_again(self, key: object) -> None:
        """Put the holder `key` at the end of the line; another in line gets the turn."""
        self._free()
        self._line[key] = None

    def step_back(self, key: object) -> None:
        """Put the holder `key` in the second line; the next in line gets the turn."""
        self._late[key] = None
        self._free()

    def want_at(self, key: object, gate: Gate) -> None:
        """As `want`; `gate` is opened when `key` gets the turn, or now if it has the turn."""
        if self.holder is key:
            self.thread = gate.ident
            gate.open()
            return
        self._gates[key] = gate
        self.want(key)

    def come(self, key: object) -> bool:
        """Note that the thread of `key` is here; whether `key` has the turn."""
        if self.holder is not key:
            return False
        self.thread = Real.get_ident()
        return True

    def close_gate(self, key: object) -> None:
        """Forget the gate of `key`, whose thread does not wait any more; `key` stays in line."""
        self._gates.pop(key, None)

    def hold(self, key: object) -> None:
        """Give the turn to `key`, which runs on this thread, while nobody wants it."""
        self.holder, self.thread = key, Real.get_ident()

    def hand_over(self, key: object, to: object) -> None:
        """Replace the participant `key` by `to`, which runs on the same thread."""
        self._line.pop(key, None)
        self._late.pop(key, None)
        self._gates.pop(key, None)
        if self.holder is key:
            self.holder = to

    def give_up(self, key: object) -> None:
        """Take `key` out of the line; if it has the turn, the next in line gets the turn."""
        self._line.pop(key, None)
        self._late.pop(key, None)
        self._gates.pop(key, None)
        if self.holder is key:
            self._free()

    def let_go(self, key: object) -> None:
        """As `give_up`; the thread of `key`, if it waits for the turn, goes on without it."""
        gate = self._gates.get(key)
        self.give_up(key)
        if gate is not None:
            gate.open()

    def lend(self) -> None:
        """Take the turn from the holder, which is blocked or absent, and give it to the next.

        The holder stays busy.  Its thread runs on when it can, and wants the turn again when
        it next comes to this file.
        """
        key = self.holder
        gate = self._gates.pop(key, None)
        if key in self.optional:
            for each in list(self.optional):
                self._expected.pop(each, None)
        self._free()
        if gate is not None:
            gate.open()

    def release(self) -> list[tuple[object, Gate]]:
        """Return the participants whose threads wait at a gate, and forget these gates.

        The caller opens those gates that it chooses, and puts the others back by `want_at`.
        """
        gates, self._gates = list(self._gates.items()), {}
        for key, _ in gates:
            self._line.pop(key, None)
            self._late.pop(key, None)
        return gates

    def _free(self) -> None:
        self.holder, self.thread = None, 0
        self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to the first in line, if there is one."""
        if self._choices is not None and len(self._line) > 1:
            key = list(self._line)[self._choices.pick(len(self._line))]
        else:
            for line in (self._line, self._late, self._expected):
                key = _first(line)
                if key is not None:
                    break
            else:
                return
        self._line.pop(key, None)
        self._late.pop(key, None)
        self.holder, self.thread = key, 0
        self.given += 1
        gate = self._gates.pop(key, None)
        if gate is not None:
            self.thread = gate.ident
            gate.open()


def _first(line: dict[object, Any]) -> Any:
    """Return the first key; None if there is none."""
    while line:
        try:
            return next(iter(line), None)
        except RuntimeError:
            pass  # a finalizer has added to `_expected` meanwhile
    return None
