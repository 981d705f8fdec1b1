"""Ways into a run: ``app.run``, and the context manager that it gives.

Owns what happens on the caller's side of entering and leaving, in threads and
on loops.  What a run is, is owned by ``runs.py``; which one an app has, by ``app_runs.py``.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..exception import Error, InvalidArgumentsError, InvalidError
from ..frames import hide_our_frames_as, without_our_frames
from ..runtime.clocks.clock import Clock
from ..runtime.clocks.clock_of_here import clock_of_here
from ..runtime.clocks.participants import Participants
from ..runtime.guards.interrupts import interrupts
from ..runtime.pools.probing import Probing
from ..runtime.uninterruptible import begins_uninterruptible, uninterruptible
from ..runtime.waiting.async_waiters import run_in_thread
from .app_runs import AppRuns
from .runs import Run, give_sigint_back

A = TypeVar("A")


class RunMethod(Generic[A]):
    """``App.run``."""

    __slots__ = ("_runs",)

    def __init__(self, runs: AppRuns[A]) -> None:
        self._runs = runs

    @hide_our_frames_as("app.run")
    def __call__(
        self,
        *,
        name: str | None = None,
        client: object = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
        clock: Clock | None = None,
        grace: float | None = None,
        drain: bool = False,
        serialize: bool = False,
        probe: Probing | None = None,
    ) -> AppRun[A]:
        """Scope the app's containers: ``with app.run():`` or ``async with app.run():``.

        Leaving cancels what is queued and what runs, then runs the exit hooks.
        With `drain` it first finishes what was accepted, and what that calls
        itself, however long that takes; other calls are refused meanwhile.
        Ctrl-C, or cancelling the task that leaves, ends the drain, and what is
        left is cancelled.  An exception that leaves the body does not drain.

        Args:
            name: shown as the app's description.
            clock: the clock that everything in the run lives by; if None, the virtual clock
                in which the thread takes part already, and real time without one.
                In a `testing.VirtualClock` the thread, or the event loop of that clock,
                which enters takes part until it leaves.
            grace: seconds that leaving may take in all; 5 if None.  They begin
                when the drain has ended, if there is one.
            drain: finish accepted inputs before leaving.
            serialize: pass arguments, results and exceptions as copies, through cloudpickle
                (``pip install "moorage[serialize]"``), and refuse what does not pickle: what a
                remote container would see, and refuse.
            probe: records what goes on in the run's pools, and holds inputs up; see
                `moorage.testing.Probe`.
            client, detach, interactive, environment_name: accepted; they are the cloud's.

        Raises:
            InvalidError: if `grace` is no number from 0 up; on entering, if the app
                runs already, a virtual clock is entered on a loop in real time, or
                `serialize` is true and cloudpickle is not installed.
        """
        if grace is not None:
            _check_grace(grace)
        return AppRun(self._runs, clock, grace, name, drain, serialize, probe)

    aio = __call__

    if not TYPE_CHECKING:  # so that type checkers refuse it too

        def __enter__(self):
            raise InvalidArgumentsError(
                "app.run was written without its parentheses; write `with app.run():`"
            )

        def __aenter__(self):
            raise InvalidArgumentsError(
                "app.run was written without its parentheses; write `async with app.run():`"
            )

        def __exit__(self, *error): ...

        __aexit__ = __exit__


def _check_grace(grace: object) -> None:
    # Written so that NaN, which compares false with everything, is refused.
    is_number = isinstance(grace, (int, float)) and not isinstance(grace, bool) and grace >= 0
    if not is_number:
        raise InvalidError(f"grace must be a number from 0 up, got {grace!r}; write grace=5")


class AppRun(Generic[A]):
    """What ``app.run()`` gives: a context manager; entering it again begins a new run."""

    def __init__(
        self,
        runs: AppRuns[A],
        clock: Clock | None,
        grace: float | None,
        name: str | None,
        drain: bool = False,
        serialize: bool = False,
        probe: Probing | None = None,
    ) -> None:
        self._runs = runs
        self._clock = clock
        self._grace = grace
        self._name = name
        self._drain = drain
        self._serialize = serialize
        self._probe = probe
        self._run: Run | None = None
        # Of whoever entered, in the run's clock if that is virtual.
        self._part: tuple[Participants, int] | None = None

    def _chosen_clock(self) -> Clock | None:
        # A thread that takes part holds up time while it waits for a run in real time.
        return clock_of_here() if self._clock is None else self._clock

    def __enter__(self) -> A:
        clock = self._chosen_clock()
        try:
            participants = None if clock is None else clock.participants
            if participants is None:
                return self._begin(clock)
            part = participants.enter("with app.run(clock=clock):")
            try:
                app = self._begin(clock)
            except BaseException:
                participants.leave(part)
                raise
            self._part = participants, part
            return app
        except Error as error:
            raise without_our_frames(error)

    def _begin(self, clock: Clock | None) -> A:
        before = self._run
        try:
            interrupts.install()  # before there is anything that it could leave behind
            with uninterruptible:
                self._run = self._runs.open(
                    clock, self._grace, self._name, self._probe, serialize=self._serialize
                )
        except BaseException:
            # Ctrl-C at the end of the region: nobody else would leave it.
            if self._run is not None and self._run is not before:
                self._runs.close(self._run)
            give_sigint_back()
            raise
        return self._runs.app

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run = self._run
        assert run is not None
        try:
            with uninterruptible:
                pass  # a Ctrl-C that came as this began is raised here
            if self._drain and kind is None:
                run.drain()
        finally:  # also if Ctrl-C ended the drain
            try:
                self._runs.close(run)
            finally:
                self._leave_clock()

    def _leave_clock(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            participants, ident = part
            participants.leave(ident)

    async def __aenter__(self) -> A:
        clock = self._chosen_clock()
        try:
            participants = None if clock is None else clock.participants
            if participants is None:
                return await self._begin_async(clock)
            part = participants.enter("async with app.run(clock=clock):")
            try:
                app = await self._begin_async(clock)
            except BaseException:
                participants.leave(part)
                raise
            self._part = participants, part
            return app
        except Error as error:
            raise without_our_frames(error)

    async def _begin_async(self, clock: Clock | None) -> A:
        before = self._run
        try:
            if not self._runs.leaves_ambient_runs():
                return self._begin(clock)
            return await run_in_thread(lambda: self._begin(clock))
        except BaseException:  # cancelled while it was opened: nobody else would leave it
            run = self._run
            if run is not None and run is not before:
                await run_in_thread(lambda: self._runs.close(run))
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run = self._run
        assert run is not None
        try:
            if self._drain and kind is None:
                await run.drain_async()
        finally:  # also if the task was cancelled meanwhile
            try:
                if not run.forked:  # in a child the loop stayed behind too
                    await run_in_thread(lambda: self._runs.close(run))
                    give_sigint_back()  # that thread cannot
            finally:
                self._leave_clock()


_exit: Any = vars(AppRun)["__exit__"]
begins_uninterruptible.add(_exit.__code__)
