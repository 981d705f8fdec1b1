"""Lifecycle hooks: what a container runs before its first input and after its last.

Owns their order and their context: empty, but marked as inside a container.
Called by a container on its thread T, with no loop running; asynchronous hooks
run on the container's loop by ``run_until_complete``.
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
    """One enter or exit hook; called with the instance."""

    name: str
    function: Callable[[Any], Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How a container makes its instance, and its hooks in the order they run."""

    construct: Callable[[], object] | None = None
    enter: tuple[Hook, ...] = ()
    exit: tuple[Hook, ...] = ()

    @property
    def needs_loop(self) -> bool:
        return any(hook.is_async for hook in self.enter + self.exit)

    @property
    def has_async_exit(self) -> bool:
        return any(hook.is_async for hook in self.exit)


class Start:
    """The enter hooks of one container, which another thread may give up.

    Only asynchronous ones can be cancelled: the one that runs, or the next.
    Synchronous ones run on.
    """

    __slots__ = ("_task", "given_up", "loop")

    def __init__(self) -> None:
        # Both written by one thread and then read by the other, which writes first
        # too: so either the hook is not begun, or its loop is found.
        self.given_up: bool = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None  # touched by the loop's thread only

    def begin(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def end(self) -> None:
        self._task = None

    def give_up(self) -> None:
        """From any thread, without a lock."""
        self.given_up = True
        if self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(self._cancel, context=Context())
            except RuntimeError:
                pass  # the loop is closed: the hooks have ended

    def _cancel(self) -> None:
        # It may come when the loop has begun to run the exit hooks: not those.
        task = self._task
        if task is None:
            return
        coroutine: Any = task.get_coro()
        if Real.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            # Cancelled now it would never enter the user's: its first step comes next.
            assert self.loop is not None
            self.loop.call_soon(self._cancel, context=Context())
        else:
            task.cancel()


def run_enter(lifecycle: Lifecycle, start: Start) -> object:
    """Make the instance and run the enter hooks; what they raise is the caller's to handle.

    Raises:
        CancelledError: if it was given up.
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
    """Run every exit hook, whatever the others do; failures are logged."""
    for hook in lifecycle.exit:
        try:
            _run(hook, instance, loop)
        except BaseException as error:
            # Also SystemExit and the like: the hooks after it are owed their turn.
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
    # The task takes a context of its own, so that no caller's is inherited.
    task = loop.create_task(_await(hook.function(instance)), context=context)
    if start is not None:
        start.begin(task)
    try:
        while not task.done():
            try:
                loop.run_until_complete(task)
            except RuntimeError:
                # The hook called loop.stop(): that ends the turn, not the hook.
                if task.done():
                    raise
    finally:
        if start is not None:
            start.end()


async def _await(awaitable: Awaitable[object]) -> None:
    with UserCode():
        await awaitable
