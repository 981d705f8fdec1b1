"""Sequencers: the order of steps in several threads and tasks, written down by a test.

Owns which steps are done, which is next and who waits for its turn.  The idea is
that of trio's Sequencer; here threads take steps too, it waits in virtual time as
well as in real, and a step whose turn cannot come says why.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, cast

from ..exception import ClockStuckError, InvalidError, SequenceError
from ..frames import without_our_frames
from ..runtime.clocks.clock import Clock, Waiter, system_clock
from ..runtime.clocks.parking import park
from ..runtime.clocks.patched_time import current_virtual_clock
from ..runtime.clocks.virtual_clock import VirtualWaiter
from ..runtime.clocks.virtual_loop import VirtualLoop
from ..runtime.real import Real
from ..runtime.uninterruptible import begins_uninterruptible, uninterruptible
from ..runtime.waiting.async_waiters import AsyncWaiter, make_async_waiter

# Real seconds that a step outside of virtual time waits for its turn.
LIMIT: Final = 10.0


class Sequencer:
    """Takes steps in the order of their numbers, whatever thread or task they are in.

    ::

        with sequencer(0):  # in one thread
            first()

        async with sequencer(1):  # in a task of asyncio or trio
            await second()

    Numbers begin at 0.  The body of a step runs when all before it have ended.
    Each number is taken once.  If the body of a step raises, or a step gives up
    while it waits (its input is cancelled), those after it never come: they raise.

    In virtual time, which it finds by itself, a step waits as in any wait of this
    library: time passes, and if the step before it can never come that is a
    `ClockStuckError` that names it.  In real time it waits `limit` seconds.

    Args:
        limit: real seconds that a step outside of virtual time waits for its turn;
            None for ever.

    Raises:
        SequenceError: from ``with``, if the turn cannot come, does not come within
            `limit`, or was taken before.
        InvalidError: for a number that is none from 0 up, or a limit that is none.
    """

    def __init__(self, *, limit: float | None = LIMIT) -> None:
        is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (is_number and limit > 0):
            raise InvalidError(
                f"limit must be a number above 0 or None, got {limit!r}; write Sequencer(limit=10)"
            )
        self._limit = limit
        self._lock = Real.Lock()  # all below are guarded by it
        self._next = 0  # all steps below it are done
        self._running = False  # whether the step `_next` is under way
        self._waiting: dict[int, Waiter | AsyncWaiter] = {}
        # The first step that failed, and how: those after it never come.
        self._broken: tuple[int, str] | None = None

    def __call__(self, number: int) -> Step:
        """The step `number`, to be taken by ``with`` or ``async with``."""
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"a step is a whole number from 0 up, got {number!r}; write sequencer(0)"
            )
        return Step(self, number)

    def __repr__(self) -> str:
        with self._lock:
            return f"<Sequencer: {self._shown()}>"

    # -- inside, all under _lock ------------------------------------------------

    def _shown(self) -> str:
        done = ", ".join(map(str, range(self._next))) or "none"
        waiting = ", ".join(map(str, sorted(self._waiting))) or "none"
        state = "is under way" if self._running else "has not come"
        if self._broken is not None and self._broken[0] <= self._next:
            state = self._broken[1]
        return f"done: {done}; step {self._next} {state}; waiting: {waiting}"

    def _begin(self, number: int, waiter: Waiter | AsyncWaiter) -> bool:
        """Take the step, or let it wait; true if it is its turn."""
        is_under_way = number == self._next and self._running
        if number < self._next or number in self._waiting or is_under_way:
            raise SequenceError(
                f"step {number} was taken before ({self._shown()}); give each step a number "
                "of its own"
            )
        self._check(number)
        if number == self._next:
            self._running = True
            return True
        self._waiting[number] = waiter
        return False

    def _check(self, number: int) -> None:
        if self._broken is not None and number >= self._broken[0]:
            at, how = self._broken
            raise SequenceError(
                f"step {number} cannot come, for step {at} {how} ({self._shown()}); "
                "mend that step first"
            )

    def _break(self, number: int, how: str) -> list[Waiter | AsyncWaiter]:
        """Step `number` never ends well; return whom to wake."""
        if self._broken is None or number < self._broken[0]:
            self._broken = number, how
        return [waiter for at, waiter in self._waiting.items() if at > number]


class Step:
    """One step of a `Sequencer`: what its call returns."""

    __slots__ = ("_number", "_sequencer")

    def __init__(self, sequencer: Sequencer, number: int) -> None:
        self._sequencer = sequencer
        self._number = number

    # -- threads ----------------------------------------------------------------

    def __enter__(self) -> None:
        sequencer, number = self._sequencer, self._number
        clock = cast(Clock, current_virtual_clock() or system_clock)
        waiter = clock.make_waiter()
        if isinstance(waiter, VirtualWaiter):
            waiter.about = self._about
        begun = False
        try:
            try:
                with uninterruptible, sequencer._lock:
                    is_turn = sequencer._begin(number, waiter)
                    begun = True
                if is_turn:
                    return
                came = park(clock, waiter, None if clock.virtual else sequencer._limit)
            except BaseException as error:
                if begun:
                    self._give_up(f"ended its wait with {type(error).__name__}")
                raise
            self._arrive(came)
        except (SequenceError, ClockStuckError) as error:
            raise without_our_frames(error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(kind)

    # -- tasks ------------------------------------------------------------------

    async def __aenter__(self) -> None:
        sequencer, number = self._sequencer, self._number
        waiter = make_async_waiter()
        begun = False
        try:
            try:
                with uninterruptible, sequencer._lock:
                    is_turn = sequencer._begin(number, waiter)
                    begun = True
                if is_turn:
                    return
                came = True
                loop = Real._get_running_loop()
                if isinstance(loop, VirtualLoop) or sequencer._limit is None:
                    await waiter.wait()
                else:
                    came = await _wait_within(waiter, sequencer._limit)
            except BaseException as error:
                if begun:
                    self._give_up(f"ended its wait with {type(error).__name__}")
                raise
            self._arrive(came)
        except SequenceError as error:
            raise without_our_frames(error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(kind)

    # -- both -------------------------------------------------------------------

    def _arrive(self, came: bool) -> None:
        """The wait has ended: it is its turn, or never will be."""
        sequencer, number = self._sequencer, self._number
        with uninterruptible, sequencer._lock:
            if number == sequencer._next and sequencer._running:
                return  # also if the limit passed just as the turn came
            message = ""
            if not came:
                message = (
                    f"step {number} had not its turn within {sequencer._limit:g} real seconds "
                    f"({sequencer._shown()}); take step {sequencer._next}, or write "
                    "Sequencer(limit=None)"
                )
            else:
                try:
                    sequencer._check(number)
                except SequenceError as error:
                    message = str(error)
        self._give_up("never had its turn")
        raise SequenceError(message)

    def _give_up(self, how: str) -> None:
        """It left its wait without its turn; if that had come just now, it fails."""
        sequencer, number = self._sequencer, self._number
        with uninterruptible, sequencer._lock:
            sequencer._waiting.pop(number, None)
            if number == sequencer._next:
                sequencer._running = False  # its turn had come just now
            woken = sequencer._break(number, how)
        for waiter in woken:
            waiter.wake()

    def _end(self, kind: type[BaseException] | None) -> None:
        sequencer, number = self._sequencer, self._number
        woken: list[Waiter | AsyncWaiter] = []
        with uninterruptible:
            with sequencer._lock:
                sequencer._running = False
                if kind is not None:
                    woken = sequencer._break(number, f"raised {kind.__name__}")
                else:
                    sequencer._next = number + 1
                    following = sequencer._waiting.pop(number + 1, None)
                    if following is not None:
                        # Its turn from here on, or: 1. it is woken, 2. another takes
                        # its number before it runs.
                        sequencer._running = True
                        woken.append(following)
            for waiter in woken:
                waiter.wake()

    def _about(self) -> str:
        with self._sequencer._lock:
            return f"its turn at step {self._number} ({self._sequencer._shown()})"


async def _wait_within(waiter: AsyncWaiter, seconds: float) -> bool:
    """Wait in real time; false if `seconds` pass first."""
    import anyio

    with anyio.move_on_after(seconds):
        await waiter.wait()
        return True
    return False


# A Ctrl-C as the end of a step begins would leave those after it waiting.
begins_uninterruptible.update({Step.__exit__.__code__, Step._end.__code__})
