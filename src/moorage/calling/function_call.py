"""Spawned calls: handles for results that somebody asks for later.

Owns `FunctionCall`, and the ways to wait for one or for several.  Which calls are found by
their id, and for how long, is in ``registry.py``; the other kinds of calls are in
``waited.py`` and ``maps.py``.  Begin reading at `FunctionCall._make`, then
`FunctionCall.settled`, then `Get`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, cast, overload

from .. import config
from ..call_graph import InputInfo, InputStatus
from ..exception import (
    Error,
    FunctionTimeoutError,
    InvalidAttributeError,
    InvalidError,
    InvalidIndexError,
    NotFoundError,
    OutputExpiredError,
    QueueTimeoutError,
)
from ..frames import without_our_frames
from ..runtime import forking
from ..runtime.background import let_go
from ..runtime.captured import decimal_context, own_decimal_context
from ..runtime.clocks.clock import Clock, Waiter
from ..runtime.context import current_input, hook_context, running_input
from ..runtime.input import Input, InputState, Target, call_id, call_number, next_call_number
from ..runtime.outcome import Failure, Outcome, Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import park_for, wait_for
from ..runtime.waiting.waits import blockers_of, open_streams
from ..with_aio import FunctionWithAio, MethodWithAio
from .registry import Record, registry
from .waited import clean_up_soon, error_of, warn_if_loop_runs, written

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
Wake = Callable[[], object]


class Gather:
    """``FunctionCall.gather``: wait for several calls together."""

    __slots__ = ()

    def __call__(self, *function_calls: FunctionCall[T]) -> list[T]:
        """The results of all, in the order given; the first error that comes is raised.

        The other calls go on when one fails.
        """
        warn_if_loop_runs("FunctionCall", "gather(...)", "await {}.gather.aio(...)")
        gathering: _Gathering | None = None
        try:
            gathering = _Gathering(function_calls)
            with uninterruptible:
                try:
                    gathering.join()
                    for group in gathering.groups:
                        while True:
                            waiter = group.clock.make_waiter()
                            if not gathering.waits(group, waiter.wake):
                                break
                            park_for(group.pool, waiter, gathering)
                finally:
                    gathering.leave()
            return gathering.results()
        except Exception as error:
            raise without_our_frames(error)
        finally:
            # They lead to the error, and its traceback to this frame.
            del function_calls, gathering, self

    async def aio(self, *function_calls: FunctionCall[T]) -> list[T]:
        """As calling it, for asyncio and trio."""
        gathering: _Gathering | None = None
        try:
            gathering = _Gathering(function_calls)
            try:
                gathering.join()
                for group in gathering.groups:
                    while True:
                        waiter = make_async_waiter()
                        if not gathering.waits(group, waiter.wake):
                            break
                        await wait_for(group.pool, waiter, gathering)
            finally:
                if gathering.is_open:
                    clean_up_soon(gathering.leave)
            return gathering.results()
        except Exception as error:
            raise without_our_frames(error)
        finally:
            del function_calls, gathering, self


class _Group:
    """Those calls of a gather that live by one clock."""

    __slots__ = ("clock", "open", "pool")

    def __init__(self, pool: Pool) -> None:
        self.clock: Clock = pool.clock
        self.pool: Pool = pool
        self.open: int = 0  # how many are not settled; guarded by the lock of the gather


class _Gathering(Sequence[tuple[Pool, Input]]):
    """One gather: what it waits for.  It joins each call once, and is told of each once.

    The caller wakes when all calls of one clock have settled, or one has failed.  As a
    sequence, it is what the search for deadlocks sees: the inputs that are not settled,
    any of which may end the wait.  The search looks at a wait when it begins; so a caller
    that is an input itself wakes, to begin anew, also when what is left may wait for it:

        1. the search sees that A gets on, so the wait for A and B ends,
        2. B waits for this caller, and the search sees that A gets on,
        3. A settles: nobody would look at B again.
    """

    __slots__ = (
        "_call_of",
        "_calls",
        "_failed",
        "_first",
        "_inputs",
        "_is_watched",
        "_lock",
        "_pending",
        "_wake",
        "_witness",
        "groups",
    )

    def __init__(self, calls: Sequence[FunctionCall[Any]]) -> None:
        self._inputs: list[Input] = []  # in the order of the results
        # Those that were not settled, each once, and the calls that they are of.
        self._pending: list[tuple[Pool, Input]] = []
        self._calls: list[FunctionCall[Any]] = []
        self._call_of: dict[Input, FunctionCall[Any]] = {}
        # Reentrant: 1. it is held, 2. a garbage collection runs the user's ``__del__``,
        # 3. that settles one of the calls.
        self._lock = Real.RLock()
        # Guarded by the lock.
        self._wake: Wake | None = None
        self._failed: Input | None = None  # the first one
        # Before it in _pending all are settled.  A hint: it may lag behind.
        self._first: int = 0
        self._is_watched: bool = False  # the search for deadlocks knows the wait
        self._witness: Input | None = None  # which got on when it was last looked at
        self.groups: list[_Group] = []
        groups: dict[Clock, _Group] = {}
        for call in calls:
            if not isinstance(call, FunctionCall):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidAttributeError(
                    f"FunctionCall.gather takes what spawn() gives, got {call!r}; "
                    "write FunctionCall.gather(*calls)"
                )
            input = call._input_at(0)
            self._inputs.append(input)
            outcome = input.outcome
            if outcome is not None:
                if type(outcome) is not Value and self._failed is None:
                    self._failed = input
            elif input not in self._call_of:
                pool = call._started_pool()
                self._pending.append((pool, input))
                self._calls.append(call)
                group = groups.get(pool.clock)
                if group is None:
                    groups[pool.clock] = group = _Group(pool)
                    self.groups.append(group)
                group.open += 1
            self._call_of[input] = call
        if self._failed is not None:
            raise self._error(self._failed)

    def join(self) -> None:
        """Be told when each is settled."""
        groups = {group.clock: group for group in self.groups}
        for (pool, input), call in zip(self._pending, self._calls, strict=True):
            tell = partial(self._settled, groups[pool.clock], input)
            if not call._add(input, tell, key=self):
                tell()

    def waits(self, group: _Group, wake: Wake) -> bool:
        """Whether there is still to wait for `group`; then `wake` is called when not."""
        with self._lock:
            if self._failed is not None or not group.open:
                return False
            self._wake = wake
            self._is_watched = current_input() is not None or bool(open_streams)
            self._witness = None
            return True

    @property
    def is_open(self) -> bool:
        return any(group.open for group in self.groups)

    def leave(self) -> None:
        """Be told of nothing more."""
        for (_, input), call in zip(self._pending, self._calls, strict=True):
            if input.outcome is None:
                call._remove(input, self)

    def results(self) -> list[Any]:
        """All results.

        Raises:
            What the first of them to fail failed with.
        """
        if self._failed is not None:
            raise self._error(self._failed)
        # None has failed: each that settled said so.
        return [cast("Value", input.outcome).value for input in self._inputs]

    def _error(self, input: Input) -> BaseException:
        call = self._call_of[input]
        return error_of(call._read(input))

    def _settled(self, group: _Group, input: Input) -> None:
        """On the thread that settled `input`, without its pool's lock."""
        with self._lock:
            group.open -= 1
            if type(input.outcome) is not Value:
                if self._failed is None:
                    self._failed = input
            elif group.open and (not self._is_watched or self._has_witness()):
                return
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _has_witness(self) -> bool:
        """Whether one is left that surely gets on.  If not, the search looks closely."""
        if self._witness is not None and _surely_gets_on(self._witness):
            return True
        pending = self._pending
        while self._first < len(pending) and pending[self._first][1].outcome is not None:
            self._first += 1
        # Those that run are the first mostly, for they were queued in this order.
        for _, input in pending[self._first : self._first + _LOOKED_AT]:
            if _surely_gets_on(input):
                self._witness = input
                return True
        return False

    # -- what the search for deadlocks sees ------------------------------------------

    def __iter__(self) -> Iterator[tuple[Pool, Input]]:
        first = self._failed
        if first is not None or not self.is_open:  # it is about to wake: one that is settled
            for pair in self._pending:
                if first is None or pair[1] is first:
                    yield pair
                    return
        for pair in self._pending:
            if pair[1].outcome is None:
                yield pair

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> tuple[Pool, Input]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Pool, Input]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        left = list(self) or self._pending  # all may have settled just now
        return left[index]


