"""The registry: which spawned calls are found by their id, and for how long.

Owns the calls whose id was given out, and the two bounds on them.  ``function_call.py`` and
``ways.py`` call the registry, without any pool's lock.  Begin at `Registry.give_out`, then
`Registry.settled`, then `Registry._take_due` (the time) and `Registry._trim` (the count).

The bounds: the registry drops a call `config.findable_seconds` after the call settled, and
keeps about `config.findable_calls` settled calls (up to 64 more for a moment).  Both bounds
hold by themselves: the first by a timer of the call's own clock, the second when a call
settles.

A call enters the registry when its id is given out: by `FunctionCall.object_id`,
``repr(call)``, ``current_function_call_id()`` in its own code, or the graph of calls.  The
registry does not keep a call whose id nobody has, and such a call costs nothing.  If the code
of a spawned call (the *spawner*) spawns a call (its *child*), the spawner keeps the child,
within the same bounds, so that the child is found by the id that the graph of calls shows.  The
registry also adds calls to graphs; ``graph.py`` owns what a graph has.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from .. import config
from ..runtime import forking
from ..runtime.background import in_background
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.timekeeper import Timer
from ..runtime.context import running_input
from ..runtime.input import Call, Input, call_number, is_of_this_process
from ..runtime.outcome import Failure
from ..runtime.pools.batching import BatchCall
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from .graph import Graph, infos_of, most_of_one_call

if TYPE_CHECKING:
    from ..types import InputInfo
    from .function_call import FunctionCall


class Noted(Call, Protocol):
    """A call that is not spawned, and that can note in a graph how its inputs end."""

    def note_in(self, graph: Graph, /) -> None: ...


class Record:
    """What the registry knows about one call; made when the call is first kept."""

    __slots__ = ("children", "graph", "is_expired", "is_named", "spawner")

    def __init__(self) -> None:
        # All fields are guarded by the registry's lock.  Code that may get a late answer reads
        # them without the lock.
        self.is_named: bool = False  # the call's id was given out
        self.is_expired: bool = False  # the registry has dropped the call
        self.graph: Graph | None = None  # the graph of calls that this call is part of
        # The spawned call whose code spawned this call, if that call keeps this one.
        self.spawner: weakref.ref[FunctionCall[Any]] | None = None
        # The calls that this call's own code spawned, by number.
        self.children: dict[int, FunctionCall[Any]] | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the call, or what the call keeps, expires some time after the call settled."""
        return self.is_named or self.spawner is not None or self.children is not None


class _Settled(weakref.ref["FunctionCall[Any]"]):
    """A weak reference to one settled call that is kept.

    The strong references are in `Registry._named` and `Record.children`.
    """

    __slots__ = ("at", "clock", "number")

    if TYPE_CHECKING:
        at: float  # when the call settled, by its own clock
        clock: Clock
        number: int


class _ExpiryQueue:
    """The settled calls that expire by one clock; the first to expire is first in the heap."""

    __slots__ = ("clock", "due", "heap", "timer")

    def __init__(self, clock: Clock) -> None:
        self.clock: Clock = clock
        # This field and those below are guarded by the registry's lock.  Entries: the
        # time (by `clock`) from which `findable_seconds` count, a number that makes the order
        # unique, and the call.
        # Entries that are no longer in `Registry._settled` stay until they come to the front,
        # or until they are most of the heap.
        self.heap: list[tuple[float, int, _Settled]] = []
        # Invariant: set while the heap is not empty, and due (at the time `due`) when the first
        # entry expires, or at most `_slack()` seconds later.
        self.timer: Timer | None = None
        self.due: float = 0.0


