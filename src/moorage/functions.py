"""Functions: what ``app.function`` gives, and the methods of an app's class.

Owns the ways to call one (``remote``, ``map``, ``spawn``, ``remote_gen``,
``local``) and the way of an input to its pool.  The pool itself is made by the
`Service` that `app.py` or `cls.py` passes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
)
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from . import config
from .calls import (
    FunctionCall,
    StreamCall,
    StreamReader,
    WaitedCall,
    error_of,
    later,
    warn_if_loop_runs,
)
from .exception import InvalidError
from .maps import MapCall, MapResults
from .runs import MakePool, Run
from .runtime.autoscaler import Limits
from .runtime.cancellation import park
from .runtime.input import Input, Target
from .runtime.outcome import Value
from .runtime.pool import Pool, PoolStatistics
from .runtime.streaming import Stream
from .runtime.waits import make_async_waiter

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)  # what the undecorated function returns
Y = TypeVar("Y")
Y_co = TypeVar("Y_co", covariant=True)

# Undelivered results a map may have under way, if its pool has not more slots.
WINDOW: Final = 1000


class Service(Protocol):
    """What a function or class registered with an app is run with."""

    @property
    def limits(self) -> Limits: ...

    def current_run(self) -> Run:
        """The app's run, an ambient one if it has none."""
        ...

    @property
    def open_run(self) -> Run | None:
        """The app's run, None if it has none."""
        ...

    @property
    def make_pool(self) -> MakePool: ...


class Function(Generic[P, R_co, O_co]):
    """A function of an app.

    `R_co` is what running it gives, `O_co` what the plain function returns: a
    coroutine if it is asynchronous.
    """

    # Slots for the ways to call it, so that help() shows them with their texts.
    __slots__ = {
        "__dict__": "whatever a function carries: its name, module, docstring",
        "map": "``map([...])`` runs many inputs, and gives their results as they come.",
        "remote": "``remote(...)`` runs one input in a container, and waits for its result.",
        "spawn": "``spawn(...)`` starts one input, and gives a handle for its result.",
    }

    _moorage_registered: Final = True

    def __init__(
        self,
        target: Target,
        service: Service,
        local: Callable[P, O_co],
        key: Hashable | None = None,
    ) -> None:
        self._target = target
        self._service = service
        self._local = local
        self._key: Hashable = self if key is None else key
        # What help() and inspect.signature() look for, as functools.wraps has it.
        function = target.function
        self.__name__: str = target.name
        self.__qualname__: str = getattr(function, "__qualname__", target.name)
        self.__module__: str = getattr(function, "__module__", __name__)
        self.__doc__: str | None = getattr(function, "__doc__", None)
        self.__wrapped__: Callable[..., object] = function
        self.remote: Remote[P, R_co] = Remote(self)
        self.map: Map[R_co] = Map(self)
        self.spawn: Spawn[P, R_co] = Spawn(self)
        self._remote_gen: RemoteGen[P, Any] = RemoteGen(self)

    @property
    def remote_gen(
        self: Function[P, Iterable[Y] | AsyncIterable[Y], object],
    ) -> RemoteGen[P, Y]:
        """``remote_gen(...)`` runs a generator and gives its items as they come."""
        return self._remote_gen

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O_co:
        """Call the function here, as if it were not decorated."""
        return self._local(*args, **kwargs)

    def statistics(self) -> PoolStatistics | None:
        """Its pool at this moment, exactly; None if it has none, as outside of a run.

        The methods of a class share their pool, and its counts.
        """
        run = self._service.open_run
        pool = None if run is None else run.pools.get(self._key)
        return None if pool is None else pool.statistics()

    if not TYPE_CHECKING:  # so that type checkers refuse it too

        def __call__(self, *args, **kwargs):
            name = self.__name__
            if self._target.is_method:
                owner, _, name = name.rpartition(".")
                where = f"{owner}(...).{name}.remote(...) to run it in a container, "
                local = f"or self.{name}.local(...) inside the class"
            else:
                where = f"{name}.remote(...) to run it in a container, "
                local = f"or {name}.local(...) to run it here"
            raise InvalidError(
                f"{self.__name__} belongs to an app and cannot be called directly: "
                f"write {where}{local}"
            )

    def __repr__(self) -> str:
        return f"<Function {self._target.name}>"

    # -- the way to the pool ----------------------------------------------------

    def _submit(self, input: Input) -> Pool:
        service = self._service
        inputs = (input,)
        while True:
            run = service.current_run()
            pool = run.pools.get(self._key)
            if pool is None:
                pool = run.pool(self._key, service.make_pool)
            if pool.submit(inputs):
                return pool
            # Retired at this very moment: it has left the run, or is about to.
            run.drop(self._key, pool)

    def _open_map(self, kwargs: dict[str, Any]) -> MapCall:
        service = self._service
        limits = service.limits
        most = limits.max_inputs * (limits.max_containers or config.max_containers)
        while True:
            run = service.current_run()
            pool = run.pool(self._key, service.make_pool)
            if pool.open_call():
                return MapCall(self._target, pool, kwargs, max(WINDOW, 2 * most))
            run.drop(self._key, pool)

    def _expect(self, wanted: str, generator: bool) -> None:
        if self._target.is_generator is not generator:
            kind, instead = (
                ("is a generator", ".remote_gen(...)")
                if self._target.is_generator
                else ("is not a generator", ".remote(...)")
            )
            raise InvalidError(
                f"{self.__name__} {kind}, so it has no {wanted}; "
                f"write {self.__name__}{instead} instead"
            )


