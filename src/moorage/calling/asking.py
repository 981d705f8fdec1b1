"""Asking: what the code in a container's process has the calling program do, besides calls.

Owns how such code asks for a function to be called there (`ask`, `ask_async`): a method of a dict
or a queue, the counts of a pool, the graph of a call.  The function is found by its name, so it is
one of a module; handles among its arguments are those of the calling program there.  It runs as a
task of a loop that answers one container (`Objects`), so a ``get`` that waits holds no thread.

Begin at `ask`; the other side is `Objects`.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from contextvars import Context
from typing import Any

from ..placing.calls import driver_link
from ..placing.shipping import pack
from ..runtime.clocks.clock import system_clock
from ..runtime.input import Input, Kind, Target
from ..runtime.kinds import is_awaitable
from ..runtime.outcome import Outcome, Raising, Value
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import park_for, wait_for
from .waited import WaitedCall

# -- asking: in the container's process ------------------------------------------------------


def ask(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what `function` returns in the calling program; blocks.

    Raises:
        BaseException: what it raises.
    """
    waiter = system_clock.make_waiter()
    pool, input = _begin(function, args, kwargs, waiter.wake)
    try:
        park_for(pool, waiter, input)
    except BaseException:
        pool.cancel(input)
        raise
    return _result(input.outcome)


async def ask_async(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """As `ask`, for asyncio and trio."""
    waiter = make_async_waiter()
    pool, input = _begin(function, args, kwargs, waiter.wake)
    try:
        await wait_for(pool, waiter, input)
    except BaseException:
        pool.cancel(input)
        raise
    return _result(input.outcome)


def _begin(function: Callable[..., Any], args: Any, kwargs: Any, wake: Any) -> tuple[Any, Input]:
    target = Target(function.__name__.strip("_"), _begin, Kind.SYNC)
    input = Input(WaitedCall(target, wake), 0, (), None)
    pool = driver_link().pool()
    pool.operate(input, pack((function, args, kwargs)))
    return pool, input


def _result(outcome: Outcome | None) -> Any:
    if type(outcome) is Value:
        return outcome.value
    try:
        with Raising() as error_of:
            raise error_of(outcome)
    finally:
        del outcome


# -- answering: in the calling program -------------------------------------------------------


class Objects:
    """Does what one container's code asks for, in tasks of a loop of its own.

    Args:
        answer: called with the number of a call, and its value or its error.
    """

    def __init__(self, answer: Callable[[int, Any, BaseException | None], object]) -> None:
        self._answer = answer
        self._loop = Real.new_event_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}  # of the loop's thread
        Real.Thread(target=self._run, name="moorage-objects", daemon=True).start()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            left = list(self._tasks.values())
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            self._loop.close()

    def begin(self, number: int, data: bytes, buffers: list[bytes]) -> None:
        """Call a function soon."""

        def begin() -> None:
            made = self._loop.create_task(self._carry_out(number, data, buffers))
            self._tasks[number] = made
            made.add_done_callback(lambda _: self._tasks.pop(number, None))

        self._soon(begin)

    def cancel(self, number: int) -> None:
        """Cancel a call, if it has not ended."""

        def cancel() -> None:
            task = self._tasks.get(number)
            if task is not None:
                task.cancel()

        self._soon(cancel)

    def end(self) -> None:
        """Cancel all calls, and end the thread."""
        self._soon(self._loop.stop)

    def _soon(self, work: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(work, context=Context())
        except RuntimeError:
            pass  # the loop is closed

    async def _carry_out(self, number: int, data: bytes, buffers: list[bytes]) -> None:
        try:
            function, args, kwargs = pickle.loads(data, buffers=buffers)
            value = function(*args, **kwargs)
            if is_awaitable(value):
                value = await value
        except asyncio.CancelledError:
            self._answer(number, None, None)
            raise
        except BaseException as error:
            self._answer(number, None, error)
        else:
            self._answer(number, value, None)
