"""The ways to call a function: ``remote``, ``map`` and their like.

Owns what each does on its caller's side; `Function` has one of each, and knows
the way to the pool.  Each is a class, for it is called and has an ``.aio``.
"""

from __future__ import annotations

import weakref
from collections.abc import (
    AsyncIterable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from .. import config
from ..exception import ClockStuckError, Error, InvalidError
from ..frames import hide_our_frames_as, without_our_frames
from ..runtime.containers.streaming import Stream
from ..runtime.context import current_input, running_input
from ..runtime.input import Input, Target
from ..runtime.outcome import Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import block_loop, park_for, reader_here, wait_for
from ..runtime.waiting.deadlock import producer_waits
from ..runtime.waiting.waits import open_streams
from .feeding import Row, rows_of, rows_of_async
from .function_call import FunctionCall
from .maps import MapCall, MapResults
from .registry import registry
from .waited import (
    StreamCall,
    StreamReader,
    WaitedCall,
    clean_up_soon,
    error_of,
    wait_let_in,
    wait_let_in_async,
    warn_if_loop_runs,
    written,
)

if TYPE_CHECKING:
    from ..running.services import Service

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Y_co = TypeVar("Y_co", covariant=True)

# What to write for a keyword argument that a map does not have.
COMMON_ARGUMENTS: Final = "write kwargs={...} for what every input gets"


class Called(Protocol):
    """A function, as the ways to call it see it: see `Function`."""

    __name__: str

    @property
    def experimental_spawn_map(self) -> SpawnMap[Any]: ...
    @property
    def _target(self) -> Target: ...
    @property
    def _service(self) -> Service: ...
    def _submit(
        self, inputs: Sequence[Input], spawned: FunctionCall[Any] | None = None, /
    ) -> Pool: ...
    def _open_map(self, kwargs: dict[str, Any], /) -> MapCall: ...
    def _expect(self, way: str, /) -> None: ...


class Remote(Generic[P, R_co]):
    """``Function.remote``: run one input and wait for its result."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.remote>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function in a container and return its result.

        Cancels the input if this thread is interrupted meanwhile.
        """
        # `with uninterruptible:`, written out, for this is on the way of each input: a strike or
        # Ctrl-C between the submission and the wait would leave the input behind.
        guard = thread_state.guard
        if guard is not None:
            guard.enter()
        function = self._function
        unblock_loop: Callable[[], None] | None = None
        try:
            try:
                target = function._target
                if target.is_generator:
                    function._expect("remote")
                if Real._get_running_loop() is not None:
                    warn_if_loop_runs(written(target), "remote(...)", "await {}.remote.aio(...)")
                    # From now on, not from the wait on: this input must not go there.
                    unblock_loop = block_loop()
                waiter = function._service.current_run().clock.make_waiter()
                input = Input(WaitedCall(target, waiter.wake), 0, args, kwargs or None)
                pool = function._submit((input,))
            except Error as error:
                raise without_our_frames(error)
            try:
                park_for(pool, waiter, input)
            except BaseException as error:
                pool.cancel(input)
                if isinstance(error, ClockStuckError):
                    raise without_our_frames(error)
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
        finally:
            if unblock_loop is not None:
                unblock_loop()
            if guard is not None:
                guard.exit()

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """As calling it, for asyncio and trio.  Cancelling the task cancels the input."""
        function = self._function
        pool: Pool | None = None
        input: Input | None = None
        try:
            target = function._target
            if target.is_generator:
                function._expect("remote.aio")
            waiter = make_async_waiter()
            input = Input(WaitedCall(target, waiter.wake), 0, args, kwargs or None)
            if thread_state.guard is None:
                pool = function._submit((input,))
            else:
                with uninterruptible:
                    pool = function._submit((input,))
            await wait_for(pool, waiter, input)
        except Error as error:
            if pool is not None and input is not None:  # refused to wait: nobody would hear
                pool.cancel(input)
            raise without_our_frames(error)
        except GeneratorExit:
            # Collected, maybe while some lock is held: take none here.
            if pool is not None and input is not None:
                clean_up_soon(partial(pool.cancel, input), pool.clock)
            raise
        except BaseException:
            if pool is not None and input is not None:
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

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.spawn>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R_co]:
        """Start the function and return at once, with a handle for its result.

        It waits only if the function's backlog is full and has ``on_full="wait"``.
        """
        try:
            call = self._spawned(args, kwargs)
        except Error as error:
            raise without_our_frames(error)
        pool = call._started_pool()
        if pool.waits_when_full:
            wait_let_in(pool, call._inputs, call.target)
        return call

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R_co]:
        """As calling it, for asyncio and trio."""
        try:
            call = self._spawned(args, kwargs)
        except Error as error:
            raise without_our_frames(error)
        pool = call._started_pool()
        if pool.waits_when_full:
            await wait_let_in_async(pool, call._inputs)
        return call

    def _spawned(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionCall[R_co]:
        function = self._function
        if function._target.is_generator:
            function._expect("spawn")
        with uninterruptible:
            call = FunctionCall._make(function._target, args, kwargs)
            function._submit(call._inputs, call)
            # Most are spawned outside of any input: that is known without a call.
            spawner = None if running_input.get(None) is None else current_input()
            if spawner is not None and isinstance(spawner.call, FunctionCall):
                registry.add_child(spawner.call, spawner.index, call)
        return call


class RemoteGen(Generic[P, Y_co]):
    """``Function.remote_gen``: run a generator, and read its items as they come."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.remote_gen>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StreamReader[Y_co]:
        """The items, lazily: the input is submitted at the first step."""
        try:
            return self._stream(args, kwargs)
        except Error as error:
            raise without_our_frames(error)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> StreamReader[Y_co]:
        """As calling it, for ``async for``."""
        try:
            return self._stream(args, kwargs)
        except Error as error:
            raise without_our_frames(error)

    def _stream(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StreamReader[Y_co]:
        function = self._function
        if not config.strict:
            function._expect("remote_gen")
        call = StreamCall(function._target)

        def submit(inputs: Sequence[Input]) -> Pool:
            if config.strict:  # as in Modal: at the first step
                function._expect("remote_gen")
            clock = function._service.current_run().clock
            # Weakly, for the call has the stream: its generator's input has the call.
            call.stream = Stream(clock, partial(_producer_waits, weakref.ref(call)))
            open_streams[call] = None  # until its input is settled
            call.reader = reader_here()
            try:
                return function._submit(inputs)
            except BaseException:
                open_streams.pop(call, None)
                raise

        return StreamReader(submit, call, Input(call, 0, args, kwargs or None))


def _producer_waits(ref: weakref.ref[StreamCall]) -> None:
    call = ref()
    if call is not None:
        producer_waits(call)


class Map(Generic[R_co]):
    """``Function.map``: run many inputs, and read their results as they come."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
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
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co]: ...
    @overload
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co | BaseException]: ...
    @hide_our_frames_as("map", COMMON_ARGUMENTS)
    def __call__(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
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
            wrap_returned_exceptions: accepted; errors are the user's own.
        """
        _refuse_async(self._function, "map", input_iterators)
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions)

    @overload
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co]: ...
    @overload
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co | BaseException]: ...
    @hide_our_frames_as("map.aio", COMMON_ARGUMENTS)
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
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
        return map_results(
            self._function, "map", iterables, kwargs, ordered, return_exceptions, starred=False
        )


class Starmap(Generic[R_co]):
    """``Function.starmap``: as ``map``, over rows of arguments."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.starmap>"

    @overload
    def __call__(
        self,
        input_iterator: Iterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co]: ...
    @overload
    def __call__(
        self,
        input_iterator: Iterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co | BaseException]: ...
    @hide_our_frames_as("starmap", COMMON_ARGUMENTS)
    def __call__(
        self,
        input_iterator: Iterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[Any]:
        """Run the function on each row, unpacked: ``starmap([(1, 2)])`` runs ``f(1, 2)``.

        See `map` for the arguments.
        """
        _refuse_async(self._function, "starmap", (input_iterator,))
        return map_results(
            self._function,
            "starmap",
            (input_iterator,),
            kwargs,
            order_outputs,
            return_exceptions,
            starred=True,
        )

    @overload
    def aio(
        self,
        input_iterator: Iterable[Iterable[object]] | AsyncIterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co]: ...
    @overload
    def aio(
        self,
        input_iterator: Iterable[Iterable[object]] | AsyncIterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R_co | BaseException]: ...
    @hide_our_frames_as("starmap.aio", COMMON_ARGUMENTS)
    def aio(
        self,
        input_iterator: Iterable[Iterable[object]] | AsyncIterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[Any]:
        """As calling it, for ``async for``; the rows may come asynchronously."""
        return map_results(
            self._function,
            "starmap",
            (input_iterator,),
            kwargs,
            order_outputs,
            return_exceptions,
            starred=True,
        )


class ForEach:
    """``Function.for_each``: run many inputs for what they do, not what they return."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.for_each>"

    @hide_our_frames_as("for_each", COMMON_ARGUMENTS)
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        ignore_exceptions: bool = False,
    ) -> None:
        """Run the function on each element, and return when all have ended.

        Args:
            kwargs: keyword arguments that every input gets.
            ignore_exceptions: go on when inputs fail; else the first error is raised.
        """
        _refuse_async(self._function, "for_each", input_iterators)
        results = self._results(input_iterators, kwargs, ignore_exceptions)
        try:
            for _ in results:
                pass
        finally:
            results.close()

    async def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        ignore_exceptions: bool = False,
    ) -> None:
        """As calling it, for asyncio and trio."""
        try:
            results = self._results(input_iterators, kwargs, ignore_exceptions)
            async with aclosing(results):
                async for _ in results:
                    pass
        except Exception as error:
            raise without_our_frames(error)

    def _results(
        self, iterables: tuple[Any, ...], kwargs: Mapping[str, object] | None, ignore: bool
    ) -> MapResults[Any]:
        return map_results(
            self._function, "for_each", iterables, kwargs, False, ignore, starred=False
        )


class SpawnMap(Generic[R_co]):
    """``Function.experimental_spawn_map``: run many inputs and go on, with one handle."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.experimental_spawn_map>"

    @hide_our_frames_as("spawn_map", COMMON_ARGUMENTS)
    def __call__(
        self, *input_iterators: Iterable[object], kwargs: Mapping[str, object] | None = None
    ) -> FunctionCall[R_co]:
        """Read all inputs now, start them, and give a handle for their results.

        All are accepted at once, or, if the function has a `max_backlog` that is too
        short for them, none.  With ``on_full="wait"`` it returns when all are.
        """
        function = self._function
        _refuse_async(function, "spawn_map", input_iterators)
        check_iterables(function, "spawn_map", input_iterators)
        call = self._spawned(list(rows_of(input_iterators, False)), kwargs)
        pool = call._started_pool()
        if pool.waits_when_full:
            wait_let_in(pool, call._inputs, call.target)
        return call

    async def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
    ) -> FunctionCall[R_co]:
        """As calling it; the iterables may be asynchronous."""
        try:
            check_iterables(self._function, "spawn_map", input_iterators)
            rows = [row async for row in rows_of_async(input_iterators, False)]
            call = self._spawned(rows, kwargs)
            pool = call._started_pool()
            if pool.waits_when_full:
                await wait_let_in_async(pool, call._inputs)
            return call
        except Exception as error:
            raise without_our_frames(error)

    def _spawned(self, rows: list[Row], kwargs: Mapping[str, object] | None) -> FunctionCall[R_co]:
        function = self._function
        with uninterruptible:
            call = FunctionCall._make_many(function._target, rows, dict(kwargs or {}))
            pool = function._submit(call._inputs, call)
            if not rows:  # settled as it is
                call._settled_at = pool.clock.now()
            spawner = current_input()
            if spawner is not None and isinstance(spawner.call, FunctionCall):
                registry.add_child(spawner.call, spawner.index, call)
        return call


class SpawnMapAndForget:
    """``Function.spawn_map``: run many inputs and go on."""

    __slots__ = ("_function",)

    def __init__(self, function: Called) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<{self._function.__name__}.spawn_map>"

    @hide_our_frames_as("spawn_map", COMMON_ARGUMENTS)
    def __call__(
        self, *input_iterators: Iterable[object], kwargs: Mapping[str, object] | None = None
    ) -> None:
        """Read all inputs now and start them; ``experimental_spawn_map`` gives a handle too."""
        self._function.experimental_spawn_map(*input_iterators, kwargs=kwargs)

    async def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
    ) -> None:
        """As calling it; the iterables may be asynchronous."""
        try:
            await self._function.experimental_spawn_map.aio(*input_iterators, kwargs=kwargs)
        except Exception as error:
            raise without_our_frames(error)


class Refused:
    """In the place of a way to call a web endpoint, which is reached by its URL."""

    __slots__ = ("_name", "_service", "_target")

    # Not with the function, which has this as an attribute.
    def __init__(self, name: str, target: Target, service: Service) -> None:
        self._name = name
        self._target = target
        self._service = service

    def __call__(self, *args: object, **kwargs: object) -> Never:
        if config.strict:
            self._service.current_run()
        raise InvalidError(
            f"{self._target.name} is a web endpoint and has no .{self._name}(): it is reached by "
            f"its URL; write {written(self._target)}.local(...) to call it here"
        )

    aio = __call__


def map_results(
    function: Called,
    name: str,
    iterables: tuple[Any, ...],
    kwargs: Mapping[str, object] | None,
    ordered: bool,
    return_exceptions: bool,
    *,
    starred: bool,
) -> MapResults[Any]:
    """The lazy results of a map, its arguments checked: in strict mode at the first step."""
    common = dict(kwargs or {})
    if not config.strict:
        check_iterables(function, name, iterables)

    def open_map() -> Any:
        if config.strict:
            check_iterables(function, name, iterables)
        return function._open_map(common)

    return MapResults(
        open_map,
        iterables,
        ordered=ordered,
        return_exceptions=return_exceptions,
        starred=starred,
        name=name,
    )


def check_iterables(function: Called, name: str, iterables: tuple[Any, ...]) -> None:
    function._expect(name)
    if not iterables:
        raise InvalidError(
            f"{name} needs at least one iterable, got none; "
            f"write {written(function._target)}.{name}([...])"
        )
    for iterable in iterables:
        if not isinstance(iterable, (Iterable, AsyncIterable)):
            raise InvalidError(
                f"{name} takes iterables of arguments, got {iterable!r}; "
                f"write {written(function._target)}.{name}([{iterable!r}])"
            )


def _refuse_async(function: Called, name: str, iterables: tuple[Any, ...]) -> None:
    for iterable in iterables:
        if isinstance(iterable, AsyncIterable) and not isinstance(iterable, Iterable):
            loop = "async for ... in " if name in ("map", "starmap") else "await "
            raise InvalidError(
                f"{name} cannot read the asynchronous {iterable!r} without a loop; "
                f"write {loop}{written(function._target)}.{name}.aio(...)"
            )
