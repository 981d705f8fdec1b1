"""Lines: who waits for items of a queue, who waits for room in it, and when it expires.

Owns `Lines`: the items of one queue, with its waiting getters and putters, first come, first
served.  ``blocking.py`` calls it, from any thread; the methods neither wait nor run user code.

Begin at `Lines.take` and `Lines.join`, then `_settle`, then `leave`.

Who puts gives: a put serves the getters that wait, and a get lets in the putters that wait, in the
same step and under the lock.  Each waits for its own waiter, so an item wakes one getter.
Invariant, whenever the lock is free: no getter waits in a partition that has items, and the first
putter that waits does not fit.  (In a file, other processes may put and take: then the next access
from here settles.)

A getter that was served may be cancelled before it runs:
    1. a put gives an item to the getter, which is out of the line then, and wakes it,
    2. the getter's input is cancelled, or its task, or Ctrl-C ends its wait,
    3. the getter calls `leave`, which puts the item back to its place and serves the next getter.
A putter that was let in and is then cancelled withdraws its items, if all of them are still there.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from ..runtime import forking
from ..runtime.background import in_background
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.timekeeper import Timer
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import AsyncioWaiter
from .partitions import Item, Items

# Seconds between two looks at all partitions for those that have expired, at least.  An access to
# a partition looks at that partition; the timer only frees memory.
SWEEP_EVERY = 60.0


class Wakes(Protocol):
    """A waiter, of a thread or of a task."""

    # False if the event loop of the task has closed; None or True otherwise.
    def wake(self) -> object: ...


class Waiting:
    """One who waits, or might have to."""

    __slots__ = ("key", "over", "refused", "waiter")

    def __init__(self, key: bytes) -> None:
        self.key: bytes = key
        self.waiter: Wakes | None = None
        self.over: bool = False  # it got what it waits for, or the queue was deleted
        self.refused: bool = False  # another process waits for this queue already

    @property
    def is_lost(self) -> bool:
        """Whether nobody can run any more what waits here, or it is cancelled already."""
        return bool(getattr(self.waiter, "is_lost", False))


class Getter(Waiting):
    """One who wants items: up to `most`, at least one."""

    __slots__ = ("items", "most", "until")

    def __init__(self, key: bytes, most: int) -> None:
        # Not by `super()`, for an object is made at each call.
        self.key: bytes = key
        self.waiter: Wakes | None = None
        self.over: bool = False
        self.refused: bool = False
        self.most: int = most
        self.items: list[Item] = []
        # When its items expire, if they were the last ones of a partition with a key.
        self.until: tuple[Clock, float] | None = None


class Putter(Waiting):
    """One who wants to put items: all of them in one step."""

    __slots__ = ("clock", "numbers", "ttl", "values")

    def __init__(self, key: bytes, values: Sequence[bytes], ttl: float, clock: Clock) -> None:
        self.key: bytes = key
        self.waiter: Wakes | None = None
        self.over: bool = False
        self.refused: bool = False
        self.values: Sequence[bytes] = values
        self.ttl: float = ttl
        self.clock: Clock = clock
        self.numbers: list[int] = []


class Watcher(Waiting):
    """One who reads along, and waits for an item after the item `number`."""

    __slots__ = ("item", "number")

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.number: int = 0
        self.item: Item | None = None


class Line:
    """What `Lines` knows of one partition.  The lock of `Lines` guards it."""

    __slots__ = ("clock", "expires_at", "getters", "putters", "room_timer", "watchers")

    def __init__(self) -> None:
        # First come, first served; made when the first one waits.
        self.getters: OrderedDict[Getter, None] | None = None
        self.putters: OrderedDict[Putter, None] | None = None
        self.watchers: OrderedDict[Watcher, None] | None = None
        # The partition expires at this time of this clock: that of the last put.
        self.expires_at: float = math.inf
        self.clock: Clock = system_clock
        # Set while putters wait: the end of the partition makes room for them.
        self.room_timer: Timer | None = None


class Lines:
    """The items of one queue, and who waits for them."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.outlives: bool = items.outlives
        self._lock = Real.Lock()
        # Guarded by the lock:
        self.gone: bool = False  # the queue was deleted
        # A partition without items and without anybody who waits is not here, except the default
        # partition.
        self._lines: dict[bytes, Line] = {}
        self._sweep: Timer | None = None
        self._sweep_clock: Clock | None = None
        # Tasks of asyncio that were served, and have not run since.  A loop may close meanwhile.
        self._served: dict[Waiting, asyncio.AbstractEventLoop] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        self._lock = Real.Lock()
        # The threads and loops that wait are the parent's.
        forking.keep(self._lines, self._sweep, self._served)
        self._served = {}
        for line in self._lines.values():
            line.getters = line.putters = line.watchers = line.room_timer = None
        self._sweep = self._sweep_clock = None

    # -- at once ---------------------------------------------------------------------

    def take(self, getter: Getter) -> bool:
        """Give `getter` what is there; false if nothing is.  In an uninterruptible region."""
        key = getter.key
        with self._lock:
            woken = self._look(key)
            getter.items = items = self._items.take(key, getter.most)
            if items:
                if key:
                    self._note_end(getter)
                woken += self._settle(key)
        if woken:
            self._wake(woken)
        return bool(items)

    def put(self, putter: Putter) -> bool:
        """Put the items of `putter`; false if there is no room, or others wait for room.

        In an uninterruptible region.
        """
        key = putter.key
        with self._lock:
            if self.gone:
                return False
            woken = self._look(key)
            line = self._lines.get(key)
            if line is None or not line.putters:
                done = self._hand_over(putter, line, woken)
                if not done and self._let_in(putter, line):
                    done = True
                    woken += self._settle(key)
            else:
                done = False
        if woken:
            self._wake(woken)
        return done

    @uninterruptible
    def look(self, watcher: Watcher) -> bool:
        """Give `watcher` the next item, which stays in the queue; false if there is none."""
        with self._lock:
            woken = self._look(watcher.key)
            watcher.item = self._items.after(watcher.key, watcher.number)
        self._wake(woken)
        return watcher.item is not None

    @uninterruptible
    def count(self, key: bytes) -> int:
        with self._lock:
            woken = self._look(key)
            count = self._items.count(key)
        self._wake(woken)
        return count

    @uninterruptible
    def size(self, key: bytes) -> int:
        with self._lock:
            return self._items.size(key)

    @uninterruptible
    def total(self) -> int:
        with self._lock:
            woken: list[Waiting] = []
            for key in [*self._lines]:
                woken += self._look(key)
            total = self._items.total()
        self._wake(woken)
        return total

    @uninterruptible
    def clear(self, keys: Iterable[bytes] | None) -> None:
        """Remove the items of some partitions; of all for None."""
        with self._lock:
            woken: list[Waiting] = []
            if keys is None:
                keys = {*self._lines, *self._items.keys()}
            for key in keys:
                self._items.clear(key)
                woken += self._settle(key)
        self._wake(woken)

    @uninterruptible
    def end(self) -> None:
        """Free the items, and end all waits: the queue was deleted."""
        with self._lock:
            self.gone = True
            woken: list[Waiting] = []
            for line in self._lines.values():
                for waiting in (line.getters, line.putters, line.watchers):
                    woken += waiting or ()
                if line.room_timer is not None:
                    line.room_timer.cancel()
            self._lines.clear()
            self._items.end()
            if self._sweep is not None:
                self._sweep.cancel()
        for each in woken:
            each.over = True
        self._wake(woken)

    # -- waiting ------------------------------------------------------------------------

    def join(self, waiting: Waiting) -> bool:
        """Stand in line, with a waiter; false if there is nothing to wait for any more.

        Then what was wanted is there, as after `take`, `put` and `look`, or the queue is gone.
        In an uninterruptible region.
        """
        with self._lock:
            if self.gone:
                waiting.over = True
                return False
            key = waiting.key
            woken = self._look(key)
            line = self._line(key)
            if isinstance(waiting, Getter):
                if not self._items.shared:
                    # As `_settle` would do, with less work for the usual case.
                    waiting.items = self._items.take(key, waiting.most)
                    waiting.over = bool(waiting.items)
                    if key and waiting.over:
                        self._note_end(waiting)
                if not waiting.over:
                    if line.getters is None:
                        line.getters = OrderedDict()
                    line.getters[waiting] = None
                    if not (self._items.shared or woken):
                        return True
            elif isinstance(waiting, Putter):
                if line.putters is None:
                    line.putters = OrderedDict()
                line.putters[waiting] = None
            elif isinstance(waiting, Watcher):
                waiting.item = self._items.after(key, waiting.number)
                waiting.over = waiting.item is not None
                if not waiting.over:
                    if line.watchers is None:
                        line.watchers = OrderedDict()
                    line.watchers[waiting] = None
            woken += self._settle(key)
            if not waiting.over and self._items.shared and not self._items.begin_waits():
                self._remove(waiting)
                waiting.refused = True
            elif isinstance(waiting, Putter) and not waiting.over:
                self._expect_room(key, line)
        if woken:
            self._wake([each for each in woken if each is not waiting])
        return not (waiting.over or waiting.refused)

    @uninterruptible
    def is_over(self, waiting: Waiting) -> bool:
        """Leave the line, unless the wait is over already: tell whether it is."""
        if waiting.over:  # set under the lock, and never taken back
            if self._served:
                self._served.pop(waiting, None)
            return True
        with self._lock:
            self._served.pop(waiting, None)
            woken: list[Waiting] = []
            if not waiting.over:
                self._remove(waiting)
                woken = self._settle(waiting.key)
        self._wake(woken)
        return waiting.over

    @uninterruptible
    def leave(self, waiting: Waiting) -> None:
        """Undo: leave the line, put back the items of a getter, withdraw those of a putter."""
        with self._lock:
            woken = self._undo(waiting)
        self._wake(woken)

    def _wake(self, waiting: Iterable[Waiting]) -> None:
        """Wake those who were served.  Called without the lock, at the end of a step."""
        for each in waiting:
            # Keep no reference to the task: if nobody else does, it must be freed.
            waiter, each.waiter = each.waiter, None
            if waiter is not None and waiter.wake() is False:
                self.leave(each)  # its event loop closed meanwhile

    # -- under the lock --------------------------------------------------------------------

    def _undo(self, waiting: Waiting) -> list[Waiting]:
        self._served.pop(waiting, None)
        if not waiting.over:
            self._remove(waiting)
        if self.gone:
            return []
        if isinstance(waiting, Getter) and waiting.items:
            items, waiting.items = waiting.items, []
            self._items.put_back(waiting.key, items)
            if waiting.until is not None:
                line = self._line(waiting.key)
                if line.expires_at == math.inf:
                    line.clock, line.expires_at = waiting.until
        elif isinstance(waiting, Putter) and waiting.numbers:
            numbers, waiting.numbers = waiting.numbers, []
            self._items.withdraw(waiting.key, numbers)
        return self._settle(waiting.key)

    def _note_end(self, getter: Getter) -> None:
        line = self._lines.get(getter.key)
        if line is not None:
            getter.until = line.clock, line.expires_at

    def _line(self, key: bytes) -> Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        return line

    def _look(self, key: bytes) -> list[Waiting]:
        """Clear the partition if it has expired, and settle what others may have changed."""
        woken = self._reclaim() if self._served else []
        line = self._lines.get(key)
        if line is None:
            return woken
        # A file has the time of the last put of any process; in virtual time this line has it.
        keeps_time = line.clock.virtual or not self._items.shared
        if keeps_time and line.expires_at <= line.clock.now():
            self._items.clear(key)
            line.expires_at = math.inf
            return woken + self._settle(key)
        return woken + self._settle(key) if self._items.shared else woken

    def _serve(self, waiting: Waiting, woken: list[Waiting]) -> None:
        waiting.over = True
        woken.append(waiting)
        waiter = waiting.waiter
        if isinstance(waiter, AsyncioWaiter):
            self._served[waiting] = waiter.loop

    def _reclaim(self) -> list[Waiting]:
        """Take back what was given to tasks whose loop has closed before they ran."""
        woken: list[Waiting] = []
        for each, loop in list(self._served.items()):
            if loop.is_closed():
                woken += self._undo(each)
        return woken

    def _let_in(self, putter: Putter, line: Line | None) -> bool:
        """Put the items of `putter`, if there is room."""
        numbers = self._items.add(putter.key, putter.values, putter.ttl)
        if not numbers:
            return False
        self._let_in_at(putter, self._line(putter.key) if line is None else line, numbers)
        return True

    def _let_in_at(self, putter: Putter, line: Line, numbers: list[int]) -> None:
        """Note that the items of `putter` were put, as these numbers."""
        putter.numbers = numbers
        putter.over = True
        clock = putter.clock
        line.clock, line.expires_at = clock, clock.now() + putter.ttl
        if self._sweep_clock is not clock:
            self._sweep_by(clock, putter.ttl)

    def _hand_over(self, putter: Putter, line: Line | None, woken: list[Waiting]) -> bool:
        """Give the one item of `putter` to the first getter that waits; false if none does.

        As `_let_in` and `_settle` would do: with a getter in line, the partition is empty.
        """
        if line is None or not line.getters or self._items.shared or len(putter.values) != 1:
            return False
        getters = line.getters
        while getters:
            getter, _ = getters.popitem(last=False)
            if not getter.is_lost:
                number = self._items.next_number()
                getter.items = [(number, putter.values[0])]
                self._let_in_at(putter, line, [number])
                if putter.key:
                    self._note_end(getter)
                self._serve(getter, woken)
                if putter.key and not (getters or line.watchers):
                    del self._lines[putter.key]
                return True
        return False

    def _settle(self, key: bytes) -> list[Waiting]:
        """Serve those who wait in a partition; return whom to wake after the lock is released."""
        line = self._lines.get(key)
        if line is None:
            return []
        woken: list[Waiting] = []
        items, getters, putters = self._items, line.getters, line.putters
        if not (key or getters or putters or line.watchers or items.shared or line.room_timer):
            return woken
        moved = True
        while moved and (getters or putters):
            moved = False
            while getters and items.count(key):
                getter = next(iter(getters))
                if not getter.is_lost:
                    getter.items = items.take(key, getter.most)  # may raise, if in a file
                    if key:
                        self._note_end(getter)
                    moved = True
                    self._serve(getter, woken)
                del getters[getter]
            while putters:
                putter = next(iter(putters))
                if putter.is_lost:
                    del putters[putter]
                elif self._let_in(putter, line):
                    del putters[putter]
                    moved = True
                    self._serve(putter, woken)
                else:
                    break
        if line.room_timer is not None and not putters:
            line.room_timer.cancel()
            line.room_timer = None
        if line.watchers:
            for watcher in [*line.watchers]:
                watcher.item = items.after(key, watcher.number)
                if watcher.item is not None:
                    watcher.over = True
                    del line.watchers[watcher]
                    woken.append(watcher)
        if not (getters or putters or line.watchers):
            if key and not items.count(key):
                del self._lines[key]
            if items.shared:
                self._end_waits()
        return woken

    def _end_waits(self) -> None:
        """Let another process wait for the queue, if nobody waits here."""
        if not any(e.getters or e.putters or e.watchers for e in self._lines.values()):
            self._items.end_waits()

    def _remove(self, waiting: Waiting) -> None:
        line = self._lines.get(waiting.key)
        if line is not None:
            lines: list[Any] = [line.getters, line.putters, line.watchers]
            for each in lines:
                if each is not None:
                    each.pop(waiting, None)

    # -- the end of partitions ---------------------------------------------------------------

    def _expect_room(self, key: bytes, line: Line) -> None:
        """Have the end of a full partition let in who waits for room."""
        if line.expires_at != math.inf and line.room_timer is None:
            expire = _weakly(self, line.clock, partial(Lines._expire, key=key))
            line.room_timer = line.clock.call_at(line.expires_at, expire)

    @uninterruptible
    def _expire(self, key: bytes) -> None:
        with self._lock:
            line = self._lines.get(key)
            if line is None or line.room_timer is None:
                return
            line.room_timer = None
            woken = self._look(key)
            line = self._lines.get(key)
            if line is not None and line.putters:
                self._expect_room(key, line)
        self._wake(woken)

    def _sweep_by(self, clock: Clock, seconds: float) -> None:
        """Look at all partitions in some seconds, by `clock`."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_clock = clock
        when = clock.now() + max(seconds, SWEEP_EVERY)
        # Not `call_at`: virtual time does not jump to the end of a partition that nobody uses.
        self._sweep = clock.call_when_past(when, _weakly(self, clock, Lines._sweep_all))

    @uninterruptible
    def _sweep_all(self) -> None:
        with self._lock:
            clock, self._sweep, self._sweep_clock = self._sweep_clock, None, None
            woken: list[Waiting] = []
            for key in [*self._lines]:
                woken += self._look(key)
            ends = [each.expires_at for each in self._lines.values() if each.clock is clock]
            first = min(ends, default=math.inf)
            if clock is not None and first != math.inf:
                self._sweep_by(clock, first - clock.now())
        self._wake(woken)


def _weakly(lines: Lines, clock: Clock, call: Callable[[Lines], None]) -> Callable[[], None]:
    """Return a timer's callback that does not keep `lines` alive.

    The work is done on another thread if the items are in a file: a timer must not block.  Virtual
    time waits for that work: whoever waits for room gets it at the time of the timer.
    """
    reference = weakref.ref(lines)

    def fire() -> None:
        found = reference()
        if found is not None:
            if found.outlives:
                work: Callable[[], object] = partial(call, found)
                if clock.participants is not None:
                    work = clock.participants.expected(work, "the end of a partition")
                in_background(work)
            else:
                call(found)

    return fire
