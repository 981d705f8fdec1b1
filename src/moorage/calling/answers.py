"""Answers: the calls that the code in a container's process makes, carried out in this process.

Owns `Answers`, one for each such container.  A call comes on the post's thread, which must not run
user code and must not wait.  So a call of a function that is known by now is submitted there; all
else is done on a thread "moorage-calls": the handle is read back, and its pool is made.  Nobody
waits for the result on a thread: the effect of settling the input writes the REPLY.  Arguments and
results of functions in other processes pass through as bytes; a function of this process reads them
in its container, as one in a process does.

The input whose code has made a call is the call's parent, in the graph of calls and for the search
for deadlocks.  The calls that somebody waited for are cancelled when the container is gone; spawned
ones go on.

The other side, and what the messages mean: ``placing/calls.py``.

Begin at `Answers.called`, then `_submit`, then `_answer`.
"""

from __future__ import annotations

import logging
import pickle
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ..placing.blocked import LOOP, TASKS, Said, opened_said
from ..placing.calls import (
    BLOCKED,
    DEADLOCK,
    DROP,
    FIND,
    ITEM,
    NUMBERED,
    OPERATE,
    RUN,
    RUN_OUTSIDE,
    SPAWN,
    SPAWN_MANY,
    STREAM,
    TAKEN,
)
from ..placing.errors import packed_failure
from ..placing.frames import CANCELLED, FAILURE, VALUE, Buffer
from ..placing.remote import Call, SealedError
from ..placing.shipping import Packed, pack, pack_result
from ..placing.targets import child_target
from ..runtime.background import log
from ..runtime.containers.streaming import AHEAD, Stream, stream_of
from ..runtime.context import running_input
from ..runtime.input import Input, Kind, Target, next_call_number
from ..runtime.outcome import Cancelled, Failure, Outcome, Value, failure_of
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.deadlock import check_wait, producer_waits
from ..runtime.waiting.waits import OfMap, On, Reader, Wait, waits_in_progress
from .asking import Objects
from .function_call import FunctionCall
from .graph import CanBeNoted, notable
from .registry import registry

if TYPE_CHECKING:
    from .ways import Called

logger: Final = logging.getLogger("moorage")


class Container(Protocol):
    """What answers need of their `RemoteContainer`."""

    name: str

    def reply(self, number: int, how: int, blobs: Sequence[Buffer], /) -> None: ...


@notable
class AnsweredCall(CanBeNoted):
    """The call of one input that the code in a container's process waits for."""

    __slots__ = ("_answer", "context", "graph", "number", "pump", "reader", "stream", "target")

    if TYPE_CHECKING:
        stream: Stream  # of a generator only
        pump: _Pump  # the same

    def __init__(self, target: Target, context: Context, answer: Callable[[Input], object]) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = context
        self._answer = answer
        self.reader: Reader | None = None  # of a stream: see `StreamCall`

    def settled(self, input: Input, /) -> Callable[[], object]:
        if self.target.is_generator:
            return self.stream.end  # the answer comes after the last item
        return partial(self._answer, input)


class _Pump:
    """Passes the items of a stream on to its reader in another process.

    As many items are on their way as a generator may be ahead of a reader beside it.
    """

    def __init__(
        self, stream: Stream, send: Callable[[list[Buffer]], object], end: Callable[[], object]
    ) -> None:
        self._stream = stream
        self._send = send
        self._end = end
        self._lock = Real.Lock()
        # Guarded by the lock, which is a leaf:
        self._credits = AHEAD
        self._is_at_work = False  # a thread is in `pump`
        self._comes_again = False  # that thread looks once more
        self._has_ended = False

    def credit(self) -> None:
        """Note that the reader has taken an item."""
        with self._lock:
            self._credits += 1
        self.pump()

    def pump(self) -> None:
        """Send what there is, as long as the reader has credits left.  No lock held."""
        with self._lock:
            if self._is_at_work:
                self._comes_again = True
                return
            self._is_at_work = True
        while self._step():
            pass

    def _step(self) -> bool:
        """Send an item, or the end; false if there is nothing to do for now."""
        stream = self._stream
        # Before the items: an empty stream that had ended before has no more items.
        ended = stream.ended
        with self._lock:
            self._comes_again = False
            has_credit = self._credits > 0
        if has_credit:
            # As bytes: a stream whose items are opened when they are taken would run user code.
            there, item = Stream.take_nowait(stream, self.pump)
            if there:
                with self._lock:
                    self._credits -= 1
                self._send(item.blobs)
                return True
        if ended and not stream.has_items:
            with self._lock:
                has_ended, self._has_ended = self._has_ended, True
                self._is_at_work = False
            if not has_ended:
                self._end()
            return False
        with self._lock:
            if self._comes_again or (not ended and stream.ended):
                return True
            self._is_at_work = False
            return False