def _surely_gets_on(input: Input) -> bool:
    return input.outcome is None and input.state is InputState.RUNNING and not blockers_of(input)


# How many inputs of a gather are looked at for one that gets on.
_LOOKED_AT: Final = 16


class FunctionCall(Generic[R_co]):
    """A spawned call: get its results, or cancel it, when and where you like.

    Returned by ``Function.spawn``, with one input, and by
    ``Function.experimental_spawn_map``, with many.  Any number of threads and
    tasks may wait for it at once.  It can be found by its id until 10 minutes
    after it settled; see `from_id`.
    """

    __slots__ = (
        "__weakref__",
        "_first",
        "_pool",
        "_record",
        "_settled_at",
        "_waiting",
        "context",
        "number",
        "target",
    )

    if TYPE_CHECKING:
        context: Context
        number: int
        target: Target
        _first: Input | None
        _pool: Pool | None
        _record: Record | None
        _settled_at: float | None
        _waiting: dict[int, dict[object, Wake]] | None

    # Most calls have one input, and each takes its bytes: what others need besides is in
    # `_ManyInputs` and `_UnknownCall`.
    _many: tuple[Input, ...] = ()
    _unknown: str | None = None

    @staticmethod
    @FunctionWithAio
    def from_id(function_call_id: str, client: object = None) -> FunctionCall[Any]:
        """The call with this id, spawned in this process.

        Lazy: no id is refused.  A call that is not found says so when it is used (`get`,
        `cancel`, `num_inputs` and the others), by one of two errors:

        - `OutputExpiredError`, if the call settled more than 10 minutes ago, or 10,000
          others have since (see `config`); or if the id is that of a ``remote`` or a
          ``map``, which are not found by it;
        - `NotFoundError`, if there was none.
        """
        call = registry.find(function_call_id)
        return FunctionCall._make_unknown(function_call_id) if call is None else call

    gather: ClassVar[Gather] = Gather()

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise InvalidError(
            "a FunctionCall is not made by hand; "
            "write f.spawn(...), or FunctionCall.from_id(...) for one that was spawned"
        )

    @classmethod
    def _make(
        cls, target: Target, args: tuple[Any, ...] | None, kwargs: dict[str, Any]
    ) -> FunctionCall[Any]:
        """A call with one input, or for `_make_many` with none yet."""
        call: FunctionCall[Any] = cls.__new__(cls)
        call.number = next_call_number()
        call.target = target
        # `capture`, written out: this is on the way of each input.
        call.context = context = copy_context()
        if decimal_context in context:
            own_decimal_context(context)
        # Before its inputs may run: they may ask for their own call.
        call._pool = None
        call._first = None if args is None else Input(call, 0, args, kwargs or None)
        # Set once somebody may find the call: see `findable.Registry`.
        call._record = None
        # When the last input settled, by the pool's clock.  Written under the pool's lock.
        call._settled_at = None
        # Guarded by the pool's lock: those to wake when an input is settled, by its index.
        call._waiting = None
        return call

    @staticmethod
    def _make_many(
        target: Target, rows: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]
    ) -> FunctionCall[Any]:
        call = cast("_ManyInputs[Any]", _ManyInputs._make(target, None, kwargs))
        inputs = [Input(call, index, row, kwargs or None) for index, row in enumerate(rows)]
        call._unsettled = len(inputs)
        call._many = tuple(inputs)
        if inputs:
            call._first = inputs[0]
        return call

    @staticmethod
    def _make_unknown(function_call_id: str) -> FunctionCall[Any]:
        kind: type[_UnknownCall[Any]] = _UnknownCall
        call = kind.__new__(kind)
        call._pool = None
        call._record = None
        call._unknown = function_call_id
        return call

    @property
    def _inputs(self) -> tuple[Input, ...]:
        if self._many:
            return self._many
        return () if self._first is None else (self._first,)

    @property
    def object_id(self) -> str:
        """The id of the call, the one its code sees as ``current_function_call_id()``."""
        if self._unknown is not None and config.strict:
            raise AttributeError(
                f"FunctionCall.from_id({self._unknown!r}) has no object_id: "
                "no such call was spawned in this process"
            )
        return self._unknown or self._give_out_id()

    def _give_out_id(self) -> str:
        """The id, for somebody who may look the call up by it from now on."""
        shown = call_id(self.number)
        record = self._record
        if record is None or not record.is_named:
            registry.give_out(self, shown)
        return shown

    def settled(self, input: Input, /) -> Wake | None:
        """For the engine: see `runtime.input.Call`."""
        assert self._pool is not None
        self._settled_at = self._pool.clock.now()
        ending = _EndedCall()
        ending.call = self
        return ending

    def _ended(self, ended: _EndedCall) -> None:
        """The last input has settled.  Without the pool's lock."""
        # Before anybody hears of the end, and looks for the call.
        if self._record is not None:
            registry.settled(self)
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            for wakes in waiting.values():
                for wake in wakes.values():
                    wake()
        self._let_context_go(ended)

    def _let_context_go(self, ended: _EndedCall) -> None:
        """Keep of the context only whose code spawned the call, while that code runs.

        The context holds the spawning input, and with it that input's call: a job that
        spawns its successor would keep all jobs there ever were.  The inputs lead no longer
        here but to `ended`, so that the call is gone with its handle.
        """
        inputs = self._inputs
        for input in inputs:
            if input.state is not _SETTLED:
                return  # its code runs on, or is about to begin, in this context
        caller = self.context.get(running_input, _OUTSIDE)
        while caller is not None and caller is not _OUTSIDE and caller.outcome is not None:
            caller = caller.call.context.get(running_input, _OUTSIDE)
        context = _NOTHING
        if caller is None:
            context = _IN_HOOK
        elif caller is not _OUTSIDE:
            context = Context()
            context.run(running_input.set, caller)
        gone, self.context = [self.context], context
        ended.number, ended.target, ended.context = self.number, self.target, context
        for input in inputs:
            input.call = ended
        if self._record is not None and self._record.children is not None:
            # Their contexts lead here, as what this call spawned leads there.
            for _, child in registry.children(self):
                if child._settled_at is not None:
                    child._let_context_go(_EndedCall())
        let_go(gone)

    @property
    def get(self) -> Get[R_co]:
        """``get(timeout=None)`` waits for the result; ``await get.aio(timeout=None)`` too."""
        return Get(self)

    @property
    def iter(self) -> Iter[R_co]:
        """``iter()`` gives the results of all inputs, in order; ``iter.aio()`` too."""
        return Iter(self)

    @MethodWithAio
    def num_inputs(self) -> int:
        """How many inputs the call has: 1, unless it was spawned by a map."""
        self._started_pool()
        return len(self._inputs)

    @MethodWithAio
    def cancel(self, terminate_containers: bool = False) -> None:
        """Cancel its inputs: dropped if queued, cancelled in their code if they run.

        Harmless on a call that is settled.

        Args:
            terminate_containers: accepted; only these inputs end here, never
                their neighbours in the same container.
        """
        pool = self._started_pool()
        if pool.forked:
            raise forking.stayed_behind(f"the call of {self.target.name}")
        pool.cancel_all(self._inputs)

    @MethodWithAio
    def get_call_graph(self) -> list[InputInfo]:
        """Its inputs, each with the calls that it spawned and that can still be found."""
        self._started_pool()
        with uninterruptible:
            return _graph(self)

    @MethodWithAio
    def hydrate(self, client: object = None) -> FunctionCall[R_co]:
        """Itself: there is nothing to fetch."""
        self._started_pool()
        return self

    def _input_at(self, index: int) -> Input:
        self._started_pool()
        inputs = self._inputs
        if not 0 <= index < len(inputs):
            last = len(inputs) - 1
            raise InvalidIndexError(
                f"the inputs of the call of {self.target.name} have the numbers 0 to {last}, "
                f"got index={index}; write index={max(0, last)}"
            )
        return inputs[index]

    @uninterruptible
    def _add(self, input: Input, wake: Wake, *, key: object = None) -> bool:
        """Have `wake` called when `input` is settled; false if it is already.

        Args:
            key: for `_remove`; `wake` itself if None.
        """
        with self._started_pool().lock:
            if input.outcome is not None:
                return False
            if self._waiting is None:
                self._waiting = {}
            self._waiting.setdefault(input.index, {})[wake if key is None else key] = wake
            return True

    @uninterruptible
    def _remove(self, input: Input, key: object) -> None:
        pool = self._started_pool()
        if pool.forked:
            return
        with pool.lock:
            waiting = (self._waiting or {}).get(input.index)
            if waiting is not None:
                waiting.pop(key, None)

    def _read(self, input: Input, /) -> Outcome:
        """The outcome of `input`, for somebody who waited for it."""
        outcome = input.outcome
        assert outcome is not None
        if type(outcome) is Failure and self._record is not None:
            registry.read(self, input)
        return outcome

    def _started_pool(self) -> Pool:
        if self._pool is None:
            raise self._not_found()
        return self._pool

    def _not_found(self) -> NotFoundError | OutputExpiredError:
        shown = self._unknown
        number = call_number(shown or "")
        if number is not None and number < next_call_number():
            return OutputExpiredError(
                f"the call {shown} settled too long ago to be found by its id, or was "
                "not spawned, as those of remote() and map() are not; keep the FunctionCall that "
                "spawn() gives, or raise config.findable_seconds and config.findable_calls"
            )
        return NotFoundError(
            f"no call {shown!r} was spawned in this process; "
            "keep the FunctionCall, or its object_id, that spawn() gives"
        )

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<FunctionCall {self._unknown}: unknown>"
        inputs = self._inputs
        states = Counter(input.state.value for input in inputs)
        shown = ", ".join(
            state if len(inputs) == 1 else f"{count} {state}" for state, count in states.items()
        )
        return f"<FunctionCall {self.object_id} of {self.target.name}: {shown or 'no inputs'}>"


