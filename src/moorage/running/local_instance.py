"""The local instance: what ``.local()`` runs on, and how it is entered.

Owns that it is made once, that its enter hooks run once, in order and before
its first ``.local()`` goes on, whoever calls that first and on what loop, and
that a failed hook is tried again by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from ..exception import ExecutionError
from ..runtime.containers.lifecycle import Hook
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import make_async_waiter, run_coroutine_in_thread

# Those whose hooks run in this context: a hook may use .local() of its own instance.
_entering: Final[ContextVar[tuple[LocalInstance, ...]]] = ContextVar("entering", default=())


class LocalInstance:
    """The instance of a class that lives in the caller's program."""

    def __init__(
        self, name: str, construct: Callable[[], Any], hooks: Callable[[], Sequence[Hook]]
    ) -> None:
        self._name = name
        self._construct = construct
        self._hooks_of = hooks
        # Reentrant: the user's constructor runs under it, and may come back here.
        self._lock = Real.RLock()
        self._made: list[Any] = []  # guarded by the lock, as all below
        self._entered = False
        self._is_being_entered = False
        self._waiting: list[Callable[[], object]] = []

    def _after_fork(self) -> None:
        """In a forked child: whoever was entering it, in another thread, has gone."""
        self._lock = Real.RLock()
        self._is_being_entered = self in _entering.get()
        self._waiting = []

    def made(self) -> Any:
        """The instance, maybe not entered: made now if there is none."""
        with self._lock:
            if not self._made:
                self._made.append(self._construct())
            return self._made[0]

    def entered(self) -> Any:
        """The instance, entered now if it is not yet.  An asynchronous hook gets a loop."""
        instance = self.made()
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
        """As `entered`; asynchronous hooks run on the caller's loop."""
        instance = self.made()
        while not self._entered and self not in _entering.get():
            waiter = make_async_waiter()
            if not self._begin(waiter.wake):
                await waiter.wait()
                continue
            entered, token = False, _entering.set((*_entering.get(), self))
            try:
                for hook in self._hooks_of():
                    result = hook.function(instance)
                    if Real.isawaitable(result):
                        await result
                entered = True
            finally:
                _entering.reset(token)
                self._end(entered)
        return instance

    def _enter(self, instance: Any) -> None:
        entered, token = False, _entering.set((*_entering.get(), self))
        try:
            for hook in self._hooks_of():
                if not hook.is_async:
                    hook.function(instance)
                elif Real._get_running_loop() is None:
                    Real.run(hook.function(instance))
                else:  # no second loop may run in this thread
                    run_coroutine_in_thread(hook.function(instance))
            entered = True
        finally:
            _entering.reset(token)
            self._end(entered)

    def _begin(self, wake: Callable[[], object]) -> bool:
        """Whether the caller is to run the hooks; else `wake` is called when they have run."""
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
