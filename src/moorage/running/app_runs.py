"""The runs of one app: its own, an ambient one, or that of an app that includes it.

Owns which run a call of an app belongs to, and its beginning and end.  `AppRun` opens and
closes runs, for ``with app.run():``; `AppService` asks for the current run at each call.
What happens within a run is in ``runs.py``.

Begin at `AppRuns.open`, then `AppRuns.current`, then `AppRuns.close`.
"""

from __future__ import annotations

import weakref
from typing import Any, Final, Generic, Protocol, TypeVar

from .. import config
from ..exception import ExecutionError, InvalidError
from ..runtime import forking
from ..runtime.clocks.clock import Clock
from ..runtime.input import call_id, next_call_number
from ..runtime.pools.probing import Probing
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from . import deployments
from .pool_keys import PoolKeys
from .runs import Run

A = TypeVar("A")


class Starts(Protocol):
    """A service, as far as the beginning of a run needs it: see `AppService`."""

    def check_for_run(self) -> None:
        """In strict mode: refuse options that Modal refuses when a run begins."""
        ...

    def start_minimum(self, run: Run, /) -> None:
        """Start its `min_containers` in `run`."""
        ...


class AppRuns(Generic[A]):
    """Which run an app has.

    Args:
        app: the app itself.
        name: the app's name; None if it has none.
    """

    def __init__(self, app: A, name: str | None) -> None:
        self.app: Final = app
        self.name: Final = name
        # The name that the app was given, or was deployed or run under last.
        self.description: str | None = name
        # Guards the fields up to `includers`.
        self.lock = Real.Lock()
        # The run that the app itself opened; the runs of its includers are theirs.  Each call
        # reads it without the lock.
        self.run: Run | None = None
        self._app_id: str | None = None
        self.deployed: bool = False
        # Replaced as wholes, under the lock: calls look through them without it.
        self.included: tuple[AppRuns[A], ...] = ()
        # The apps that include this one: their runs are runs of this app too.
        self.includers: tuple[weakref.ref[AppRuns[A]], ...] = ()
        # What a run checks, and whose minimum it starts, when it begins: by the name of the
        # function, or ``C.*`` for the pool of a class without arguments.
        self.services: Final[dict[str, Starts]] = {}
        self.pool_keys: Final = PoolKeys()
        # Held while limits are changed; see AppService.update_autoscaler.
        self.updating = Real.Lock()
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child the app does not run, until it is called or run there."""
        self.run = None
        self.lock = Real.Lock()
        self.updating = Real.Lock()
        self.pool_keys._after_fork()

    @property
    def shown(self) -> str:
        """The app, as errors and logs name it."""
        return f"the app {self.name!r}" if self.name else "the app"

    @property
    def app_id(self) -> str | None:
        """The id of the app's run; None while it does not run."""
        return None if self.run is None else self._app_id

    # -- which apps run together ----------------------------------------------------

    def include(self, other: AppRuns[A]) -> None:
        """Let the runs of this app be runs of `other` too."""
        with self.lock:
            if other in self.included:
                return
            self.included += (other,)
        with other.lock:
            live = [ref for ref in other.includers if ref() is not None]
            other.includers = (*live, weakref.ref(self))

    def with_included(self) -> list[AppRuns[A]]:
        """This app and all that it includes, each once, though apps may include each other."""
        apps: list[AppRuns[A]] = [self]
        met: set[AppRuns[A]] = {self}
        for app in apps:
            found = [other for other in app.included if other not in met]
            apps += found
            met.update(found)
        return apps

    def _with_includers(self) -> list[AppRuns[A]]:
        """This app and all that include it, each once."""
        apps: list[AppRuns[A]] = [self]
        met: set[AppRuns[A]] = {self}
        for app in apps:
            live = [other for ref in app.includers if (other := ref()) is not None]
            found = [other for other in live if other not in met]
            apps += found
            met.update(found)
        return apps

    # -- which run a call belongs to ------------------------------------------------

    def current(self) -> Run:
        """The run of this app, or of an app that includes it; else an ambient run is opened.

        Raises:
            ExecutionError: in strict mode, if there is no run.
        """
        run = self.open_run()
        if run is not None:
            return run
        with self.lock:
            # Once more: 1. none is seen here, 2. an app that includes this one begins
            # a run, 3. it takes the ambient runs over, under this lock, and finds none.
            run = self.open_run()
            if run is not None:
                return run
            if config.strict:
                raise ExecutionError(f"{self.shown} does not run; call inside `with app.run():`")
            self._begin(run := Run(self.shown, ambient=True))
            return run

    def open_run(self) -> Run | None:
        """The run of this app, or of an app that includes it; None if there is none."""
        for app in self._with_includers():
            run = app.run
            if run is not None:
                return run
        return None

    # -- beginning and end ----------------------------------------------------------

    def open(
        self,
        clock: Clock | None,
        grace: float | None,
        name: str | None = None,
        probe: Probing | None = None,
        *,
        serialize: bool = False,
    ) -> Run:
        """Begin a run that its caller closes.  It takes the place of an ambient one.

        Raises:
            InvalidError: if the app runs already, or is deployed.
        """
        with self.lock:
            if self.run is not None and (not self.run.ambient or self.deployed):
                what = "is deployed" if self.deployed else "runs already"
                instead = "app.stop() first" if self.deployed else "leave that run first"
                raise InvalidError(
                    f"{self.shown} {what}; {instead}, or call its functions as it is"
                )
            # A scoped run takes the place of the ambient one, at once: neither
            # another run nor another ambient one may come in between.
            ambient = self.run
            run = Run(self.shown, clock=clock, grace=grace, probe=probe, serialize=serialize)
            self._begin(run)
            if name is not None:
                self.description = name
        try:
            self._check_for_run()
            for before in [ambient, *self._take_over()]:
                if before is not None:
                    before.close()
            self._start(run)
        except BaseException:  # KeyboardInterrupt: nobody else would leave it
            self.close(run)
            raise
        return run

    def leaves_ambient_runs(self) -> bool:
        """Whether opening a run has to end another first, which may take its grace."""
        runs = [app.run for app in self.with_included()]
        return any(run is not None and run.ambient for run in runs)

    def deploy(self, name: str) -> None:
        """Keep the app running, found by `name`, until `stop`.

        Raises:
            InvalidError: inside ``with app.run():``.
        """
        self._check_for_run()
        with self.lock:
            if self.run is not None and not self.run.ambient:
                raise InvalidError(
                    f"{self.shown} runs already; leave `with app.run():` first, then deploy it"
                )
            if self.run is None:
                self._begin(Run(self.shown, ambient=True))
            self.deployed = True
            self.description = name
            run = self.run
        assert run is not None
        self._start(run)
        before = deployments.put(name, self)
        if before is not None:
            before.stop()

    def stop(self) -> None:
        """End the app's run, if it has one, and forget the names it is deployed under."""
        run = self.run
        deployments.remove(self)
        if run is None:
            self.deployed = False
        else:
            self.close(run)

    @uninterruptible
    def close(self, run: Run) -> None:
        """End `run`: cancel what is left, run the exit hooks."""
        try:
            run.close()
        finally:  # KeyboardInterrupt: the app may run again all the same
            with self.lock:
                if self.run is run:
                    self.run = None
                    self.deployed = False

    def _begin(self, run: Run) -> None:
        self.run = run
        self._app_id = call_id(next_call_number()).replace("fc-", "ap-", 1)

    def _check_for_run(self) -> None:
        """In strict mode: what is wrong with the options is found when the app runs."""
        if config.strict:
            for service in self._services():
                service.check_for_run()

    def _start(self, run: Run) -> None:
        for service in self._services():
            service.start_minimum(run)

    def _services(self) -> list[Starts]:
        return [service for app in self.with_included() for service in app.services.copy().values()]

    def _take_over(self) -> list[Run]:
        """The ambient runs of the included apps: from now on this app's run is theirs."""
        taken: list[Run] = []
        for app in self.with_included()[1:]:
            with app.lock:
                run = app.run
                if run is not None and run.ambient and not app.deployed:
                    app.run = None
                    taken.append(run)
        return taken


AnyRuns = AppRuns[Any]
