"""The local instance: the instance on which ``.local()`` runs, and how its hooks are run.

Owns three guarantees: the instance is made once; its enter hooks run once, in order and before
its first ``.local()`` goes on, whichever thread or loop calls first; and after a hook has
failed, the next ``.local()`` runs the hooks again.  ``cls.py`` calls it.

Begin at `LocalInstance.entered`, then `_begin` and `_end`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from ..exception import ExecutionError
from ..runtime.containers.lifecycle import Hook, awaitable_of_hook, finish_hook
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import make_async_waiter, run_to_end

# The instances whose hooks run in this context.  A hook may call .local() on its own instance,
# which must not wait for the hook.
_entering: Final[ContextVar[tuple[LocalInstance, ...]]] = ContextVar("entering", default=())


class LocalInstance:
    """The instance of a class that lives in the caller's program, outside of any container."""

    def __init__(
        self, name: str, construct: Callable[[], Any], hooks: Callable[[], Sequence[Hook]]
    ) -> None:
        self._name = name
        self._construct = construct
        self._hooks_of = hooks
        # Reentrant: the user's constructor runs under the lock, and may call this object again.
        self._lock = Real.RLock()
        # The instance, or empty.  This field and all below are guarded by the lock.
        self._made: list[Any] = []
        self._entered = False
        self._is_being_entered = False
        # Wakes callers that wait until the hooks have run.
        self._waiting: list[Callable[[], object]] = []

    def _after_fork(self) -> None:
        """In a forked child: a thread that was running the hooks does not exist here."""
        self._lock = Real.RLock()
        self._is_being_entered = self in _entering.get()
        self._waiting = []

    def made(self) -> Any:
        """Return the instance; make it if there is none.  Its enter hooks may not have run yet."""
        with self._lock:
            if not self._made:
                self._made.append(self._construct())
            return self._made[0]

    def entered(self) -> Any:
        """Return the instance; run its enter hooks first if they have not run.

        An async hook runs on a loop of its own.

        Raises:
            ExecutionError: if another thread or task runs the hooks and a loop runs in this
                thread: waiting would block the loop.
        """
        instance = self.made()
        # A loop, because a thread that is woken after hooks failed runs the hooks itself.
        while not self._entered and self not in _entering.get():
            woken = Real.Event()
            if self._begin(woken.set):
                self._enter(instance)
            elif Real._get_running_loop() is not None:
                raise ExecutionError(
                    f"the enter hooks of {self._name} run in another task or thread, and waiting "
                    "for them would block this loop; await a .local() before"
                )
            else:
                woken.wait()
        return instance

    async def entered_async(self) -> Any:
        """Like `entered`, but async hooks run on the caller's loop, and waiting does not block."""
        instance = self.made()
        while not self._entered and self not in _entering.get():
            waiter = make_async_waiter()
            if not self._begin(waiter.wake):
                await waiter.wait()
                continue
            entered, token = False, _entering.set((*_entering.get(), self))
            try:
                for hook in self._hooks_of():
                    awaitable = awaitable_of_hook(hook, instance, hook.function(instance))
                    if awaitable is not None:
                        await finish_hook(hook, instance, awaitable)
                entered = True
            finally:
                _entering.reset(token)
                self._end(entered)
        return instance

    def _enter(self, instance: Any) -> None:
        entered, token = False, _entering.set((*_entering.get(), self))
        try:
            for hook in self._hooks_of():
                awaitable = awaitable_of_hook(hook, instance, hook.function(instance))
                if awaitable is not None:
                    run_to_end(finish_hook(hook, instance, awaitable))
            entered = True
        finally:
            _entering.reset(token)
            self._end(entered)

    def _begin(self, wake: Callable[[], object]) -> bool:
        """Return True if the caller must run the hooks, then call `_end`.

        Otherwise `wake` is called when the hooks have run or failed: at once if they have
        already run.
        """
        with self._lock:
            if self._entered:
                wake()
                return False
            if self._is_being_entered:
                self._waiting.append(wake)
                return False
            self._is_being_entered = True
            return True

    def _end(self, entered: bool) -> None:
        with self._lock:
            self._is_being_entered = False
            self._entered = entered
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
