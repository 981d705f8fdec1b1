"""Lifecycle hooks: the user code that runs before a container's first input and after its last.

Owns the order of the hooks and of the residents (``residents.py``), and their context, which is
empty except for the mark that the code runs inside a container.  A container calls this file on
its thread T, with no loop running.  A hook may give an awaitable, whatever the hook's kind is: the
awaitable runs on the container's loop, by ``run_until_complete``.

Begin at `run_enter`, then `_run`, then `Start.give_up`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from ...exception import InvalidError
from ..background import log
from ..context import hook_context
from ..forking import UserCode
from ..kinds import discard, is_awaitable, unfinished
from ..loop_notes import with_advice
from ..outcome import frames_of_raise
from ..real import Real
from .residents import Arrive, Resident

logger: Final = logging.getLogger("moorage")


@dataclass(frozen=True, slots=True)
class Hook:
    """One enter or exit hook.  `function` takes the instance."""

    name: str
    function: Callable[[Any], Any]
    is_async: bool
    # True for a plain wrapper of an ``async def``: the container opens its loop before the hooks,
    # as for an async hook.  What the hook gives decides whether something is awaited.
    may_await: bool = False


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How a container makes its instance, and the hooks in the order in which they run.

    `prepare` is called before all user code of a container: code of moorage, which may refuse to
    start.  If `hooks` is given, it is called at the start of each container, and returns the enter
    and the exit hooks: see `now`.  The same holds for `residents`.
    """

    construct: Callable[[], object] | None = None
    enter: tuple[Hook, ...] = ()
    exit: tuple[Hook, ...] = ()
    hooks: Callable[[], tuple[tuple[Hook, ...], tuple[Hook, ...]]] | None = None
    residents: Callable[[], Sequence[Resident]] | None = None
    # Whether the residents run sync code on threads of the container: see ``errands.py``.
    has_errands: bool = False
    # Makes visits to the residents of what has come from another process.
    arrive: Arrive | None = None
    # Whether a pool has one container at most, because a resident needs a port of its own.
    is_alone: bool = False
    # Takes these ports for a container of this process that is a process itself, and returns what
    # gives them back.  On a thread that may wait.
    take_ports: Callable[[Any], Callable[[], object]] | None = None
    # Seconds that running inputs get to end by themselves when the run is left.
    exit_grace: float = 0.0
    prepare: Callable[[], object] | None = None
    # Makes what another process makes the targets and this lifecycle of: see
    # ``placing/blueprints.py``.  None: the function itself, without hooks.
    blueprint: Callable[[], Any] | None = None

    def now(self) -> Lifecycle:
        """Return the lifecycle of a container that starts now."""
        if self.hooks is None:
            return self
        enter, exit = self.hooks()
        return replace(self, enter=enter, exit=exit, hooks=None)

    @property
    def needs_loop(self) -> bool:
        hooks = self.enter + self.exit
        return self.residents is not None or any(h.is_async or h.may_await for h in hooks)

    @property
    def has_async_exit(self) -> bool:
        return self.residents is not None or any(h.is_async or h.may_await for h in self.exit)


@dataclass(slots=True)
class Inside:
    """What a container has made: its instance, and its residents that have begun, by name."""

    instance: object = None
    residents: dict[str, Any] = field(default_factory=dict[str, Any])
    # What ends each of them, in the order in which they began.
    begun: list[Resident] = field(default_factory=list[Resident])
    # What is closed after the exit hooks.
    prepared: list[Resident] = field(default_factory=list[Resident])


OpenLoop = Callable[[], asyncio.AbstractEventLoop]
"""Returns the container's loop; opens the loop if the container has none yet."""


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


def run_enter(
    lifecycle: Lifecycle, start: Start, open_loop: OpenLoop, max_inputs: int = 1
) -> Inside:
    """Prepare the residents, make the instance, run the enter hooks, make and begin the residents.

    All residents are made before the first one begins.  If one cannot be made, or does not begin,
    those that have begun are ended, and the exit hooks run, as for every container whose enter
    hooks have succeeded.

    Raises:
        CancelledError: if another thread called `Start.give_up`, and async code was cancelled or
            was next.
        BaseException: the exception of the constructor, hook or resident that failed.
    """
    if lifecycle.prepare is not None:
        lifecycle.prepare()
    context = hook_context()
    inside = Inside()
    residents = () if lifecycle.residents is None else lifecycle.residents()
    try:
        for resident in residents:
            inside.prepared.append(resident)
            resident.prepare()
        if lifecycle.construct is not None:
            with UserCode():
                inside.instance = context.run(lifecycle.construct)
        for hook in lifecycle.enter:
            _run(hook, inside.instance, open_loop, start)
    except BaseException:
        close_residents(inside)
        raise
    try:
        for resident in residents:
            with UserCode():
                made = hook_context().run(resident.make, inside.instance, max_inputs)
            inside.residents[resident.name] = made
        for resident in residents:
            if start.given_up:
                raise asyncio.CancelledError
            made = inside.residents[resident.name]
            _run_to_end(resident.begin(made), hook_context(), open_loop(), start)
            inside.begun.append(resident)
    except BaseException:
        run_exit(lifecycle, inside, open_loop)
        raise
    return inside


