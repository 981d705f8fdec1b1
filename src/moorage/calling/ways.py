"""The ways to call a function: ``remote``, ``spawn``, ``map`` and the others.

Owns what each way does on the caller's side.  `Function` (``functions.py``) has one attribute
for each way, and submits the inputs to the pool.  A way is a class, because users both call it
(``f.remote(...)``) and use its ``.aio`` (``await f.remote.aio(...)``).

Begin at `WayOfFunction`, then `Remote`, then `Spawn`, then `Map`.  To add a way: a class here,
an attribute in ``functions.py``, and its name in `PartialFunction.__getattr__`.  A *strike* is an
exception that is raised asynchronously in the thread of another input: see
``runtime/guards/cells.py``.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import (
    AsyncIterable,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    get_type_hints,
    overload,
)

from .. import config
from ..exception import ClockStuckError, Error, InvalidError
from ..frames import hide_our_frames_as, without_our_frames
from ..runtime.containers.streaming import Stream
from ..runtime.context import current_input, running_input
from ..runtime.input import Input, Target, make_input
from ..runtime.outcome import Raising, Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.callers import block_loop, park_for, read_for, reader_here
from ..runtime.waiting.deadlock import producer_waits
from ..runtime.waiting.waits import open_streams
from ..with_aio import Annotations, PosesAsFunction, poses_as_coroutine_function
from .feeding import Row, rows_of, rows_of_async
from .function_call import FunctionCall, forget
from .maps import MapCall, MapResults
from .registry import registry
from .remote_coroutine import remote_coroutine
from .waited import (
    BlockingCall,
    StreamCall,
    StreamReader,
    Submits,
    submit_nested,
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

# The hint of the error for a keyword argument that a map does not have.
COMMON_ARGUMENTS: Final = "write kwargs={...} for what every input gets"


class Called(Submits, Protocol):
    """A function, as the ways see it: see `Function`."""

    _name: str  # as messages show it: ``f``, or ``Model.method``
    __dict__: dict[str, Any]

    @property
    def experimental_spawn_map(self) -> SpawnMap[Any]: ...
    def _submit(
        self, inputs: Sequence[Input], spawned: FunctionCall[Any] | None = None, /
    ) -> Pool: ...
    def _open_map(self, kwargs: dict[str, Any], window: int | None, /) -> MapCall: ...


class WayOfFunction(PosesAsFunction):
    """What all ways have: the function, the name of the way, and the attributes of a function."""

    # `__dict__` is for what users set (``patch.object(f.remote, "aio")``), and else never made.
    # `__weakref__` is for users' caches: a method of an object can be referred to weakly, too.
    __slots__ = ("__dict__", "__weakref__", "_function")

    # The class of the handle that a call of this way returns; None if it returns the result.
    _returns: ClassVar[type | None] = None

    def __init__(self, function: Called) -> None:
        _set_function(self, function)  # as ``self._function = function``, past `__setattr__`

    if TYPE_CHECKING:
        _function: Called
    else:  # hidden, so that type checkers refuse to set attributes

        def __setattr__(self, name, value):
            if name == "_function":  # by pickle and the like
                _set_function(self, value)
                return
            # From now on the function keeps this way, or the next ``f.remote`` would be another
            # way, without the attribute.
            self._function.__dict__[self._way] = self
            self.__dict__[name] = value

    def _way_of(self) -> str:
        return f"{self._function._name}.{self._way}"

    def __deepcopy__(self, memo: object) -> Self:
        return self  # as of a function

    def __repr__(self) -> str:
        return f"<{self._way_of()}>"


_set_function: Final[Callable[[WayOfFunction, Called], None]] = vars(WayOfFunction)[
    "_function"
].__set__


def _signature_of_call(way: WayOfFunction) -> inspect.Signature | None:
    """Return the parameters that a caller gives, and what the way returns.

    The annotations are evaluated, because readers of a signature do not find the names that the
    user's module has.  None if the signature is not known: for a function that is looked up by
    name and is not found, for a batched function, whose parameters are lists of what callers
    give, and if an annotation cannot be evaluated.
    """
    function: Any = way._function
    try:
        if function._service.options.batching is not None:
            return None
        signature = Real.signature(function)
        hints = get_type_hints(function.__wrapped__, include_extras=True)
    except Exception:  # of evaluating the user's annotations, or `signature` of a builtin
        return None
    returned = way._returns or hints.get("return", signature.empty)
    return signature.replace(
        parameters=[
            each.replace(annotation=hints.get(name, each.annotation))
            for name, each in signature.parameters.items()
        ],
        return_annotation=returned,
    )


class _SignatureOfCall:
    """The ``__signature__`` of a way that takes the arguments of one call."""

    def __get__(self, way: WayOfFunction | None, owner: type) -> inspect.Signature:
        signature = None if way is None else _signature_of_call(way)
        if signature is None:
            raise AttributeError("__signature__")  # inspect.signature() asks `__wrapped__`
        return signature


class _AnnotationsOfCall(Annotations):
    """The ``__annotations__`` of a way that takes the arguments of one call."""

    def __get__(self, instance: Any, owner: type) -> Mapping[str, Any]:
        signature = None if instance is None else _signature_of_call(instance)
        if signature is None:
            return super().__get__(instance, owner)
        found = {name: each.annotation for name, each in signature.parameters.items()}
        found["return"] = signature.return_annotation
        return {name: each for name, each in found.items() if each is not signature.empty}


W = TypeVar("W", bound=type[WayOfFunction])


def takes_one_call(cls: W) -> W:
    """Give the ways of `cls` the parameters of the user's function.

    Web frameworks, command lines and dispatchers read them from ``f.remote``.  Read when asked
    for: making a way costs nothing more.
    """
    made: Any = cls
    made.__signature__ = _SignatureOfCall()
    made.__annotations__ = _AnnotationsOfCall(dict(made.__annotations__))
    return cls


@takes_one_call
class Remote(WayOfFunction, Generic[P, R_co]):
    """``Function.remote``: run one input and wait for its result."""

    __slots__ = ()
    _way = "remote"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function in a container, wait for the result, and return it.

        If this thread is interrupted in the wait (Ctrl-C, or the cancellation of the input that
        runs here), the input is cancelled.

        Raises:
            Exception: the error of the user's code, if the input failed.
            ResourceExhaustedError: if the backlog is full, without ``on_full="wait"``.
            InvalidError: if the function is a generator or a web endpoint.
        """
        # `with uninterruptible:`, inlined, because this code runs for each input.  A strike or
        # Ctrl-C between the submission and the wait would leave an input that nobody cancels.
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
                    # Before the submission, not only in the wait: this call blocks the loop of
                    # this container, so the input must not go to this container.
                    unblock_loop = block_loop()
                waiter = function._service.current_run().clock.make_waiter()
                call = BlockingCall(target, waiter.wake)
                input = make_input(call, args, kwargs or None)
                if running_input.get(None) is None:
                    pool = function._submit((input,))
                else:
                    pool = submit_nested(function, call, input)
            except Error as error:
                raise without_our_frames(error)
            try:
                container = input.container
                if container is not None and container.read_for is not None:
                    read_for(container, input, waiter)
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
                with Raising() as error_of:
                    raise error_of(outcome)
            finally:
                # Else a cycle: these variables -> the error -> its traceback -> this frame.
                del outcome, input, function, self
        finally:
            if unblock_loop is not None:
                unblock_loop()
            if guard is not None:
                guard.exit()

    @poses_as_coroutine_function
    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """As ``remote(...)``, for asyncio and trio.  Cancelling the task cancels the input."""
        return remote_coroutine(self._function, args, kwargs or None)


