"""What a task awaits: whether anything other than a moorage wait could wake it.

Owns how the tasks of an input are found on their loop, and how the futures that can wake a
suspended task are found.  ``deadlock.py`` calls it on the thread of that loop, where no task
moves during the call.  This file knows neither pools nor waits.  Begin at `find_movers`,
then `mover_of`.

A *moorage wait* is a wait that ``waits.py`` records.  A task of an input is *blocked* if each
future that can wake the task belongs to a moorage wait, or is another task of the same input.
Known ways from a task to those futures:

    ``await task``, ``wait_for`` without a limit     the awaited task
    ``asyncio.gather``, also nested                  the future's children
    ``asyncio.shield``                               the callback on the outer future
    ``asyncio.wait``                                 the set in its coroutine
    ``asyncio.TaskGroup``, anyio's on asyncio        the group in its coroutine
    ``asyncio.as_completed``                         the callback on the inner tasks

Everything else (a lock, a queue, a socket, a thread, ``sleep``) may wake its task at any
time, so the task counts as not blocked.  A timer or callback made in the input's context
counts as not blocked too, because it may cancel a task: ``asyncio.timeout``, ``wait_for``,
``asyncio.wait(timeout=)``, anyio's deadlines and ``call_later`` all make one.

The objects in a coroutine are read by `gc.get_referents`, never by its frame's
``f_locals``: the latter keeps a copy of the locals alive for as long as the frame.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import Context
from dataclasses import dataclass
from types import AsyncGeneratorType, CodeType, CoroutineType, GeneratorType
from typing import Any, Final, cast

from ..by_hand import ByHand
from ..context import running_input
from ..input import Input
from ..real import Real

Future = asyncio.Future[Any]
Task = asyncio.Task[Any]
IsOurs = Callable[[Task, Future], bool]
"""Tells whether this task, which waits for this future, is in a moorage wait."""


@dataclass(frozen=True, slots=True)
class Mover:
    """Something that may let an input make progress.

    A mover without `future` and `when` is a task or callback that is about to run.
    """

    task: Task | None = None  # the task of the input that the mover wakes
    future: Future | None = None  # the mover acts when this future is done
    when: float | None = None  # the mover acts at this time of the loop's clock; inf: unknown


ABOUT_TO_RUN: Final = Mover()


class Peers:
    """The tasks of `input` on `loop`, found at each use.  On the thread of `loop`."""

    __slots__ = ("_input", "_loop")

    def __init__(self, input: Input, loop: asyncio.AbstractEventLoop) -> None:
        self._input = input
        self._loop = loop

    def __contains__(self, task: object) -> bool:
        return input_of(cast(Task, task)) is self._input

    def __iter__(self) -> Iterator[Task]:
        return iter([task for task in Real.all_tasks(self._loop) if task in self])


def find_movers(
    loop: asyncio.AbstractEventLoop, inputs: Collection[Input], is_ours: IsOurs
) -> dict[Input, Mover]:
    """Return one mover for each of `inputs` that is not blocked.

    Blocked inputs are not in the result.  On the thread of `loop`.  Costs one walk over the
    tasks and timers of the loop.
    """
    movers: dict[Input, Mover] = {}
    peers: dict[Input, set[Task]] = {input: set() for input in inputs}
    for task in Real.all_tasks(loop):
        input = input_of(task)
        if input is not None and input in peers:
            peers[input].add(task)
    for input, tasks in peers.items():
        for task in tasks:
            mover = mover_of(task, tasks, is_ours)
            if mover is not None:
                movers[input] = mover
                break
    for input, mover in _callbacks_of(loop, peers):
        before = movers.get(input)
        # Prefer the mover of a task to that of a timer: a woken task can be checked alone
        # (see `_look_again_at` in deadlock.py).  Of two timers take the earlier one.
        if before is None or (
            before.when is not None and (mover.when is None or mover.when < before.when)
        ):
            movers[input] = mover
    return movers


def mover_of(task: Task, peers: set[Task] | Peers, is_ours: IsOurs) -> Mover | None:
    """Return what may wake `task`, other than moorage waits and `peers`; None if it is blocked.

    On the thread of the task's loop.
    """
    future: Future | None = getattr(task, "_fut_waiter", None)
    if future is None and getattr(task.get_coro(), "cr_running", False):
        # The task runs this loop inside one of its own steps (nested loops): no way to know
        # when that step ends.
        return Mover(when=math.inf)
    if future is None or getattr(task, "_must_cancel", False):
        return Mover(task)
    if is_ours(task, future):
        return Mover(task) if future.done() else None
    awaits = future
    seen: set[Future] = set()
    pending = [future]
    while pending:
        future = pending.pop()
        if future in seen:
            continue
        seen.add(future)
        if future.done():
            return Mover(task)  # the loop is about to run the future's callbacks
        if hasattr(future, "get_coro"):  # a task, in C or in Python
            if future not in peers:
                return Mover(task, future)
            continue
        awaited = awaited_by(future)
        if awaited is None and future is awaits:
            awaited = awaited_in(task, future, peers)
        if awaited is None:
            return Mover(task, future)
        # Ignore inner futures that are done: their callbacks have run or are about to run.
        awaited = [inner for inner in awaited if not inner.done()]
        if not awaited:
            return Mover(task)
        pending += awaited
    return None


# -- tasks and callbacks of an input ------------------------------------------------------


def input_of(task: Task) -> Input | None:
    """Return the input in whose context `task` runs; None for any other task."""
    context = _context_of(task)
    return None if context is None else context.get(running_input)


def _context_of(task: Task) -> Context | None:
    get_context = getattr(task, "get_context", None)  # since Python 3.12
    if get_context is not None:
        return cast(Context, get_context())
    found: object = getattr(task, "_context", None)  # a task written in Python has this
    if isinstance(found, Context):
        return found
    # The task's own context comes first; the contexts of its callbacks follow.
    return next((found for found in gc.get_referents(task) if type(found) is Context), None)


def _callbacks_of(
    loop: asyncio.AbstractEventLoop, inputs: Collection[Input]
) -> Iterator[tuple[Input, Mover]]:
    """Yield the timers and callbacks on `loop` that were made in the context of an input."""
    timers, ready = _handles_of(loop)
    if timers is None:
        # The timers are unknown: any of the inputs may have one.
        for input in inputs:
            yield input, Mover(when=math.inf)
        return
    for handle in timers:
        owner = _input_of_handle(handle)
        if owner is not None and owner in inputs and not math.isinf(handle.when()):
            yield owner, Mover(when=handle.when())
    for handle in ready:
        owner = _input_of_handle(handle)
        if owner is not None and owner in inputs:
            yield owner, ABOUT_TO_RUN


def _handles_of(loop: Any) -> tuple[Iterable[Any] | None, Iterable[Any]]:
    """Return the loop's timers and its due callbacks; None for timers that cannot be found."""
    timers = getattr(loop, "_scheduled", None)
    if timers is not None:
        ready: Any = getattr(loop, "_ready", None)
        # Copy: other threads append to `_ready`.
        return timers, () if ready is None else ready.copy()
    # Another kind of loop, such as uvloop's, may keep its timers in a set.  A timer of our
    # own shows which set.
    probe = loop.call_later(3600, _nothing, context=Context())
    try:
        for referent in gc.get_referents(loop):
            kept: Any = referent
            if type(referent) is set and probe in kept:
                return [timer for timer in kept if timer is not probe], ()
    finally:
        probe.cancel()
    return None, ()