def run_exit(lifecycle: Lifecycle, inside: Inside, open_loop: OpenLoop) -> None:
    """End the residents, run every exit hook, close the residents; log failures."""
    end_residents(inside, open_loop)
    for hook in lifecycle.exit:
        try:
            _run(hook, inside.instance, open_loop)
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt: the remaining hooks must still run.
            _log_failure("exit hook %s failed", hook.name, error)
    close_residents(inside)


def close_residents(inside: Inside) -> None:
    """Close the residents that have been prepared, in that order; log failures."""
    prepared, inside.prepared = inside.prepared, []
    for resident in prepared:
        try:
            resident.close()
        except BaseException as error:
            _log_failure("closing %s failed", resident.name, error)


def end_residents(inside: Inside, open_loop: OpenLoop) -> None:
    """End the residents that have begun, in the order in which they began; log failures."""
    begun, inside.begun = inside.begun, []
    for resident in begun:
        made = inside.residents[resident.name]
        try:
            _run_to_end(resident.end(made), hook_context(), open_loop())
        except BaseException as error:
            _log_failure("the end of %s failed", resident.name, error)


def _log_failure(text: str, name: str, error: BaseException) -> None:
    frames_of_raise(error)
    log(logger, logging.ERROR, with_advice(text, error), name, exc_info=error)


def _run(hook: Hook, instance: object, open_loop: OpenLoop, start: Start | None = None) -> None:
    if hook.is_async and start is not None and start.given_up:
        raise asyncio.CancelledError
    context = hook_context()
    with UserCode():
        result = context.run(hook.function, instance)
    awaitable = awaitable_of_hook(hook, instance, result)
    del result
    if awaitable is None:
        return
    loop = open_loop()
    # Look again: the loop may have been opened only now, for a hook that is not known as async.
    if start is not None and start.given_up:
        discard(awaitable)
        raise asyncio.CancelledError
    _run_to_end(_finish(hook, instance, awaitable), context, loop, start)


def _run_to_end(
    coroutine: Coroutine[Any, Any, None],
    context: Context,
    loop: asyncio.AbstractEventLoop,
    start: Start | None = None,
) -> None:
    # The task gets the context that is given, so it does not inherit one from this thread.
    task = loop.create_task(coroutine, context=context)
    if start is not None:
        start.begin(task)
    try:
        while not task.done():
            try:
                loop.run_until_complete(task)
            except RuntimeError:
                # The user's code called loop.stop().  That must not end the task: run the loop
                # again.
                if task.done():
                    raise
    finally:
        if start is not None:
            start.end()


def awaitable_of_hook(hook: Hook, instance: object, result: object) -> Awaitable[Any] | None:
    """Return what `hook` gave if it must be awaited; None for any other result.

    The instance itself is not awaited: ``__enter__`` returns the instance by custom.

    Raises:
        InvalidError: if the hook gave a generator, whose code nobody would run.
    """
    if result is instance or not unfinished(result):
        return None
    if is_awaitable(result):
        return cast("Awaitable[Any]", result)
    raise InvalidError(
        f"the hook {hook.name} gave an object of type {type(result).__name__}, whose code nobody "
        "runs; write it without yield, as one method under @moorage.enter() and one under "
        "@moorage.exit()"
    )


async def finish_hook(hook: Hook, instance: object, awaitable: Awaitable[object]) -> None:
    """Await what `hook` gave, and then what that gave, and so on.

    An ``async def`` decorator that forgets to await returns the coroutine of the hook inside.
    """
    left: Awaitable[object] | None = awaitable
    while left is not None:
        result = await left
        # An awaitable that gives itself has nothing more to run.
        left = None if result is left else awaitable_of_hook(hook, instance, result)


async def _finish(hook: Hook, instance: object, awaitable: Awaitable[object]) -> None:
    with UserCode():
        await finish_hook(hook, instance, awaitable)