@takes_one_call
class Spawn(WayOfFunction, Generic[P, R_co]):
    """``Function.spawn``: start one input and do not wait for its result."""

    __slots__ = ()
    _way = "spawn"
    _returns = FunctionCall

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R_co]:
        """Start the function in a container, and return a handle for its result at once.

        ``spawn`` waits only if the function's backlog is full and the function has
        ``on_full="wait"``.  An interruption of that wait cancels the input.

        Raises:
            ResourceExhaustedError: if the backlog is full, without ``on_full="wait"``.
            InvalidError: if the function is a generator or a web endpoint.
        """
        try:
            call = self._spawned(args, kwargs)
        except Error as error:
            raise without_our_frames(error)
        pool = call._pool
        assert pool is not None
        if pool.waits_when_full:
            wait_let_in(pool, call._inputs, call.target)
            call._check_accepted()
        return call

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R_co]:
        """As ``spawn(...)``, for asyncio and trio."""
        try:
            call = self._spawned(args, kwargs)
        except Error as error:
            raise without_our_frames(error)
        pool = call._pool
        assert pool is not None
        if pool.waits_when_full:
            await wait_let_in_async(pool, call._inputs)
            call._check_accepted()
        return call

    def _spawned(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionCall[R_co]:
        function = self._function
        target = function._target
        if target.is_generator:
            function._expect("spawn")
        # `with uninterruptible:`, inlined, because this code runs for each input.
        guard = thread_state.guard
        if guard is not None:
            guard.enter()
        try:
            call = FunctionCall._make(target, args, kwargs)
            input = call._first
            assert input is not None
            function._submit((input,), call)
            # Most calls are spawned outside of any input.  The context variable alone says so,
            # which saves the call of `current_input`.
            spawner = None if running_input.get(None) is None else current_input()
            if spawner is not None and not call._started_pool().is_elsewhere:
                registry.add_child(spawner, call)
        finally:
            if guard is not None:
                guard.exit()
        return call


@takes_one_call
class RemoteGen(WayOfFunction, Generic[P, Y_co]):
    """``Function.remote_gen``: run a generator and read its items as they come."""

    __slots__ = ()
    _way = "remote_gen"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StreamReader[Y_co]:
        """Return the items of the generator, for ``for``.

        Lazy: the generator starts at the first step.  Closing or dropping the result cancels
        the generator.

        Raises:
            InvalidError: if the function is not a generator, or is a web endpoint.
        """
        try:
            return self._stream(args, kwargs)
        except Error as error:
            raise without_our_frames(error)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> StreamReader[Y_co]:
        """As ``remote_gen(...)``, for ``async for``."""
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
            if config.strict:  # as in Modal, the error comes at the first step
                function._expect("remote_gen")
            clock = function._service.current_run().clock
            # A weak reference, because the call refers to the stream: else they were a cycle.
            call.stream = Stream(clock, partial(_producer_waits, weakref.ref(call)))
            open_streams[call] = None  # removed when the input is settled
            call.reader = reader_here()
            try:
                return submit_nested(function, call, inputs[0])
            except BaseException:
                open_streams.pop(call, None)
                raise

        return StreamReader(submit, call, Input(call, 0, args, kwargs or None))


def _producer_waits(ref: weakref.ref[StreamCall]) -> None:
    call = ref()
    if call is not None:
        producer_waits(call)


class Map(WayOfFunction, Generic[R_co]):
    """``Function.map``: run many inputs and read their results as they come."""

    __slots__ = ()
    _way = "map"

    @overload
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
    ) -> MapResults[R_co]: ...
    @overload
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
    ) -> MapResults[R_co | BaseException]: ...
    @hide_our_frames_as("map", COMMON_ARGUMENTS)
    def __call__(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
    ) -> MapResults[Any]:
        """Run the function on each element, or on each row of several iterables.

        Several iterables are read together as by ``zip``: the map ends with the shortest.

        Lazy: nothing is read or started before the first step.  The reading thread reads
        sequences (list, tuple, range and the like) as results are taken.  A thread of the map
        reads any other iterable, and sequences too if the function has a `max_backlog`, in a
        copy of the reader's context.  At most `window` inputs are submitted and not yet delivered
        as results.

        Closing or dropping the results cancels the inputs that are not finished.

        Args:
            input_iterators: the iterables; each gives one positional argument.
            kwargs: keyword arguments that every input gets.
            order_outputs: True for results in the order of the inputs, False for results in
                the order in which the inputs finish.
            return_exceptions: True to get errors as results.  If False, the first error is
                raised, inputs that have not started are cancelled, and running inputs go on.
            wrap_returned_exceptions: accepted; no effect.  Errors are never wrapped.
            window: the most inputs that are submitted and whose results you have not finished
                with: the result that you work on counts until you ask for the next one.  Modal
                does not have this argument.  A small window keeps few results in memory, and
                uses at most that many slots.  By default 1,000, or twice the most inputs that
                the pool can run at once if that is more.

        Raises:
            InvalidError: if there is no iterable, an argument is not an iterable, or `window` is
                not a whole number of at least 1.
        """
        _refuse_async(self._function, "map", input_iterators)
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions, window)

    @overload
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
    ) -> MapResults[R_co]: ...
    @overload
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
    ) -> MapResults[R_co | BaseException]: ...
    @hide_our_frames_as("map.aio", COMMON_ARGUMENTS)
    def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
    ) -> MapResults[Any]:
        """As ``map(...)``, for ``async for``.  The iterables may be async."""
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions, window)

    def _results(
        self,
        iterables: tuple[Any, ...],
        kwargs: Mapping[str, object] | None,
        ordered: bool,
        return_exceptions: bool,
        window: int | None,
    ) -> MapResults[Any]:
        return map_results(
            self._function,
            "map",
            iterables,
            kwargs,
            ordered,
            return_exceptions,
            window,
            starred=False,
        )


