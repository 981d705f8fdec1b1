"""What a task awaits: whether something could make it go on that is no wait of ours.

Owns how the tasks of an input are found on their loop, and how a suspended task leads to
the futures that can wake it.  ``deadlock.py`` calls it, on the thread of that loop, where
no task moves meanwhile.  It knows no pool and no wait.  Begin reading at `find_movers`.

A task of the input is *blocked* if each future that can wake it is a wait of ours, or
another task of the same input.  Known ways from a task to those futures:

    ``await task``, ``wait_for`` without a limit     the task itself
    ``asyncio.gather``, nested too                   the future's children
    ``asyncio.shield``                               the callback on the outer future
    ``asyncio.wait``                                 the set in its coroutine
    ``asyncio.TaskGroup``, anyio's on asyncio        the group that its coroutine holds
    ``asyncio.as_completed``                         the callback on the inner tasks

Everything else (a lock, a queue, a socket, a thread, ``sleep``) may wake its task at any
time: the task counts as not blocked.  A timer or a callback that was made in the input's
context counts the same, because it may cancel a task: that is what ``asyncio.timeout``,
``wait_for``, ``asyncio.wait(timeout=)``, anyio's deadlines and ``call_later`` have in common.

A coroutine is asked for what it holds by `gc.get_referents`, never by its frame's
``f_locals``: these would keep a copy of the locals alive for as long as the frame.
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

from ..context import running_input
from ..input import Input
from ..real import Real

Future = asyncio.Future[Any]
Task = asyncio.Task[Any]
IsOurs = Callable[[Task, Future], bool]
"""Whether a task that waits for this future sits in a wait of ours."""


@dataclass(frozen=True, slots=True)
class Mover:
    """What may make an input go on.  If it has neither future nor time, it is about to run."""

    task: Task | None = None  # of the input, which it wakes
    future: Future | None = None
    when: float | None = None  # by the loop's clock


ABOUT_TO_RUN: Final = Mover()


class Peers:
    """The tasks of `input` on `loop`, looked for when asked about.  On its thread."""

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
    """For each of `inputs` one thing that may make it go on; those that are blocked are not in it.

    On the thread of `loop`.  It costs one walk over the tasks and timers of the loop.
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
        # A task is the better thing to look at: it says more when it goes on.
        if before is None or (
            before.when is not None and (mover.when is None or mover.when < before.when)
        ):
            movers[input] = mover
    return movers


def mover_of(task: Task, peers: set[Task] | Peers, is_ours: IsOurs) -> Mover | None:
    """What may wake `task`, other than waits of ours and `peers`; None if it is blocked.

    On the thread of its loop.
    """
    future: Future | None = getattr(task, "_fut_waiter", None)
    if future is None and getattr(task.get_coro(), "cr_running", False):
        return Mover(when=math.inf)  # it runs this loop within one of its steps
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
            return Mover(task)  # its callbacks are on their way
        if hasattr(future, "get_coro"):  # a task, be it written in Python
            if future not in peers:
                return Mover(task, future)
            continue
        awaited = _awaited_by(future)
        if awaited is None and future is awaits:
            awaited = _awaited_in(task, future, peers)
        if awaited is None:
            return Mover(task, future)
        # Those that are done have been heard of, or are about to be.
        awaited = [inner for inner in awaited if not inner.done()]
        if not awaited:
            return Mover(task)
        pending += awaited
    return None


# -- tasks and callbacks of an input ------------------------------------------------------


def input_of(task: Task) -> Input | None:
    """The input in whose context `task` runs; None for any other."""
    context = _context_of(task)
    return None if context is None else context.get(running_input)


def _context_of(task: Task) -> Context | None:
    get_context = getattr(task, "get_context", None)  # from 3.12 on
    if get_context is not None:
        return cast(Context, get_context())
    found: object = getattr(task, "_context", None)  # that of a task written in Python
    if isinstance(found, Context):
        return found
    # Its own comes first; those of its callbacks follow.
    return next((found for found in gc.get_referents(task) if type(found) is Context), None)


def _callbacks_of(
    loop: asyncio.AbstractEventLoop, inputs: Collection[Input]
) -> Iterator[tuple[Input, Mover]]:
    """The timers and callbacks on `loop` that were made in the context of one of `inputs`."""
    timers, ready = _handles_of(loop)
    if timers is None:
        # No way to know: any of them may have one.
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
    """Its timers, None if it keeps them where nobody finds them; and what is due."""
    timers = getattr(loop, "_scheduled", None)
    if timers is not None:
        ready: Any = getattr(loop, "_ready", None)
        # Other threads append to it.
        return timers, () if ready is None else ready.copy()
    # Of another kind, such as uvloop's: it may keep them in a set.  One of ours shows which.
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


# -- from a future to those that it waits for -------------------------------------------------


def _awaited_by(future: Future) -> list[Future] | None:
    """The futures that `future` ends with, by itself; None if that is not known."""
    children = getattr(future, "_children", None)
    if type(future).__name__ == "_GatheringFuture" and children is not None:
        return list(children)
    for callback in _callbacks(future):
        if getattr(callback, "__code__", None) in _SHIELD_CODES:
            return [_cell(callback, "inner")]
    return None


def _awaited_in(task: Task, future: Future, peers: Iterable[Task]) -> list[Future] | None:
    """The futures that end `future`, which a coroutine of `task` made and awaits."""
    outer, inner = _innermost(task)
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


def _innermost(task: Task) -> tuple[object, object]:
    """The last two coroutines of the chain in which `task` is suspended."""
    outer: object = None
    inner: object = task.get_coro()
    while True:
        following = _next_of(inner)
        if following is None:
            return outer, inner
        outer, inner = inner, following


def _next_of(awaiting: object) -> object:
    """What it awaits, if that is again some kind of coroutine."""
    following: object
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
    is_one = isinstance(following, _CHAINED) or type(following).__name__ in _WRAPPERS
    return cast(object, following) if is_one else None


_CHAINED: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
# What the interpreter puts around a step of an async generator, and `__await__`.
_WRAPPERS: Final = frozenset(
    {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"}
)


def _callbacks(future: Future) -> list[Any]:
    return [callback for callback, _ in getattr(future, "_callbacks", None) or ()]


def _cell(function: Any, name: str) -> Any:
    """What the inner function calls `name`."""
    index = function.__code__.co_freevars.index(name)
    return function.__closure__[index].cell_contents


def _todo_of(callback: Any, getter: Future) -> set[Future] | None:
    """The futures that an ``as_completed`` still waits for, if `getter` waits for it."""
    iterator: Any = getattr(callback, "__self__", None)
    if type(iterator).__name__ == "_AsCompletedIterator":  # from 3.13 on
        todo, done = iterator._todo, iterator._done
    elif getattr(callback, "__code__", None) in _COMPLETION_CODES:
        todo, done = _cell(callback, "todo"), _cell(callback, "done")
    else:
        return None
    return cast("set[Future]", todo) if getter in done._getters else None


# -- the code of asyncio that is known --------------------------------------------------------


def _inner_code(function: Any, name: str) -> frozenset[CodeType]:
    """The code of the function `name` that is defined inside of `function`."""
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
    backend = sys.modules.get("anyio._backends._asyncio")  # not there before it is used
    group = getattr(backend, "TaskGroup", None)
    return None if group is None else cast(CodeType, group.__aexit__.__code__)
