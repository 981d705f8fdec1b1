"""Waited calls: calls with one input whose caller waits for the result now.

Owns the call of a blocking or awaited ``remote`` (`WaitedCall`), the call of a stream
(`StreamCall`) and its reader, and the wait of a spawn for room in the backlog.  Spawned calls
are in ``function_call.py``, calls with many inputs in ``maps.py``.  Each call is one object
and has the attributes of `runtime.input.Call`.  ``ways.py`` makes them.

Begin at `StreamReader`, then `_read`, then `_next_item`.

A *strike* is an exception that is raised asynchronously in the thread of another input: see
``runtime/guards/cells.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from contextvars import Context, copy_context
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from ..exception import AsyncUsageWarning, Error, InputCancellation
from ..frames import warn, without_our_frames
from ..runtime.background import in_background
from ..runtime.captured import capture, decimal_context, own_decimal_context
from ..runtime.clocks.clock import Clock
from ..runtime.containers.streaming import Stream
from ..runtime.context import current_input, running_input
from ..runtime.forking import process
from ..runtime.guards.cells import strike_again
from ..runtime.input import Input, Target, next_call_number
from ..runtime.notebooks import runs_cells
from ..runtime.outcome import Outcome, Raising, Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import (
    AsyncioWaiter,
    TrioWaiter,
    mail_of,
    make_async_waiter,
)
from ..runtime.waiting.callers import ReaderHere, block_loop, park_for, reader_here, wait_for
from ..runtime.waiting.waits import Reader, open_streams
from .graph import CanBeNoted, notable
from .registry import registry

if TYPE_CHECKING:
    from ..running.services import Service

Y_co = TypeVar("Y_co", covariant=True)
Wake = Callable[[], object]

Submit = Callable[[Sequence[Input]], Pool]
"""Submits inputs to their pool, and returns that pool."""


class Submits(Protocol):
    """A function, as far as one call needs it: see `Function`."""

    @property
    def _target(self) -> Target: ...
    @property
    def _service(self) -> Service: ...
    def _submit(self, inputs: Sequence[Input], /) -> Pool: ...
    def _expect(self, way: str, /) -> None: ...


@notable
class WaitedCall(CanBeNoted):
    """The call of a ``remote``: one input, and one caller that waits for it now."""

    __slots__ = ("context", "graph", "number", "target", "wake")

    def __init__(self, target: Target, wake: Wake) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        # `capture`, inlined: this code runs for each input.
        self.context: Context = copy_context()
        if decimal_context in self.context:
            own_decimal_context(self.context)
        self.wake: Wake = wake

    def settled(self, input: Input, /) -> Wake:
        return self.wake


@notable
class BlockingCall(WaitedCall):
    """A `WaitedCall` whose thread waits until the result is there."""

    __slots__ = ()

    # Large arguments need not be copied for another process: see ``placing/shipping.py``.
    blocks_caller: ClassVar[bool] = True


@notable
class AwaitedCall(AsyncioWaiter, CanBeNoted):
    """A `WaitedCall` whose caller is a task of asyncio: the call is the waiter of that task, too.

    `awaited_call` makes it, and sets its fields.
    """

    __slots__ = ("context", "graph", "number", "target")

    if TYPE_CHECKING:
        context: Context
        number: int
        target: Target

    def settled(self, input: Input, /) -> Wake:
        return self.post


@notable
class TrioCall(TrioWaiter, CanBeNoted):
    """As `AwaitedCall`, for a task of trio."""

    __slots__ = ("context", "graph", "number", "target")

    if TYPE_CHECKING:
        context: Context
        number: int
        target: Target

    def settled(self, input: Input, /) -> Wake:
        return self.wake


def awaited_call(target: Target) -> AwaitedCall | TrioCall:
    """Return a call of `target` for the calling task, on asyncio or trio."""
    loop = Real._get_running_loop()
    call: AwaitedCall | TrioCall
    if loop is None:
        call = TrioCall()
    else:
        call = AwaitedCall(loop=loop)
        # As `make_async_waiter`, without the cost of a call for each input.
        mail = thread_state.mailbox
        if mail is None or mail.loop is not loop:
            mail = mail_of(loop)
        call.mail = mail
        call.resume = None
    call.number = next_call_number()
    call.target = target
    # `capture`, inlined: this code runs for each input.
    call.context = context = copy_context()
    if decimal_context in context:
        own_decimal_context(context)
    return call


@uninterruptible
def submit_nested(
    function: Submits, call: WaitedCall | AwaitedCall | TrioCall | StreamCall, input: Input
) -> Pool:
    """Submit `input`, and note in the graph of calls which input's code runs here, if any."""
    caller = current_input()
    # Before the submission, because the code of `input` may make calls at once.
    is_noted = caller is not None and registry.add_nested(caller, call, (input,))
    try:
        return function._submit((input,))
    except BaseException:
        if is_noted:
            registry.drop_nested(call, (input,))
        raise