def _nothing() -> None:
    pass


def _input_of_handle(handle: Any) -> Input | None:
    cancelled = getattr(handle, "_cancelled", None)
    if cancelled if cancelled is not None else handle.cancelled():
        return None
    context = getattr(handle, "_context", None)
    if context is None:
        contexts = [found for found in gc.get_referents(handle) if type(found) is Context]
        context = contexts[0] if contexts else None
    return None if context is None else context.get(running_input)


# -- from a future to the futures that complete it ----------------------------------------------


def awaited_by(future: Future) -> list[Future] | None:
    """Return the futures that complete `future`, seen from `future` alone; None if unknown."""
    children = getattr(future, "_children", None)
    if type(future).__name__ == "_GatheringFuture" and children is not None:
        return list(children)
    for callback in _callbacks(future):
        if getattr(callback, "__code__", None) in _SHIELD_CODES:
            return [_cell(callback, "inner")]
    return None


def awaited_in(task: Task, future: Future, peers: Iterable[Task]) -> list[Future] | None:
    """Return the futures that complete `future`, seen from the coroutine that awaits it.

    That coroutine belongs to `task` and made `future`.  None if unknown.
    """
    outer, inner = innermost(task)
    code = getattr(inner, "cr_code", None)
    if code is _WAIT:
        for referent in gc.get_referents(inner):
            if type(referent) is set:
                return list(cast("set[Future]", referent))
    elif code in _GROUP_CODES or code is _code_of_anyio():
        for group in gc.get_referents(inner):
            if getattr(group, "_on_completed_fut", None) is future:
                return list(group._tasks)
    elif code is _QUEUE_GET and getattr(outer, "cr_code", None) in _COMPLETED_CODES:
        for peer in peers:
            for callback in _callbacks(peer):
                todo = _todo_of(callback, future)
                if todo is not None:
                    return list(todo)
    return None


