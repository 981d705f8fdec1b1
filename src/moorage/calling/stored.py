"""Dicts and queues in a container's process: their contents are in the calling program.

Owns what replaces the methods of `Dict` and `Queue` in such a process: each asks the calling
program to call the method there.  A ``get`` that waits is a task of a loop in that program, and
holds no thread there.  Dicts in a file (``config.persist``) are used directly, and so are ephemeral
objects that this process has made.  `Queue.iterate` is refused.

Begin at `install`; the other side is `Objects`.
"""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable
from contextvars import Context
from functools import partial, wraps
from typing import Any, Final

from .. import config
from ..dict import Dict
from ..exception import ExecutionError
from ..placing.calls import driver_run
from ..placing.shipping import pack
from ..queue import Queue
from ..runtime.clocks.clock import system_clock
from ..runtime.input import Input, Kind, Target
from ..runtime.outcome import Outcome, Raising, Value
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import park_for, wait_for
from ..with_aio import MethodWithAio
from .waited import WaitedCall

_METHODS: Final[dict[type, tuple[str, ...]]] = {
    Dict: ("clear", "contains", "get", "info", "len", "pop", "put", "update"),
    Queue: ("clear", "get", "get_many", "info", "len", "put", "put_many"),
}
_SPECIAL: Final[dict[type, tuple[str, ...]]] = {
    Dict: ("__contains__", "__delitem__", "__getitem__", "__setitem__"),
    Queue: (),
}
_LISTED: Final = ("items", "keys", "values")  # of a `Dict`: iterators

_MARK: Final = "_moorage_is_elsewhere"


def install() -> None:
    """Replace the methods.  In a container's process; a second call does nothing."""
    if _MARK in vars(Dict):
        return
    for kind, names in _METHODS.items():
        for name in names:
            setattr(kind, name, _method(kind, name))
    for kind, names in _SPECIAL.items():
        for name in names:
            setattr(kind, name, _special(kind, name))
    for name in _LISTED:
        setattr(Dict, name, _listed(name))
    queue: Any = Queue
    queue.iterate = _refused(Queue, "iterate")
    setattr(Dict, _MARK, True)


def _is_here(obj: Any) -> bool:
    """Whether this process can use the contents of `obj` itself.

    A queue in a file is for the calling program too: only there are all who wait for an item woken.
    """
    if config.persist and isinstance(obj, Dict):
        return True
    record = obj._record
    return record is not None and obj._catalogue()._memory.of_id(record.object_id) is not None


def _method(kind: type, name: str) -> Any:
    original: Any = vars(kind)[name]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_here(self):
            return original.__get__(self, kind)(*args, **kwargs)
        return _ask(self, name, args, kwargs)

    async def aio(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_here(self):
            return await original.__get__(self, kind).aio(*args, **kwargs)
        return await _ask_async(self, name, args, kwargs)

    wrapped = getattr(original, "__wrapped__", original)
    return MethodWithAio(wraps(wrapped)(call), wraps(wrapped)(aio))


def _special(kind: type, name: str) -> Any:
    original: Any = vars(kind)[name]

    @wraps(original)
    def call(self: Any, *args: Any) -> Any:
        if _is_here(self):
            return original(self, *args)
        return _ask(self, name, args, {})

    return call


def _listed(name: str) -> Any:
    original: Any = vars(Dict)[name]

    def call(self: Any) -> Any:
        if _is_here(self):
            yield from original.__get__(self, Dict)()
        else:
            yield from _ask(self, name, (), {})

    async def call_async(self: Any) -> Any:
        if _is_here(self):
            found = list(original.__get__(self, Dict)())
        else:
            found = await _ask_async(self, name, (), {})
        for each in found:
            yield each

    return _Listed(call, call_async)


def _refused(kind: type, name: str) -> Any:
    original: Any = vars(kind)[name]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_here(self) or config.persist:
            return original.__get__(self, kind)(*args, **kwargs)
        raise ExecutionError(
            f"{self!r} is in the calling program, and .{name}() of a queue in memory does not go "
            "there from a container's process; write get_many(...), or set moorage.config.persist"
        )

    def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_here(self) or config.persist:
            return original.__get__(self, kind).aio(*args, **kwargs)
        return call(self)

    return _Listed(call, call_async)


class _Listed:
    """A method that gives an iterator, or with ``.aio`` an async one."""

    def __init__(self, call: Callable[..., Any], aio: Callable[..., Any]) -> None:
        self._call = call
        self._aio = aio

    def __get__(self, instance: Any, owner: type) -> Any:
        call, aio = self._call, self._aio

        def bound(*args: Any, **kwargs: Any) -> Any:
            return call(instance, *args, **kwargs)

        bound.aio = partial(aio, instance)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
        return bound


# -- asking: in the container's process ------------------------------------------------------


def _begin(obj: Any, name: str, args: Any, kwargs: Any, wake: Any) -> tuple[Any, Input]:
    target = Target(f"{type(obj).__name__}.{name}", _begin, Kind.SYNC)
    input = Input(WaitedCall(target, wake), 0, (), None)
    pool = driver_run().pool_of_found()
    pool.operate(input, pack((obj, name, args, kwargs)))
    return pool, input


def _ask(obj: Any, name: str, args: Any, kwargs: Any) -> Any:
    waiter = system_clock.make_waiter()
    pool, input = _begin(obj, name, args, kwargs, waiter.wake)
    try:
        park_for(pool, waiter, input)
    except BaseException:
        pool.cancel(input)
        raise
    return _result(input.outcome)


async def _ask_async(obj: Any, name: str, args: Any, kwargs: Any) -> Any:
    waiter = make_async_waiter()
    pool, input = _begin(obj, name, args, kwargs, waiter.wake)
    try:
        await wait_for(pool, waiter, input)
    except BaseException:
        pool.cancel(input)
        raise
    return _result(input.outcome)


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
    """Calls the methods that one container's code asks for, in tasks of a loop of its own.

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
        """Call a method soon."""

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
            obj, name, args, kwargs = pickle.loads(data, buffers=buffers)
            if name in _LISTED or name.startswith("__"):
                value = getattr(obj, name)(*args, **kwargs)
                if inspect.isgenerator(value) or hasattr(value, "__next__"):
                    value = list(value)
            else:
                value = await getattr(obj, name).aio(*args, **kwargs)
        except asyncio.CancelledError:
            self._answer(number, None, None)
            raise
        except BaseException as error:
            self._answer(number, None, error)
        else:
            self._answer(number, value, None)
