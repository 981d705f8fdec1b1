"""Calls from a container's process: the child's side.

Owns `DriverPool`, which stands for a pool of the calling program in the process of a container.
The ways to call a function submit inputs to it as to any pool.  It writes a CALL for each input,
and settles the input when the REPLY comes; nothing runs here, and nothing waits on the post's
thread.  The other side is ``calling/answers.py``.

What a CALL asks is its third number:

| what | blobs | the answer |
|---|---|---|
| RUN | the function, the arguments | VALUE, FAILURE or CANCELLED |
| RUN_OUTSIDE | the same, for an input that may wait for room in the backlog | the same |
| SPAWN | the same | the same; before it NUMBERED |
| STREAM | the same | ITEM for each item, then VALUE, FAILURE or CANCELLED |
| SPAWN_MANY | the function, how many blobs each input has, all blobs | as SPAWN, for each |
| FIND | the id of a spawned call, an index | as RUN; before it NUMBERED, if it has not ended |
| TAKEN | how many items | none; the id is that of the STREAM |
| DROP | | none; cancels the call of that id |
| OPERATE | a function, its arguments: ``calling/asking.py`` | VALUE, FAILURE or CANCELLED |
| BLOCKED | what waits, and for which calls: ``blocked.py`` | none |

Begin at `DriverPool.submit`, then `Link.replied`.
"""

from __future__ import annotations

import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, cast

from ..exception import ExecutionError
from ..runtime import forking
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.parking import park
from ..runtime.containers.streaming import Stream, stream_of
from ..runtime.context import current_input
from ..runtime.effects import carry_out
from ..runtime.input import Input, InputState
from ..runtime.outcome import Cancelled, Failure, Outcome, Value
from ..runtime.pools.batching import batch_of
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.waits import Wait
from .blocked import Blocked
from .frames import CANCELLED, FAILURE, VALUE, Buffer
from .remote import SealedError
from .shipping import Packed, Received, pack, packed_arguments

# What a CALL asks.
RUN: Final = 0
SPAWN: Final = 1
STREAM: Final = 2
FIND: Final = 3
TAKEN: Final = 4
DROP: Final = 5
BLOCKED: Final = 6
OPERATE: Final = 7
RUN_OUTSIDE: Final = 8
SPAWN_MANY: Final = 9

# Outcomes of REPLY besides those of RESULTS.
NUMBERED: Final = 8  # the id of a spawned call
ITEM: Final = 9  # an item of a stream
DEADLOCK: Final = 10  # the text of the error: the wait for this call can never end

RUNNING: Final = InputState.RUNNING
SETTLED: Final = InputState.SETTLED


class Host(Protocol):
    """What a link needs of the child's host."""

    def call(
        self, calls: Sequence[tuple[int, int, Sequence[Buffer]]], parent: Input | None
    ) -> None:
        """Write CALLs: the number of each, what it asks, and its blobs."""
        ...


class Handle(Protocol):
    """A function or class, as this file sees it."""

    def _reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]: ...


