"""Stuck time: the error messages for virtual time that cannot go on.

Owns the wording of these messages, and finds the places where participants run or wait.
``virtual_clock.py`` calls this file without a lock.  No user code runs here, except what a
waiter's `about` runs.

Begin at `why_busy` and `why_for_ever`, then `why_blocked`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NamedTuple

from ..places import place_in_stack, place_in_task, place_of_caller, place_of_thread
from ..real import Real
from ..stacks import current_frames, outwards
from .held import why_it_blocks

# The most waits that an error names.
WAITS_SHOWN: Final = 10

# The advice for a test that runs on an event loop in real time.
ON_ITS_LOOP: Final = (
    "run the test on a loop of the clock: clock.run(main()), "
    "asyncio.Runner(loop_factory=clock.new_event_loop), or in pytest "
    "virtual_clock.new_event_loop as the loop factory"
)


class StuckWait(NamedTuple):
    """A thread that waits."""

    name: str
    thread: int
    about: Callable[[], str] | None


class StuckLoop(NamedTuple):
    """An idle event loop."""

    loop: asyncio.AbstractEventLoop
    thread_name: str


class StuckForeign(NamedTuple):
    """A thread, or a task of a loop, that takes no part in the clock, and waits."""

    thread_name: str
    thread: int
    about: Callable[[], str] | None
    coroutine: object  # of the task
    runs: str  # what the thread runs, as the error says it; "" if the thread itself waits


class Stuck(NamedTuple):
    """A snapshot of the participants, taken when time could not go on."""

    now: float
    after: float  # real seconds
    busy: list[tuple[str, int]]  # the name of each participant, and its thread's ident or 0
    waits: list[StuckWait]
    loops: list[StuckLoop]
    foreign: list[StuckForeign]


def why_busy(stuck: Stuck) -> str:
    """Return the message for time that stands because participants stay busy."""
    frames = current_frames()
    lines = [f"{name}{_place_of(frames.get(ident))}" for name, ident in stuck.busy]
    advice = "wait with clock.sleep() or asyncio.sleep(), or leave the clock"
    calls = [why_it_blocks(frames.get(ident), frames) for _, ident in stuck.busy]
    blocked = [
        f"{name} is blocked in {call}"
        for (name, _), call in zip(stuck.busy, calls, strict=True)
        if call
    ]
    if blocked:
        advice = (
            f"{'; '.join(blocked)}; write `with clock.patch_time():`, in which such calls wait in "
            "virtual time, or leave the clock"
        )
    if any(_runs_real_loop(frames.get(ident)) for _, ident in stuck.busy):
        advice = f"one of them runs an event loop in real time; {ON_ITS_LOOP}"
    if stuck.foreign:
        advice = f"{advice}; {_about_foreign(stuck.foreign, frames)}"
    return (
        f"virtual time stands at {stuck.now:g} s: for {stuck.after:g} real seconds "
        f"{' and '.join(lines)} ran without waiting in moorage; {advice}"
    )


def _about_foreign(foreign: list[StuckForeign], frames: dict[int, FrameType]) -> str:
    """Return who waits without taking part in the clock, and what to write."""
    waits: list[str] = []
    for each in foreign[:WAITS_SHOWN]:
        frame = frames.get(each.thread)
        place = (
            place_in_task(each.coroutine, frame)
            if each.coroutine is not None
            else place_of_caller(frame) or place_of_thread(frame)
        )
        about = f" for {each.about()}" if each.about is not None else ""
        who = each.thread_name
        if each.runs:
            who = f"{each.runs}, on thread {who},"
        waits.append(f"{who} waits{about}{f' in {place}' if place else ''}")
    first = foreign[0]
    if _is_of_anyio(frames.get(first.thread)):
        advice = (
            "enter the TestClient, or start the portal or loop, where the clock is entered: "
            "inside `with clock:`, or in pytest in a fixture that requests virtual_clock; or name "
            "virtual_clock before client among the arguments of the test"
        )
    elif first.runs.startswith("trio"):
        advice = "run that code on asyncio, on a loop of the clock, or test it in real time"
    elif first.runs:
        advice = (
            "run that loop in virtual time: Runner(loop_factory=clock.new_event_loop), or "
            "`with clock:` in its thread before asyncio.run(...)"
        )
    else:
        advice = "write `with clock:` in that thread, or use asyncio.to_thread"
    return f"outside of the clock, {'; '.join(waits)}; {advice}"


# The module and the name of the functions that such threads run.
_THREADS_OF_ANYIO: Final = frozenset(
    {
        ("anyio.from_thread", "start_blocking_portal.<locals>.run_blocking_portal"),
        ("anyio._backends._asyncio", "WorkerThread.run"),
    }
)


def _is_of_anyio(frame: FrameType | None) -> bool:
    """Whether anyio has started a thread: for a blocking portal, as of TestClient, or a worker."""
    return any(
        (each.f_globals.get("__name__"), each.f_code.co_qualname) in _THREADS_OF_ANYIO
        for each in outwards(frame)
    )


def why_for_ever(stuck: Stuck) -> str:
    """Return the message for waits that nothing can end: all participants wait, without a timer."""
    frames = current_frames()
    waits: list[str] = []
    for waiter in stuck.waits:
        frame = frames.get(waiter.thread)
        place = place_of_caller(frame) or place_in_stack(frame)
        about = f" for {waiter.about()}" if waiter.about is not None else ""
        waits.append(f"{waiter.name} waits{about}{f' in {place}' if place else ''}")
    for loop, thread_name in stuck.loops:
        for name, coroutine in _tasks_of(loop):
            place = place_in_task(coroutine, None)
            if place is not None:
                waits.append(f"{name} on the event loop of {thread_name} waits in {place}")
    if len(waits) > WAITS_SHOWN:
        waits[WAITS_SHOWN:] = [f"{len(waits) - WAITS_SHOWN} more wait"]
    return (
        f"virtual time stands at {stuck.now:g} s: for {stuck.after:g} real seconds nobody was "
        f"busy, and no timer is left that could end a wait: {'; '.join(waits)}; wake what waits, "
        "or wait with a timeout; if it waits for something real, "
        "write VirtualClock(stuck_after=None)"
    )


def why_blocked(waiter: Any, ident: int) -> str | None:
    """Return a note for an input that ran out of time while it was blocked in a lock or queue.

    None for another wait.  `ident` is that of the input's thread, which waits at `waiter`.
    """
    if getattr(waiter, "blocked", None) is None or waiter.about is None:
        return None
    place = place_of_caller(current_frames().get(ident))
    return f"it waited for {waiter.about()}{f' in {place}' if place else ''}"


def _tasks_of(loop: asyncio.AbstractEventLoop) -> list[tuple[str, object]]:
    """Return the names and coroutines of the loop's tasks, ordered by name."""
    tasks = [(task.get_name(), task.get_coro()) for task in Real.all_tasks(loop)]
    return sorted(tasks, key=lambda named: named[0])


def _place_of(frame: FrameType | None) -> str:
    place = place_of_thread(frame)
    return f" (in {place})" if place else ""


def _runs_real_loop(frame: FrameType | None) -> bool:
    """Whether a busy thread runs an event loop of asyncio or trio in real time.

    While a loop of the clock runs, that loop is the participant, and not its thread.
    """
    return any(
        each.f_code in _REAL_LOOPS or each.f_globals.get("__name__") == "trio._core._run"
        for each in outwards(frame)
    )


_REAL_LOOPS: Final = frozenset(
    {asyncio.BaseEventLoop.run_forever.__code__, asyncio.Runner.run.__code__}
)