@notable
class StreamCall(CanBeNoted):
    """The call of a stream: one generator input and the stream of its items."""

    __slots__ = ("__weakref__", "context", "graph", "number", "pool", "reader", "stream", "target")

    def __init__(self, target: Target) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = capture()
        self.stream: Stream  # set just before the input is submitted
        self.pool: Pool | None = None  # set when the input has been submitted
        # The flow (input or thread) that took the last item; None once that reader has gone.
        self.reader: Reader | None = None

    @property
    def clock(self) -> Clock | None:
        return None if self.pool is None else self.pool.clock

    def settled(self, input: Input, /) -> Wake:
        open_streams.pop(self, None)
        return self.stream.end


class StreamReader(Generic[Y_co]):
    """The items of one generator input, for ``for`` or ``async for``.

    The input is submitted at the first step.  Closing or dropping the reader cancels the
    input: the user's generator is closed, and the slot is released when its code has ended.

    The reader has all methods of a generator and of an async generator, so it is an instance of
    `collections.abc.Generator` and of `collections.abc.AsyncGenerator`.
    """

    def __init__(self, submit: Submit, call: StreamCall, input: Input) -> None:
        self._call = call
        self._input = input
        # These generators hold no reference to self.  So dropping the reader drops the
        # generators, and each gets a GeneratorExit.
        self._steps: Generator[Y_co, None, None] = _read(submit, call, input)
        self._async_steps: AsyncGenerator[Y_co, None] = _read_async(submit, call, input)

    def __iter__(self) -> Iterator[Y_co]:
        return self._steps

    def __next__(self) -> Y_co:
        try:
            return next(self._steps)
        except Exception as error:
            del self  # else a cycle: self -> the error -> its traceback -> this frame
            raise without_our_frames(error)

    def __aiter__(self) -> AsyncIterator[Y_co]:
        return self._async_steps

    async def __anext__(self) -> Y_co:
        try:
            return await anext(self._async_steps)
        except Exception as error:
            del self  # else a cycle: self -> the error -> its traceback -> this frame
            raise without_our_frames(error)

    def send(self, value: object) -> Y_co:
        """Return the next item, as ``next(...)``: `value` does not reach the user's generator."""
        return self.__next__()

    def throw(self, *error: Any) -> Y_co:
        """Raise `error` where the reader stands: the input is cancelled, and the reading ends."""
        return self._steps.throw(*error)

    async def asend(self, value: object) -> Y_co:
        """As `send`, for ``async for``."""
        return await self.__anext__()

    async def athrow(self, *error: Any) -> Y_co:
        """As `throw`, for ``async for``."""
        return await self._async_steps.athrow(*error)

    def close(self) -> None:
        """Cancel the input, which closes the user's generator.

        Does nothing if the generator has ended or the input was never submitted.
        """
        # Before the generator is closed: a generator in whose step another thread waits
        # cannot be closed.  Cancelling the input ends that step.
        _abandon(self._call, self._input)
        if Real.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:
            self._steps.close()

    async def aclose(self) -> None:
        """As `close`, for ``async for``."""
        # Before the generator is closed: another task may wait in a step of the generator.
        # Cancelling the input ends that step.
        _abandon(self._call, self._input)
        if not sits_in_step(self._async_steps):
            await self._async_steps.aclose()


def _read(submit: Submit, call: StreamCall, input: Input) -> Generator[Any, None, None]:
    if call.pool is not None:
        return  # ``async for`` has read the stream already
    warn_if_loop_runs(
        written(call.target), "remote_gen(...)", "async for ... in {}.remote_gen.aio(...)"
    )
    # On a container's loop: this read blocks the loop, so async inputs must go to other
    # containers until the loop runs again.
    unblock_loop = block_loop() if Real._get_running_loop() is not None else None
    try:
        here = ReaderHere()
        # What takes a lock is uninterruptible.
        with uninterruptible:
            try:
                pool = call.pool = submit((input,))
            except Error as error:
                raise without_our_frames(error)
        stream, get_ident = call.stream, Real.get_ident
        while True:
            if get_ident() != here.thread or running_input.get(None) is not here.input:
                call.reader = here.find()
            items = stream.items
            if items and type(stream) is Stream and stream.born == process.number:
                # As `Stream.take_nowait`, without a call for each item.
                item = items.popleft()
                if stream.producer is not None:
                    stream.let_go_on()
            else:
                with uninterruptible:
                    there, item = _next_item(call, pool, input)
                if not there:
                    break
            if unblock_loop is not None:
                unblock_loop = unblock_loop()
            yield item
            del item
    except GeneratorExit:
        # At once, so that the search for deadlocks does not take the reader for a waiting one.
        call.reader = None
        # The reader was closed, or a garbage collection dropped it: maybe while this thread
        # holds some lock.  So this code must take no lock.
        try:
            clean_up_soon(lambda: _abandon(call, input), call.clock)
        except (InputCancellation, KeyboardInterrupt):
            # An exception that is raised in a finalizer is lost, so the strike is sent again.
            clean_up_soon(lambda: _abandon(call, input), call.clock)
            strike_again()
        raise
    except BaseException:
        try:
            _abandon(call, input)
        except InputCancellation:
            _abandon(call, input)
            raise
        raise
    finally:
        if unblock_loop is not None:
            unblock_loop()
    if type(input.outcome) is not Value:
        try:
            with Raising() as error_of:
                raise error_of(input.outcome)
        finally:
            del input  # else a cycle: the input -> the error -> its traceback -> this frame


