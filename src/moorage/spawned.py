"""Spawned calls: handles for results that somebody asks for later.

Owns `FunctionCall`, the ways to wait for one or for several, and which calls
are found by their id.  The other kinds of calls are in ``calls.py`` and
``maps.py``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from . import config
from .call_graph import InputInfo, InputStatus
from .calls import error_of, later, warn_if_loop_runs, written
from .exception import (
    Error,
    FunctionTimeoutError,
    InvalidAttributeError,
    InvalidError,
    InvalidIndexError,
    NotFoundError,
    OutputExpiredError,
    QueueTimeoutError,
)
from .frames import short
from .runs import open_pools
from .runtime import forking
from .runtime.callers import park_for, wait_for
from .runtime.captured import capture
from .runtime.clock import Waiter
from .runtime.context import running_input
from .runtime.input import Input, Target, call_id, call_number, next_call_number
from .runtime.outcome import Failure, Value
from .runtime.pools.pool import Pool
from .runtime.real import Real
from .runtime.regions import ours
from .runtime.wakers import make_async_waiter
from .with_aio import FunctionWithAio, MethodWithAio

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
        try:
            while pending := _pending(function_calls):
                pool = pending[0][0]._started_pool()
                waiter = pool.clock.make_waiter()
                with ours:
                    try:
                        if _add_all(pending, waiter.wake):
                            park_for(pool, waiter, _pools_of(pending))
                    finally:
                        for call, input in pending:
                            call._remove(input, waiter.wake)
            return [call.get() for call in function_calls]
        except Exception as error:
            raise short(error)

    async def aio(self, *function_calls: FunctionCall[T]) -> list[T]:
        """As calling it, for asyncio and trio."""
        try:
            while pending := _pending(function_calls):
                pool = pending[0][0]._started_pool()
                waiter = make_async_waiter()
                try:
                    if _add_all(pending, waiter.wake):
                        await wait_for(pool, waiter, _pools_of(pending))
                finally:
                    for call, input in pending:
                        later(partial(call._remove, input, waiter.wake))
            return [await call.get.aio() for call in function_calls]
        except Exception as error:
            raise short(error)


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
        "_more",
        "_pool",
        "_unknown",
        "_unsettled",
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
        _more: tuple[Input, ...]
        _pool: Pool | None
        _unknown: str | None
        _unsettled: int
        _waiting: dict[int, list[Wake]] | None

    @staticmethod
    @FunctionWithAio
    def from_id(function_call_id: str, client: object = None) -> FunctionCall[Any]:
        """The call with this id, spawned in this process.

        Raises:
            NotFoundError: if there was none; in strict mode only when it is used.
            OutputExpiredError: if it settled more than 10 minutes ago, or 10,000
                others have since (see `config`); or if the id is that of a
                ``remote`` or a ``map``, which are not found by it.
        """
        call = spawned_calls.find(function_call_id)
        if call is not None:
            return call
        number = call_number(function_call_id)
        if number is not None and number < next_call_number():
            raise OutputExpiredError(
                f"the call {function_call_id} settled too long ago to be found by its id, or was "
                "not spawned, as those of remote() and map() are not; keep the FunctionCall that "
                "spawn() gives, or raise config.findable_seconds and config.findable_calls"
            )
        unknown = FunctionCall._make_unknown(function_call_id)
        if not config.strict:
            unknown._started_pool()
        return unknown

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
        call.context = capture()
        # Before its inputs may run: they may ask for their own call.
        call._pool = None
        call._unknown = None
        call._first = None if args is None else Input(call, 0, args, kwargs or None)
        call._more = ()
        # Guarded by the pool's lock: how many inputs are not settled yet, and
        # those to wake when one is, by its index.
        call._unsettled = 1
        call._waiting = None
        return call

    @classmethod
    def _make_many(
        cls, target: Target, rows: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]
    ) -> FunctionCall[Any]:
        call = cls._make(target, None, kwargs)
        inputs = [Input(call, index, row, kwargs or None) for index, row in enumerate(rows)]
        call._unsettled = len(inputs)
        if inputs:
            call._first, *more = inputs
            call._more = tuple(more)
        return call

    @classmethod
    def _make_unknown(cls, function_call_id: str) -> FunctionCall[Any]:
        call: FunctionCall[Any] = cls.__new__(cls)
        call._pool = None
        call._unknown = function_call_id
        return call

    @property
    def _inputs(self) -> tuple[Input, ...]:
        return () if self._first is None else (self._first, *self._more)

    @property
    def object_id(self) -> str:
        """The id of the call, the one its code sees as ``current_function_call_id()``."""
        if self._unknown is not None and config.strict:
            raise AttributeError(
                f"FunctionCall.from_id({self._unknown!r}) has no object_id: "
                "no such call was spawned in this process"
            )
        return self._unknown or call_id(self.number)

    def settled(self, input: Input, /) -> Wake | None:
        """For the engine: see `runtime.input.Call`."""
        self._unsettled -= 1
        if not self._unsettled:
            assert self._pool is not None
            spawned_calls.settled(self, self._pool.clock.now())
        if self._waiting is None:
            return None
        waiting = self._waiting.pop(input.index, None)
        if waiting is None:
            return None
        if len(waiting) == 1:
            return waiting[0]
        return lambda: [wake() for wake in waiting]

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
        return spawned_calls.graph(self)

    @MethodWithAio
    def hydrate(self, client: object = None) -> FunctionCall[R_co]:
        """Itself: there is nothing to fetch."""
        self._started_pool()
        return self

    def _input_at(self, index: int) -> Input:
        self._started_pool()
        if not 0 <= index < len(self._inputs):
            last = len(self._inputs) - 1
            raise InvalidIndexError(
                f"the inputs of the call of {self.target.name} have the numbers 0 to {last}, "
                f"got index={index}; write index={max(0, last)}"
            )
        return self._inputs[index]

    @ours
    def _add(self, input: Input, wake: Wake) -> bool:
        """Have `wake` called when `input` is settled; false if it is already."""
        with self._started_pool().lock:
            if input.outcome is not None:
                return False
            if self._waiting is None:
                self._waiting = {}
            self._waiting.setdefault(input.index, []).append(wake)
            return True

    @ours
    def _remove(self, input: Input, wake: Wake) -> None:
        pool = self._started_pool()
        if pool.forked:
            return
        with pool.lock:
            waiting = (self._waiting or {}).get(input.index)
            if waiting and wake in waiting:
                waiting.remove(wake)

    def _started_pool(self) -> Pool:
        if self._pool is None:
            raise NotFoundError(
                f"no call {self._unknown!r} was spawned in this process; "
                "keep the FunctionCall, or its object_id, that spawn() gives"
            )
        return self._pool

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<FunctionCall {self._unknown}: unknown>"
        states = Counter(input.state.value for input in self._inputs)
        shown = ", ".join(
            state if len(self._inputs) == 1 else f"{count} {state}"
            for state, count in states.items()
        )
        return f"<FunctionCall {self.object_id} of {self.target.name}: {shown or 'no inputs'}>"


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
            raise short(error)
        if input.outcome is None:
            pool = call._started_pool()
            waiter = pool.clock.make_waiter()
            with ours:
                if call._add(input, waiter.wake):
                    wait_here(pool, waiter, timeout, call, input)
                    if input.outcome is None:
                        raise _timed_out(call, timeout)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
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
            raise short(error)
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
                        later(partial(call._remove, input, wake))
                if input.outcome is None:
                    raise _timed_out(call, timeout)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
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
            raise short(error)

    async def aio(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[R_co]:
        """As calling it, for ``async for``."""
        call = self._call
        try:
            for index in _indices(call, start, end):
                yield await call.get.aio(index=index)
        except Exception as error:
            raise short(error)


def _indices(call: FunctionCall[object], start: int, end: int | None) -> range:
    call._started_pool()
    count = len(call._inputs)
    if start < 0 or (end is not None and not start <= end <= count):
        raise InvalidIndexError(
            f"the call of {call.target.name} has {count} inputs, got start={start}, end={end}; "
            f"write bounds from 0 to {count}"
        )
    return range(start, count if end is None else end)


def _pending(calls: Sequence[FunctionCall[Any]]) -> list[tuple[FunctionCall[Any], Input]]:
    """What is still to wait for.

    Raises:
        Whatever one of them failed with.
    """
    pending: list[tuple[FunctionCall[Any], Input]] = []
    for call in calls:
        if not isinstance(call, FunctionCall):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidAttributeError(
                f"FunctionCall.gather takes what spawn() gives, got {call!r}; "
                "write FunctionCall.gather(*calls)"
            )
        input = call._input_at(0)
        if input.outcome is None:
            pending.append((call, input))
        elif type(input.outcome) is not Value:
            raise error_of(input.outcome)
    return pending


def _pools_of(
    pending: list[tuple[FunctionCall[Any], Input]],
) -> list[tuple[Pool, Input]]:
    return [(call._started_pool(), input) for call, input in pending]


def _add_all(pending: list[tuple[FunctionCall[Any], Input]], wake: Wake) -> bool:
    """Have `wake` called by the next of them to settle; false if one has already."""
    return all(call._add(input, wake) for call, input in pending)


class SpawnedCalls:
    """The calls that can be found by their id: what is under way, and what settled lately.

    Those under way are in their pools, and are looked for there: a spawn pays
    nothing for being found.
    """

    def __init__(self) -> None:
        # Single operations on both are atomic; nothing is dropped under a lock.
        self._settled: dict[int, tuple[float, FunctionCall[Any]]] = {}
        self._order: deque[FunctionCall[Any]] = deque()  # in which they settled
        # Held by the one that takes from _order.  Nobody waits for it.
        self._sweeping = Real.Lock()
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: ids are its own from now on, and find its own calls."""
        forking.keep(self._settled, self._order)
        self._settled = {}
        self._order = deque()
        self._sweeping = Real.Lock()

    def settled(self, call: FunctionCall[Any], now: float) -> None:
        """Under its pool's lock: only a note."""
        self._settled[call.number] = (now, call)
        self._order.append(call)

    @ours
    def find(self, function_call_id: str) -> FunctionCall[Any] | None:
        self.sweep()
        number = call_number(function_call_id)
        if number is None:
            return None
        # Once more at the end, for it may settle while its pool is looked for.
        return (
            self._find_settled(number)
            or self._under_way().get(number)
            or (self._find_settled(number))
        )

    def _find_settled(self, number: int) -> FunctionCall[Any] | None:
        # Looked at itself: those before it may live by another clock.
        if number not in self._settled or self._is_expired(number):
            return None
        found = self._settled.get(number)
        return None if found is None else found[1]

    def _under_way(self) -> dict[int, FunctionCall[Any]]:
        calls: dict[int, FunctionCall[Any]] = {}
        for pool in open_pools():
            for call in pool.calls():
                if isinstance(call, FunctionCall):
                    calls[call.number] = call
        return calls

    def _is_expired(self, number: int) -> bool:
        found = self._settled.get(number)
        if found is None:
            return True
        at, call = found
        pool = call._pool
        assert pool is not None
        return pool.clock.now() >= at + config.findable_seconds

    @ours
    def sweep(self) -> None:
        """Let go of those that settled too long ago, or that are too many."""
        # 1. two threads see that the eldest has expired, 2. one takes it, 3. so
        # does the other, and takes the next, which has not: so only one sweeps.
        dropped: list[object] = []
        if self._order and self._sweeping.acquire(False):
            try:
                order = self._order
                while order and (
                    len(order) > config.findable_calls or self._is_expired(order[0].number)
                ):
                    call = order.popleft()
                    dropped += [call, call.context, self._settled.pop(call.number, None)]
                    # It knows the input that spawned it, and that its own call: a job
                    # that spawns its successor would keep all there ever were.
                    call.context = _NOTHING
                    del call
            finally:
                self._sweeping.release()
        # Here they go, with results that may run code of the user's.

    @ours
    def graph(self, root: FunctionCall[Any]) -> list[InputInfo]:
        children: dict[Input | None, list[FunctionCall[Any]]] = {}
        settled = {call.number: call for _, call in list(self._settled.values())}
        for call in (self._under_way() | settled).values():
            children.setdefault(call.context.get(running_input), []).append(call)

        def infos(call: FunctionCall[Any]) -> list[InputInfo]:
            return [
                _info(call, input, [i for child in children.get(input, ()) for i in infos(child)])
                for input in call._inputs
            ]

        return infos(root)


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


# In the place of the context of a call that is not found any more.
_NOTHING: Final = Context()

spawned_calls: Final = SpawnedCalls()


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
