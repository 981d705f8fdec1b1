"""Calls: what a caller made, and how it waits for what comes of it.

Owns the kinds of calls with one input whose caller waits now: a blocking or
awaited ``remote``, and a stream.  Spawned calls are in ``function_call.py``; ``maps.py``
has the one whose inputs are read as they are needed.  Each is what
`runtime.input.Call` asks for, and one object.
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
from typing import Any, Generic, TypeVar, cast

from ..exception import AsyncUsageWarning, Error, InputCancellation
from ..frames import warn, without_our_frames
from ..runtime.background import in_background
from ..runtime.captured import capture, decimal_context, own_decimal_context
from ..runtime.clocks.clock import Clock
from ..runtime.containers.streaming import Stream
from ..runtime.guards.cells import strike_again
from ..runtime.input import Input, Target, next_call_number
from ..runtime.outcome import Outcome, Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import ReaderHere, block_loop, park_for, reader_here, wait_for
from ..runtime.waiting.waits import Reader, open_streams

Y_co = TypeVar("Y_co", covariant=True)
Wake = Callable[[], object]

Submit = Callable[[Sequence[Input]], Pool]
"""Hands inputs to their pool, and says which that is."""


class WaitedCall:
    """A ``remote``: one input, and one caller that waits for it now."""

    __slots__ = ("context", "number", "target", "wake")

    def __init__(self, target: Target, wake: Wake) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        # `capture`, written out: this is on the way of each input.
        self.context: Context = copy_context()
        if decimal_context in self.context:
            own_decimal_context(self.context)
        self.wake: Wake = wake

    def settled(self, input: Input, /) -> Wake:
        return self.wake


class StreamCall:
    """A generator input and its stream of items."""

    __slots__ = ("__weakref__", "context", "number", "pool", "reader", "stream", "target")

    def __init__(self, target: Target) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = capture()
        self.stream: Stream  # set when it is submitted
        self.pool: Pool | None = None  # set when it is submitted
        self.reader: Reader | None = None  # who read last

    @property
    def clock(self) -> Clock | None:
        return None if self.pool is None else self.pool.clock

    def settled(self, input: Input, /) -> Wake:
        open_streams.pop(self, None)
        return self.stream.end


class StreamReader(Generic[Y_co]):
    """The items of one generator input, for ``for`` or ``async for``.

    The input is submitted at the first step.  Closing the reader, or dropping
    it, closes the user's generator and gives back its slot.
    """

    def __init__(self, submit: Submit, call: StreamCall, input: Input) -> None:
        self._call = call
        self._input = input
        # Generators that hold no reference to self, so that dropping the
        # reader drops them, which arrives there as GeneratorExit.
        self._steps: Generator[Y_co, None, None] = _read(submit, call, input)
        self._async_steps: AsyncGenerator[Y_co, None] = _read_async(submit, call, input)

    def __iter__(self) -> Iterator[Y_co]:
        return self._steps

    def __next__(self) -> Y_co:
        try:
            return next(self._steps)
        except Exception as error:
            del self  # it leads to the error, and the error's traceback to this frame
            raise without_our_frames(error)

    def __aiter__(self) -> AsyncIterator[Y_co]:
        return self._async_steps

    async def __anext__(self) -> Y_co:
        try:
            return await anext(self._async_steps)
        except Exception as error:
            del self  # it leads to the error, and the error's traceback to this frame
            raise without_our_frames(error)

    def close(self) -> None:
        """Close the user's generator.  Harmless if it has ended or never began."""
        # First: a thread that sits in the next step cannot be closed from here.
        _abandon(self._call, self._input)
        if Real.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:
            self._steps.close()

    async def aclose(self) -> None:
        """As `close`, for ``async for``."""
        # First: another task may sit in the next step, which ends then.
        _abandon(self._call, self._input)
        if not sits_in_step(self._async_steps):
            await self._async_steps.aclose()