class Registry:
    """The calls that can be found by their id: unsettled calls, and calls settled lately."""

    def __init__(self) -> None:
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        # Reentrant, and every table is consistent between any two steps, because: 1. this
        # thread holds the lock, 2. a garbage collection runs a user's ``__del__``, 3. the
        # ``__del__`` reads an id.
        # Under this lock only the clocks' own locks are taken.  No user's object is freed
        # under this lock.
        self._lock = Real.RLock()
        # The calls whose id was given out and that have not expired, by number.  Together with
        # `Record.children`, the only references of the registry that keep a call alive.
        self._named: dict[int, FunctionCall[Any]] = {}
        # The kept calls (named ones, and children of other calls) that have settled, by number,
        # in the order in which they settled.
        self._settled: OrderedDict[int, _Settled] = OrderedDict()
        # By clock.  Invariant: each entry of `_settled` is in the queue of its clock.  The entry
        # of a call with a virtual clock is in the queue of the system clock too.
        self._queues: dict[Clock, _ExpiryQueue] = {}
        self._order = itertools.count()
        # Kept calls with errors whose frames `_clear_frames` may clear: the call; the input
        # whose error was read, or None if the call has just settled; and the user's handle, if
        # the call is its twin.
        self._failed: deque[
            tuple[
                weakref.ref[FunctionCall[Any]], Input | None, weakref.ref[FunctionCall[Any]] | None
            ]
        ] = deque()
        # Entries whose call was freed.  Finalizers append to this, without the lock.
        self._collected: deque[weakref.ref[FunctionCall[Any]]] = deque()

    def _after_fork(self) -> None:
        """Start with an empty registry in a forked child.

        The child's ids differ from the parent's, and find only the child's calls.
        """
        forking.keep(
            self._named, self._settled, self._queues, self._failed, self._collected, self._lock
        )
        self._begin()

    # -- what is kept --------------------------------------------------------------

    @uninterruptible
    def give_out(self, call: FunctionCall[Any], call_id: str) -> None:
        """Keep `call`, whose id is given out: the call can be found until it expires."""
        if call_number(call_id) is None:
            return  # a call of the parent process of a forked child
        with self._lock:
            record = self._record_of(call)
            if record.is_named or record.is_expired or _is_too_old(call):
                return
            record.is_named = True
            self._named[call.number] = self._kept_for(call)
        # Read after the record is stored: see `settled`.
        if call._settled_at is not None:
            self.settled(call)
        # The expired calls are freed here, in the user's own thread, and may run destructors.
        self._trim(0)

    @uninterruptible
    def add_child(self, spawner: Input, call: FunctionCall[Any]) -> None:
        """Note that the code of `spawner` spawned `call`.

        The graph of both gets `call`.  If `spawner` was spawned itself, its call keeps `call`.
        """
        with self._lock:
            graph, parent, its_call = self._place_of(spawner, call._started_pool().clock)
            its = self._record_of(call)
            its.graph = graph
            graph.add_spawned(call, parent)
            record: Record | None = getattr(its_call, "_record", None)
            if record is not None and not record.is_expired:
                if record.children is None:
                    record.children = {}
                its.spawner = weakref.ref(cast("FunctionCall[Any]", its_call))
                record.children[call.number] = call
        # Read after the record is stored: see `settled`.
        if call._settled_at is not None:
            with self._lock:
                graph.note_spawned(call)
            if its.spawner is not None:
                self.settled(call)
        if len(self._settled) > config.findable_calls:
            self._trim(0)

    def add_nested(self, caller: Input, call: Noted, inputs: Sequence[Input]) -> bool:
        """Note that the code of `caller` makes `call`, which is not spawned, with `inputs`.

        Does nothing, and returns false, unless `caller` is in a graph or was spawned, because
        otherwise nobody can ask for the graph.
        """
        its_call = _shown_input(caller).call
        if not hasattr(its_call, "graph") and not hasattr(its_call, "_record"):
            return False
        if not is_of_this_process(caller):
            return False  # the code of an input that has forked
        self._add_nested(caller, call, inputs)
        return True

    @uninterruptible
    def drop_nested(self, call: Noted, inputs: Sequence[Input]) -> None:
        """Undo `add_nested`, because the pool did not accept `inputs`."""
        graph = _graph_of(call)
        if graph is not None:
            with self._lock:
                graph.remove(call.number, inputs)

    @uninterruptible
    def _add_nested(self, caller: Input, call: Noted, inputs: Sequence[Input]) -> None:
        with self._lock:
            graph, parent, _ = self._place_of(caller, None)
            call.note_in(graph)
            for input in inputs[: most_of_one_call()]:
                graph.add_input(call, input, parent)

    def _place_of(self, input: Input, clock: Clock | None) -> tuple[Graph, tuple[int, int], Call]:
        """Return the graph of `input`, its place there, and its call.  Under the lock.

        Adds `input`, and those of its ancestors that are not in the graph yet.

        Args:
            clock: the clock of a new graph; None if `input` was spawned or is in a graph.
        """
        chain: list[tuple[Call, Input]] = []
        graph: Graph | None = None
        its: Input | None = input
        while its is not None and graph is None and is_of_this_process(its):
            its = _shown_input(its)
            call = its.call
            chain.append((call, its))
            graph = _graph_of(call)
            its = call.context.get(running_input, None)
        if graph is None:
            if clock is None:
                clock = cast("FunctionCall[Any]", chain[0][0])._started_pool().clock
            graph = Graph(clock)
        parent: tuple[int, int] | None = None
        for call, its in reversed(chain):
            if hasattr(call, "_record"):
                spawned = cast("FunctionCall[Any]", call)
                record = self._record_of(spawned)
                record.graph = graph
                if call.number not in graph:
                    graph.add_spawned(spawned, parent)
            else:
                if hasattr(call, "note_in"):
                    cast("Noted", call).note_in(graph)
                graph.add_input(call, its, parent)
            parent = (call.number, its.index)
        assert parent is not None
        return graph, parent, chain[0][0]

    def ended(self, call: FunctionCall[Any], record: Record) -> None:
        """Note that all inputs of `call` are settled.  Without any lock."""
        if record.graph is not None:
            with self._lock:
                record.graph.note_spawned(call)
        if record.is_kept:
            self.settled(call)

    def settled(self, call: FunctionCall[Any]) -> None:
        """Start the time after which `call` expires: `call` has settled and is kept.

        A second call of this method does nothing.  Two threads may call it at once:

            1. thread A settles the call: sets `_settled_at`, under the lock of the call's pool,
            2. thread A releases that lock, and reads `_record`,
            3. thread B gives out the id: sets `_record`, under the lock of this registry,
            4. thread B releases that lock, and reads `_settled_at`.

        In any order of these steps, the thread that reads last sees what the other has set.
        """
        record, at = call._record, call._settled_at
        assert record is not None and at is not None
        with self._lock:
            if record.is_expired or call.number in self._settled:
                return
            handle = call
            if record.spawner is not None and not record.is_named:
                call = self._twin_of(call)
            clock = call._started_pool().clock
            entry = _Settled(call, self._collected.append)
            entry.at, entry.clock, entry.number = at, clock, call.number
            self._settled[call.number] = entry
            self._add_expiry(clock, at, entry)
            if clock is not system_clock:
                # A virtual clock may be abandoned, and then its time stands still for ever.
                self._add_expiry(system_clock, system_clock.now(), entry)
        if any(type(input.outcome) is Failure for input in call._inputs):
            self._clear_soon(call, None, handle)
        # This may be a thread of a container, so users' ``__del__`` must not run here: the
        # thread may have no time for a ``__del__``, or a ``__del__`` may wait for this container.
        if len(self._settled) > config.findable_calls:
            gone = self._trim(min(_MOST_SPARE, config.findable_calls // 8))
            if gone:
                in_background(_DropCalls(gone))

    def read(self, call: FunctionCall[Any], input: Input) -> None:
        """Note that a caller has read the error of `input`, whose call has a record."""
        self._clear_soon(call, input, call)

    def _clear_soon(
        self, call: FunctionCall[Any], input: Input | None, handle: FunctionCall[Any]
    ) -> None:
        # Only the first entry sets the timer, because the timer serves all entries.
        with self._lock:
            self._failed.append(
                (weakref.ref(call), input, None if handle is call else weakref.ref(handle))
            )
            if len(self._failed) == 1:
                system_clock.call_at(system_clock.now() + _CLEAR_AFTER, self._on_clear_timer)

    def _on_clear_timer(self) -> None:
        """Pass the work on: this runs on the thread that keeps time, which runs no user code."""
        in_background(self._clear_frames)

    def _clear_frames(self) -> None:
        """Clear the frames of kept errors that were read, or whose call only the registry has.

        The registry keeps a result until it expires, and an error with its text and its lines.
        But a frame holds all local variables of the code that failed, which may be large.
        """
        with self._lock:
            failed = list(self._failed)
            self._failed.clear()
        while failed:
            ref, input, handle = failed.pop()
            call = ref()
            if call is None or call._settled_at is None:
                continue
            if handle is not None and handle() is not None:
                continue
            if input is None:
                inputs = call._inputs
                # Three references are ours: the registry or the spawner, the variable `call`,
                # and the argument of `getrefcount`.  Inputs whose code still runs have one each.
                # If there are more, someone has the handle and may want to read the error.
                if sys.getrefcount(call) > 3 + sum(each.call is call for each in inputs):
                    continue
            else:
                inputs = (input,)
            for each in inputs:
                outcome = each.outcome
                if type(outcome) is Failure:
                    outcome.let_locals_go()

    def _twin_of(self, call: FunctionCall[Any]) -> FunctionCall[Any]:
        """Keep a twin of the settled `call` for its spawner, if `call` has unread errors.

        Under the lock.  The spawner keeps a child so that the child is found by the graph of
        calls.  But errors are logged when the user's handle is dropped, so the spawner must not
        keep that very handle.
        """
        record = call._record
        assert record is not None
        spawner = None if record.spawner is None else record.spawner()
        if spawner is None or spawner._record is None or not call._has_unread():
            return call
        children = spawner._record.children
        if children is None or children.get(call.number) is not call:
            return call
        twin = children[call.number] = call._make_twin()
        if record.graph is not None:
            record.graph.add_spawned(twin, None)
        return twin

    def _kept_for(self, call: FunctionCall[Any]) -> FunctionCall[Any]:
        """Return the twin of `call` that its spawner keeps, or `call` itself.  Under the lock."""
        record = call._record
        spawner = None if record is None or record.spawner is None else record.spawner()
        if spawner is None or spawner._record is None:
            return call
        kept = (spawner._record.children or {}).get(call.number, call)
        if kept is not call:
            kept._take_watch(call)
        return kept

    def children(self, call: FunctionCall[Any]) -> list[FunctionCall[Any]]:
        """Return the calls that `call` keeps, because its code has spawned them."""
        record = call._record
        if record is None:
            return []
        with self._lock:
            return list((record.children or {}).values())

    def graph_of(self, call: FunctionCall[Any]) -> list[InputInfo]:
        """Return the graph of calls that `call` is part of: see `Graph.infos`."""
        record = call._record
        if record is None or record.graph is None:
            return infos_of(call)
        with self._lock:
            nodes = record.graph.nodes()
        return record.graph.infos(call, nodes)

    # -- finding -------------------------------------------------------------------

    @uninterruptible
    def find(self, function_call_id: str) -> FunctionCall[Any] | None:
        """Return the call with this id; None if it is not in the registry or has expired."""
        number = call_number(function_call_id)
        if number is None:
            return None
        self._trim(0)
        found = self._named.get(number)
        return None if found is None or _is_too_old(found) else found

    @uninterruptible
    def sweep(self) -> None:
        """Drop all calls that have expired, without waiting for the timers."""
        with self._lock:
            gone = [call for queue in list(self._queues.values()) for call in self._take_due(queue)]
        gone += self._trim(0)

    def __len__(self) -> int:
        """Return how many settled calls are kept."""
        with self._lock:
            self._forget_collected()
            return len(self._settled)

    # -- bounds --------------------------------------------------------------------

    def _record_of(self, call: FunctionCall[Any]) -> Record:
        if call._record is None:
            call._record = Record()
        return call._record

    def _forget_collected(self) -> None:
        """Remove the entries of calls that were freed.  Under the lock."""
        while self._collected:
            entry = self._collected.popleft()
            assert isinstance(entry, _Settled)
            if self._settled.get(entry.number) is entry:
                del self._settled[entry.number]

    def _trim(self, spare: int) -> list[FunctionCall[Any]]:
        """Remove and return the oldest settled calls, if there are too many.

        If more than `config.findable_calls` + `spare` are kept, `config.findable_calls` stay.
        The calls are freed when the caller drops the list, so never under the lock.
        """
        if len(self._settled) <= config.findable_calls + spare:  # the common case
            return []
        gone: list[FunctionCall[Any]] = []
        with self._lock:
            self._forget_collected()
            if len(self._settled) > config.findable_calls + spare:
                while len(self._settled) > config.findable_calls:
                    self._expire(next(iter(self._settled.values())), gone)
        return gone

    def _expire(self, entry: _Settled, gone: list[FunctionCall[Any]]) -> None:
        """Remove one call.  Under the lock.

        Appends to `gone` what the caller drops after releasing the lock.
        """
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
            # `spawner` may be the last reference to that call, so it is dropped without the
            # lock too.
            gone.append(spawner)

    def _take_due(self, queue: _ExpiryQueue) -> list[FunctionCall[Any]]:
        """Remove and return the calls that have expired by the clock of `queue`.

        Under the lock.  In the queue of the system clock, a call with a virtual clock expires
        only if that clock stands still; else the call gets the full time once more.
        """
        gone: list[FunctionCall[Any]] = []
        later: list[tuple[float, int, _Settled]] = []
        now = queue.clock.now()
        heap = queue.heap
        while heap and heap[0][0] + config.findable_seconds <= now:
            entry = heapq.heappop(heap)[2]
            if self._settled.get(entry.number) is not entry:
                continue  # the call was removed before
            clock = entry.clock
            if clock is queue.clock or _stands_still(clock):
                self._expire(entry, gone)
            else:
                later.append((now, next(self._order), entry))
        for each in later:
            heapq.heappush(heap, each)
        return gone

    def _add_expiry(self, clock: Clock, at: float, entry: _Settled) -> None:
        """Have `entry` expire `config.findable_seconds` after `at`, by `clock`.  Under the lock."""
        queue = self._queues.get(clock)
        if queue is None:
            queue = self._queues[clock] = _ExpiryQueue(clock)
        heap = queue.heap
        if len(heap) > 64 + 2 * len(self._settled):
            heap[:] = [each for each in heap if self._settled.get(each[2].number) is each[2]]
            heapq.heapify(heap)
        heapq.heappush(heap, (at, next(self._order), entry))
        self._arm(queue)

    def _arm(self, queue: _ExpiryQueue) -> None:
        """Set the timer of `queue` for its first entry.  Under the lock.

        A timer that is due early enough stays.
        """
        due = queue.heap[0][0] + config.findable_seconds
        timer = queue.timer
        if timer is not None:
            if queue.due <= due + _slack():
                return
            timer.cancel()  # findable_seconds was lowered
        # In real time the timer is due a little late, so that one timer serves many entries.
        queue.due = due if queue.clock.virtual else max(due, queue.clock.now()) + _slack()
        queue.timer = queue.clock.call_when_past(queue.due, _Expiry(self, queue))

    def _on_expiry(self, queue: _ExpiryQueue) -> None:
        """Drop what has expired: the timer of `queue` is due.

        Runs on the clock's thread, where no user's object may be freed.
        """
        with self._lock:
            if self._queues.get(queue.clock) is not queue:
                return
            queue.timer = None
            gone = self._take_due(queue)
            if queue.heap:
                self._arm(queue)
            else:
                del self._queues[queue.clock]
        if gone:
            in_background(_DropCalls(gone))


class _Expiry:
    """The callback of a queue's timer.

    Not a closure, because a closure could keep users' objects alive.
    """

    __slots__ = ("_queue", "_registry")

    def __init__(self, registry: Registry, queue: _ExpiryQueue) -> None:
        self._registry = registry
        self._queue = queue

    def __call__(self) -> None:
        self._registry._on_expiry(self._queue)


class _DropCalls:
    """Work that drops calls, for the "moorage-cleanup" thread."""

    __slots__ = ("_calls",)

    def __init__(self, calls: list[FunctionCall[Any]]) -> None:
        # A copy, because the caller's list may outlive this object.  The caller's list is
        # emptied, so that this object has the only references.
        self._calls = calls.copy()
        calls.clear()

    def __call__(self) -> None:
        self._calls.clear()


def _shown_input(input: Input) -> Input:
    """Return the member that stands for a batch in the graph; any other input itself."""
    call = input.call
    if isinstance(call, BatchCall):
        members = call.listed or call.members
        if members:
            return members[0]
    return input


def _graph_of(call: Call) -> Graph | None:
    """Return the graph that `call` is in, if any."""
    record: Record | None = getattr(call, "_record", None)
    if record is not None:
        return record.graph
    graph: Graph | None = getattr(call, "graph", None)
    return graph


def _is_too_old(call: FunctionCall[Any]) -> bool:
    """Return whether `call` has expired by its own clock, whether or not it was removed yet."""
    at = call._settled_at
    if at is None:
        return False
    return call._started_pool().clock.now() >= at + config.findable_seconds


def _stands_still(clock: Clock) -> bool:
    """Return whether nothing keeps a virtual clock open, so that its time stands still."""
    return clock.participants is not None and not clock.participants.open


def _slack() -> float:
    """Seconds that a call may stay after it expired, so that one timer serves many calls."""
    return min(1.0, config.findable_seconds / 16)


# Seconds from when a caller reads the error of a kept call until its frames are cleared.
_CLEAR_AFTER: Final = 0.1

# The most settled calls beyond the bound: where no user's code waits, that many collect and are
# dropped together.
_MOST_SPARE: Final = 64

registry: Final = Registry()
