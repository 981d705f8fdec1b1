"""Calls: what a caller made, and how it waits for what comes of it.

Owns the kinds of single-input calls: a blocking or awaited ``remote``, a
spawned call with its public handle, and a stream; ``maps.py`` has the one with
many inputs.  Each is what `runtime.input.Call` asks for, and one object.
"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from .exception import AsyncUsageWarning, ExecutionError
from .runtime.cancellation import park
from .runtime.clock import Waiter
from .runtime.input import Input, Target, call_id, next_call_number
from .runtime.outcome import Outcome, Value
from .runtime.pool import Pool
from .runtime.streaming import Stream
from .runtime.timekeeper import process_timekeeper
from .runtime.waits import make_async_waiter

R_co = TypeVar("R_co", covariant=True)
Y_co = TypeVar("Y_co", covariant=True)
Wake = Callable[[], object]

Submit = Callable[[Input], Pool]
"""Hands an input to its pool, and says which that is."""


class WaitedCall:
    """A ``remote``: one input, and one caller that waits for it now."""

    __slots__ = ("context", "number", "target", "wake")

    def __init__(self, target: Target, wake: Wake) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = copy_context()
        self.wake: Wake = wake

    def settled(self, input: Input, /) -> Wake:
        return self.wake


class FunctionCall(Generic[R_co]):
    """A spawned call: get its result, or cancel it, when and where you like.

    Returned by ``Function.spawn``.  Any number of threads and tasks may wait
    for it at once.
    """

    __slots__ = ("__weakref__", "_input", "_pool", "_waiting", "context", "number", "target")

    def __init__(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = copy_context()
        self._pool: Pool | None = None
        self._input = Input(self, 0, args, kwargs or None)
        # Those to wake when it is settled.  Guarded by the pool's lock.
        self._waiting: list[Wake] | None = None

    @property
    def object_id(self) -> str:
        """The id of the call, the one its code sees as ``current_function_call_id()``."""
        return call_id(self.number)

    def settled(self, input: Input, /) -> Wake | None:
        """For the engine: see `runtime.input.Call`."""
        waiting, self._waiting = self._waiting, None
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
    def cancel(self) -> Cancel:
        """``cancel()`` cancels the input, wherever it is; ``await cancel.aio()`` too."""
        return Cancel(self)

    def _add(self, wake: Wake) -> bool:
        """Have `wake` called when settled; false if it is already."""
        pool = self._started_pool()
        with pool.lock:
            if self._input.outcome is not None:
                return False
            if self._waiting is None:
                self._waiting = [wake]
            else:
                self._waiting.append(wake)
            return True

    def _remove(self, wake: Wake) -> None:
        with self._started_pool().lock:
            if self._waiting is not None and wake in self._waiting:
                self._waiting.remove(wake)

    def _started_pool(self) -> Pool:
        if self._pool is None:
            raise ExecutionError("this call was never submitted; make it with Function.spawn()")
        return self._pool

    def __repr__(self) -> str:
        return f"<FunctionCall {self.object_id} of {self.target.name}: {self._input.state.value}>"


class Get(Generic[R_co]):
    """``FunctionCall.get``."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[R_co]) -> None:
        self._call = call

    def __call__(self, timeout: float | None = None) -> R_co:
        """Wait for the result and return it.

        Raises:
            TimeoutError: the builtin one, if `timeout` seconds pass first; the
                call goes on.
            InputCancelledError: if the call was cancelled.
        """
        call = self._call
        input = call._input
        if input.outcome is None:
            pool = call._started_pool()
            waiter = pool.clock.make_waiter()
            if call._add(waiter.wake):
                wait_here(pool, waiter, timeout, call)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        try:
            raise error_of(outcome)
        finally:
            del outcome, input, call, self  # they lead to the error, and it to this frame

    async def aio(self, timeout: float | None = None) -> R_co:
        """As calling it, for asyncio and trio."""
        call = self._call
        input = call._input
        if input.outcome is None:
            pool = call._started_pool()
            waiter = make_async_waiter()
            wake = waiter.wake
            if call._add(wake):
                timer = None
                if timeout is not None:
                    timer = pool.clock.call_at(pool.clock.now() + max(0.0, timeout), wake)
                try:
                    await waiter.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
                    if input.outcome is None:
                        later(partial(call._remove, wake))
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


