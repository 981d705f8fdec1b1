"""Entering and leaving a run: ``app.run`` and the context manager that it returns.

Owns the caller's side of entering and leaving, for threads and for event loops.  ``app.py``
makes `RunMethod`; users call it.  ``runs.py`` owns the run itself, and ``app_runs.py`` owns which
run an app has.

Begin at `RunMethod.__call__`, then `AppRun.__enter__`, then `AppRun.__exit__`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..exception import Error, InvalidArgumentsError, InvalidError
from ..frames import hide_our_frames_as, without_our_frames
from ..placing.placements import Placement, placements_of
from ..runtime.clocks.clock import Clock
from ..runtime.clocks.clock_of_here import clock_of_here
from ..runtime.clocks.participants import Participants
from ..runtime.guards.interrupts import interrupts
from ..runtime.pools.probing import Probing
from ..runtime.uninterruptible import begins_uninterruptible, uninterruptible
from ..runtime.waiting.async_waiters import run_in_thread
from ..stores.home import environment_of
from ..with_aio import PosesAsFunction, refuse_patch
from .app_runs import AppRuns
from .runs import Run, give_sigint_back

A = TypeVar("A")


class RunMethod(PosesAsFunction, Generic[A]):
    """``App.run``."""

    __slots__ = ("_runs",)
    _way = "run"

    def __init__(self, runs: AppRuns[A]) -> None:
        object.__setattr__(self, "_runs", runs)

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
        serialize: bool | None = None,
        probe: Probing | None = None,
        schedules: bool = True,
        placement: Placement | None = None,
    ) -> AppRun[A]:
        """Scope the app's containers: ``with app.run():`` or ``async with app.run():``.

        Leaving the block cancels the queued and the running inputs, then runs the exit
        hooks.  With `drain`, leaving first finishes every accepted input, and every input
        that these inputs call, however long that takes.  During the drain all other calls are
        refused.  Ctrl-C, or cancelling the task that leaves, ends the drain and cancels the
        inputs that are left.  If an exception leaves the block, there is no drain.

        Args:
            name: shown as the app's description.
            clock: the clock for all times in the run.  If None, the run uses the virtual
                clock in which the calling thread already takes part, or else real time.  The
                thread that enters a run in a `testing.VirtualClock` (or that clock's event
                loop) takes part in the clock until it leaves the run.
            grace: seconds that leaving waits for inputs and exit hooks, in all;
                `config.exit_grace` (5) if None.  Ending the threads may take about 2 s more.
                With `drain`, the grace begins when the drain has ended.
            drain: finish accepted inputs before leaving.
            serialize: pass arguments, results and exceptions as copies, through cloudpickle
                (``pip install "moorage[serialize]"``), and refuse values that do not pickle,
                as a remote container would.
            placement: where the containers are: "thread" for threads of this process, "process"
                for worker processes, which pass copies and use all processors
                (``pip install "moorage[process]"``); a `moorage.Processes` to say how; or a
                mapping of names of functions and classes to these, with "*" for all others.
                `config.placement` or MOORAGE_PLACEMENT if None.
            probe: records the events in the run's pools, and can hold inputs up; see
                `moorage.testing.Probe`.
            schedules: call the functions that have a `Period` or `Cron`; see also
                `config.schedules`.
            environment_name: where ``from_name`` finds the app, and where the functions of the
                run find their secrets, volumes and other named objects, unless these name an
                environment themselves; `MODAL_ENVIRONMENT` or ``"main"`` if None.
            client, detach, interactive: for the cloud; accepted without effect.

        Raises:
            InvalidError: if `grace` is not a number from 0 up, or `environment_name` is no
                possible name.  On entering: if the app
                runs already, if a virtual clock is entered on an event loop in real time, or
                if `serialize` is true and cloudpickle is not installed; if `placement` is wrong,
                or does not go with the other arguments.
        """
        if grace is not None:
            _check_grace(grace)
        if environment_name:
            environment_of(environment_name)  # refuses impossible names
        if serialize is False and placements_of(placement) is not None:
            raise InvalidError(
                f"serialize=False does not go with placement={placement!r}, because only copies "
                "reach another process; take one of them away"
            )
        return AppRun(
            self._runs,
            clock,
            grace,
            name,
            drain,
            bool(serialize),
            probe,
            schedules,
            environment_name,
            placement,
        )

    aio = __call__

    if TYPE_CHECKING:
        _runs: AppRuns[A]
    else:  # hidden, so that type checkers refuse `with app.run:` and setting attributes too

        def __setattr__(self, name, value):
            refuse_patch("App.run", name)

    def _way_of(self) -> str:
        return "App.run"

    if not TYPE_CHECKING:

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
    # `not grace < 0` would accept NaN, because NaN compares false with everything.
    is_number = isinstance(grace, (int, float)) and not isinstance(grace, bool) and grace >= 0
    if not is_number:
        raise InvalidError(f"grace must be a number from 0 up, got {grace!r}; write grace=5")


class AppRun(Generic[A]):
    """The context manager that ``app.run()`` returns.  Entering it again begins a new run."""

    def __init__(
        self,
        runs: AppRuns[A],
        clock: Clock | None,
        grace: float | None,
        name: str | None,
        drain: bool = False,
        serialize: bool = False,
        probe: Probing | None = None,
        schedules: bool = True,
        environment_name: str | None = None,
        placement: Placement | None = None,
    ) -> None:
        self._placement: Placement | None = placement
        self._schedules = schedules
        self._environment_name = environment_name
        self._runs = runs
        self._clock = clock
        self._grace = grace
        self._name = name
        self._drain = drain
        self._serialize = serialize
        self._probe = probe
        self._run: Run | None = None
        # The caller's participation in the run's clock, from entering to leaving the run.
        # None if the run is in real time.
        self._part: tuple[Participants, int] | None = None

    def _chosen_clock(self) -> Clock | None:
        # A thread that takes part in a virtual clock stops that clock while the thread waits
        # for a run in real time.  So a run without a clock gets the thread's virtual clock.
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
            interrupts.install()  # first: a Ctrl-C before this line leaves nothing behind
            with uninterruptible:
                self._run = self._runs.open(
                    clock,
                    self._grace,
                    self._name,
                    self._probe,
                    serialize=self._serialize,
                    schedules=self._schedules,
                    environment_name=self._environment_name,
                    placement=self._placement,
                )
        except BaseException:
            # The region may end with a Ctrl-C, after the run was opened.  `with` does not call
            # `__exit__` then, so the run is closed here.
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
                pass  # raises a Ctrl-C that was deferred while this function began
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
        except BaseException:  # cancelled during the opening: `__aexit__` is not called
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
        finally:  # also if cancelling the task ended the drain
            try:
                if not run.forked:  # a forked child has neither the run nor the loop's threads
                    await run_in_thread(lambda: self._runs.close(run))
                    give_sigint_back()  # only the main thread can restore SIGINT
            finally:
                self._leave_clock()


_exit: Any = vars(AppRun)["__exit__"]
# Without this, a Ctrl-C as the frame of `__exit__` begins would leave the run open.
begins_uninterruptible.add(_exit.__code__)
