"""Awaited futures: futures of threads that an event loop of a virtual clock completes.

Owns `AwaitedFuture`.  ``asyncio.run_coroutine_threadsafe`` and anyio's ``from_thread`` give a
thread a `concurrent.futures.Future`, and complete it on the loop.  A participant that blocks in
``result()`` of such a future must rest, or the loop would never get the turn.  No other future
may be a rest: time would jump while a thread that takes no part computes the result.

Begin at `find_futures`, which the loop calls for each callback that another thread gives it,
then `AwaitedFuture.result`.  ``anyio_threads.py`` calls `mark` directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from ...exception import ClockStuckError
from ..outcome import user_frames
from ..real import Real
from .parking import park
from .patched_time import VirtualTime, current_virtual_clock

if TYPE_CHECKING:
    from threading import Event
else:
    Event = Real.Event

# The code of the callbacks that complete a future of another thread, and nothing else.
CALLBACKS: Final[set[CodeType]] = set()


def add_callback_of(function: Any, name: str) -> None:
    """Add the function called `name` that is defined in `function`."""
    for constant in function.__code__.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == name:
            CALLBACKS.add(constant)


add_callback_of(Real.run_coroutine_threadsafe, "callback")


class AwaitedFuture(futures.Future[Any]):
    """A future that a loop of `clock` completes."""

    clock: VirtualTime

    def result(self, timeout: float | None = None) -> Any:
        return super().result(self._rest(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(self._rest(timeout))

    def _rest(self, timeout: float | None) -> float | None:
        """Wait in virtual time; return how long to wait in real time afterwards.

        A thread that takes part in no clock waits too: it hears then if time is stuck.  If it
        has a timeout, that timeout is real.
        """
        here = current_virtual_clock()
        rests = here is self.clock or (here is None and timeout is None)
        if self.done() or not rests:
            return timeout
        waiter = self.clock.make_waiter()
        self.add_done_callback(lambda _: waiter.wake())
        try:
            park(self.clock, waiter, timeout)
        except ClockStuckError as error:
            raise error.with_traceback(user_frames(error.__traceback__))
        return 0.0


class _Waiters(list[Any]):
    """The waiters of one awaited future: what ``concurrent.futures.wait`` adds to it."""

    clock: VirtualTime

    def append(self, waiter: Any) -> None:
        event = waiter.event
        if issubclass(Real.Event, type(event)):  # a plain Event, of whatever is patched there
            event.__class__ = _AwaitedEvent
            event.clock, event.wakes = self.clock, []
        super().append(waiter)


class _AwaitedEvent(Event):
    """The event of ``concurrent.futures.wait`` and ``as_completed``."""

    clock: VirtualTime
    wakes: list[Callable[[], object]]

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set() and current_virtual_clock() is self.clock:
            waiter = self.clock.make_waiter()
            self.wakes.append(waiter.wake)
            if not self.is_set():
                park(self.clock, waiter, timeout)
            timeout = 0.0
        return super().wait(timeout)

    def set(self) -> None:
        super().set()
        for wake in self.wakes:
            wake()


def mark(future: object, clock: VirtualTime) -> None:
    """Make `future` an `AwaitedFuture`, unless it is of another class."""
    if type(future) is futures.Future:
        waiters = _Waiters(vars(future)["_waiters"])
        waiters.clock = clock
        vars(future).update(_waiters=waiters, clock=clock)
        future.__class__ = AwaitedFuture


def find_futures(callback: object, clock: VirtualTime) -> None:
    """Mark the futures that `callback`, given to a loop of `clock`, will complete."""
    code = getattr(callback, "__code__", None)
    if code not in CALLBACKS:
        return
    closure = getattr(callback, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars, closure, strict=True):
        value: Any = cell.cell_contents
        mark(value, clock)
        if name == "args":
            for future in _futures_of_portal(value):
                mark(future, clock)


def _futures_of_portal(args: tuple[Any, ...]) -> Iterator[object]:
    """Return the futures that a portal's task completes, from the arguments of `_call_func`."""
    if len(args) != 5 or getattr(args[0], "__name__", "") != "_call_func":
        return
    _, function, _, options, future = args
    yield future
    # `start_task` waits for the status, ``wrap_async_context_manager`` for `__aenter__`.
    yield getattr(options.get("task_status"), "_future", None)
    yield getattr(getattr(function, "__self__", None), "_enter_future", None)
