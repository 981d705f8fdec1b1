"""Errands: sync code that an async input has done on a thread of its container.

Owns `Errands`, the threads for this in one container, and `Errand`, one piece of sync code of one
async input.  A WSGI application runs so (``web/wsgi.py``): its request is an async input, and the
application runs on a thread.  The container makes `Errands` if a resident of it needs them.

An errand runs on a worker of a `ThreadLane`, as a sync input does.  So the thread has a cell
(``guards/cells.py``): `check_cancelled`, `shield`, the waits of the engine and strikes work there.
The worker runs an `Input` that only stands for the errand.  That input has the ids of the async
input, holds no slot, and is known to no pool.

Begin at `Errands.start`, then `Errand.cancel`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Final

from ..clocks.clock import Clock
from ..effects import Effect, carry_out
from ..input import Input, InputState, Target
from ..kinds import Kind
from ..outcome import Outcome
from ..real import Real
from .thread_lane import ThreadLane

if TYPE_CHECKING:
    from .task_lane import InputTask


class _ErrandCall:
    """The call of the input that stands for an errand."""

    __slots__ = ("context", "done", "loop", "number", "target")

    def __init__(
        self, number: int, target: Target, context: Context, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.number: int = number
        self.target: Target = target
        self.context: Context = context
        self.loop: asyncio.AbstractEventLoop = loop
        self.done: asyncio.Future[None] = loop.create_future()

    def settled(self, input: Input, /) -> None:
        return None

    def ended(self) -> None:
        """Complete `done`, from any thread, with no lock held."""
        try:
            # In an empty context: the loop would keep this thread's context alive until then.
            self.loop.call_soon_threadsafe(_finish, self.done, context=Context())
        except RuntimeError:
            pass  # the loop is closed: nobody waits


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


class Errand:
    """Sync code that one async input has done.  Used on the container's loop."""

    __slots__ = ("_errands", "done", "input")

    def __init__(self, errands: Errands, of: Input, function: Callable[[], object]) -> None:
        target = Target(of.call.target.name, function, Kind.SYNC)
        # The context of the task that asks, in which `running_input` is `of`.
        call = _ErrandCall(of.call.number, target, copy_context(), Real.get_running_loop())
        # Done when the code has ended.  The outcome is then there.
        self.done: asyncio.Future[None] = call.done
        self.input: Input = Input(call, of.index, (), None)
        self.input.container = of.container
        self._errands = errands

    @property
    def outcome(self) -> Outcome | None:
        """How the code ended; None until then."""
        return self.input.outcome

    def cancel(self, outcome: Outcome, *, strikes: bool = True) -> None:
        """Cancel the code: a wait of the engine that it is in ends, and after a grace it is struck.

        Args:
            outcome: what the async input was cancelled with.
            strikes: false if the code is never struck: it only sees that it is cancelled.
        """
        if not strikes:
            self.input.call.target.is_cooperative = True
        self._errands.cancel(self.input, outcome)


class Errands:
    """The threads of one container that run errands.  The pool's lock guards them."""

    def __init__(
        self, *, lock: threading.Lock, clock: Clock, container: object, limit: int, name: str
    ) -> None:
        self.clock: Final = clock
        self._lock = lock
        self._stopping = False  # guarded by the lock; once true, it stays true
        self._lane = ThreadLane(
            lock=lock,
            clock=clock,
            settle=_settle,
            container=container,
            limit=limit,
            name=name,
        )

    def _after_fork(self) -> None:
        self._lock = Real.Lock()
        self._lane._after_fork()

    def start(self, task: InputTask, of: Input, function: Callable[[], object]) -> Errand:
        """Run `function` on a thread for the input `of`, whose task is `task`.

        Call on the container's loop.  The slot of `of` must be held until the errand is done.

        Raises:
            CancelledError: if the container stops.
        """
        errand = Errand(self, of, function)
        task.errand = errand.input
        input = errand.input
        with self._lock:
            if self._stopping:
                raise asyncio.CancelledError
            input.state = InputState.GRANTED
            effect = self._lane.place(input)
        if effect is not None:
            effect()
        return errand

    def cancel(self, input: Input, outcome: Outcome) -> None:
        """Cancel an errand.  With no lock held."""
        effects: list[Effect] = []
        with self._lock:
            if input.state is InputState.GRANTED:  # no thread has it yet
                effects.extend(_settle(None, input, outcome, None)[1])
            elif input.state is InputState.RUNNING and input.cancellation is None:
                input.cancellation = outcome
                if (effect := self._lane.cancel(input)) is not None:
                    effects.append(effect)
        carry_out(effects)

    def stop(self) -> list[Effect]:
        """Make the threads end; return the effects that wake idle threads.  Under the lock."""
        self._stopping = True
        return self._lane.stop()

    def threads(self) -> list[threading.Thread]:
        """Return the threads that this object started, for the container to join."""
        return self._lane.threads()

    def places(self) -> list[str]:
        """Return the user's line at which each thread that runs an errand is."""
        return self._lane.places()


def _settle(
    container: object, input: Input, outcome: Outcome, runs_async: bool | None
) -> tuple[None, Sequence[Effect]]:
    """Record that an errand has ended.  Under the lock: see `Settle`."""
    input.outcome = input.cancellation or outcome
    input.state = InputState.SETTLED
    call = input.call
    assert isinstance(call, _ErrandCall)
    return None, (call.ended,)