class Cancel:
    """``FunctionCall.cancel``."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[object]) -> None:
        self._call = call

    def __call__(self) -> None:
        """Cancel the input: dropped if queued, cancelled in its code if it runs.

        Harmless on a call that is settled.
        """
        self._call._started_pool().cancel(self._call._input)

    async def aio(self) -> None:
        """As calling it; it does not wait."""
        self()


class StreamCall:
    """A generator input and its stream of items."""

    __slots__ = ("context", "number", "pool", "stream", "target")

    def __init__(self, target: Target, stream: Stream) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = copy_context()
        self.stream: Stream = stream
        self.pool: Pool | None = None  # set when it is submitted

    def settled(self, input: Input, /) -> Wake:
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
        return next(self._steps)

    def __aiter__(self) -> AsyncIterator[Y_co]:
        return self._async_steps

    async def __anext__(self) -> Y_co:
        return await anext(self._async_steps)

    def close(self) -> None:
        """Close the user's generator.  Harmless if it has ended or never began."""
        # First: a thread that sits in the next step cannot be closed from here.
        _abandon(self._call, self._input)
        if inspect.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:
            self._steps.close()

    async def aclose(self) -> None:
        """As `close`, for ``async for``."""
        await self._async_steps.aclose()
        _abandon(self._call, self._input)


def _read(submit: Submit, call: StreamCall, input: Input) -> Generator[Any, None, None]:
    if call.pool is not None:
        return  # read the other way already
    pool = call.pool = submit(input)
    stream = call.stream
    try:
        while True:
            waiter = pool.clock.make_waiter()
            # Read before the items are: it ends only after the last of them.
            ended = stream.ended
            there, item = stream.take_nowait(waiter.wake)
            if there:
                yield item
                del item
            elif ended:
                break
            elif not stream.ended:
                park(pool.clock, waiter)
    except GeneratorExit:
        # Closed, or collected, maybe while some lock is held: take none here.
        later(lambda: _abandon(call, input))
        raise
    except BaseException:
        _abandon(call, input)
        raise
    if type(input.outcome) is not Value:
        raise error_of(input.outcome)


async def _read_async(submit: Submit, call: StreamCall, input: Input) -> AsyncGenerator[Any, None]:
    if call.pool is not None:
        return
    call.pool = submit(input)
    stream = call.stream
    try:
        while True:
            waiter = make_async_waiter()
            ended = stream.ended
            there, item = stream.take_nowait(waiter.wake)
            if there:
                yield item
                del item
            elif ended:
                break
            elif not stream.ended:
                await waiter.wait()
    except GeneratorExit:
        later(lambda: _abandon(call, input))
        raise
    except BaseException:
        _abandon(call, input)
        raise
    if type(input.outcome) is not Value:
        raise error_of(input.outcome)


def _abandon(call: StreamCall, input: Input) -> None:
    call.stream.close()
    if call.pool is not None:
        call.pool.cancel(input)


def later(callback: Callable[[], object]) -> None:
    """Do it soon on the timekeeper's thread: also from finalizers, which take no lock."""
    process_timekeeper.post(callback)


def error_of(outcome: Outcome | None) -> BaseException:
    """What to raise for a settled input that has no value."""
    assert outcome is not None and not isinstance(outcome, Value)
    return outcome.exception()


def wait_here(
    pool: Pool,
    waiter: Waiter,
    timeout: float | None,
    call: FunctionCall[object],
) -> None:
    """Block this thread for a spawned call.

    Raises:
        TimeoutError: the builtin one.
    """
    warn_if_loop_runs(call.target.name, "spawn(...).get()", "await {}.spawn(...).get.aio()", 4)
    try:
        if park(pool.clock, waiter, timeout):
            return
    finally:
        if call._input.outcome is None:
            call._remove(waiter.wake)
    if call._input.outcome is None:
        raise _timed_out(call, timeout)


def warn_if_loop_runs(name: str, what: str, instead: str, stacklevel: int = 3) -> None:
    """Say what to write where a blocking call is about to block an event loop.

    `stacklevel` leads to the user's line: 3 from the function the user called.
    """
    if asyncio._get_running_loop() is not None:
        warnings.warn(
            f"{name}.{what} blocks the event loop of this thread until it ends; "
            f"write {instead.format(name)}",
            AsyncUsageWarning,
            stacklevel=stacklevel,
        )


def _timed_out(call: FunctionCall[object], timeout: float | None) -> TimeoutError:
    return TimeoutError(
        f"the call of {call.target.name} has no result after {timeout} s; "
        "it goes on: get() it again, or cancel() it"
    )
