"""The runs of one app: its own run, an ambient run, or the run of an app that includes it.

Owns which run a call of an app belongs to, and when that run begins and ends.  `AppRun` opens
and closes runs, for ``with app.run():``; `AppService` asks for the current run at each call.
``runs.py`` owns what happens within a run.

Begin at `AppRuns.open`, then `AppRuns.current`, then `AppRuns.close`.
"""

from __future__ import annotations

import difflib
import socket
import threading
import weakref
from collections.abc import Collection, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from .. import config
from ..exception import ExecutionError, InvalidError
from ..frames import warn
from ..placing.calls import driver_run
from ..placing.placements import (
    Placement,
    Placements,
    placements_of,
    placements_of_configuration,
)
from ..runtime import forking
from ..runtime.clocks.clock import Clock
from ..runtime.context import is_a_container
from ..runtime.input import call_id, next_call_number
from ..runtime.pools.probing import Probing
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..stores.home import configured_environment, environment_of, environment_of_run
from . import deployments
from .mounts import HasMounts, Mount, Warned
from .pool_keys import PoolKeys
from .runs import Run
from .schedules import Scheduled

A = TypeVar("A")


class Starts(Protocol):
    """The part of a service (see `AppService`) that the beginning of a run needs."""

    def check_for_run(self) -> None:
        """Refuse options that Modal refuses when a run begins.  Called in strict mode only."""
        ...

    def start_minimum(self, run: Run, /) -> None:
        """Start the `min_containers` of the service in `run`."""
        ...