class Reference:
    """A handle of this process that is read back, in the calling program, as the handle there."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._handle._reference()


class Link:
    """The calls that this process has made and that have no answer yet."""

    def __init__(self, host: Host) -> None:
        self.host: Host = host
        self.lock: threading.Lock = Real.Lock()  # taken alone, or under the lock of the host
        # Guarded by the lock:
        self._inputs: dict[int, tuple[DriverPool, Input]] = {}
        self._numbers: dict[Input, int] = {}  # the same, the other way round
        self._last = 0
        # The ids of spawned calls in the calling program, and who waits to know them.
        self._ids: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._waiting: dict[Any, list[Callable[[], object]]] = {}
        self.blocked: Blocked = Blocked(self)
        self._is_forked = False  # this process was forked from the container's
        # The inputs of this container that have spawned calls of which the calling program has not
        # taken note yet: how many, and what to do then.
        self.spawning: dict[Input, tuple[int, Callable[[], object] | None]] = {}
        self._spawned_by: dict[int, Input] = {}  # by the number of the call
        # The FINDs of which the program has said nothing yet, and who waits to know.
        self._asked: dict[Input, list[Callable[[], object]]] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        """In a process that was forked from the container's: it has no connection."""
        self.lock = Real.Lock()
        self.blocked.renew()
        self._is_forked = True

    def pool(self) -> DriverPool:
        """Return what stands for the pool of what is no call of a function."""
        return DriverPool(self, None)

    def add(self, pool: DriverPool, *inputs: Input) -> int:
        """Return the number of a new call; those of further inputs follow.

        Raises:
            ExecutionError: in a process that was forked from the container's.
        """
        if self._is_forked:
            raise ExecutionError(
                "this process was forked from the process of a container, and only that one calls "
                "functions and uses dicts and queues of the program; return the result to the "
                "container, and make the call there"
            )
        with self.lock:
            first = self._last + 1
            for input in inputs:
                self._last += 1
                self._inputs[self._last] = pool, input
                self._numbers[input] = self._last
            return first

    def number_of(self, input: Input) -> int:
        """Return the number of an input's call; 0 if it has its answer."""
        with self.lock:
            return self._numbers.get(input, 0)

    def call(self, number: int, what: int, blobs: Sequence[Buffer]) -> None:
        """Write a CALL of the code that runs here."""
        self.host.call([(number, what, blobs)], current_input())

    def call_all(self, calls: Sequence[tuple[int, int, Sequence[Buffer]]]) -> None:
        """Write CALLs of the code that runs here, together."""
        self.host.call(calls, current_input())

    def say_blocked(self, parent: Input | None, data: bytes) -> None:
        """Write that the code of `parent` is blocked: see ``blocked.py``."""
        self.host.call([(0, BLOCKED, [data])], parent)

    def note_spawned(self, number: int) -> None:
        """Note that the running input spawns a call, before that is written."""
        parent = current_input()
        if parent is not None:
            outer = batch_of(parent)
            with self.lock:
                count, then = self.spawning.get(outer, (0, None))
                self.spawning[outer] = count + 1, then
                self._spawned_by[number] = outer

    def when_taken(self, parent: Input, then: Callable[[], object]) -> bool:
        """Call `then` when the program has taken all calls that `parent` has spawned.

        False if it has.  Else an input could end before the calls that it has made: a run that
        finishes what was accepted would refuse them.
        """
        with self.lock:
            if parent not in self.spawning:
                return False
            self.spawning[parent] = self.spawning[parent][0], then
            return True

    def _is_taken(self, number: int) -> Callable[[], object] | None:
        """Note that the program has taken a spawned call; return what to do.  Under the lock."""
        parent = self._spawned_by.pop(number, None)
        if parent is None:
            return None
        count, then = self.spawning.pop(parent)
        if count > 1:
            self.spawning[parent] = count - 1, then
            return None
        return then

    def replied(self, number: int, how: int, blobs: list[Buffer]) -> None:
        """Do what a REPLY says.  On the thread that reads."""
        then = None
        with self.lock:
            found = self._inputs.get(number)
            if self._spawned_by:
                then = self._is_taken(number)
        if then is not None:
            then()
        if found is None:
            return  # nobody waits for it any more
        pool, input = found
        if how == NUMBERED:
            self.note_id(input.call, _text(blobs[0]))
            self._is_known(input)
            return
        if how == DEADLOCK:
            self.blocked.refuse(input, _text(blobs[0]))
            return
        if how == ITEM:
            pool.take_item(number, input, blobs)
            return
        name = input.call.target.name
        outcome: Outcome
        if how == VALUE:
            outcome = Value.sealed(Received(blobs, "result", name))
        elif how == CANCELLED:
            outcome = Cancelled(_text(blobs[0]))
        else:
            assert how == FAILURE
            shown = _text(blobs[0])
            outcome = Failure.sealed(SealedError(blobs[1:], shown, f"{name}()"), shown)
        self._settle(number, input, outcome)
        self._is_known(input)

    def ask(self, input: Input) -> None:
        """Note that a FIND is written for `input`."""
        with self.lock:
            self._asked[input] = []

    def when_said(self, input: Input, wake: Callable[[], object]) -> bool:
        """Wake when the program has said whether `input` has ended; false if it has said so."""
        with self.lock:
            waiting = self._asked.get(input)
            if waiting is None:
                return False
            waiting.append(wake)
            return True

    def _is_known(self, input: Input) -> None:
        if self._asked:
            with self.lock:
                wakes = self._asked.pop(input, [])
            carry_out(wakes)

    def _settle(self, number: int, input: Input, outcome: Outcome) -> None:
        with self.lock:
            if self._inputs.pop(number, None) is None:
                return
            del self._numbers[input]
            wakes = self._waiting.pop(input.call, [])  # the call was refused, and has no id
            input.state, input.outcome = SETTLED, outcome
            effect = input.call.settled(input)
        carry_out(wakes if effect is None else [effect, *wakes])

    def note_id(self, call: object, function_call_id: str) -> None:
        """Note the id that a spawned call has in the calling program."""
        with self.lock:
            self._ids.setdefault(call, function_call_id)
            wakes = self._waiting.pop(call, [])
        carry_out(wakes)

    def when_known(self, input: Input, wake: Callable[[], object]) -> bool:
        """Have `wake` called when the call of `input` has its id or is refused; false if it is."""
        with self.lock:
            if input.call in self._ids or input.outcome is not None:
                return False
            self._waiting.setdefault(input.call, []).append(wake)
            return True

    def id_of(self, call: object, is_settled: Callable[[], bool]) -> str | None:
        """Wait for the id that a spawned call has in the calling program; None if it has none."""
        waiter = system_clock.make_waiter()
        with self.lock:
            found = self._ids.get(call)
            if found is not None or is_settled():
                return found
            self._waiting.setdefault(call, []).append(waiter.wake)
        park(system_clock, waiter)
        with self.lock:
            return self._ids.get(call)


