"""Gates: a test holds inputs at one point and releases them one by one.

Owns `Gate`: the inputs that are held at one point, and the callers of `wait_held` that
wait for inputs to arrive there.  `Probe` (``probe.py``) makes gates and sends inputs
through them: an input calls `pass_through` on its own thread, or awaits
`pass_through_async` in its own task.  The test calls all other public methods, from any
thread.

Begin at `pass_through`, then `_arrive`, then `release`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from ..calling.function_call import FunctionCall
from ..exception import InvalidError
from ..frames import hide_our_frames
from ..runtime import forking
from ..runtime.clocks.clock import Clock, Waiter
from ..runtime.clocks.parking import park
from ..runtime.clocks.virtual_clock import VirtualWaiter
from ..runtime.input import Input
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import AsyncWaiter, make_async_waiter, wait_in
from ..with_aio import with_aio
from .submission import Submission

GatePoint = Literal["start", "await", "settle"]
"""Where inputs can be held: before their code, at their code's first await, after their code."""

POINTS: tuple[GatePoint, ...] = ("start", "await", "settle")


@dataclass(frozen=True, slots=True)
class _Held:
    """One input or one batch that is held."""

    members: list[Input]  # the members of the batch; otherwise only the input
    label: str  # as tests see the input: "fetch(1)"; of a batch, all members' labels
    wake: Callable[[], object]  # lets the input go on


