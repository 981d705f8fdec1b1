"""Findable calls: which spawned calls are found by their id, and for how long.

Owns the registry of the calls whose id somebody may have, and both of its bounds: a call
goes `config.findable_seconds` after it settled, and at most `config.findable_calls`
settled calls stay.  Both bounds hold by themselves: the first by a timer of the call's
own clock, the second when a call settles.

A call comes into the registry when its id is given out: `FunctionCall.object_id`,
``repr(call)``, ``current_function_call_id()`` in its own code, the graph of calls.  A call
whose id nobody has is not kept here, and costs nothing.  One that was spawned by the code
of another spawned call is kept by that call, for its graph, within the same bounds.

`function_call.py` calls it, with no pool's lock held.  Begin reading at `Registry.give_out`, then
`Registry.settled`, then `Registry._expire`.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import weakref
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from .. import config
from ..runtime import forking
from ..runtime.background import in_background
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.timekeeper import Timer
from ..runtime.input import Input, call_number
from ..runtime.outcome import Failure
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible

if TYPE_CHECKING:
    from .function_call import FunctionCall


class Record:
    """What the registry knows of one call, from when it was first kept."""

    __slots__ = ("children", "index", "is_expired", "is_named", "spawner")

    def __init__(self) -> None:
        # All guarded by the registry's lock; read without it where a late answer is as good.
        self.is_named: bool = False  # its id was given out
        self.is_expired: bool = False
        # The call whose code spawned it, and the index of the input that did.
        self.spawner: weakref.ref[FunctionCall[Any]] | None = None
        self.index: int = 0
        # What its own code spawned, by number.
        self.children: dict[int, FunctionCall[Any]] | None = None


class _Settled(weakref.ref["FunctionCall[Any]"]):
    """One settled call that is kept.  A weak reference: only `Registry._named` is a strong one."""

    __slots__ = ("at", "clock", "number")

    if TYPE_CHECKING:
        at: float  # when the call settled, by its own clock
        clock: Clock
        number: int


class _Line:
    """The settled calls that expire by one clock: the first to expire is the first in the heap."""

    __slots__ = ("clock", "due", "heap", "timer")

    def __init__(self, clock: Clock) -> None:
        self.clock: Clock = clock
        # Guarded by the registry's lock, as all below.  Entries that have gone from
        # `Registry._settled` stay until they come to the front, or are most of the heap.
        self.heap: list[tuple[float, int, _Settled]] = []
        # Invariant: set while the heap is not empty, and due when its first entry expires,
        # or at most `_slack()` later.
        self.timer: Timer | None = None
        self.due: float = 0.0


class Registry:
    """The calls that can be found by their id: what is under way, and what settled lately."""

    def __init__(self) -> None:
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        # Reentrant, and every table is whole between any two steps: 1. this lock is held,
        # 2. a garbage collection runs the user's ``__del__``, 3. that reads an id.
        # A leaf but for the clocks' own locks.  No user's object dies under it.
        self._lock = Real.RLock()
        # The calls whose id was given out, and that have not expired.  The only
        # references that keep a call alive.
        self._named: dict[int, FunctionCall[Any]] = {}
        # Those kept calls, named or children of another, that have settled: in that order.
        self._settled: OrderedDict[int, _Settled] = OrderedDict()
        # By clock.  Invariant: each entry of `_settled` is in the line of its clock; one of
        # a virtual clock is in that of the system's clock too.
        self._lines: dict[Clock, _Line] = {}
        self._order = itertools.count()
        # Failed inputs of kept calls, to be looked at once more, when nobody reads them any
        # longer: the call, and the input that was read; None if the call has just settled.
        self._failed: deque[tuple[weakref.ref[FunctionCall[Any]], Input | None]] = deque()
        # Entries whose call has died.  Finalizers add to it, without the lock.
        self._dead: deque[weakref.ref[FunctionCall[Any]]] = deque()

    def _after_fork(self) -> None:
        """In a forked child: ids are its own from now on, and find its own calls."""
        forking.keep(self._named, self._settled, self._lines, self._failed, self._dead, self._lock)
        self._begin()

    # -- what is kept --------------------------------------------------------------

    @uninterruptible
    def give_out(self, call: FunctionCall[Any], call_id: str) -> None:
        """Somebody gets the id of `call`: it can be found until it expires."""
        if call_number(call_id) is None:
            return  # of the process from which this one was forked
        with self._lock:
            record = self._record_of(call)
            if record.is_named or record.is_expired or _is_too_old(call):
                return
            record.is_named = True
            self._named[call.number] = call
        # After the store: see `settled`.
        if call._settled_at is not None:
            self.settled(call)
        self._trim(0)  # they die here, and may run code of the user's, who called

    @uninterruptible
    def add_child(self, spawner: FunctionCall[Any], index: int, call: FunctionCall[Any]) -> None:
        """The code of `spawner`, of its input `index`, has spawned `call`."""
        with self._lock:
            record = self._record_of(spawner)
            if record.is_expired:
                return
            if record.children is None:
                record.children = {}
            its = self._record_of(call)
            its.spawner, its.index = weakref.ref(spawner), index
            record.children[call.number] = call
        if call._settled_at is not None:
            self.settled(call)
        if len(self._settled) > config.findable_calls:
            self._trim(0)

    def settled(self, call: FunctionCall[Any]) -> None:
        """`call`, which has a record, has settled: from now on its time runs.

        Called twice it does nothing more.  Two threads may come here at once:

            1. the call settles: `_settled_at` is set, under the lock of its pool,
            2. that lock is let go, and `_record` is looked at,
            3. the id is given out: `_record` is set, under the lock of this registry,
            4. that lock is let go, and `_settled_at` is looked at.

        Whichever comes last sees what the other one did.
        """
        record, at = call._record, call._settled_at
        assert record is not None and at is not None
        with self._lock:
            if record.is_expired or call.number in self._settled:
                return
            clock = call._started_pool().clock
            entry = _Settled(call, self._dead.append)
            entry.at, entry.clock, entry.number = at, clock, call.number
            self._settled[call.number] = entry
            self._line_up(clock, at, entry)
            if clock is not system_clock:
                # Its own clock may be left, and stand for ever.
                self._line_up(system_clock, system_clock.now(), entry)
        if any(type(input.outcome) is Failure for input in call._inputs):
            self._look_soon(call, None)
        # Here a container may have no time for the user's ``__del__``, or be the one
        # that it needs.
        if len(self._settled) > config.findable_calls:
            gone = self._trim(min(_AT_ONCE, config.findable_calls // 8))
            if gone:
                in_background(_Gone(gone))

    def read(self, call: FunctionCall[Any], input: Input) -> None:
        """Somebody gets the error of `input`, whose call has a record."""
        self._look_soon(call, input)

    def _look_soon(self, call: FunctionCall[Any], input: Input | None) -> None:
        # Whoever makes it the first one sets the timer.
        with self._lock:
            self._failed.append((weakref.ref(call), input))
            if len(self._failed) == 1:
                system_clock.call_at(system_clock.now() + _READ_WITHIN, self._on_read)

    def _on_read(self) -> None:
        """On the thread that keeps time."""
        in_background(self._let_locals_go)

    def _let_locals_go(self) -> None:
        """Clear the frames of kept failures that were read, or that nobody else has.

        A result is kept for its time, and an error with its text and its lines; but a frame
        holds all local variables of the code that failed.
        """
        with self._lock:
            failed = list(self._failed)
            self._failed.clear()
        while failed:
            ref, input = failed.pop()
            call = ref()
            if call is None or call._settled_at is None:
                continue
            if input is None:
                inputs = call._inputs
                # The registry or its spawner has it, this `call` and the argument, and
                # inputs whose code runs on: whoever has it besides may want to read it.
                if sys.getrefcount(call) > 3 + sum(each.call is call for each in inputs):
                    continue
            else:
                inputs = (input,)
            for each in inputs:
                outcome = each.outcome
                if type(outcome) is Failure:
                    outcome.let_locals_go()

    def children(self, call: FunctionCall[Any]) -> list[tuple[int, FunctionCall[Any]]]:
        """What the code of `call` spawned and can still be found, with its input's index."""
        record = call._record
        if record is None:
            return []
        with self._lock:
            children = list((record.children or {}).values())
        return [
            (child._record.index, child)
            for child in children
            if child._record is not None and not _is_too_old(child)
        ]

    # -- finding -------------------------------------------------------------------

    @uninterruptible
    def find(self, function_call_id: str) -> FunctionCall[Any] | None:
        number = call_number(function_call_id)
        if number is None:
            return None
        self._trim(0)
        found = self._named.get(number)
        return None if found is None or _is_too_old(found) else found

    @uninterruptible
    def sweep(self) -> None:
        """Let go of all that has expired, though no timer has come."""
        with self._lock:
            gone = [call for line in list(self._lines.values()) for call in self._due(line)]
        gone += self._trim(0)

    def __len__(self) -> int:
        """How many settled calls are kept."""
        with self._lock:
            self._bury()
            return len(self._settled)

    # -- bounds --------------------------------------------------------------------

    def _record_of(self, call: FunctionCall[Any]) -> Record:
        if call._record is None:
            call._record = Record()
        return call._record

    def _bury(self) -> None:
        """Forget the entries of calls that have died.  Under the lock."""
        while self._dead:
            entry = self._dead.popleft()
            assert isinstance(entry, _Settled)
            if self._settled.get(entry.number) is entry:
                del self._settled[entry.number]

    def _trim(self, spare: int) -> list[FunctionCall[Any]]:
        """Take out the eldest, if more than `findable_calls` and `spare` are kept."""
        if len(self._settled) <= config.findable_calls + spare:  # as mostly
            return []
        gone: list[FunctionCall[Any]] = []
        with self._lock:
            self._bury()
            if len(self._settled) > config.findable_calls + spare:
                while len(self._settled) > config.findable_calls:
                    self._expire(next(iter(self._settled.values())), gone)
        return gone

    def _expire(self, entry: _Settled, gone: list[FunctionCall[Any]]) -> None:
        """Take one call out, for the caller to drop when it has let go of the lock."""
        del self._settled[entry.number]
        call = entry()
        self._named.pop(entry.number, None)
        if call is None:
            return
        gone.append(call)
        record = call._record
        assert record is not None
        record.is_expired = True
        spawner = None if record.spawner is None else record.spawner()
        if spawner is not None and spawner._record is not None and spawner._record.children:
            spawner._record.children.pop(entry.number, None)
            # Not under the lock: this may be the last reference by now.
            gone.append(spawner)

    def _due(self, line: _Line) -> list[FunctionCall[Any]]:
        """Take out those whose time is over by the clock of `line`.  Under the lock."""
        gone: list[FunctionCall[Any]] = []
        later: list[tuple[float, int, _Settled]] = []
        now = line.clock.now()
        heap = line.heap
        while heap and heap[0][0] + config.findable_seconds <= now:
            entry = heapq.heappop(heap)[2]
            if self._settled.get(entry.number) is not entry:
                continue  # it has gone
            clock = entry.clock
            if clock is line.clock or _is_left(clock):
                self._expire(entry, gone)
            else:
                later.append((now, next(self._order), entry))
        for each in later:
            heapq.heappush(heap, each)
        return gone

    def _line_up(self, clock: Clock, at: float, entry: _Settled) -> None:
        line = self._lines.get(clock)
        if line is None:
            line = self._lines[clock] = _Line(clock)
        heap = line.heap
        if len(heap) > 64 + 2 * len(self._settled):
            heap[:] = [each for each in heap if self._settled.get(each[2].number) is each[2]]
            heapq.heapify(heap)
        heapq.heappush(heap, (at, next(self._order), entry))
        self._arm(line)

    def _arm(self, line: _Line) -> None:
        """Set the timer for the first of `line`, unless it is set for then or before."""
        due = line.heap[0][0] + config.findable_seconds
        timer = line.timer
        if timer is not None:
            if line.due <= due + _slack():
                return
            timer.cancel()  # findable_seconds was lowered
        # In real time later than it might: so one timer is for many.
        line.due = due if line.clock.virtual else max(due, line.clock.now()) + _slack()
        line.timer = line.clock.call_when_past(line.due, _Expiry(self, line))

    def _on_expiry(self, line: _Line) -> None:
        """The timer of `line` is due.  On the clock's thread, where nothing of the user's dies."""
        with self._lock:
            if self._lines.get(line.clock) is not line:
                return
            line.timer = None
            gone = self._due(line)
            if line.heap:
                self._arm(line)
            else:
                del self._lines[line.clock]
        if gone:
            in_background(_Gone(gone))