def _next_item(call: StreamCall, pool: Pool, input: Input) -> tuple[bool, Any]:
    """Wait for the next item: ``(True, item)``, or ``(False, None)`` at the end."""
    stream = call.stream
    there, item = stream.take_nowait()
    while not there:
        waiter = pool.clock.make_waiter()
        # `ended` is read before the items: the stream ends only after its last item, so an
        # empty stream that had ended before has no more items.
        ended = stream.ended
        there, item = stream.take_nowait(waiter.wake)
        if ended:
            break
        if not there and not stream.ended:
            park_for(pool, waiter, input)
    return there, item


async def _read_async(submit: Submit, call: StreamCall, input: Input) -> AsyncGenerator[Any, None]:
    if call.pool is not None:
        return
    try:
        pool = call.pool = submit((input,))
    except Error as error:
        raise without_our_frames(error)
    stream = call.stream
    try:
        while True:
            call.reader = reader_here()
            there, item = stream.take_nowait()
            if not there:
                there, item = await _next_item_async(stream, pool, input)
            if not there:
                break
            yield item
            del item
    except GeneratorExit:
        call.reader = None  # at once, and no lock is taken here: see `_read`
        clean_up_soon(lambda: _abandon(call, input), call.clock)
        raise
    except BaseException:
        _abandon(call, input)
        raise
    if type(input.outcome) is not Value:
        try:
            with Raising() as error_of:
                raise error_of(input.outcome)
        finally:
            del input  # else a cycle: the input -> the error -> its traceback -> this frame


async def _next_item_async(stream: Stream, pool: Pool, input: Input) -> tuple[bool, Any]:
    """As `_next_item`, for a task, if no item is there."""
    while True:
        waiter = make_async_waiter()
        ended = stream.ended
        there, item = stream.take_nowait(waiter.wake)
        if there or ended:
            return there, item
        if not stream.ended:
            await wait_for(pool, waiter, input)


@uninterruptible
def _abandon(call: StreamCall, input: Input) -> None:
    if call.pool is not None:
        # Cancel before closing the stream: a generator that finds the stream closed just ends,
        # and its input would not count as cancelled.
        call.pool.cancel(input)
        call.stream.close()


def sits_in_step(steps: AsyncGenerator[object, None]) -> bool:
    """Whether some task is in a step of `steps`.  Then `steps` cannot be closed."""
    return cast("AsyncGeneratorType[object, None]", steps).ag_running


def clean_up_soon(callback: Callable[[], object], clock: Clock | None = None) -> None:
    """Call `callback` soon, on the "moorage-cleanup" thread.

    Finalizers may call this, because it waits for no lock.

    Args:
        clock: if this clock is virtual, its time stands still until `callback` has run.
    """
    if clock is not None and clock.participants is not None:
        callback = clock.participants.expected(callback, "what was dropped")
    in_background(callback)


def wait_let_in(pool: Pool, inputs: Sequence[Input], target: Target) -> None:
    """Block until the backlog has accepted all of `inputs`, or they are settled.

    Cancels the inputs if this thread is interrupted in the wait, because then nobody gets the
    handle of their call.
    """
    waiter = pool.clock.make_waiter()
    if not inputs or not pool.when_let_in(inputs[-1], waiter.wake):
        return
    try:
        warn_if_loop_runs(written(target), "spawn(...)", "await {}.spawn.aio(...)")
        park_for(pool, waiter, None)
    except BaseException:
        pool.cancel_all(inputs)
        raise


async def wait_let_in_async(pool: Pool, inputs: Sequence[Input]) -> None:
    """As `wait_let_in`, for asyncio and trio."""
    waiter = make_async_waiter()
    if not inputs or not pool.when_let_in(inputs[-1], waiter.wake):
        return
    try:
        await wait_for(pool, waiter, None)
    except GeneratorExit:
        # A garbage collection dropped the task, maybe while this thread holds some lock.  So
        # this code must take no lock.
        clean_up_soon(lambda: pool.cancel_all(inputs), pool.clock)
        raise
    except BaseException:
        pool.cancel_all(inputs)
        raise


def error_of(outcome: Outcome | None) -> BaseException:
    """Return the exception to raise for a settled input that has no value."""
    assert outcome is not None and not isinstance(outcome, Value)
    return outcome.exception()


def written(target: Target) -> str:
    """Return `target` as users write it: ``f``, or ``Model(...).method`` for a method."""
    owner, _, name = target.name.rpartition(".")
    return f"{owner}(...).{name}" if target.is_method else target.name


def warn_if_loop_runs(name: str, what: str, instead: str) -> None:
    """Warn, and say what to write instead, if a blocking call is about to block an event loop.

    Does not warn in a notebook, where the cell is meant to block.
    """
    loop = Real._get_running_loop()
    if loop is not None and not runs_cells(loop):
        warn(
            f"{name}.{what} blocks the event loop of this thread until it ends; "
            f"write {instead.format(name)}",
            AsyncUsageWarning,
        )