class AppRuns(Generic[A]):
    """The runs of one app, and the apps that share them.

    Args:
        app: the app itself.
        name: the app's name; None if it has none.
    """

    def __init__(self, app: A, name: str | None) -> None:
        self.app: Final[A] = app
        self.name: Final[str | None] = name
        # The app's name, or the name under which the app was last deployed or run.
        self.description: str | None = name
        # Guards the fields from here to `includers`.
        self.lock: threading.Lock = Real.Lock()
        # The run that this app itself opened; the run of an app that includes this one is in
        # that app's field.  Each call reads the field without the lock.
        self.run: Run | None = None
        self._app_id: str | None = None
        # The environment that the deployment was given; None also if the app is not deployed.
        self._environment_name: str | None = None
        self._began = 0  # the number of the run, which is higher for later runs
        self.deployed: bool = False
        # `included` and `includers` are replaced as whole tuples, under the lock, because
        # calls iterate over them without the lock.
        self.included: tuple[AppRuns[A], ...] = ()
        # The apps that include this one: their runs are runs of this app too.
        self.includers: tuple[weakref.ref[AppRuns[A]], ...] = ()
        # The services whose options are checked, and whose `min_containers` are started, when a
        # run begins.  The key is the name of the function, or ``C.*`` for the pool of a class
        # without arguments.
        self.services: Final[dict[str, Starts]] = {}
        # What `Sites.reserved` of a run of this app gets.  Written before the run begins.
        self.listening: Final[dict[Hashable, tuple[str, socket.socket]]] = {}
        # The functions with a schedule, by name.
        self.scheduled: Final[dict[str, Scheduled]] = {}
        self.pool_keys: Final[PoolKeys] = PoolKeys()
        # The mounts of each function and class, and which warnings about them were given.
        self.mounts: Final[dict[str, tuple[Mount, ...]]] = {}
        # The services of variants with volumes of their own.
        self.with_volumes: Final[weakref.WeakSet[HasMounts]] = weakref.WeakSet()
        self.warned: Final[Warned] = {}
        # Serializes changes of limits; see `AppService.update_autoscaler`.
        self.updating: threading.Lock = Real.Lock()
        forking.know(self)
        if name is not None:
            deployments.meet(name, self)

    def _after_fork(self) -> None:
        """In a forked child: the app has no run until the child calls or runs the app."""
        self.run = None
        self.lock = Real.Lock()
        self.updating = Real.Lock()
        self.pool_keys._after_fork()

    @property
    def shown(self) -> str:
        """The app's name for errors and logs."""
        return f"the app {self.name!r}" if self.name else "the app"

    @property
    def app_id(self) -> str | None:
        """The id of the app's run; None while it does not run."""
        return None if self.run is None else self._app_id

    # -- which apps run together ----------------------------------------------------

    def include(self, other: AppRuns[A]) -> None:
        """Make the runs of this app runs of `other` too."""
        with self.lock:
            if other in self.included:
                return
            self.included += (other,)
        with other.lock:
            live = [ref for ref in other.includers if ref() is not None]
            other.includers = (*live, weakref.ref(self))

    def with_included(self) -> list[AppRuns[A]]:
        """Return this app and all it includes, each once, even if apps include each other."""
        apps: list[AppRuns[A]] = [self]
        met: set[AppRuns[A]] = {self}
        for app in apps:
            found = [other for other in app.included if other not in met]
            apps += found
            met.update(found)
        return apps

    def _with_includers(self) -> list[AppRuns[A]]:
        """Return this app and all apps that include it, each once."""
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
        """Return the run of this app, or of an app that includes it; open an ambient run if none.

        Raises:
            ExecutionError: in strict mode, if there is no run.
        """
        run = self.open_run()
        if run is not None:
            return run
        if is_a_container():
            return cast(Run, driver_run())
        with self.lock:
            # Look again, under the lock.  Without that: 1. this thread finds no run, 2. an app
            # that includes this one begins a run, 3. that app takes over the ambient runs,
            # under this lock, and finds none here, 4. this thread opens an ambient run beside
            # the run of the including app.
            run = self.open_run()
            if run is not None:
                return run
            if config.strict:
                raise ExecutionError(f"{self.shown} does not run; call inside `with app.run():`")
            run = Run(
                self.shown,
                ambient=True,
                environment_name=self._environment_name,
                placements=placements_of_configuration(),
            )
            self._begin(run)
        self._tell_handles()
        return run

    def running(self) -> AppRuns[A]:
        """Return the app that opened the run of this app; this app if there is none."""
        return next((app for app in self._with_includers() if app.run is not None), self)

    def open_run(self) -> Run | None:
        """Return the run of this app, or of an app that includes it; None if there is none."""
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
        schedules: bool = True,
        environment_name: str | None = None,
        placement: Placement | None = None,
    ) -> Run:
        """Begin a run that the caller closes.  The run replaces an ambient run.

        Raises:
            InvalidError: if the app runs already, or is deployed; in the process of a container;
                if the placement does not go with the clock or the probe.
        """
        placements = self._placements(placement, clock, probe)
        environment_name = environment_name or environment_of_run()
        with self.lock:
            if self.run is not None and (not self.run.ambient or self.deployed):
                what = "is deployed" if self.deployed else "runs already"
                instead = "app.stop() first" if self.deployed else "leave that run first"
                raise InvalidError(
                    f"{self.shown} {what}; {instead}, or call its functions without another run"
                )
            # Before anything is replaced: a run that nobody else can find must not be left open.
            self._check_for_run()
            # The scoped run replaces the ambient run in one step under the lock: no other run,
            # scoped or ambient, may begin between the two.
            ambient = self.run
            run = Run(
                self.shown,
                clock=clock,
                grace=grace,
                probe=probe,
                serialize=serialize,
                environment_name=environment_name,
                placements=placements,
            )
            self._begin(run)
            if name is not None:
                self.description = name
        self._tell_handles()
        try:
            for before in [ambient, *self._take_over()]:
                if before is not None:
                    before.close()
            self._start(run, schedules=schedules)
        except BaseException:  # also KeyboardInterrupt: the caller has no run to close
            self.close(run)
            raise
        return run

    def _placements(
        self, given: Placement | None, clock: Clock | None, probe: Probing | None
    ) -> Placements | None:
        """Return the placements of a run that begins.

        A placement of the configuration yields to a virtual clock and to a probe.
        """
        if is_a_container():
            raise InvalidError(
                f"{self.shown} cannot be run in a container; write `with app.run():` in the "
                'program that calls, e.g. under `if __name__ == "__main__":`'
            )
        virtual = clock is not None and clock.virtual
        if given is None:
            return None if virtual or probe is not None else placements_of_configuration()
        placements = placements_of(given)
        if placements is not None:
            self._warn_of_strangers(placements)
        if placements is not None and (virtual or probe is not None):
            what = "a virtual clock" if virtual else "probe="
            raise InvalidError(
                f"placement={given!r} does not go with {what}, which knows only this process; "
                'write placement="thread"'
            )
        return placements

    def _warn_of_strangers(self, placements: Placements) -> None:
        """Warn of names in `placements` that no function or class of this app has."""
        known = {
            name.removesuffix(".*") for app in self.with_included() for name in app.services.copy()
        }
        for name in placements.names:
            if name not in known:
                warn(
                    f"placement= names {name!r}, which is no function or class of "
                    f"{self.shown}; {_place_advice(name, known)}",
                    UserWarning,
                )

    def leaves_ambient_runs(self) -> bool:
        """Whether opening a run must end an ambient run first, which may take its grace."""
        runs = [app.run for app in self.with_included()]
        return any(run is not None and run.ambient for run in runs)

    def deploy(self, name: str, environment_name: str | None = None) -> None:
        """Keep the app running, under `name`, until `stop`.

        Another app that was deployed under `name`, and has no other name, is stopped.

        Raises:
            InvalidError: inside ``with app.run():``.
        """
        environment = environment_of(environment_name)
        self._check_for_run()
        with self.lock:
            if self.run is not None and not self.run.ambient:
                raise InvalidError(
                    f"{self.shown} runs already; leave `with app.run():` first, then deploy it"
                )
            run = self.run
            if run is None:
                run = Run(self.shown, ambient=True, placements=placements_of_configuration())
                self._begin(run)
            run.environment_name = self._environment_name = environment_name or environment_of_run()
            self.deployed = True
            self.description = name
        self._start(run)
        before = deployments.put(name, environment, self)
        if before is not None:
            before.stop()

    def stop(self) -> None:
        """End the app's run, if there is one, and remove the app from the deployments."""
        run = self.run
        deployments.remove(self)
        if run is None:
            self.deployed, self._environment_name = False, None
        else:
            self.close(run)

    @uninterruptible
    def close(self, run: Run) -> None:
        """End `run`: cancel the inputs that are left, then run the exit hooks."""
        try:
            run.close()
        finally:  # also after KeyboardInterrupt the app may run again
            with self.lock:
                if self.run is run:
                    self.run = None
                    self.deployed, self._environment_name = False, None
            self._tell_handles()

    def _begin(self, run: Run) -> None:
        self.run = run
        number = next_call_number()
        self._app_id, self._began = call_id(number).replace("fc-", "ap-", 1), number

    def _tell_handles(self) -> None:
        """Tell the handles of these apps, which were looked up by name, that a run began or ended.

        Without the lock of the app.
        """
        deployments.forget([app.name for app in self.with_included()])

    def runs_in(self, environment: str) -> int | None:
        """Return when the app's run began, in an order of all runs; None if none is in there.

        None for a deployed app too: it is found by the name of its deployment.
        """
        owner = self.running()
        run, began = owner.run, owner._began
        if run is None or run.closed or self.deployed:
            return None
        return began if configured_environment(run.environment_name) == environment else None

    def is_running(self) -> bool:
        """Whether the app has a run."""
        run = self.open_run()
        return run is not None and not run.closed

    def _check_for_run(self) -> None:
        """In strict mode, check the options of all services, as Modal does when an app runs."""
        if config.strict:
            for service in self._services():
                service.check_for_run()

    def _start(self, run: Run, *, schedules: bool = True) -> None:
        run.sites.reserved.update(self.listening)
        if schedules:
            run.schedules.start(
                one for app in self.with_included() for one in app.scheduled.copy().values()
            )
        for service in self._services():
            service.start_minimum(run)

    def _services(self) -> list[Starts]:
        return [service for app in self.with_included() for service in app.services.copy().values()]

    def _take_over(self) -> list[Run]:
        """Remove and return the ambient runs of the included apps.

        From now on the run of this app is the run of those apps.  The caller closes the
        returned runs.
        """
        taken: list[Run] = []
        for app in self.with_included()[1:]:
            with app.lock:
                run = app.run
                if run is not None and run.ambient and not app.deployed:
                    app.run = None
                    taken.append(run)
        return taken


AnyRuns = AppRuns[Any]


def _place_advice(name: str, known: Collection[str]) -> str:
    head = name.partition(".")[0]
    near = [head] if head in known else difflib.get_close_matches(name, known, 1)
    if near:
        return f"write {near[0]!r}"
    return f"write one of {', '.join(sorted(map(repr, known)))}" if known else "take it away"
