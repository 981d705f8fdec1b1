"""Leaks: threads, tasks, slots, containers and runs that tests leave behind, with their origin.

Owns `LeakWatch`, which wraps the functions that start threads and create tasks.  The
wrappers record the user's line and the *owner*: the test, or the fixture of a wider
scope, that was current at that time.  New runs are found among the open runs whenever
the owner changes.  This file knows nothing of pytest: ``leak_check.py`` calls `begin`
when the owner changes and `take_leaks` when a test ends.  Both are called on the main
thread, while no test runs.  The wrappers are called on any thread.

Begin at `LeakWatch.start`, then `begin`, then `take_leaks`.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import FrameType
from typing import Any, Final, TypeVar

from ..running.app_runs import AnyRuns, AppRuns
from ..running.runs import Run, open_runs
from ..runtime import forking
from ..runtime.clocks.clock import join_threads
from ..runtime.clocks.clock_thread import ClockThread
from ..runtime.clocks.virtual_clock import VirtualClock
from ..runtime.containers.local import LocalContainer
from ..runtime.places import (
    Step,
    is_users,
    place_in_task,
    place_of_thread,
    shown_step,
    users_step,
)
from ..runtime.pools.capacity import process_capacity
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.stacks import current_frames

T = TypeVar("T")

# Seconds that all threads of a test together get to end, after the test has ended.
STRAGGLERS_GET: Final = 2.0

# Seconds, beyond the run's grace, that the closing of a run that was left behind may take.
CLOSING_GETS: Final = 2.0

# Threads that belong to the process, not to a test: they are never leaks.
_OF_THE_PROCESS: Final = (
    *("moorage-timekeeper", "moorage-log", "moorage-cleanup", "moorage-http"),
    "moorage-post",
    *("Trio thread*", "pydevd*"),
)


class Owner:
    """A test or a fixture of a wider scope: what it starts must have ended when it ends.

    `name` is shown in reports of leaks.  A test has none, because pytest names the test.
    """

    def __init__(self, name: str = "") -> None:
        self.name: str = name
        self.ended: bool = False

    def __repr__(self) -> str:
        return f"<Owner {self.name or 'a test'}{', ended' if self.ended else ''}>"


@dataclass(frozen=True, slots=True)
class _Started:
    """The origin of a thread or a task: its owner, the user's line, and the starting thread."""

    owner: Owner | None  # None: started while no test and no wider fixture was current
    step: Step | None
    starter: threading.Thread
    # The loop whose default executor the thread belongs to, if any: the thread ends when
    # the loop is closed.
    loop: weakref.ref[asyncio.AbstractEventLoop] | None = None