class Starmap(WayOfFunction, Generic[R_co]):
    """``Function.starmap``: as ``map``, with one iterable of rows of arguments."""

    __slots__ = ()
    _way = "starmap"

    @overload
    def __call__(
        self,
        input_iterator: Iterable[Iterable[object]],
        *,
        kwargs: Mapping[str, object] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
        window: int | None = None,
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
        window: int | None = None,
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
        window: int | None = None,
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
            window,
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
        window: int | None = None,
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
        window: int | None = None,
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
        window: int | None = None,
    ) -> MapResults[Any]:
        """As ``starmap(...)``, for ``async for``.  The iterable of rows may be async."""
        return map_results(
            self._function,
            "starmap",
            (input_iterator,),
            kwargs,
            order_outputs,
            return_exceptions,
            window,
            starred=True,
        )


class ForEach(WayOfFunction):
    """``Function.for_each``: run many inputs and ignore their results."""

    __slots__ = ()
    _way = "for_each"

    @hide_our_frames_as("for_each", COMMON_ARGUMENTS)
    def __call__(
        self,
        *input_iterators: Iterable[object],
        kwargs: Mapping[str, object] | None = None,
        ignore_exceptions: bool = False,
        window: int | None = None,
    ) -> None:
        """Run the function on each element, and return when all inputs have finished.

        Args:
            input_iterators: the iterables, as for ``map``.
            kwargs: keyword arguments that every input gets.
            ignore_exceptions: True to go on when inputs fail.  If False, the first error is
                raised, inputs that have not started are cancelled, and running inputs go on.
            window: the most inputs that are submitted and not finished, as for ``map``.
        """
        _refuse_async(self._function, "for_each", input_iterators)
        results = self._results(input_iterators, kwargs, ignore_exceptions, window)
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
        window: int | None = None,
    ) -> None:
        """As ``for_each(...)``, for asyncio and trio.  The iterables may be async."""
        try:
            results = self._results(input_iterators, kwargs, ignore_exceptions, window)
            async with aclosing(results):
                async for _ in results:
                    pass
        except Exception as error:
            raise without_our_frames(error)

    def _results(
        self,
        iterables: tuple[Any, ...],
        kwargs: Mapping[str, object] | None,
        ignore: bool,
        window: int | None,
    ) -> MapResults[Any]:
        return map_results(
            self._function, "for_each", iterables, kwargs, False, ignore, window, starred=False
        )