class _ManyInputs(FunctionCall[R_co]):
    """A call with many inputs, or none."""

    __slots__ = ("_many", "_unsettled")

    if TYPE_CHECKING:
        # Guarded by the pool's lock: how many inputs are not settled yet.
        _unsettled: int

    def settled(self, input: Input, /) -> Wake | None:
        self._unsettled -= 1
        if not self._unsettled:
            return super().settled(input)
        if self._waiting is None:
            return None
        waiting = self._waiting.pop(input.index, None)
        if waiting is None:
            return None
        wakes = list(waiting.values())
        if len(wakes) == 1:
            return wakes[0]
        return lambda: [wake() for wake in wakes]


class _UnknownCall(FunctionCall[R_co]):
    """What `FunctionCall.from_id` gives for an id that is not found."""

    __slots__ = ("_unknown",)


# They differ in what they hold, and to users all are one class.
for _kind in (_ManyInputs, _UnknownCall):
    _kind.__name__ = _kind.__qualname__ = FunctionCall.__name__


class Get(Generic[R_co]):
    """``FunctionCall.get``."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[R_co]) -> None:
        self._call = call

    def __call__(self, timeout: float | None = None, *, index: int = 0) -> R_co:
        """Wait for the result and return it.

        Args:
            timeout: seconds to wait at most; no limit if None.
            index: which input's, of a call with many.

        Raises:
            TimeoutError: the builtin one, if `timeout` seconds pass first; the
                call goes on.
            InputCancelledError: if the call was cancelled.
        """
        call = self._call
        try:
            input = call._input_at(index)
        except Error as error:
            raise without_our_frames(error)
        if input.outcome is None:
            pool = call._started_pool()
            waiter = pool.clock.make_waiter()
            with uninterruptible:
                if call._add(input, waiter.wake):
                    wait_here(pool, waiter, timeout, call, input)
                    if input.outcome is None:
                        raise _timed_out(call, timeout)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        outcome = call._read(input)
        try:
            raise error_of(outcome)
        finally:
            del outcome, input, call, self  # they lead to the error, and it to this frame

    async def aio(self, timeout: float | None = None, *, index: int = 0) -> R_co:
        """As calling it, for asyncio and trio."""
        call = self._call
        try:
            input = call._input_at(index)
        except Error as error:
            raise without_our_frames(error)
        if input.outcome is None:
            pool = call._started_pool()
            waiter = make_async_waiter()
            wake = waiter.wake
            if call._add(input, wake):
                timer = None
                if timeout is not None:
                    timer = pool.clock.call_at(pool.clock.now() + max(0.0, timeout), wake)
                try:
                    await wait_for(pool, waiter, input, timeout is not None)
                finally:
                    if timer is not None:
                        timer.cancel()
                    if input.outcome is None:
                        clean_up_soon(partial(call._remove, input, wake))
                if input.outcome is None:
                    raise _timed_out(call, timeout)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        outcome = call._read(input)
        try:
            raise error_of(outcome)
        finally:
            del outcome, input, call, self


class Iter(Generic[R_co]):
    """``FunctionCall.iter``."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[R_co]) -> None:
        self._call = call

    def __call__(self, *, start: int = 0, end: int | None = None) -> Iterator[R_co]:
        """The results from input `start` up to, without, `end`; waits for each in turn.

        The first error is raised in its place.
        """
        call = self._call
        try:
            for index in _indices(call, start, end):
                yield call.get(index=index)
        except Exception as error:
            raise without_our_frames(error)

    async def aio(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[R_co]:
        """As calling it, for ``async for``."""
        call = self._call
        try:
            for index in _indices(call, start, end):
                yield await call.get.aio(index=index)
        except Exception as error:
            raise without_our_frames(error)


def _indices(call: FunctionCall[object], start: int, end: int | None) -> range:
    call._started_pool()
    count = len(call._inputs)
    if start < 0 or (end is not None and not start <= end <= count):
        raise InvalidIndexError(
            f"the call of {call.target.name} has {count} inputs, got start={start}, end={end}; "
            f"write bounds from 0 to {count}"
        )
    return range(start, count if end is None else end)


def _graph(root: FunctionCall[Any]) -> list[InputInfo]:
    """The inputs of `root`, with those of the calls that each spawned."""
    # Not by recursion: a job that spawns its successor makes a long chain.
    found: list[InputInfo] = []
    pending: list[tuple[FunctionCall[Any], list[InputInfo]]] = [(root, found)]
    while pending:
        call, infos = pending.pop()
        mine = [_info(call, input, []) for input in call._inputs]
        infos.extend(mine)
        for index, child in registry.children(call):
            pending.append((child, mine[index].children))
    return found


def _info(call: FunctionCall[Any], input: Input, children: list[InputInfo]) -> InputInfo:
    outcome, status = input.outcome, InputStatus.PENDING
    if isinstance(outcome, Value):
        status = InputStatus.SUCCESS
    elif isinstance(outcome, Failure):
        timed_out = isinstance(outcome.error, (FunctionTimeoutError, QueueTimeoutError))
        status = InputStatus.TIMEOUT if timed_out else InputStatus.FAILURE
    elif outcome is not None:
        status = InputStatus.TERMINATED
    container = input.container
    return InputInfo(
        input_id=input.input_id,
        function_call_id=call.object_id,
        task_id="" if container is None else f"ta-{container.number}",
        status=status,
        function_name=call.target.name,
        module_name=getattr(call.target.function, "__module__", "") or "",
        children=children,
    )


class _EndedCall:
    """In the place of a spawned call that has settled, for its inputs.

    Before that, it is what is to be done when the call has settled: it is called once, and
    lets go of the call, because parked workers keep this.
    """

    __slots__ = ("call", "context", "number", "target")

    # Set by whoever makes it: an ``__init__`` would be one more call for each input.
    call: FunctionCall[Any] | None
    context: Context
    number: int
    target: Target

    def __call__(self) -> None:
        call, self.call = self.call, None
        if call is None:
            return
        if call._record is None and call._waiting is None:
            call._let_context_go(self)  # nobody looks for it, and nobody waits: as mostly
        else:
            call._ended(self)

    def settled(self, input: Input, /) -> None:
        raise AssertionError(f"{input!r} has settled before")


_SETTLED: Final = InputState.SETTLED
# In the place of the context of a call that has settled: nobody, or a hook, spawned it.
_NOTHING: Final = Context()
_IN_HOOK: Final = hook_context()
_OUTSIDE: Final = cast(Input, object())


def wait_here(
    pool: Pool,
    waiter: Waiter,
    timeout: float | None,
    call: FunctionCall[object],
    input: Input,
) -> None:
    """Block this thread for a spawned call, for `timeout` seconds at most."""
    if timeout is None or timeout > 0:  # else it asks, and blocks nobody
        warn_if_loop_runs(written(call.target), "spawn(...).get()", "await {}.spawn(...).get.aio()")
    try:
        park_for(pool, waiter, input, timeout)
    finally:
        if input.outcome is None:
            call._remove(input, waiter.wake)


def _timed_out(call: FunctionCall[object], timeout: float | None) -> TimeoutError:
    return TimeoutError(
        f"the call of {call.target.name} has no result after {timeout} s; "
        "it goes on: get() it again, or cancel() it"
    )
