"""Lifecycle hooks: the user code that runs before a container's first input and after its last.

Owns the order of the hooks, and their context, which is empty except for the mark that the
code runs inside a container.  A container calls this file on its thread T, with no loop
running; async hooks run on the container's loop, by ``run_until_complete``.

Begin at `run_enter`, then `_run`, then `Start.give_up`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final

from ..background import log
from ..context import hook_context
from ..forking import UserCode
from ..outcome import user_frames
from ..real import Real

logger: Final = logging.getLogger("moorage")


@dataclass(frozen=True, slots=True)
class Hook:
    """One enter or exit hook.  `function` takes the instance."""

    name: str
    function: Callable[[Any], Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How a container makes its instance, and the hooks in the order in which they run.

    If `hooks` is given, it is called at the start of each container, and returns the enter and the
    exit hooks: see `now`.
    """

    construct: Callable[[], object] | None = None
    enter: tuple[Hook, ...] = ()
    exit: tuple[Hook, ...] = ()
    hooks: Callable[[], tuple[tuple[Hook, ...], tuple[Hook, ...]]] | None = None

    def now(self) -> Lifecycle:
        """Return the lifecycle of a container that starts now."""
        return self if self.hooks is None else Lifecycle(self.construct, *self.hooks())

    @property
    def needs_loop(self) -> bool:
        return any(hook.is_async for hook in self.enter + self.exit)

    @property
    def has_async_exit(self) -> bool:
        return any(hook.is_async for hook in self.exit)


class Start:
    """The running enter hooks of one container, which another thread may cancel.

    Only async hooks can be cancelled: the hook that runs, or else the next one.
    Sync hooks run on.
    """

    __slots__ = ("_task", "given_up", "loop")

    def __init__(self) -> None:
        # Thread T sets `loop`, then reads `given_up` before each async hook.  The other thread
        # sets `given_up`, then reads `loop`.  Each writes before it reads, so either T sees
        # `given_up` and does not begin the hook, or the other thread finds the loop.
        self.given_up: bool = False
        self.loop: asyncio.AbstractEventLoop | None = None
        # The task of the async hook that runs.
        self._task: asyncio.Task[None] | None = None  # touched by the loop's thread only

    def begin(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def end(self) -> None:
        self._task = None

    def give_up(self) -> None:
        """Cancel the async hook that runs, or else the next.  On any thread, without a lock."""
        self.given_up = True
        if self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(self._cancel, context=Context())
            except RuntimeError:
                pass  # the loop is closed: the hooks have ended

    def _cancel(self) -> None:
        # None if no enter hook runs.  The loop may run exit hooks by now, which are not cancelled.
        task = self._task
        if task is None:
            return
        coroutine: Any = task.get_coro()
        if Real.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            # A task that is cancelled now would never enter the user's hook.  The task's first
            # step comes next, so try again after it.
            assert self.loop is not None
            self.loop.call_soon(self._cancel, context=Context())
        else:
            task.cancel()


def run_enter(lifecycle: Lifecycle, start: Start) -> object:
    """Make the instance, run the enter hooks, return the instance.

    Raises:
        CancelledError: if another thread called `Start.give_up`, and an async hook was
            cancelled or was next.
        BaseException: the exception of the constructor or hook that failed.
    """
    context = hook_context()
    instance = None
    if lifecycle.construct is not None:
        with UserCode():
            instance = context.run(lifecycle.construct)
    for hook in lifecycle.enter:
        _run(hook, instance, start.loop, start)
    return instance


def run_exit(
    lifecycle: Lifecycle, instance: object, loop: asyncio.AbstractEventLoop | None
) -> None:
    """Run every exit hook, also if an earlier hook fails; log failures."""
    for hook in lifecycle.exit:
        try:
            _run(hook, instance, loop)
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt: the remaining hooks must still run.
            error.with_traceback(user_frames(error.__traceback__))
            log(logger, logging.ERROR, "exit hook %s failed", hook.name, exc_info=error)


def _run(
    hook: Hook,
    instance: object,
    loop: asyncio.AbstractEventLoop | None,
    start: Start | None = None,
) -> None:
    context = hook_context()
    if not hook.is_async:
        with UserCode():
            context.run(hook.function, instance)
        return
    assert loop is not None
    if start is not None and start.given_up:
        raise asyncio.CancelledError
    # The task gets the hook's context, so it does not inherit a context from this thread.
    task = loop.create_task(_await(hook.function(instance)), context=context)
    if start is not None:
        start.begin(task)
    try:
        while not task.done():
            try:
                loop.run_until_complete(task)
            except RuntimeError:
                # The hook called loop.stop().  That must not end the hook: run the loop again.
                if task.done():
                    raise
    finally:
        if start is not None:
            start.end()


async def _await(awaitable: Awaitable[object]) -> None:
    with UserCode():
        await awaitable