class SpawnMap(WayOfFunction, Generic[R_co]):
    """``Function.experimental_spawn_map``: start many inputs, and return one handle."""

    __slots__ = ()
    _way = "experimental_spawn_map"

    @hide_our_frames_as("spawn_map", COMMON_ARGUMENTS)
    def __call__(
        self, *input_iterators: Iterable[object], kwargs: Mapping[str, object] | None = None
    ) -> FunctionCall[R_co]:
        """Read all inputs now, start them, and return one handle for their results.

        With ``on_full="wait"``, ``experimental_spawn_map`` returns when the backlog has
        accepted all inputs.

        Args:
            input_iterators: the iterables, as for ``map``.
            kwargs: keyword arguments that every input gets.

        Raises:
            ResourceExhaustedError: if the function's `max_backlog` has no room for all inputs,
                without ``on_full="wait"``.  Then no input is accepted.
        """
        function = self._function
        _refuse_async(function, "spawn_map", input_iterators)
        check_iterables(function, "spawn_map", input_iterators)
        call = self._spawned(list(rows_of(input_iterators, False)), kwargs)
        pool = call._started_pool()
        if pool.waits_when_full:
            wait_let_in(pool, call._inputs, call.target)
            call._check_accepted()
        return call

    async def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
    ) -> FunctionCall[R_co]:
        """As ``experimental_spawn_map(...)``, for asyncio and trio.  The iterables may be async."""
        try:
            check_iterables(self._function, "spawn_map", input_iterators)
            rows = [row async for row in rows_of_async(input_iterators, False)]
            call = self._spawned(rows, kwargs)
            pool = call._started_pool()
            if pool.waits_when_full:
                await wait_let_in_async(pool, call._inputs)
                call._check_accepted()
            return call
        except Exception as error:
            raise without_our_frames(error)

    def _spawned(self, rows: list[Row], kwargs: Mapping[str, object] | None) -> FunctionCall[R_co]:
        function = self._function
        with uninterruptible:
            call = FunctionCall._make_many(function._target, rows, dict(kwargs or {}))
            pool = function._submit(call._inputs, call)
            if not rows:  # a call without inputs is settled from the beginning
                call._settled_at = pool.clock.now()
            spawner = current_input()
            if spawner is not None and not pool.is_elsewhere:
                registry.add_child(spawner, call)
        return call