def innermost(task: Task) -> tuple[object, object]:
    """Return the last two coroutines of the chain in which `task` is suspended."""
    outer: object = None
    inner: object = task.get_coro()
    while True:
        following = _next_of(inner)
        if following is None:
            return outer, inner
        outer, inner = inner, following


def _next_of(awaiting: object) -> object:
    """Return what `awaiting` awaits, if that is again some kind of coroutine; else None."""
    following: Any
    if isinstance(awaiting, CoroutineType):
        following = awaiting.cr_await
    elif isinstance(awaiting, GeneratorType):
        following = awaiting.gi_yieldfrom
    elif isinstance(awaiting, AsyncGeneratorType):
        following = awaiting.ag_await
    elif type(awaiting).__name__ in _WRAPPERS:
        return next((r for r in gc.get_referents(awaiting) if isinstance(r, _CHAINED)), None)
    else:
        return None
    if type(following) is ByHand:
        following = following.awaited
    is_one = isinstance(following, _CHAINED) or type(following).__name__ in _WRAPPERS
    return cast(object, following) if is_one else None


_CHAINED: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
# The objects that the interpreter puts around a step of an async generator, and around a
# coroutine for `__await__`.
_WRAPPERS: Final = frozenset(
    {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"}
)


def _callbacks(future: Future) -> list[Any]:
    return [callback for callback, _ in getattr(future, "_callbacks", None) or ()]


def _cell(function: Any, name: str) -> Any:
    """Return the value of the variable `name` in the closure of `function`."""
    index = function.__code__.co_freevars.index(name)
    return function.__closure__[index].cell_contents


def _todo_of(callback: Any, getter: Future) -> set[Future] | None:
    """Return the futures that an ``as_completed`` still waits for.

    None if `callback` does not belong to the ``as_completed`` that `getter` waits for.
    """
    iterator: Any = getattr(callback, "__self__", None)
    if type(iterator).__name__ == "_AsCompletedIterator":  # since Python 3.13
        todo, done = iterator._todo, iterator._done
    elif getattr(callback, "__code__", None) in _COMPLETION_CODES:
        todo, done = _cell(callback, "todo"), _cell(callback, "done")
    else:
        return None
    return cast("set[Future]", todo) if getter in done._getters else None


# -- the code objects of asyncio that are recognized --------------------------------------------


def _inner_code(function: Any, name: str) -> frozenset[CodeType]:
    """Return the code of the function `name` that is defined inside `function`."""
    consts = function.__code__.co_consts
    return frozenset(c for c in consts if isinstance(c, CodeType) and c.co_name == name)


def _code(owner: object, *names: str) -> frozenset[CodeType]:
    found = [getattr(getattr(owner, name, None), "__code__", None) for name in names]
    return frozenset(code for code in found if code is not None)


_WAIT: Final[CodeType | None] = next(iter(_code(asyncio.tasks, "_wait")), None)
_GROUP_CODES: Final = _code(asyncio.TaskGroup, "__aexit__", "_aexit")
_QUEUE_GET: Final = next(iter(_code(asyncio.Queue, "get")), None)
_SHIELD_CODES: Final = _inner_code(asyncio.shield, "_outer_done_callback")
_COMPLETION_CODES: Final = _inner_code(asyncio.as_completed, "_on_completion")
_COMPLETED_CODES: Final = _inner_code(asyncio.as_completed, "_wait_for_one") | _code(
    getattr(asyncio.tasks, "_AsCompletedIterator", None), "_wait_for_one"
)


def _code_of_anyio() -> CodeType | None:
    # anyio imports this module only when it is first used on asyncio.
    backend = sys.modules.get("anyio._backends._asyncio")
    group = getattr(backend, "TaskGroup", None)
    return None if group is None else cast(CodeType, group.__aexit__.__code__)