class Gate:
    """A point at which inputs are held until the test releases them.

    `FakeContainer.hold` and `Probe.hold` make gates.  Until the gate is opened, it holds
    every input that comes to its point, in order of arrival.  The end of
    ``with container.hold(...) as gate:`` opens the gate.  A held input keeps its slot; it
    can be cancelled and can run out of time, as any other input can.  Virtual time passes
    while inputs are held.
    """

    def __init__(self, point: GatePoint, of: str | None, clock: Callable[[], Clock]) -> None:
        self.point: GatePoint = point
        self._of = of  # the name of the only function whose inputs are held; None for all
        self._clock = clock
        # Guards all fields below.  A leaf: wakers, which may take the clock's lock, are
        # called after this lock is released.
        self._lock = Real.Lock()
        # The held inputs, in order of arrival.
        # Invariant: empty once the gate is open.
        self._held: dict[Input, _Held] = {}
        # Never false again once it is true.  Read without the lock by `is_open` and
        # `is_at`; `_arrive` checks it again under the lock.
        self._is_open = False
        # Callers of `wait_held`: the count that each waits for, and its waker.
        # Invariant: each count is above len(_held) when the caller is added, and a caller
        # is removed as soon as its count is reached.
        self._waiting: list[tuple[int, Callable[[], object]]] = []
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: forget the held inputs, whose threads exist in the parent only."""
        forking.keep(self._held)
        self._lock = Real.Lock()
        self._held = {}

    @property
    def held(self) -> list[str]:
        """The held inputs, in order of arrival: ``["fetch(1)", "fetch(2)"]``."""
        with uninterruptible, self._lock:
            return [held.label for held in self._held.values()]

    @property
    def is_open(self) -> bool:
        """True once the gate was opened: it holds no inputs any more."""
        return self._is_open

    async def _wait_held(self, count: int = 1) -> None:
        waiter = make_async_waiter()
        if self._add(count, waiter.wake):
            try:
                await wait_in(self._clock(), waiter)
            finally:
                self._remove(waiter.wake)
            self._check_open()

    @with_aio(_wait_held)
    def wait_held(self, count: int = 1) -> None:
        """Wait until `count` inputs are held at once.

        In async code, write ``await gate.wait_held.aio()``.

        Raises:
            InvalidError: if `count` is below 1, or the gate is open or is opened meanwhile.
        """
        clock = self._clock()
        waiter = clock.make_waiter()
        if isinstance(waiter, VirtualWaiter):
            waiter.about = lambda: f"{count} held by {self!r}"
        if self._add(count, waiter.wake):
            try:
                park(clock, waiter)
            finally:
                self._remove(waiter.wake)
            self._check_open()

    @hide_our_frames
    def release(self, which: Submission[Any] | FunctionCall[Any] | None = None) -> None:
        """Let one held input go on: `which`, or the input that arrived first.

        Raises:
            InvalidError: if no input is held, or `which` is not held.
        """
        with uninterruptible:
            with self._lock:
                input = self._chosen(which)
                held = self._held.pop(input)
            held.wake()

    def open(self) -> None:
        """Release all held inputs, and hold no input from now on.

        If the gate is open already, this does nothing.
        """
        with uninterruptible:
            with self._lock:
                self._is_open = True
                wakes = [held.wake for held in self._held.values()]
                # Callers of `wait_held` raise, because their count cannot be reached.
                wakes += [wake for _, wake in self._waiting]
                self._held.clear()
                self._waiting.clear()
            for wake in wakes:
                wake()

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open()

    def __repr__(self) -> str:
        if self._is_open:
            return f"<Gate at {self.point!r}: open>"
        of = f" of {self._of}" if self._of else ""
        return f"<Gate at {self.point!r}{of}: holds {', '.join(self.held) or 'none'}>"

    # -- called by the test ---------------------------------------------------------

    def _chosen(self, which: Submission[Any] | FunctionCall[Any] | None) -> Input:
        """Return the held input (or batch) to release.  Under the lock."""
        if not self._held:
            raise InvalidError(
                f"no input is held at {self.point!r}; "
                "call gate.wait_held() first, which waits until an input is held"
            )
        if which is None:
            return next(iter(self._held))
        call = which if isinstance(which, FunctionCall) else which.call
        for input, held in self._held.items():
            if any(member in held.members for member in call._inputs):
                return input
        there = ", ".join(held.label for held in self._held.values())
        raise InvalidError(
            f"{which!r} is not held at {self.point!r}; held there: {there}; "
            "release one of these inputs, or wait until yours is held"
        )

    def _add(self, count: int, wake: Callable[[], object]) -> bool:
        """Have `wake` called when `count` inputs are held; false if they are held now."""
        if isinstance(count, bool) or count < 1:
            raise InvalidError(f"wait_held needs a count from 1 up, got {count!r}; write 1")
        with uninterruptible, self._lock:
            if len(self._held) >= count:
                return False
            self._check_open()
            self._waiting.append((count, wake))
            return True

    def _check_open(self) -> None:
        if self._is_open:
            raise InvalidError(
                f"the gate at {self.point!r} is open and holds nothing; "
                "write container.hold(...) for a new one"
            )

    def _remove(self, wake: Callable[[], object]) -> None:
        with uninterruptible, self._lock:
            self._waiting = [entry for entry in self._waiting if entry[1] != wake]

    # -- called by inputs, on their own thread or task --------------------------------

    def is_at(self, point: GatePoint, name: str) -> bool:
        """Return true if this gate holds inputs of the function `name` at `point`."""
        return self.point == point and not self._is_open and self._of in (None, name)

    def pass_through(self, input: Input, members: list[Input], label: str) -> None:
        """Hold `input`, a sync input, until it is released; return at once if the gate is open.

        Raises:
            InputCancellation: if `input` is cancelled while it is held.
        """
        clock = self._clock()
        waiter: Waiter = clock.make_waiter()
        with uninterruptible:
            if not self._arrive(input, _Held(members, label, waiter.wake)):
                return
            try:
                park(clock, waiter)
            finally:
                self._leave(input)

    async def pass_through_async(self, input: Input, members: list[Input], label: str) -> None:
        """Hold `input`, an async input, as `pass_through` does; called in the input's task."""
        waiter: AsyncWaiter = make_async_waiter()
        if not self._arrive(input, _Held(members, label, waiter.wake)):
            return
        try:
            await waiter.wait()
        finally:
            self._leave(input)

    def _arrive(self, input: Input, held: _Held) -> bool:
        """Record `input` as held, and wake `wait_held`; false if the gate is open."""
        with uninterruptible, self._lock:
            if self._is_open:
                return False
            self._held[input] = held
            count = len(self._held)
            woken = [entry for entry in self._waiting if entry[0] <= count]
            self._waiting = [entry for entry in self._waiting if entry[0] > count]
        for _, wake in woken:
            wake()
        return True

    def _leave(self, input: Input) -> None:
        """Forget `input`, also when it was cancelled and nobody released it."""
        with uninterruptible, self._lock:
            self._held.pop(input, None)
