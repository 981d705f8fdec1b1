"""Sequencers: a test fixes the order of steps in several threads and tasks.

Owns the state of a sequence: which steps are done, which step is next, and which steps
wait for their turn.  The idea comes from trio's Sequencer.  In addition, threads take
steps too, steps wait in virtual time as well as in real time, and a step whose turn
cannot come raises an error that says why.  Tests call it from any thread or task.

Begin at `Step.__enter__`, then `Sequencer._begin`, then `Step._end`.
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

# The longest wait of a step for its turn, in real seconds, outside of virtual time.
LIMIT: Final = 10.0


class Sequencer:
    """Runs steps in the order of their numbers, whatever thread or task takes each step.

    ::

        with sequencer(0):  # in one thread
            first()

        async with sequencer(1):  # in a task of asyncio or trio
            await second()

    Numbers begin at 0.  The body of a step runs after the bodies of all earlier steps
    have ended.  Each number is used once.  If the body of a step raises, or a step stops
    waiting before its turn (for example because its input is cancelled), all later steps
    raise.

    In virtual time, which a step finds by itself, a step waits as any wait of this library
    does: time passes, and if an earlier step can never come, the step raises a
    `ClockStuckError` that names the earlier step.  In real time, a step waits at most
    `limit` seconds.

    Args:
        limit: the longest wait of a step for its turn, in real seconds, outside of virtual
            time; None for no limit.

    Raises:
        SequenceError: from ``with``, if the turn cannot come, does not come within
            `limit`, or was taken before.
        InvalidError: if a step's number is not a whole number from 0 up, or `limit` is
            not a number above 0.
    """

    def __init__(self, *, limit: float | None = LIMIT) -> None:
        is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (is_number and limit > 0):
            raise InvalidError(
                f"limit must be a number above 0 or None, got {limit!r}; write Sequencer(limit=10)"
            )
        self._limit = limit
        self._lock = Real.Lock()  # guards all fields below
        # Invariant: all steps below `_next` are done.
        self._next = 0
        self._running = False  # true while the body of step `_next` runs, or is about to
        # The waiters of the steps that wait for their turn.
        # Invariant: each number is above `_next`.
        self._waiting: dict[int, Waiter | AsyncWaiter] = {}
        # The lowest step that failed, and how it failed: no later step gets its turn.
        self._broken: tuple[int, str] | None = None

    def __call__(self, number: int) -> Step:
        """Return the step `number`, for ``with`` or ``async with``."""
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"a step is a whole number from 0 up, got {number!r}; write sequencer(0)"
            )
        return Step(self, number)

    def __repr__(self) -> str:
        with self._lock:
            return f"<Sequencer: {self._shown()}>"

    # -- private, all called under _lock ----------------------------------------

    def _shown(self) -> str:
        """Return the state of the sequence as text, for errors and `repr`."""
        done = ", ".join(map(str, range(self._next))) or "none"
        waiting = ", ".join(map(str, sorted(self._waiting))) or "none"
        state = "is under way" if self._running else "has not come"
        if self._broken is not None and self._broken[0] <= self._next:
            state = self._broken[1]
        return f"done: {done}; step {self._next} {state}; waiting: {waiting}"

    def _begin(self, number: int, waiter: Waiter | AsyncWaiter) -> bool:
        """Begin step `number` and return true, or have it wait and return false.

        Raises:
            SequenceError: if the number was taken before, or its turn cannot come.
        """
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
        """Raise `SequenceError` if `number` is a failed step or comes after one."""
        if self._broken is not None and number >= self._broken[0]:
            at, how = self._broken
            raise SequenceError(
                f"step {number} cannot come, because step {at} {how} ({self._shown()}); "
                f"fix step {at} first"
            )

    def _break(self, number: int, how: str) -> list[Waiter | AsyncWaiter]:
        """Record that step `number` failed; return the waiters of the later steps, to wake."""
        if self._broken is None or number < self._broken[0]:
            self._broken = number, how
        return [waiter for at, waiter in self._waiting.items() if at > number]


class Step:
    """One step of a `Sequencer`; ``sequencer(number)`` makes it."""

    __slots__ = ("_number", "_sequencer")

    def __init__(self, sequencer: Sequencer, number: int) -> None:
        self._sequencer = sequencer
        self._number = number

    # -- in a thread ------------------------------------------------------------

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

    # -- in a task --------------------------------------------------------------

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

    # -- in both ----------------------------------------------------------------

    def _arrive(self, came: bool) -> None:
        """Handle the end of the wait: return if the turn has come, raise if it cannot come.

        Args:
            came: false if the limit passed first.
        """
        sequencer, number = self._sequencer, self._number
        with uninterruptible, sequencer._lock:
            if number == sequencer._next and sequencer._running:
                return  # also when the turn came just after the limit had passed
            message = ""
            if not came:
                message = (
                    f"step {number} did not get its turn within {sequencer._limit:g} real seconds "
                    f"({sequencer._shown()}); take step {sequencer._next}, or write "
                    "Sequencer(limit=None)"
                )
            else:
                try:
                    sequencer._check(number)
                except SequenceError as error:
                    message = str(error)
        self._give_up("never got its turn")
        raise SequenceError(message)

    def _give_up(self, how: str) -> None:
        """Record that this step stopped waiting before its body ran; later steps fail.

        A race: 1. the step before ends, and gives this step its turn.  2. This step's wait
        ends with an error (a cancellation) before the step sees its turn.  3. The step comes
        here: its turn ends, and the step counts as failed.
        """
        sequencer, number = self._sequencer, self._number
        with uninterruptible, sequencer._lock:
            sequencer._waiting.pop(number, None)
            if number == sequencer._next:
                sequencer._running = False  # step 1 of the race: the turn had come
            woken = sequencer._break(number, how)
        for waiter in woken:
            waiter.wake()

    def _end(self, kind: type[BaseException] | None) -> None:
        """End the step: give the next step its turn, or fail all later steps."""
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
                        # Mark the next step as running now, not when it wakes.  Otherwise:
                        # 1. This thread wakes the next step, which has not run yet.
                        # 2. Another thread takes the same number, and begins its body.
                        sequencer._running = True
                        woken.append(following)
            for waiter in woken:
                waiter.wake()

    def _about(self) -> str:
        with self._sequencer._lock:
            return f"its turn at step {self._number} ({self._sequencer._shown()})"


async def _wait_within(waiter: AsyncWaiter, seconds: float) -> bool:
    """Wait at most `seconds` of real time; false if they pass first."""
    import anyio

    with anyio.move_on_after(seconds):
        await waiter.wait()
        return True
    return False


# Without this, a Ctrl-C at the beginning of a step's end would leave the later steps waiting.
begins_uninterruptible.update({Step.__exit__.__code__, Step._end.__code__})