def _context_of(parent: Input | None) -> Context:
    """Return a context of the code of `parent`: what crosses is that input alone."""
    context = Context()
    context.run(running_input.set, parent)
    return context


def _cancel(pool: Pool, input: Input) -> None:
    pool.cancel(input)
    if input.call.target.is_generator:
        # After the cancellation: see `_abandon` in ``waited.py``.
        stream_of(input.call).close()


class _Blocked:
    """Wakes code in another process whose wait is in a deadlock: see `Wait.waiter`."""

    def __init__(self, container: Container, number: int) -> None:
        self._container = container
        self._number = number  # of the youngest of the calls that it waits for
        self.wait: Wait

    def wake(self) -> None:
        error = self.wait.error
        if error is not None:
            self._container.reply(self._number, DEADLOCK, [str(error).encode()])


class _Known:
    """A function that this container's code has called."""

    __slots__ = ("function", "here")

    def __init__(self, function: Called) -> None:
        self.function = function
        # What runs in a container of this process: it reads the arguments, and packs the result.
        self.here: Target = child_target(function._target)


class Answers:
    """Answers the calls of one container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._lock = Real.Lock()
        # Guarded by the lock, which is a leaf:
        self._known: dict[bytes, _Known] = {}
        # What the thread "moorage-calls" has to do; it runs while `_is_busy`.  Invariant: while it
        # runs, all calls go through it, so that a DROP comes after its call; and so does the end.
        self._work: deque[Callable[[], object]] = deque()
        self._is_busy = False
        self._open: dict[int, tuple[Pool, Input, bool]] = {}  # by number; whether it was spawned
        self._waits: dict[int, Wait] = {}  # of the code that waits, by the numbers of its calls
        self._is_gone = False
        self._objects: Objects | None = None  # of the one thread that carries calls out

    # -- on the post's thread ---------------------------------------------------------------

    def called(self, calls: list[Call]) -> None:
        """Carry out calls, now or soon.  Like ones that follow each other are carried out together.

        Those are the inputs of a map.
        """
        at = 0
        while at < len(calls):
            end = at + 1
            _, parent, what, blobs = calls[at]
            if what in _WAITED:
                while end < len(calls) and _is_like(calls[at], calls[end]):
                    end += 1
            numbers = [number for number, *_ in calls[at:end]]
            if end - at == 1:
                self._called(partial(self._carry_out, numbers[0], parent, what, blobs), what, blobs)
            else:
                packs = [Packed.of(each[1:]) for *_, each in calls[at:end]]
                work = partial(self._carry_out_all, numbers, parent, what, blobs[0], packs)
                self._called(work, what, blobs)
            at = end

    def _called(self, work: Callable[[], object], what: int, blobs: list[bytes]) -> None:
        with self._lock:
            if not self._is_busy and (what in _QUICK or self._is_quick(what, blobs)):
                begins = None
            else:
                self._work.append(work)
                begins = not self._is_busy
                self._is_busy = True
        if begins is None:
            work()
        elif begins:
            Real.Thread(target=self._run, name="moorage-calls", daemon=True).start()

    def _is_quick(self, what: int, blobs: list[bytes]) -> bool:
        """Whether the call can be submitted without user code."""
        known = self._known.get(blobs[0])
        if known is None:
            return False
        service = known.function._service
        run = service.open_run
        if run is None or run.pools.get(service.key) is None:
            return False
        if service.places_in(run) is not None:
            return True
        return what not in _SPAWNING and service.options.batching is None

    def gone(self) -> None:
        """Cancel what nobody waits for any more: the container is gone.

        If the thread "moorage-calls" is at work, it does that after what the container has asked
        for: an input that it has noted may not be submitted yet, so it cannot be cancelled; a
        spawned call goes on, although its container has ended since; and so does a cancel.
        """
        with self._lock:
            if self._is_busy:
                self._work.append(self._end)
                return
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._is_gone = True
            left = [(pool, input) for pool, input, spawned in self._open.values() if not spawned]
            self._open.clear()
            for number in list(self._waits):
                self._end_wait(number)
            objects = self._objects
        if objects is not None:
            objects.end()
        for pool, input in left:
            _cancel(pool, input)

    # -- on the thread "moorage-calls", or the post's -----------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._work:
                    self._is_busy = False
                    return
                work = self._work.popleft()
            work()

    def _carry_out(self, number: int, parent: Input | None, what: int, blobs: list[bytes]) -> None:
        try:
            if what == DROP:
                self._drop(number)
            elif what == TAKEN:
                self._credit(number)
            elif what == BLOCKED:
                self._block(parent, opened_said(blobs[0]))
            elif what == OPERATE:
                self._operate(number, blobs)
            elif what == FIND:
                self._find(number, blobs[0].decode(), int(blobs[1]))
            else:
                self._submit(number, parent, what, blobs)
        except BaseException as error:
            if not number:  # nobody waits for an answer
                log(logger, logging.ERROR, "a message of %s", self._container, exc_info=error)
                return
            self._reply(number, failure_of(error), _NO_TARGET)

    def _carry_out_all(
        self,
        numbers: list[int],
        parent: Input | None,
        what: int,
        address: bytes,
        packs: list[Packed],
    ) -> None:
        """Submit the inputs of several calls of one function, which the caller waits for."""
        try:
            known = self._function(address)
            _context_of(parent).run(self._submit_in, numbers, parent, what, known, packs)
        except BaseException as error:
            for number in numbers:
                self._forget(number)
                self._reply(number, failure_of(error), _NO_TARGET)

    def _drop(self, number: int) -> None:
        with self._lock:
            found = self._open.get(number)
        if found is not None:
            _cancel(found[0], found[1])
        elif self._objects is not None:
            self._objects.cancel(number)

    def _block(self, parent: Input | None, said: Said) -> None:
        """Note that code in the container waits for any of some calls; search for a deadlock.

        The wait ends with the first of these calls, or when the container says so.
        """
        what, is_map, numbers = said
        flow: object = self._container if what == LOOP else parent
        if flow is None:
            return
        with self._lock:
            if not numbers:
                waits_in_progress.pop(flow, None)
                return
            found = [self._open[number][:2] for number in numbers if number in self._open]
            if len(found) < len(numbers):
                return  # one has ended, and the answer is on its way
            waiter: Any = _Blocked(self._container, numbers[-1])
            on: On = OfMap(found) if is_map else found[0][1] if len(found) == 1 else found
            wait = Wait(flow, parent, found[0][0], on, False, what == TASKS, waiter)
            waiter.wait = wait
            for number in numbers:
                self._waits[number] = wait
            waits_in_progress[flow] = wait
        check_wait(wait)

    def _end_wait(self, number: int) -> None:
        """End the wait for a call, if there is one.  Under the lock."""
        wait = self._waits.pop(number, None)
        if wait is not None and waits_in_progress.get(wait.flow) is wait:
            del waits_in_progress[wait.flow]

    def _operate(self, number: int, blobs: list[bytes]) -> None:
        """Call a method of a `Dict` or a `Queue`."""
        with self._lock:
            if self._is_gone:
                return
            if self._objects is None:
                self._objects = Objects(self._operated)
            objects = self._objects
        objects.begin(number, blobs[0], blobs[1:])

    def _operated(self, number: int, value: Any, error: BaseException | None) -> None:
        outcome: Outcome = Value(value) if error is None else failure_of(error)
        self._reply(number, outcome, _NO_TARGET)

    def _credit(self, number: int) -> None:
        """Note that the reader of a stream has taken an item."""
        with self._lock:
            found = self._open.get(number)
        if found is not None and isinstance(found[1].call, AnsweredCall):
            found[1].call.pump.credit()

    def _submit(self, number: int, parent: Input | None, what: int, blobs: list[bytes]) -> None:
        known = self._function(blobs[0])
        packs = [Packed.of(blobs[1:])] if what != SPAWN_MANY else _separated(blobs[1], blobs[2:])
        _context_of(parent).run(self._submit_in, [number], parent, what, known, packs)

    def _function(self, address: bytes) -> _Known:
        with self._lock:
            known = self._known.get(address)
        if known is None:
            # Runs user code, on the thread "moorage-calls".
            known = _Known(pickle.loads(address))
            with self._lock:
                known = self._known.setdefault(address, known)
        return known

    @uninterruptible
    def _submit_in(
        self,
        numbers: list[int],
        parent: Input | None,
        what: int,
        known: _Known,
        packs: Sequence[Packed],
    ) -> None:
        """Submit the inputs of one call, in the context of their parent."""
        function = known.function
        service = function._service
        if function._target.is_generator is not (what == STREAM):
            function._expect("remote_gen" if what == STREAM else "remote")
        if getattr(function, "_web", None) is not None:
            function._expect("remote" if what == RUN else "spawn")
        spawns = what in _SPAWNING
        while True:
            run = service.current_run()
            target = function._target
            rows: list[Row] = [((packed,), None) for packed in packs]
            if service.places_in(run) is None:
                if not spawns and service.options.batching is None:
                    target = known.here
                else:
                    # A batch has the arguments of its members, and the result of a spawned call
                    # may be read here, too.
                    rows = [packed.load() for packed in packs]
            pool = run.pools.get(service.key)
            if pool is None:
                pool = run.pool(service.key, service.maker(run))
            if spawns:
                is_taken = self._spawn(numbers[0], parent, pool, target, rows, what == SPAWN_MANY)
            else:
                is_outside = what == RUN_OUTSIDE
                is_taken = self._wait_for(numbers, parent, pool, target, rows, is_outside)
            if is_taken:
                return
            run.drop(service.key, pool)

    def _wait_for(
        self,
        numbers: list[int],
        parent: Input | None,
        pool: Pool,
        target: Target,
        rows: Sequence[Row],
        is_outside: bool,
    ) -> bool:
        """Submit inputs that the caller waits for; false if the pool was retired."""
        inputs: list[Input] = []
        noted: list[tuple[AnsweredCall, Input]] = []
        for number, (args, kwargs) in zip(numbers, rows, strict=True):
            answer = partial(self._answer, number)
            call = AnsweredCall(target, _context_of(parent), answer)
            input = Input(call, 0, args, kwargs or None)
            if target.is_generator:
                call.stream = Stream(pool.clock, partial(producer_waits, call))
                call.reader = None if parent is None else (parent, parent, None)
                send = partial(self._container.reply, number, ITEM)
                call.pump = _Pump(call.stream, send, partial(answer, input))
            if not self._note(number, pool, input, False):
                return True
            inputs.append(input)
            if parent is not None and registry.add_nested(parent, call, (input,)):
                noted.append((call, input))
        is_taken = False
        try:
            is_taken = pool.submit(inputs, may_stand_outside=is_outside)
        finally:
            if not is_taken:
                for number in numbers:
                    self._forget(number)
                for call, input in noted:
                    registry.drop_nested(call, (input,))
        if is_taken and target.is_generator:
            for input in inputs:
                cast(AnsweredCall, input.call).pump.pump()
        return is_taken

    def _spawn(
        self,
        number: int,
        parent: Input | None,
        pool: Pool,
        target: Target,
        rows: Sequence[Row],
        is_many: bool,
    ) -> bool:
        """Submit the inputs of a spawned call; false if the pool was retired."""
        call: FunctionCall[Any]
        if is_many:
            call = FunctionCall._make_many(target, [args for args, _ in rows], {})
            for input, (_, kwargs) in zip(call._inputs, rows, strict=True):
                input.kwargs = kwargs or None
        else:
            call = FunctionCall._make(target, rows[0][0], rows[0][1] or {})
        inputs = call._inputs
        call._pool = pool
        for at, input in enumerate(inputs):
            if not self._note(number + at, pool, input, True):
                return True
        try:
            is_taken = pool.submit(inputs)
        except Exception as error:
            for at in range(len(inputs)):
                self._forget(number + at)
                self._reply(number + at, failure_of(error), _NO_TARGET)
            return True
        if not is_taken:
            for at in range(len(inputs)):
                self._forget(number + at)
            return False
        if parent is not None:
            registry.add_child(parent, call)
        accepted = partial(self._container.reply, number, NUMBERED, [call.object_id.encode()])
        if not (pool.waits_when_full and pool.when_let_in(inputs[-1], accepted)):
            accepted()
        for at, input in enumerate(inputs):
            self._answer_later(number + at, call, input)
        return True

    def _find(self, number: int, function_call_id: str, index: int) -> None:
        """Answer with the outcome of an input of a call that was spawned before."""
        call = FunctionCall.from_id(function_call_id)
        input = call._input_at(index)
        if not self._note(number, call._started_pool(), input, True):
            return
        if self._answer_later(number, call, input):
            # Said at once: `get(timeout=0)` asks whether there is a result.
            self._container.reply(number, NUMBERED, [function_call_id.encode()])

    def _answer_later(self, number: int, call: FunctionCall[Any], input: Input) -> bool:
        """Answer when the input has ended; false if it has."""

        def answer() -> None:
            call._read(input)  # the child's handle has the error now
            self._answer(number, input)

        if call._add(input, answer, key=answer):
            return True
        answer()
        return False

    def _note(self, number: int, pool: Pool, input: Input, spawned: bool) -> bool:
        """Note an input that has no answer yet; false if the container is gone."""
        with self._lock:
            if self._is_gone:
                return False
            self._open[number] = pool, input, spawned
            return True

    def _forget(self, number: int) -> None:
        with self._lock:
            self._open.pop(number, None)
            self._end_wait(number)

    # -- answers: on the thread that settles the input ----------------------------------------

    def _answer(self, number: int, input: Input) -> None:
        """Write how an input has ended."""
        self._forget(number)
        outcome = input.outcome
        assert outcome is not None
        self._reply(number, outcome, input.call.target)

    def _reply(self, number: int, outcome: Outcome, target: Target) -> None:
        how, blobs = _packed_outcome(outcome, target)
        self._container.reply(number, how, blobs)


Row = tuple[tuple[Any, ...], "dict[str, Any] | None"]
"""The arguments of one input."""

_SPAWNING: Final = (SPAWN, SPAWN_MANY)
_WAITED: Final = (RUN, RUN_OUTSIDE)


def _is_like(one: Call, other: Call) -> bool:
    """Whether two calls ask the same of the same function, for the same input."""
    return one[1] is other[1] and one[2] == other[2] and one[3][0] == other[3][0]


def _separated(counts: bytes, blobs: list[bytes]) -> list[Packed]:
    """Return the arguments of many inputs, each with so many blobs."""
    packs: list[Packed] = []
    at = 0
    for count in array("Q", counts):
        packs.append(Packed.of(blobs[at : at + count]))
        at += count
    return packs


_QUICK: Final = (BLOCKED, DROP, OPERATE, TAKEN)

# What a call that was not submitted is named by in messages.
_NO_TARGET: Final = Target("a call", lambda: None, Kind.SYNC)


def _packed_outcome(outcome: Outcome, target: Target) -> tuple[int, Sequence[Buffer]]:
    """Return an outcome as REPLY has it.  What came as bytes is passed on as it is."""
    if type(outcome) is Cancelled:
        return CANCELLED, [outcome.reason.encode()]
    if type(outcome) is Value:
        sealed: object = getattr(outcome, "_sealed", None)
        value = sealed if isinstance(sealed, Packed) else outcome.value
        if isinstance(value, Packed):
            return VALUE, value.blobs
        try:
            return VALUE, pack_result(value, "result", target).blobs
        except Exception as error:
            return _packed_outcome(failure_of(error), target)
    assert type(outcome) is Failure
    sealed_error: Any = getattr(outcome, "_sealed", (None,))[0]
    if isinstance(sealed_error, SealedError):
        shown, error_blobs = sealed_error.parts
        return FAILURE, [shown.encode("utf-8", "replace"), *error_blobs]
    packed, shown = packed_failure(outcome, f"{target.name}()", pack, _explain)
    return FAILURE, [shown.encode("utf-8", "replace"), *packed.blobs]


def _explain(error: BaseException, refused: Exception) -> str:
    return f"{type(refused).__name__}: {refused}"