class _Expiry:
    """The callback of a line's timer.  Not a closure: it holds nothing of the user's."""

    __slots__ = ("_line", "_registry")

    def __init__(self, registry: Registry, line: _Line) -> None:
        self._registry = registry
        self._line = line

    def __call__(self) -> None:
        self._registry._on_expiry(self._line)


class _Gone:
    """Calls to be dropped on the thread for that."""

    __slots__ = ("_calls",)

    def __init__(self, calls: list[FunctionCall[Any]]) -> None:
        # A list of its own: the one that it was given may outlive this.
        self._calls = calls.copy()
        calls.clear()

    def __call__(self) -> None:
        self._calls.clear()


def _is_too_old(call: FunctionCall[Any]) -> bool:
    """Whether `call` settled so long ago that it is not found, by its own clock."""
    at = call._settled_at
    if at is None:
        return False
    return call._started_pool().clock.now() >= at + config.findable_seconds


def _is_left(clock: Clock) -> bool:
    """Whether nobody is in a virtual clock, so that its time stands."""
    return clock.participants is not None and not clock.participants.open


def _slack() -> float:
    """Seconds that a result may stay after its time, so that one timer serves many."""
    return min(1.0, config.findable_seconds / 16)


# Seconds from reading the error of a kept call until its frames are cleared.
_READ_WITHIN: Final = 0.1

# Settled calls beyond the bound that go together, where no user waits for it.
_AT_ONCE: Final = 64

registry: Final = Registry()