class LeakWatch:
    """Watches for leaks from `start` to `stop`.  Use only one watch at a time."""

    def __init__(self) -> None:
        self._owner: Owner | None = None  # changed on the main thread only
        # The threads and tasks that were started, tasks by `id`.  No lock guards these
        # dicts: wrappers on any thread use only single dict operations, which are atomic,
        # and all readers iterate over a copy.
        self._threads: dict[threading.Thread, _Started] = {}
        self._tasks: dict[int, tuple[weakref.ref[asyncio.Task[Any]], _Started]] = {}
        # The owner that was current when a clock was made.  A clock starts its thread at its first
        # use, so the clock of a wider fixture starts its thread in a test.
        self._clocks: weakref.WeakKeyDictionary[VirtualClock, Owner | None] = (
            weakref.WeakKeyDictionary()
        )
        # The open runs and their owners.  An owner of None: never report the run (again).
        self._runs: dict[Run, Owner | None] = {}
        # Tasks that were not done when a test's loop was closed, which cancels them: the
        # origin, the task's name, and the task as shown in reports.
        self._cancelled: list[tuple[_Started, str, str]] = []
        # Pools whose held slots were reported already.
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        # The containers that counted against the process's capacity when no run was last
        # open: earlier tests left them behind.
        self._room = 0
        self._undo: list[Callable[[], None]] = []  # restore the wrapped functions

    # -- the watch ---------------------------------------------------------------

    def start(self) -> None:
        """Begin to record the origins of threads, tasks and runs."""
        self._runs = dict.fromkeys(open_runs())
        self._wrap(threading.Thread, "start", self._starting_thread)
        # `Real.Thread` is a copy of the class `threading.Thread`, with its own `start`.
        self._wrap(Real.Thread, "start", self._starting_thread)
        self._wrap(asyncio.BaseEventLoop, "create_task", self._creating_task)
        self._wrap(asyncio.Runner, "close", self._closing_runner)
        self._wrap(VirtualClock, "__init__", self._making_clock)

    def stop(self) -> None:
        """Restore the wrapped functions, and forget all records."""
        while self._undo:
            self._undo.pop()()
        self._threads.clear()
        self._tasks.clear()
        self._runs.clear()

    def _wrap(self, kind: type, name: str, wrapper: Callable[..., Any]) -> None:
        original = getattr(kind, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return wrapper(original, *args, **kwargs)

        setattr(kind, name, wrapped)

        def undo() -> None:
            # If another library has wrapped our wrapper, our wrapper must stay.  It goes on
            # recording, and nobody reads the records.
            if kind.__dict__.get(name) is wrapped:
                setattr(kind, name, original)

        self._undo.append(undo)

    def _starting_thread(
        self, start: Callable[[threading.Thread], None], thread: threading.Thread
    ) -> None:
        frame = sys._getframe(2)
        # Of the thread of a clock, the owner of the clock.
        target = getattr(getattr(thread, "_target", None), "__self__", None)
        maker = self._clocks.get(target.clock) if type(target) is ClockThread else None
        self._threads[thread] = _Started(
            self._owner_here() if maker is None or maker.ended else maker,
            users_step(frame),
            Real.current_thread(),
            _loop_of_executor(frame),
        )
        try:
            start(thread)
        except BaseException:
            self._threads.pop(thread, None)
            raise

    def _making_clock(
        self, make: Callable[..., None], clock: VirtualClock, *args: Any, **options: Any
    ) -> None:
        make(clock, *args, **options)
        self._clocks[clock] = self._owner_here()

    def _creating_task(
        self,
        create: Callable[..., asyncio.Task[Any]],
        loop: asyncio.AbstractEventLoop,
        *coroutine: Coroutine[Any, Any, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        task = create(loop, *coroutine, **options)
        step = users_step(sys._getframe(2))
        # Record only tasks that user code created.  An eager task may be done already.
        if step is not None and is_users(step) and not task.done():
            key = id(task)
            gone = functools.partial(self._forget_task, key)
            started = _Started(self._owner_here(), step, Real.current_thread())
            self._tasks[key] = weakref.ref(task, gone), started
        return task

    def _forget_task(self, key: int, _: object) -> None:
        self._tasks.pop(key, None)

    def _closing_runner(self, close: Callable[[asyncio.Runner], None], runner: Any) -> None:
        # `asyncio.run` is documented to cancel the tasks that main() left: these are not
        # leaks.  But the loop of an async test is closed by its pytest plugin, which the
        # test does not see, and the tasks that the test left are cancelled silently.
        if _is_of_a_test(sys._getframe(2)) and (loop := getattr(runner, "_loop", None)):
            for task, started in self._pending():
                if task.get_loop() is loop:
                    self._cancelled.append((started, task.get_name(), _shown_task(task)))
                    self._tasks.pop(id(task), None)
        close(runner)

    # -- owners ------------------------------------------------------------------

    def begin(self, owner: Owner | None) -> Owner | None:
        """Make `owner` the owner of all that is started from now on; return the owner before."""
        self._sweep()
        before, self._owner = self._owner, owner
        return before

    def _sweep(self) -> None:
        """Record the current owner for new runs, and forget closed runs and ended threads."""
        opened = open_runs()
        self._runs = {run: self._runs.get(run, self._owner) for run in opened}
        for thread in list(self._threads):
            if thread.ident is not None and not thread.is_alive():
                self._threads.pop(thread, None)

    def _owner_here(self) -> Owner | None:
        # A thread or task that another thread starts belongs to the owner of that thread.
        # Threads of the process have no owner: the current owner counts.
        here = Real.current_thread()
        started = self._threads.get(here)
        return self._owner if started is None or _is_of_the_process(here) else started.owner

    # -- leaks -------------------------------------------------------------------

    def take_leaks(self, owner: Owner, allowed: Sequence[str] = ()) -> list[str]:
        """End `owner`; return the leaks of all owners that have ended, each leak once.

        Runs that were left behind are closed.  Threads get `STRAGGLERS_GET` seconds to end.

        Args:
            owner: the test that has ended.
            allowed: names of threads and tasks that may be left, with * and ?.
        """
        owner.ended = True
        self._sweep()
        leaks: list[str] = []
        for run in [run for run, whose in self._runs.items() if whose is not None and whose.ended]:
            leaks.append(_shown_run(run, self._runs[run]))
            if not _close(run):
                leaks[-1] += "; the leak check tried to close it, and that took too long"
            self._runs[run] = None
        leaks += self._left_threads(allowed)
        leaks += self._left_tasks(allowed)
        leaks += self._held_slots()
        if not open_runs():
            room = process_capacity.statistics()
            before, self._room = self._room, room.containers
            # A container that was left behind still counts, and is reported above already.
            if room.containers > before and not leaks:
                leaks.append(f"room for containers that was not released: {room}")
        return leaks

    def forgive(self, owner: Owner) -> None:
        """Allow everything that `owner` left behind, and forget its records."""
        self.begin(None)
        self._runs = {run: None if whose is owner else whose for run, whose in self._runs.items()}
        for thread, started in list(self._threads.items()):
            if started.owner is owner:
                self._threads.pop(thread, None)
        for task, started in self._pending():
            if started.owner is owner:
                self._tasks.pop(id(task), None)
        self._cancelled = [one for one in self._cancelled if one[0].owner is not owner]

    def _left_threads(self, allowed: Sequence[str]) -> list[str]:
        """Return the threads and containers that ended owners left behind.

        Three kinds of threads may stay: threads of the process, threads of the default
        executor of a loop that is open, and threads of a container whose run is open.
        """
        for thread, started in list(self._threads.items()):
            ended = started.owner is not None and started.owner.ended
            if ended and _matches(thread.name, allowed):
                # Forget the thread: the next test, which allows other names, must not
                # report it.
                self._threads.pop(thread, None)
        suspects = {
            thread: started
            for thread, started in list(self._threads.items())
            if started.owner is not None
            and started.owner.ended
            and not _is_of_the_process(thread)
            and not _is_of_an_open_loop(started)
        }
        hosts = _container_threads()
        # While a run is open, the threads of its containers, and the threads that those
        # start, belong to the run: an ended test may have caused their start.
        may_stay = {
            thread
            for thread in suspects
            if (host := hosts.get(thread) or hosts.get(suspects[thread].starter))
            and not _run_of(host).closed
        }
        frames = current_frames()
        left = join_threads([thread for thread in suspects if thread not in may_stay], 0.0)
        if left:
            left = join_threads(left, STRAGGLERS_GET)
            frames = current_frames()
        leaks: list[str] = []
        for thread in left:
            started = self._threads.pop(thread)
            now = place_of_thread(frames.get(thread.ident or -1)) or "at its end"
            container = hosts.get(thread)
            what, advice = f"a thread {thread.name}", "join it"
            if container is not None:
                held = len(container.slots.held)
                slots = f", with {held} slots held," if held else ""
                what = f"the container {container._name}{slots} in the thread {thread.name}"
                advice = "its run was left: end what it runs before that"
            state = f"now at {now}"
            if thread.name == "moorage-virtual-clock":
                what, state = "a VirtualClock", "never closed"
                advice = "write `with VirtualClock() as clock:`, or take the fixture virtual_clock"
            leaks.append(_shown(what, started, "started", state, advice))
        return leaks

    def _held_slots(self) -> list[str]:
        """Return the slots of closed runs that are held though no thread runs; each pool once."""
        leaks: list[str] = []
        for pool in _known(Pool):
            run = pool.run
            if isinstance(run, Run) and run.closed and pool not in self._pools:
                held = pool.statistics().running
                # While a container has a thread, `_left_threads` reports it with its slots.
                if held and not _has_live_thread(run):
                    self._pools.add(pool)
                    leaks.append(
                        f"{held} slots of {pool.options.name} that were not released, "
                        f"in a run of {run.name}, opened at {run.opened_at}"
                    )
        return leaks

    def _left_tasks(self, allowed: Sequence[str]) -> list[str]:
        """Return ended owners' tasks that are not done, or that the end of a loop cancelled."""
        leaks: list[str] = []
        advice = "await it, or cancel it and await that"
        hosts = _container_threads()
        for task, started in self._pending():
            host = hosts.get(started.starter)
            if (
                started.owner is None
                or not started.owner.ended
                or (host is not None and not _run_of(host).closed)
            ):
                continue
            self._tasks.pop(id(task), None)
            now = place_in_task(task.get_coro(), None) or "at its start"
            if not _matches(task.get_name(), allowed):
                leaks.append(_shown(_shown_task(task), started, "created", f"now at {now}", advice))
        cancelled, self._cancelled = self._cancelled, []
        for started, name, shown in cancelled:
            if not _matches(name, allowed):
                state = "cancelled only by the end of the loop"
                leaks.append(_shown(shown, started, "created", state, advice))
        return leaks

    def _pending(self) -> list[tuple[asyncio.Task[Any], _Started]]:
        """Return the recorded tasks that are not done."""
        return [
            (task, started)
            for reference, started in list(self._tasks.values())
            if (task := reference()) is not None and not task.done()
        ]


def _shown(what: str, started: _Started, verb: str, state: str, advice: str) -> str:
    place = f"{shown_step(started.step)}{_for(started.owner)}"
    return f"{what}, {verb} at {place}, {state}; {advice}"


def _for(owner: Owner | None) -> str:
    return f" for {owner.name}" if owner is not None and owner.name else ""


def _shown_task(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine)).rpartition("<locals>.")[2]
    return f"a task {task.get_name()} of {name}"


def _shown_run(run: Run, owner: Owner | None) -> str:
    pools = [pool.statistics() for pool in list(run.pools.values())]
    held = sum(pool.running for pool in pools)
    names = [f"{len(pool.containers)} of {pool.name}" for pool in pools if pool.containers]
    containers = f", with containers: {', '.join(names)}" if names else ""
    slots = f" ({held} slots held)" if held else ""
    kind, instead = ("an ambient", "call") if run.ambient else ("a", "leave it, or call")
    return (
        f"{kind} run of {run.name}, opened at {run.opened_at}{_for(owner)}{containers}{slots}; "
        f"{instead} in `with app.run():`, or write run_app(app) with the fixture run_app"
    )


def _close(run: Run) -> bool:
    """Close a run that was left behind; false if the closing takes too long."""
    # Close the run in another thread, and wait with a limit.  The run may use a virtual
    # clock in which this thread takes part, so that time would stand still, or a virtual
    # clock that is closed, in which no wait ends.
    known: list[AnyRuns] = _known(AppRuns)
    runs = next((runs for runs in known if runs.run is run), None)
    close = run.close if runs is None else functools.partial(runs.close, run)
    closing = Real.Thread(target=close, name="moorage-closing", daemon=True)
    closing.start()
    return not join_threads([closing], run.grace + CLOSING_GETS)


def _container_threads() -> dict[threading.Thread, LocalContainer]:
    """Return the threads of all existing containers, each with its container."""
    return {
        thread: container
        for container in _known(LocalContainer)
        for thread in container._all_threads()
    }


def _has_live_thread(run: Run) -> bool:
    """Return true if a thread of a container of `run` is still alive."""
    hosts = _container_threads()
    return any(thread.is_alive() and _run_of(host) is run for thread, host in hosts.items())


def _known(kind: type[T]) -> list[T]:
    """Return all existing objects of `kind`, from the weak set that forking keeps."""
    while True:
        try:
            return [one for one in forking._known if isinstance(one, kind)]
        except RuntimeError:
            pass  # another thread changed the set during the iteration: try again


def _run_of(container: LocalContainer) -> Run:
    pool = container.host
    assert isinstance(pool, Pool)
    assert isinstance(pool.run, Run)
    return pool.run


def _is_of_the_process(thread: threading.Thread) -> bool:
    return _matches(thread.name, _OF_THE_PROCESS)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_RUN_IN_EXECUTOR: Final = asyncio.BaseEventLoop.run_in_executor.__code__


def _loop_of_executor(
    frame: FrameType | None,
) -> weakref.ref[asyncio.AbstractEventLoop] | None:
    """Return the loop whose `run_in_executor` starts a thread of its default executor."""
    # `frame` is the executor's code that calls `Thread.start`: `_adjust_thread_count`, called
    # by `submit`, called by `run_in_executor`.  One more frame is searched, to be safe.
    for _ in range(4):
        if frame is None:
            return None
        if frame.f_code is _RUN_IN_EXECUTOR:
            loop = frame.f_locals["self"]
            default = getattr(loop, "_default_executor", None)
            return weakref.ref(loop) if frame.f_locals["executor"] is default else None
        frame = frame.f_back
    return None


def _is_of_an_open_loop(started: _Started) -> bool:
    loop = None if started.loop is None else started.loop()
    return loop is not None and not loop.is_closed()


def _is_of_a_test(frame: FrameType | None) -> bool:
    """Return true if a pytest plugin closes the runner that it made for a test."""
    # `frame` is the caller of `Runner.close`.  The plugin's code is that caller or just above
    # it: anyio's `TestRunner.__exit__` calls `Runner.__exit__`, which calls `close`.
    for _ in range(3):
        if frame is None:
            return False
        module = frame.f_globals.get("__name__", "")
        if module.startswith("pytest_asyncio") or frame.f_code.co_qualname == "TestRunner.__exit__":
            return True
        frame = frame.f_back
    return False