class _Options:
    """What callers read of a pool's options."""

    is_placed: Final = True
    name: Final = "the calling program"


class _Backlog:
    """What callers read of a pool's backlog."""

    most: Final = None


class DriverPool:
    """What a pool of the calling program is to the callers in this process.

    Args:
        link: the connection.
        function: the handle whose pool it is.
        is_bounded: whether the backlog of the pool has a bound.
    """

    is_elsewhere: Final = True
    forked: Final = False
    drains: Final = False
    clock: Clock = system_clock
    options: Final = _Options()
    backlog: Final = _Backlog()

    def __init__(self, link: Link, function: Handle | None, is_bounded: bool = False) -> None:
        self._link = link
        self._function = function
        self._address: bytes | None = None
        # Whether a spawn waits until the calling program has accepted its inputs.
        self.waits_when_full: bool = is_bounded

    @property
    def lock(self) -> threading.Lock:
        """Guards what callers keep for each input."""
        return self._link.lock

    def submit(self, inputs: Sequence[Input], *, may_stand_outside: bool = False) -> bool:
        """Write a CALL for each input.

        Raises:
            UnpicklableError: if some argument cannot be pickled; nothing was written.
        """
        if not inputs:
            return True
        packs, address = self._packed(inputs), self._address_of()
        what = STREAM if inputs[0].call.target.is_generator else RUN
        if may_stand_outside:
            what = RUN_OUTSIDE
        number = self._link.add(self, *inputs)
        calls: list[tuple[int, int, Sequence[Buffer]]] = []
        for packed in packs:
            calls.append((number, what, [address, *packed.blobs]))
            number += 1
            what = RUN_OUTSIDE if what == RUN else what  # only the first one may be refused
        self._link.call_all(calls)
        return True

    def spawn(self, inputs: Sequence[Input]) -> None:
        """As `submit`, for inputs of a spawned call."""
        packs, address = self._packed(inputs), self._address_of()
        if len(inputs) == 1:
            number = self._link.add(self, inputs[0])
            self._link.note_spawned(number)
            self._link.call(number, SPAWN, [address, *packs[0].blobs])
        elif inputs:
            counts = array("Q", [len(packed.blobs) for packed in packs]).tobytes()
            blobs = [blob for packed in packs for blob in packed.blobs]
            number = self._link.add(self, *inputs)
            self._link.note_spawned(number)
            self._link.call(number, SPAWN_MANY, [address, counts, *blobs])

    def _address_of(self) -> bytes:
        address = self._address
        if address is None:
            assert self._function is not None
            address = self._address = bytes(pack(Reference(self._function)).data)
        return address

    def _packed(self, inputs: Sequence[Input]) -> list[Packed]:
        """Return the arguments of inputs that are about to be submitted."""
        many = len(inputs) > 1
        packs = [
            input.args[0]
            if input.args and type(input.args[0]) is Packed
            else packed_arguments(input, one_of_many=many)
            for input in inputs
        ]
        for input in inputs:
            input.args, input.kwargs = (), None
            input.state = RUNNING
        return packs

    def find(self, input: Input, function_call_id: str) -> None:
        """Ask for the outcome of a call that was spawned elsewhere."""
        input.state = RUNNING
        self._link.note_id(input.call, function_call_id)
        self._link.ask(input)
        blobs = [function_call_id.encode(), str(input.index).encode()]
        self._link.call(self._link.add(self, input), FIND, blobs)

    def operate(self, input: Input, packed: Packed) -> None:
        """Ask for the call of a method of an object that the calling program has."""
        input.state = RUNNING
        self._link.call(self._link.add(self, input), OPERATE, packed.blobs)

    def cancel(self, input: Input, outcome: Outcome | None = None) -> bool:
        """Ask for the cancellation of an input; false if it has its answer."""
        number = self._link.number_of(input)
        if number:
            self._link.call(number, DROP, ())
        return bool(number)

    @uninterruptible
    def cancel_all(self, inputs: Iterable[Input], outcome: Outcome | None = None) -> None:
        """Ask for the cancellation of several inputs."""
        for input in inputs:
            self.cancel(input)

    def cancel_waiting(self, inputs: Iterable[Input]) -> None:
        """Do nothing: the calling program knows which inputs wait."""

    def containers_of(self, inputs: Iterable[Input]) -> Sequence[Any]:
        """Return nothing: the containers are of the calling program."""
        return ()

    def when_known(self, input: Input, wake: Callable[[], object]) -> bool:
        """Wake when it is known whether an input of a found call has ended: see `Link`."""
        return self._link.when_said(input, wake)

    def open_call(self) -> bool:
        return True

    def close_call(self) -> None:
        pass

    def when_let_in(self, input: Input, wake: Callable[[], object]) -> bool:
        """Have `wake` called when a spawned call is accepted or refused; false if it is."""
        return self._link.when_known(input, wake)

    def room_in_backlog(self, is_async: bool) -> int | None:
        return None

    def id_of(self, call: object, is_settled: Callable[[], bool]) -> str | None:
        """Return the id of a spawned call in the calling program: see `Link.id_of`."""
        return self._link.id_of(call, is_settled)

    def note_wait(self, wait: Wait) -> None:
        """Note that code here waits, so that deadlocks are found."""
        self._link.blocked.note(wait)

    # -- answers -------------------------------------------------------------------------

    def take_item(self, number: int, input: Input, blobs: list[Buffer]) -> None:
        """Give an item to the reader of a stream."""
        stream = stream_of(input.call)
        if not isinstance(stream, TakenStream):
            as_any: Any = stream
            as_any.__class__ = TakenStream
            stream.sent = _Taken(self._link, number)
        stream.offer(Received(blobs, "item", input.call.target.name))

    def __repr__(self) -> str:
        return "<the pools of the calling program>"