class SpawnMapAndForget(WayOfFunction):
    """``Function.spawn_map``: start many inputs, without a handle."""

    __slots__ = ()
    _way = "spawn_map"

    @hide_our_frames_as("spawn_map", COMMON_ARGUMENTS)
    def __call__(
        self, *input_iterators: Iterable[object], kwargs: Mapping[str, object] | None = None
    ) -> None:
        """Read all inputs now and start them.

        As ``experimental_spawn_map``, which also returns a handle for the results.  Nobody can
        read the errors, so they are logged at once: see `FunctionCall`.
        """
        forget(self._function.experimental_spawn_map(*input_iterators, kwargs=kwargs))

    async def aio(
        self,
        *input_iterators: Iterable[object] | AsyncIterable[object],
        kwargs: Mapping[str, object] | None = None,
    ) -> None:
        """As ``spawn_map(...)``, for asyncio and trio.  The iterables may be async."""
        try:
            forget(await self._function.experimental_spawn_map.aio(*input_iterators, kwargs=kwargs))
        except Exception as error:
            raise without_our_frames(error)


class Refused:
    """Replaces a way that a web endpoint does not have: calling it raises `InvalidError`."""

    __slots__ = ("_name", "_service", "_site", "_target")

    # Takes no reference to the function, because the function has this object as an attribute:
    # they would be a cycle.
    def __init__(self, name: str, target: Target, service: Service, site: Hashable) -> None:
        self._name = name
        self._target = target
        self._service = service
        self._site = site  # the key of the web function's site: see `Place.key`

    def __call__(self, *args: object, **kwargs: object) -> Never:
        if config.strict:
            self._service.current_run()
        run, shown = self._service.open_run, written(self._target)
        url = None if run is None else run.sites.url_of(self._site)
        raise InvalidError(
            f"{self._target.name} is a web endpoint and has no .{self._name}(): it is reached by "
            f"its URL, {url or f'{shown}.get_web_url()'}; write {shown}.local(...) to call it here"
        )

    aio = __call__


def map_results(
    function: Called,
    name: str,
    iterables: tuple[Any, ...],
    kwargs: Mapping[str, object] | None,
    ordered: bool,
    return_exceptions: bool,
    window: int | None,
    *,
    starred: bool,
) -> MapResults[Any]:
    """Check the arguments of a map and return its lazy results.

    In strict mode Modal's arguments are checked at the first step, as in Modal.
    """
    common = dict(kwargs or {})
    if window is not None:
        check_window(name, window)
    if not config.strict:
        check_iterables(function, name, iterables)

    def open_map() -> Any:
        if config.strict:
            check_iterables(function, name, iterables)
        return function._open_map(common, window)

    return MapResults(
        open_map,
        iterables,
        ordered=ordered,
        return_exceptions=return_exceptions,
        starred=starred,
        name=name,
    )


def check_window(name: str, window: object) -> None:
    """Refuse a window that is not a whole number of at least 1."""
    if type(window) is not int or window < 1:
        nearest = 1 if isinstance(window, (bool, int)) else 100
        raise InvalidError(
            f"the window of {name} must be a whole number of at least 1, got {window!r}; "
            f"write window={nearest}, or leave it out"
        )


def check_iterables(function: Called, name: str, iterables: tuple[Any, ...]) -> None:
    """Refuse a map that does not fit the function, or that got no iterables."""
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
    """Refuse async iterables for a blocking map."""
    for iterable in iterables:
        if isinstance(iterable, AsyncIterable) and not isinstance(iterable, Iterable):
            loop = "async for ... in " if name in ("map", "starmap") else "await "
            raise InvalidError(
                f"{name} cannot read the asynchronous {iterable!r} without a loop; "
                f"write {loop}{written(function._target)}.{name}.aio(...)"
            )
