"""Participants: who takes part in a virtual clock, and which of them are busy.

Owns the parts of threads, event loops and inputs in one virtual clock, and the scopes that
keep the clock open.  Time moves only while nobody is busy: the clock looks at
`Participants.busy` for that, and is rung when it has become empty.  Knows of the clock
what `Participants` is handed, and not what a timer is.

The engine finds this object as ``clock.participants``, which is None in real time.  It calls
`begin`, `bind_thread` and `end` for what it runs, `expected` for what it hands to another
thread, `rest` and `one_by_one` where order must not depend on threads, and `enter` and
`leave` for the threads of users.

Begin reading at `begin`, `bind_thread` and `end`, then `enter` and `leave`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from ...exception import InvalidError
from ..real import Real
from ..thread_state import thread_state
from ..uninterruptible import uninterruptible
from .patched_time import VirtualTime
from .stuck import ON_ITS_LOOP

# Whose timers come first, of those that are due at one time and were set within one
# instant.  Participants of the engine come before the threads that entered, which have
# told them what to do; those that nobody knows come last.
BEFORE_ALL: Final = -1
INSIDE: Final = 0
OUTSIDE: Final = 1
LAST: Final = (2, 0)


class LoopPart:
    """An event loop of the clock, as a participant: it takes its thread's part while it runs."""

    clock: Any  # the clock of which it is
    # All guarded by the clock's lock.
    # While the loop runs: what its thread takes part as before and after.
    outer: object = None
    # Whether its thread sits in a wait of the clock's.
    waits: bool = False


class _Part:
    """The part of one thread that entered the clock."""

    __slots__ = ("before", "depth", "key")

    def __init__(self, before: VirtualTime | None) -> None:
        self.depth: int = 1
        # None if the thread took part already, as a worker does.
        self.key: object = None
        self.before: VirtualTime | None = before  # the clock that it lived by before


class Timekeeping(Protocol):
    """What is asked of the clock."""

    def ring(self) -> None:
        """Nobody is busy: look whether time may move.  Under the lock."""
        ...

    def shut(self) -> threading.Thread | None:
        """The last scope was left.  Under the lock; the thread is to be joined without it."""
        ...

    def rest(self) -> None:
        """Wait until all others have come to rest."""
        ...