class Remote(Generic[P, R_co]):
    """``Function.remote``: run one input and wait for its result."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[P, R_co, object]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.remote>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function in a container and return its result.

        Cancels the input if this thread is interrupted meanwhile.
        """
        function = self._function
        target = function._target
        if target.is_generator:
            function._expect(".remote()", False)
        if asyncio._get_running_loop() is not None:
            warn_if_loop_runs(target.name, "remote(...)", "await {}.remote.aio(...)")
        clock = function._service.current_run().clock
        waiter = clock.make_waiter()
        input = Input(WaitedCall(target, waiter.wake), 0, args, kwargs or None)
        pool = function._submit(input)
        try:
            park(clock, waiter)
        except BaseException:
            pool.cancel(input)
            raise
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        try:
            raise error_of(outcome)
        finally:
            # They lead to the error, and its traceback to this frame.
            del outcome, input, function, self

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """As calling it, for asyncio and trio.  Cancelling the task cancels the input."""
        function = self._function
        target = function._target
        if target.is_generator:
            function._expect(".remote.aio()", False)
        waiter = make_async_waiter()
        input = Input(WaitedCall(target, waiter.wake), 0, args, kwargs or None)
        pool = function._submit(input)
        try:
            await waiter.wait()
        except GeneratorExit:
            # Collected, maybe while some lock is held: take none here.
            later(partial(pool.cancel, input))
            raise
        except BaseException:
            pool.cancel(input)
            raise
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        try:
            raise error_of(outcome)
        finally:
            # They lead to the error, and its traceback to this frame.
            del outcome, input, function, self


class Spawn(Generic[P, R_co]):
    """``Function.spawn``: run one input and go on."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[P, R_co, object]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.spawn>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R_co]:
        """Start the function and return at once, with a handle for its result."""
        function = self._function
        if function._target.is_generator:
            function._expect(".spawn()", False)
        call: FunctionCall[R_co] = FunctionCall(function._target, args, kwargs)
        call._pool = function._submit(call._input)
        return call

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R_co]:
        """As calling it; it does not wait."""
        return self(*args, **kwargs)


class RemoteGen(Generic[P, Y_co]):
    """``Function.remote_gen``: run a generator, and read its items as they come."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[P, object, object]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.remote_gen>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StreamReader[Y_co]:
        """The items, lazily: the input is submitted at the first step."""
        function = self._function
        function._expect(".remote_gen()", True)
        clock = function._service.current_run().clock
        call = StreamCall(function._target, Stream(clock))
        return StreamReader(function._submit, call, Input(call, 0, args, kwargs or None))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> StreamReader[Y_co]:
        """As calling it, for ``async for``."""
        return self(*args, **kwargs)


class Map(Generic[R_co]):
    """``Function.map``: run many inputs, and read their results as they come."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[..., R_co, object]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.map>"

    @overload
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
    ) -> MapResults[R_co]: ...
    @overload
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
    ) -> MapResults[R_co | BaseException]: ...
    def __call__(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> MapResults[Any]:
        """Run the function on each element, or on each row of several iterables.

        Lazy: nothing is read before the first step.  Sequences are read as
        results are taken; any other iterable by a thread, in this context.  At
        most 1,000 results, or twice the pool's slots, are under way at a time.

        Args:
            kwargs: keyword arguments that every input gets.
            order_outputs: results in the order of the inputs, not of their ends.
            return_exceptions: give errors as results; else the first one is
                raised, and inputs that have not started are cancelled.
        """
        for iterable in input_iterators:
            if isinstance(iterable, AsyncIterable) and not isinstance(iterable, Iterable):
                name = self._function.__name__
                raise InvalidError(
                    f"map cannot read the asynchronous {iterable!r} without a loop; "
                    f"write async for ... in {name}.map.aio(...)"
                )
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions)

    @overload
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
    ) -> MapResults[R_co]: ...
    @overload
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
    ) -> MapResults[R_co | BaseException]: ...
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> MapResults[Any]:
        """As calling it, for ``async for``; the iterables may be asynchronous."""
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions)

    def _results(
        self,
        iterables: tuple[Any, ...],
        kwargs: Mapping[str, object] | None,
        ordered: bool,
        return_exceptions: bool,
    ) -> MapResults[Any]:
        function = self._function
        function._expect(".map()", False)
        if not iterables:
            raise InvalidError(
                f"map needs at least one iterable, got none; write {function.__name__}.map([...])"
            )
        for iterable in iterables:
            if not isinstance(iterable, (Iterable, AsyncIterable)):
                raise InvalidError(
                    f"map takes iterables of arguments, got {iterable!r}; "
                    f"write {function.__name__}.map([{iterable!r}])"
                )
        common = dict(kwargs or {})
        return MapResults(
            lambda: function._open_map(common),
            iterables,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )
