"""Gates: where a test holds inputs up, and lets them go one by one.

Owns `Gate`: which inputs are held at one point of their way, and who waits for them to
get there.  `Probe` makes gates and leads inputs through them.
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
from ..runtime.waiting.async_waiters import AsyncWaiter, make_async_waiter
from ..with_aio import with_aio
from .submission import Submission

GatePoint = Literal["start", "await", "settle"]
"""Where inputs can be held: before their code begins; where it first awaits; after it."""

POINTS: tuple[GatePoint, ...] = ("start", "await", "settle")


@dataclass(frozen=True, slots=True)
class _Held:
    """One input, or one batch, that is held."""

    members: list[Input]  # of a batch; else the input itself
    label: str
    let_go: Callable[[], object]


class Gate:
    """A point at which inputs are held until the test lets them go.

    Made by `FakeContainer.hold` and `Probe.hold`.  It holds every input that comes to its
    point, in order, until it is opened; leaving ``with container.hold(...) as gate:``
    opens it.  A held input keeps its slot, and can be cancelled and run out of time as
    any other.  Virtual time passes while one is held.
    """

    def __init__(self, point: GatePoint, of: str | None, clock: Callable[[], Clock]) -> None:
        self.point: GatePoint = point
        self._of = of  # the name of a function; None for all
        self._clock = clock
        self._lock = Real.Lock()  # a leaf, but for the clock's
        # All below guarded by the lock.  Those that are held, in order, with what lets them go.
        self._held: dict[Input, _Held] = {}
        self._is_open = False
        self._waiting: list[tuple[int, Callable[[], object]]] = []
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: what it held stayed behind."""
        forking.keep(self._held)
        self._lock = Real.Lock()
        self._held = {}

    @property
    def held(self) -> list[str]:
        """The inputs that are held, first come first: ``["fetch(1)", "fetch(2)"]``."""
        with uninterruptible, self._lock:
            return [held.label for held in self._held.values()]

    @property
    def is_open(self) -> bool:
        """Whether it holds nothing any more."""
        return self._is_open

    async def _wait_held(self, count: int = 1) -> None:
        waiter = make_async_waiter()
        if self._add(count, waiter.wake):
            try:
                await waiter.wait()
            finally:
                self._remove(waiter.wake)
            self._check_open()

    @with_aio(_wait_held)
    def wait_held(self, count: int = 1) -> None:
        """Wait until `count` inputs are held at once.  ``await gate.wait_held.aio()`` too."""
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
        """Let one input go on: the first that came, or `which`.

        Raises:
            InvalidError: if none is held, or `which` is not.
        """
        with uninterruptible:
            with self._lock:
                input = self._chosen(which)
                held = self._held.pop(input)
            held.let_go()

    def open(self) -> None:
        """Hold no input any more, and let all go that are held.  Harmless if it is open."""
        with uninterruptible:
            with self._lock:
                self._is_open = True
                let_go = [held.let_go for held in self._held.values()]
                let_go += [wake for _, wake in self._waiting]  # who is told so
                self._held.clear()
                self._waiting.clear()
            for each in let_go:
                each()

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

    # -- for the test's side --------------------------------------------------------

    def _chosen(self, which: Submission[Any] | FunctionCall[Any] | None) -> Input:
        if not self._held:
            raise InvalidError(
                f"no input is held at {self.point!r}; "
                "call gate.wait_held() first, which waits until one is there"
            )
        if which is None:
            return next(iter(self._held))
        call = which if isinstance(which, FunctionCall) else which.call
        for input, held in self._held.items():
            if any(member in held.members for member in call._inputs):
                return input
        there = ", ".join(held.label for held in self._held.values())
        raise InvalidError(
            f"{which!r} is not held at {self.point!r}, where {there} is; "
            "release one of those, or wait until it gets there"
        )

    def _add(self, count: int, wake: Callable[[], object]) -> bool:
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

    # -- for the input's side, on its own flow ----------------------------------------

    def is_at(self, point: GatePoint, name: str) -> bool:
        """Whether it holds inputs of the function of this name at `point`."""
        return self.point == point and not self._is_open and self._of in (None, name)

    def pass_through(self, input: Input, members: list[Input], label: str) -> None:
        """Hold `input`, a synchronous one, here.

        Raises:
            InputCancellation: if it is cancelled meanwhile.
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
        """As `pass_through`, for a task."""
        waiter: AsyncWaiter = make_async_waiter()
        if not self._arrive(input, _Held(members, label, waiter.wake)):
            return
        try:
            await waiter.wait()
        finally:
            self._leave(input)

    def _arrive(self, input: Input, held: _Held) -> bool:
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
        with uninterruptible, self._lock:
            self._held.pop(input, None)