class Participants:
    """Who takes part in one virtual clock."""

    def __init__(self, clock: VirtualTime, keeping: Timekeeping) -> None:
        self._clock = clock
        self._keeping = keeping
        # The clock's lock too.  A leaf: nothing is called while it is held but `keeping`.
        self.lock: threading.Lock = Real.Lock()
        # All below are guarded by the lock.
        # Names of those that are busy.  Invariant: time moves only while this, and
        # `awaited`, is empty.
        self.busy: dict[object, str] = {}
        # What finalizers handed to another thread.  Added to without the lock, which they
        # may not take, by threads that take part and so are busy.
        self.awaited: dict[object, str] = {}
        # By the thread's ident: as what its waits count.
        self.key_of_thread: dict[int, object] = {}
        # The order in which participants came: those of the engine, then the others.
        self.orders: dict[object, tuple[int, int]] = {}
        self._came = 0
        # Counts up with everything that happens here.
        self.changes: int = 0
        # The parts of threads that entered, by the thread's ident.
        self.parts: dict[int, _Part] = {}
        # Scopes and loops that keep the clock open; the last of them closes it.
        self.open: int = 0
        self.closed: bool = False

    def after_fork(self) -> None:
        """In a forked child: of those that took part, this thread is left."""
        me = Real.get_ident()
        key, part = self.key_of_thread.get(me), self.parts.get(me)
        self.lock = Real.Lock()
        self.busy = {} if key is None else {key: Real.current_thread().name}
        self.awaited = {}
        self.key_of_thread = {} if key is None else {me: key}
        self.orders = {}
        self.parts = {} if part is None else {me: part}
        self.open = 0 if part is None else part.depth

    # -- what the engine runs --------------------------------------------------------

    @uninterruptible
    def begin(self, key: object, name: str) -> None:
        """Count `key` as busy from now on, on behalf of whoever will serve it."""
        with self.lock:
            self.busy[key] = name
            self.order(key, INSIDE)
            self.changes += 1

    @uninterruptible
    def bind_thread(self, key: object) -> None:
        """Let this thread's waits of ours count as those of `key`."""
        thread_state.clock = self._clock
        with self.lock:
            self.key_of_thread[Real.get_ident()] = key

    @uninterruptible
    def unbind_thread(self, key: object) -> None:
        """Let this thread be on its own again; `key` goes on."""
        me = Real.get_ident()
        with self.lock:
            if self.key_of_thread.get(me) is key:
                del self.key_of_thread[me]

    @uninterruptible
    def end(self, key: object) -> None:
        """`key` takes no part any more."""
        with self.lock:
            for ident, bound in list(self.key_of_thread.items()):
                if bound is key:
                    del self.key_of_thread[ident]
            self.orders.pop(key, None)
            self.idle(key)

    def expected(self, callback: Callable[[], object], name: str) -> Callable[[], object]:
        """`callback`, to be called once by a thread that takes no part: time stands until then.

        Takes no lock: finalizers call it.
        """
        key = object()
        self.awaited[key] = name

        def call() -> None:
            try:
                callback()
            finally:
                with uninterruptible, self.lock:
                    self.awaited.pop(key, None)
                    self.changes += 1
                    self.ring_if_idle()

        return call

    def rest(self) -> None:
        """Wait until all others have come to rest, and go on before any other timer fires.

        With patience only, for one of them may wait in real time for what comes then.
        """
        self._keeping.rest()

    def one_by_one(self, effects: Sequence[Callable[[], object]]) -> list[Callable[[], object]]:
        """Effects that have `effects` carried out one after the other, by the clock.

        Each comes when what the one before set off has come to rest, or the order would be
        left to the machine:
            1. inputs of several containers wait for the members of one batch,
            2. the batch ends, and all of them are woken,
            3. who ends first, and so has the first slot, must be the same in each run.
        """
        clock = self._clock
        return [partial(clock.call_at, clock.now(), effect) for effect in effects]

    # -- threads of users --------------------------------------------------------------

    @property
    def has_this_thread(self) -> bool:
        return Real.get_ident() in self.key_of_thread

    def enter(self, written: str) -> int:
        """Let this thread take part, and keep the clock open; return what `leave` takes.

        Raises:
            InvalidError: on an event loop that lives in real time; `written` is what to say
                was written there.
        """
        self.refuse_real_loop(written)
        return self.enter_scope()

    @uninterruptible
    def enter_scope(self, name: str | None = None, *, opens: bool = True) -> int:
        """As `enter`, on any thread.  Without `opens` the scope does not keep the clock open.

        On a loop of this clock it is the loop that takes part, and the thread
        does when that has stopped: between two runs of the loop time stands.
        """
        me = Real.get_ident()
        with self.lock:
            if opens:
                self.keep_open()
            part = self.parts.get(me)
            if part is not None:
                part.depth += 1
                return me
            self.parts[me] = part = _Part(thread_state.clock)
            bound = self.key_of_thread.get(me)
            if bound is None:
                part.key = key = object()
                self.busy[key] = name or Real.current_thread().name
                self.order(key, OUTSIDE)
                self.key_of_thread[me] = key
                self.changes += 1
            elif isinstance(bound, LoopPart) and bound.outer is None:
                part.key = bound.outer = key = object()
                self.order(key, OUTSIDE)
        thread_state.clock = self._clock
        return me

    @uninterruptible
    def leave(self, ident: int, *, opens: bool = True) -> None:
        """End one scope of the thread `ident`; it has no part any more if it has no other."""
        thread: threading.Thread | None = None
        with self.lock:
            part = self.parts.get(ident)
            if part is not None:
                part.depth -= 1
                if not part.depth:
                    del self.parts[ident]
                    self._end_part(ident, part)
            if opens:
                thread = self.one_less()
        if thread is not None:
            thread.join()

    def _end_part(self, ident: int, part: _Part) -> None:
        if ident == Real.get_ident() and ident not in self.key_of_thread:
            thread_state.clock = part.before
        if part.key is None:
            return
        bound = self.key_of_thread.get(ident)
        if isinstance(bound, LoopPart) and bound.outer is part.key:
            bound.outer = None
        elif bound is part.key:
            del self.key_of_thread[ident]
            if ident == Real.get_ident():
                thread_state.clock = part.before
        self.orders.pop(part.key, None)
        self.idle(part.key)

    def refuse_await(self) -> None:
        """Refuse to await, on a loop in real time, what only virtual time ends.

        Raises:
            InvalidError: if this thread takes part, and so holds up time.
        """
        if self.has_this_thread:
            self.refuse_real_loop("await ....aio(...)")

    def refuse_real_loop(self, written: str) -> None:
        """Refuse a thread whose loop lives in real time: while that idles, time would stand."""
        loop: object = Real._get_running_loop()
        if isinstance(loop, LoopPart) and loop.clock is self._clock:
            return
        if loop is not None or in_trio():
            what = "trio" if loop is None else "an event loop"
            if isinstance(loop, LoopPart):
                what = "an event loop of another clock"
            elif loop is not None:
                what = "an event loop that lives in real time"
            raise InvalidError(
                f"`{written}` was written on {what}, which does not take part in this clock, "
                f"and time would stand still while it waits; {ON_ITS_LOOP}"
            )

    # -- for the clock and its loops, all under the lock ---------------------------------

    def order(self, key: object, side: int) -> None:
        self._came += 1
        self.orders.setdefault(key, (side, self._came))

    def side_of(self, key: object) -> tuple[int, int]:
        """Where the timers of `key` come among those of one instant."""
        return self.orders.get(key.outer if isinstance(key, LoopPart) else key, LAST)

    def idle(self, key: object) -> None:
        self.changes += 1
        if self.busy.pop(key, None) is not None:
            self.ring_if_idle()

    def ring_if_idle(self) -> None:
        """Ring the clock if nobody is busy."""
        if not self.busy:
            self._keeping.ring()

    def keep_open(self) -> None:
        self.open += 1
        self.closed = False

    def one_less(self) -> threading.Thread | None:
        """End one scope; return the thread to be joined once the lock is let go."""
        self.open = max(0, self.open - 1)
        return None if self.open else self._keeping.shut()


def in_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_trio_token()
    except (AttributeError, RuntimeError):
        return False
    return True