def _read(submit: Submit, call: StreamCall, input: Input) -> Generator[Any, None, None]:
    if call.pool is not None:
        return  # read the other way already
    warn_if_loop_runs(
        written(call.target), "remote_gen(...)", "async for ... in {}.remote_gen.aio(...)"
    )
    # On a container's loop the generator must go elsewhere, until it runs again.
    unblock_loop = block_loop() if Real._get_running_loop() is not None else None
    try:
        find_reader = ReaderHere().find
        # Uninterruptible regions, but while the reader has an item.
        with uninterruptible:
            try:
                pool = call.pool = submit((input,))
            except Error as error:
                raise without_our_frames(error)
        while True:
            with uninterruptible:
                there, item = _next_item(call, pool, input, find_reader)
            if unblock_loop is not None:
                unblock_loop = unblock_loop()
            if not there:
                break
            yield item
            del item
    except GeneratorExit:
        call.reader = None  # at once: nobody waits for a reader that has gone
        # Closed, or collected, maybe while some lock is held: take none here.
        try:
            clean_up_soon(lambda: _abandon(call, input), call.clock)
        except (InputCancellation, KeyboardInterrupt):  # it would be lost with the reader
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
            raise error_of(input.outcome)
        finally:
            del input  # it leads to the error, and the error's traceback to this frame


def _next_item(
    call: StreamCall, pool: Pool, input: Input, find_reader: Callable[[], Reader]
) -> tuple[bool, Any]:
    """``(True, item)`` as soon as there is one; ``(False, None)`` at the end."""
    stream = call.stream
    while True:
        waiter = pool.clock.make_waiter()
        # Read before the items are: it ends only after the last of them.
        ended = stream.ended
        call.reader = find_reader()
        there, item = stream.take_nowait(waiter.wake)
        if there or ended:
            return there, item
        if not stream.ended:
            park_for(pool, waiter, input)


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
            waiter = make_async_waiter()
            ended = stream.ended
            call.reader = reader_here()
            there, item = stream.take_nowait(waiter.wake)
            if there:
                yield item
                del item
            elif ended:
                break
            elif not stream.ended:
                await wait_for(pool, waiter, input)
    except GeneratorExit:
        call.reader = None  # at once: nobody waits for a reader that has gone
        clean_up_soon(lambda: _abandon(call, input), call.clock)
        raise
    except BaseException:
        _abandon(call, input)
        raise
    if type(input.outcome) is not Value:
        try:
            raise error_of(input.outcome)
        finally:
            del input  # it leads to the error, and the error's traceback to this frame


@uninterruptible
def _abandon(call: StreamCall, input: Input) -> None:
    if call.pool is not None:
        # In this order: a generator that finds its reader gone would just end.
        call.pool.cancel(input)
        call.stream.close()


def sits_in_step(steps: AsyncGenerator[object, None]) -> bool:
    """Whether some task is in a step of `steps`, which cannot be closed then."""
    return cast("AsyncGeneratorType[object, None]", steps).ag_running


def clean_up_soon(callback: Callable[[], object], clock: Clock | None = None) -> None:
    """Do it soon on the thread for cleaning up: also from finalizers, which take no lock.

    Args:
        clock: the time that stands until it is done, if that is virtual.
    """
    if clock is not None and clock.participants is not None:
        callback = clock.participants.expected(callback, "what was dropped")
    in_background(callback)


def wait_let_in(pool: Pool, inputs: Sequence[Input], target: Target) -> None:
    """Block until the backlog has let in all of `inputs`, or they are settled.

    Cancels them if this thread is interrupted meanwhile: nobody has their call.
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
        # Collected, maybe while some lock is held: take none here.
        clean_up_soon(lambda: pool.cancel_all(inputs), pool.clock)
        raise
    except BaseException:
        pool.cancel_all(inputs)
        raise


def error_of(outcome: Outcome | None) -> BaseException:
    """What to raise for a settled input that has no value."""
    assert outcome is not None and not isinstance(outcome, Value)
    return outcome.exception()


def written(target: Target) -> str:
    """How users write what they call: a method is one of an instance."""
    owner, _, name = target.name.rpartition(".")
    return f"{owner}(...).{name}" if target.is_method else target.name


def warn_if_loop_runs(name: str, what: str, instead: str) -> None:
    """Say what to write where a blocking call is about to block an event loop."""
    if Real._get_running_loop() is not None:
        warn(
            f"{name}.{what} blocks the event loop of this thread until it ends; "
            f"write {instead.format(name)}",
            AsyncUsageWarning,
        )
