"""Calls from a container's process: the child's side.

Owns `DriverPool`, which stands for a pool of the calling program in the process of a container.
The ways to call a function submit inputs to it as to any pool.  It writes a CALL for each input,
and settles the input when the REPLY comes; nothing runs here, and nothing waits on the post's
thread.  The other side is ``calling/answers.py``.

What a CALL asks is its third number:

| what | blobs | the answer |
|---|---|---|
| RUN | the function, the arguments | VALUE, FAILURE or CANCELLED |
| SPAWN | the same | the same; before it NUMBERED |
| STREAM | the same | ITEM for each item, then VALUE, FAILURE or CANCELLED |
| FIND | the id of a spawned call | the same; before it NUMBERED, if it has not ended |
| TAKEN | how many items | none; the id is that of the STREAM |
| DROP | | none; cancels the call of that id |
| OPERATE | an object, a method, its arguments | VALUE, FAILURE or CANCELLED |
| BLOCKED | the numbers of calls | none; sync code of the parent waits for any of these |

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
from ..runtime.guards.cells import Cell
from ..runtime.input import Input, InputState
from ..runtime.outcome import Cancelled, Failure, Outcome, Value
from ..runtime.pools.batching import batch_of
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.waits import Wait
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

# Outcomes of REPLY besides those of RESULTS.
NUMBERED: Final = 8  # the id of a spawned call
ITEM: Final = 9  # an item of a stream

RUNNING: Final = InputState.RUNNING
SETTLED: Final = InputState.SETTLED


class Host(Protocol):
    """What a link needs of the child's host."""

    def call(self, number: int, what: int, blobs: Sequence[Buffer], parent: Input | None) -> None:
        """Write a CALL."""
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
        self._host = host
        self.lock: threading.Lock = Real.Lock()  # taken alone, or under the lock of the host
        # Guarded by the lock:
        self._inputs: dict[int, tuple[DriverPool, Input]] = {}
        self._numbers: dict[Input, int] = {}  # the same, the other way round
        self._last = 0
        # The ids of spawned calls in the calling program, and who waits to know them.
        self._ids: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._waiting: dict[Any, list[Callable[[], object]]] = {}
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

    def add(self, pool: DriverPool, input: Input) -> int:
        """Return the number of a new call."""
        with self.lock:
            self._last += 1
            self._inputs[self._last] = pool, input
            self._numbers[input] = self._last
            return self._last

    def new_number(self) -> int:
        """Return a number that no call has."""
        with self.lock:
            self._last += 1
            return self._last

    def number_of(self, input: Input) -> int:
        """Return the number of an input's call; 0 if it has its answer."""
        with self.lock:
            return self._numbers.get(input, 0)

    def call(self, number: int, what: int, blobs: Sequence[Buffer]) -> None:
        """Write a CALL of the code that runs here."""
        self._host.call(number, what, blobs, current_input())

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
        """Do what a REPLY says.  On the post's thread."""
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

    def when_known(self, input: Input, wake: Callable[[], object]) -> bool:
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
    """

    is_elsewhere: Final = True
    waits_when_full: Final = False
    forked: Final = False
    drains: Final = False
    clock: Clock = system_clock
    options: Final = _Options()
    backlog: Final = _Backlog()

    def __init__(self, link: Link, function: Handle | None) -> None:
        self._link = link
        self._function = function
        self._address: bytes | None = None

    @property
    def lock(self) -> threading.Lock:
        """Guards what callers keep for each input."""
        return self._link.lock

    def submit(self, inputs: Sequence[Input], *, may_stand_outside: bool = False) -> bool:
        """Write a CALL for each input.

        Raises:
            UnpicklableError: if some argument cannot be pickled; nothing was written.
        """
        self._call(inputs, STREAM if inputs and inputs[0].call.target.is_generator else RUN)
        return True

    def spawn(self, inputs: Sequence[Input]) -> None:
        """As `submit`, for inputs of a spawned call."""
        self._call(inputs, SPAWN)

    def _call(self, inputs: Sequence[Input], what: int) -> None:
        address = self._address
        if address is None:
            assert self._function is not None
            address = self._address = bytes(pack(Reference(self._function)).data)
        many = len(inputs) > 1
        packs = [
            input.args[0]
            if input.args and type(input.args[0]) is Packed
            else packed_arguments(input, one_of_many=many)
            for input in inputs
        ]
        for input, packed in zip(inputs, packs, strict=True):
            input.args, input.kwargs = (), None
            input.state = RUNNING
            number = self._link.add(self, input)
            if what == SPAWN:
                self._link.note_spawned(number)
            self._link.call(number, what, [address, *packed.blobs])

    def find(self, input: Input, function_call_id: str) -> None:
        """Ask for the outcome of a call that was spawned elsewhere."""
        input.state = RUNNING
        self._link.note_id(input.call, function_call_id)
        self._link.ask(input)
        self._link.call(self._link.add(self, input), FIND, [function_call_id.encode()])

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
        return self._link.when_known(input, wake)

    def open_call(self) -> bool:
        return True

    def close_call(self) -> None:
        pass

    def when_let_in(self, input: Input, wake: Callable[[], object]) -> bool:
        return False

    def room_in_backlog(self, is_async: bool) -> int | None:
        return None

    def id_of(self, call: object, is_settled: Callable[[], bool]) -> str | None:
        """Return the id of a spawned call in the calling program: see `Link.id_of`."""
        return self._link.id_of(call, is_settled)

    def note_wait(self, wait: Wait) -> None:
        """Say that the sync code of an input waits, so that deadlocks are found.

        Left out are waits for maps, whose inputs are not all known yet, and waits of tasks.
        """
        if wait.caller is None or not isinstance(wait.flow, Cell):
            return
        numbers = [self._link.number_of(input) for _, input in wait.targets()]
        if numbers and all(numbers):
            self._link.call(0, BLOCKED, [array("Q", numbers).tobytes()])

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

    def take_nowait(self, wake: Callable[[], object]) -> tuple[bool, Any]:
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

    def pool_of_found(self) -> Any:
        """Return what stands for the pool of a call that is found by its id."""
        return DriverPool(self.link, None)

    def pool_of(self, function: Any) -> Pool:
        """Return what stands for the pool of `function`."""
        found: DriverPool | None = function.__dict__.get("_pool_elsewhere")
        if found is None:
            found = function.__dict__.setdefault("_pool_elsewhere", DriverPool(self.link, function))
        return cast(Pool, found)


_run: DriverRun | None = None


def connect(host: Host) -> Link:
    """Have the calls of this process go to the driver."""
    global _run
    _run = DriverRun(Link(host))
    return _run.link


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
