"""Lifecycle hooks: what a container runs before its first input and after its last.

Owns their order and their context: empty, but marked as inside a container.
Called by a container on its thread T, with no loop running; asynchronous hooks
run on the container's loop by ``run_until_complete``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from .context import hook_context
from .forking import UserCode
from .outcome import user_frames

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


def run_enter(lifecycle: Lifecycle, loop: asyncio.AbstractEventLoop | None) -> object:
    """Make the instance and run the enter hooks; what they raise is the caller's to handle."""
    context = hook_context()
    instance = None
    if lifecycle.construct is not None:
        with UserCode():
            instance = context.run(lifecycle.construct)
    for hook in lifecycle.enter:
        _run(hook, instance, loop)
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
            logger.exception("exit hook %s failed", hook.name, exc_info=error)


def _run(hook: Hook, instance: object, loop: asyncio.AbstractEventLoop | None) -> None:
    context = hook_context()
    if not hook.is_async:
        with UserCode():
            context.run(hook.function, instance)
        return
    assert loop is not None
    # The task takes a context of its own, so that no caller's is inherited.
    task = loop.create_task(_await(hook.function(instance)), context=context)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except RuntimeError:
            # The hook called loop.stop(): that ends the turn, not the hook.
            if task.done():
                raise


async def _await(awaitable: Awaitable[object]) -> None:
    with UserCode():
        await awaitable