class _Taken:
    """Says how many items of a stream were taken."""

    __slots__ = ("_link", "_number")

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    def say(self) -> None:
        self._link.call(self._number, TAKEN, [b"1"])


class TakenStream(Stream):
    """The stream of a generator that the calling program runs: its items are bytes until taken."""

    __slots__ = ()

    def take_nowait(self, wake: Callable[[], object] | None = None) -> tuple[bool, Any]:
        there, item = super().take_nowait(wake)
        if there:
            self.sent.say()
            if isinstance(item, Received):
                item = item.open()
        return there, item


class DriverRun:
    """What a run of the calling program is to the callers in this process."""

    copies: Final = True
    is_elsewhere: Final = True
    serialize: Final = False
    closed: Final = False
    draining: Final = False
    placements: Final = None
    clock: Clock = system_clock

    def __init__(self, link: Link) -> None:
        self.link = link

    def pool_of(self, function: Any) -> Pool:
        """Return what stands for the pool of `function`."""
        found: DriverPool | None = function.__dict__.get("_pool_elsewhere")
        if found is None:
            is_bounded = function._service.options.max_backlog is not None
            made = DriverPool(self.link, function, is_bounded)
            found = function.__dict__.setdefault("_pool_elsewhere", made)
        return cast(Pool, found)


_link: Link | None = None
_run: DriverRun | None = None


def connect(host: Host) -> Link:
    """Have the calls of this process go to the driver: for now, all but those of functions."""
    global _link
    _link = Link(host)
    return _link


def begin_calls(host: Host) -> None:
    """Have the calls of functions, too, go to the driver: the user's modules are imported."""
    global _run
    link: Link = driver_link()
    link.host = host
    _run = DriverRun(link)


def driver_link() -> Any:
    """Return the connection to the calling program; also while the user's modules are imported."""
    assert _link is not None
    return _link


def driver_run_of_found() -> Any:
    """As `driver_run`, for functions that are looked up by name; also while modules are imported.

    A module's own functions are refused then: their containers would import it again, and so on.
    """
    return _run or DriverRun(driver_link())


def driver_run() -> Any:
    """Return what stands for the runs of the calling program.

    Raises:
        ExecutionError: while the modules of the user's code are imported.
    """
    if _run is None:
        raise ExecutionError(
            "a function is called while a container imports the module that makes the call; "
            "write `if modal.is_local():` above the call, or make it in an enter hook"
        )
    return _run


def _text(blob: Buffer) -> str:
    return str(bytes(blob), "utf-8", "replace")
