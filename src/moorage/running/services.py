"""Services: how one function, or one class with one set of parameters, is run.

Owns the way from checked options to a pool, and what `update_autoscaler` changes.  ``app.py``
and ``cls.py`` make services; `Function` asks them.  ``pool_keys.py`` owns the keys.

Begin at `AppService.maker`, then `AppService.make_pool`, then `AppService.update_autoscaler`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from ..declaring.options import FunctionOptions, checked_autoscaler
from ..declaring.targets import check_batched_class
from ..exception import ExecutionError
from ..placing.blueprints import function_blueprint, packed_code
from ..placing.calls import driver_run_of_found
from ..placing.placed import Placing
from ..placing.processes import Processes
from ..runtime.clocks.clock import Clock
from ..runtime.containers.container import (
    Container,
    ContainerFactory,
    ContainerOptions,
    Host,
)
from ..runtime.containers.lifecycle import Lifecycle
from ..runtime.containers.local import LocalContainer
from ..runtime.containers.residents import is_visit
from ..runtime.input import Target
from ..runtime.pools.autoscaler import Limits
from ..runtime.pools.batching import BatchOptions, batch_target
from ..runtime.pools.capacity import Capacity
from ..runtime.pools.kept import Kept
from ..runtime.pools.pool import Pool
from ..runtime.pools.pool_options import PoolOptions
from ..runtime.pools.probing import Probing
from ..runtime.waiting.deadlock import check_all, check_pool
from ..runtime.waiting.other_loops import why_it_waits
from ..serialize.serializing import SerializingTarget, serializing_lifecycle
from .app_runs import AnyRuns
from .environment import RunEnvironment, environment_of_process
from .pool_keys import PoolKey
from .runs import MakePool, Run

if TYPE_CHECKING:
    from ..declaring.needs import Volumes
    from .mounts import Mount


class RunningApp(NamedTuple):
    """The app that runs a service: that of the service, or one that includes it."""

    app: Any  # an `App`, which this file does not know
    name: str | None
    is_deployed: bool


class Service(Protocol):
    """How a function or class that is registered with an app is run."""

    @property
    def app(self) -> Any:
        """The app.  Typed Any, because this file does not know the class `App`."""
        ...

    @property
    def name(self) -> str:
        """The name of the pool."""
        ...

    @property
    def key(self) -> Hashable:
        """The key of the pool."""
        ...

    @property
    def options(self) -> FunctionOptions: ...
    @property
    def mounts_volumes(self) -> bool:
        """Whether `volumes` were given that are not at their paths in this process."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits now: `update_autoscaler` may have changed those of the options."""
        ...

    def current_run(self) -> Run:
        """Return the app's run; open an ambient run if there is none."""
        ...

    @property
    def open_run(self) -> Run | None:
        """The app's run; None if there is none."""
        ...

    def maker(self, run: Run, /) -> MakePool:
        """Return the function that makes the pool in `run`."""
        ...

    def places_in(self, run: Run, /) -> Processes | None:
        """Return how its containers are processes in `run`; None if they are threads."""
        ...

    @property
    def is_variant(self) -> bool:
        """Whether the options are not those of the declaration."""
        ...

    def web_app(self) -> RunningApp:
        """Return the app that runs, for the labels of its web functions."""
        ...

    def with_options(self, options: FunctionOptions, /, *, variant: str | None = None) -> Service:
        """Return this service with other options, and so with another pool.

        Args:
            options: the other options.
            variant: the variant of its pools (see `PoolStatistics`); None to derive the variant
                from what `options` changes.
        """
        ...

    def update_autoscaler(self, changes: Mapping[str, Any], /) -> Limits:
        """Change the limits now and for later pools; return the new limits."""
        ...


class ServiceElsewhere:
    """The `Service` of a function or class by value, in a container: its app is elsewhere."""

    app: Any = None
    blueprint: Any = None
    mounts_volumes: bool = False
    open_run: Run | None = None
    is_variant: bool = False

    def __init__(self, name: str, options: FunctionOptions | None = None) -> None:
        self.name: str = name
        self.options: FunctionOptions = FunctionOptions() if options is None else options
        self.key: Hashable = self

    @property
    def limits(self) -> Limits:
        return self.options.limits

    def current_run(self) -> Run:
        return cast(Run, driver_run_of_found())

    def maker(self, run: Run) -> MakePool:
        raise self._refusal()

    def places_in(self, run: Run) -> Processes | None:
        return None

    def web_app(self) -> RunningApp:
        raise self._refusal()

    def with_options(self, options: FunctionOptions, *, variant: str | None = None) -> Service:
        return ServiceElsewhere(self.name, options)

    def update_autoscaler(self, changes: Mapping[str, Any]) -> Limits:
        raise self._refusal()

    def _refusal(self) -> ExecutionError:
        return ExecutionError(
            f"{self.name} is of the program that calls, and its containers are there; "
            "put it into a module that can be imported"
        )


class AppService:
    """The `Service` of a function or class of an app."""

    def __init__(
        self,
        runs: AnyRuns,
        name: str,
        identity: Hashable,
        options: FunctionOptions,
        targets: Sequence[Target],
        lifecycle: Lifecycle,
        *,
        mounts: tuple[Mount, ...] = (),
        declared: FunctionOptions | None = None,
        variant: str | None = None,
    ) -> None:
        self._runs = runs
        self._name = name
        self._identity = identity  # the function, or the class and its parameter values
        self._options = options
        # The options of the function or class as declared; `options` are those of a variant.
        self._declared = declared or options
        self._variant = variant  # None: derived from what `options` change
        self._targets = targets
        self._lifecycle = lifecycle
        # If false, a container's start runs no user code, and needs no timeout.
        self._starts_user_code = (
            lifecycle.construct is not None
            or bool(lifecycle.enter)
            or lifecycle.residents is not None
        )
        self._declared_mounts = mounts
        self.mounts: tuple[Mount, ...] = _mounts_with(mounts, options.volumes)
        # A plain attribute, not a property, because each input reads it.
        self.key: PoolKey = self._runs.pool_keys.key((identity, options))

    @property
    def app(self) -> Any:
        """The app.  Typed Any, because this file does not know the class `App`."""
        return self._runs.app

    @property
    def name(self) -> str:
        return self._name

    @property
    def options(self) -> FunctionOptions:
        return self._options

    @property
    def limits(self) -> Limits:
        return self.key.limits or self._options.limits

    def current_run(self) -> Run:
        return self._runs.run or self._runs.current()

    @property
    def blueprint(self) -> Any:
        """What makes the class in another process, with its parameters; None for a function."""
        return self._lifecycle.blueprint

    @property
    def mounts_volumes(self) -> bool:
        if not self._declared_mounts:
            return False
        from .mounts import lacks_volumes

        return lacks_volumes(self._declared_mounts)

    @property
    def open_run(self) -> Run | None:
        return self._runs.open_run()

    @property
    def is_variant(self) -> bool:
        return self._options != self._declared

    def web_app(self) -> RunningApp:
        running = self._runs.running()
        return RunningApp(running.app, running.description, running.deployed)

    def with_options(self, options: FunctionOptions, *, variant: str | None = None) -> AppService:
        made = AppService(
            self._runs,
            self._name,
            self._identity,
            options,
            self._targets,
            self._lifecycle,
            mounts=self._declared_mounts,
            declared=self._declared,
            variant=variant,
        )
        if options.volumes is not None:
            self._runs.with_volumes.add(made)  # for `mounts_of`, as long as it is used
        return made

    @property
    def shown_with_volumes(self) -> str:
        return f"{self._name}.with_options({self._options.volumes})"

    def update_autoscaler(self, changes: Mapping[str, Any]) -> Limits:
        """Change the limits of the pool, now and for later pools; None or 0 unsets a limit.

        Raises:
            InvalidError: if a value is wrong, or `min_containers` exceeds `max_containers`.
        """
        checked_autoscaler(**changes)
        defaults = FunctionOptions().limits
        wanted = {
            # 0 means unset, as in Modal.
            name: value or getattr(defaults, name)
            for name, value in changes.items()
        }
        with self._runs.updating:
            limits = replace(self.limits, **wanted)
            checked_autoscaler(
                min_containers=limits.min_containers, max_containers=limits.max_containers
            )
            self.key.limits = limits
        self._runs.pool_keys.keep(self.key, self._identity)
        self._apply()
        return limits

    def _apply(self) -> None:
        """Set the limits of the pool of the open run, if any, to the current limits."""
        run = self.open_run
        while run is not None and not run.closed:
            limits = self.limits
            # `limits` was read first: a pool made after that already has these limits.
            pool = run.find(self.key)
            if pool is not None:
                if not pool.set_limits(self._of_pool(limits, self.places_in(run))):
                    run.drop(self.key, pool)  # the pool has just retired: look for its successor
                    continue
                check_all()
            elif limits.min_containers:
                try:
                    self.start_minimum(run)
                except ExecutionError:
                    if not run.closed and not run.draining:
                        raise
            if self.limits is limits:
                return
            # Another thread changed the limits, and may have set the pool's before this thread
            # did.  Set them again.

    def _of_pool(self, limits: Limits, processes: Processes | None = None) -> Limits:
        """Return the limits of the pool: one container that has a port of its own, at most.

        Of processes there are at most as many as `processes` says, or as memory has room for; one
        that is used once has one slot.
        """
        most = None if processes is None else processes.most
        if most is not None and most < (limits.max_containers or most + 1):
            least = min(limits.min_containers, most)
            limits = replace(limits, min_containers=least, max_containers=most)
        if processes is not None and self._options.single_use_containers:
            limits = replace(limits, max_inputs=1, target_inputs=1)
        if not self._lifecycle.is_alone:
            return limits
        least = min(limits.min_containers, 1)
        return replace(limits, min_containers=least, max_containers=1, buffer_containers=0)

    def check_for_run(self) -> None:
        self._options.check_for_run()

    def places_in(self, run: Run) -> Processes | None:
        placements = run.placements
        return None if placements is None else placements.of(self._family)

    def start_minimum(self, run: Run) -> None:
        """Start `min_containers` containers in `run`, which begins."""
        if self.limits.min_containers:
            run.pool(self.key, self.maker(run)).start_minimum()

    def maker(self, run: Run) -> MakePool:
        """Return the function that makes the pool in `run`.

        The caller must hold no lock: in a run with ``serialize`` this runs user code.

        Raises:
            SerializationError: if the run serializes and the parameter values of the class do not
                pickle.
        """
        processes = self.places_in(run)
        kept = run.kept(self.key, self._of_pool(self.limits, processes), self._family)
        variant = self.key.variant if self._variant is None else self._variant
        if variant is None:
            changes = self._options.changes_from(self._declared)
            variant = self._runs.pool_keys.variant(self.key, self._name, changes)
        if processes is not None:
            blueprint = self._lifecycle.blueprint or partial(function_blueprint, self._targets[0])
            return partial(
                self.make_pool,
                kept=kept,
                variant=variant,
                environment=run.environment,
                placing=Placing(processes, packed_code(self._name, blueprint())),
            )
        if not run.serialize:
            return partial(self.make_pool, kept=kept, variant=variant, environment=run.environment)
        batched = self._options.batching is not None
        serializing = AppService(
            self._runs,
            self._name,
            self._identity,
            self._options,
            [
                # A web request is messages of bytes, which are not copied.
                target if is_visit(target) else SerializingTarget(target, batched=batched)
                for target in self._targets
            ],
            serializing_lifecycle(self._lifecycle, self._name),
            mounts=self._declared_mounts,
        )
        return partial(
            serializing.make_pool,
            kept=kept,
            variant=variant,
            environment=run.environment,
            key=self.key,
        )

    @property
    def _family(self) -> str:
        """The name under which totals are kept: the function, or the class with any parameters."""
        target = self._targets[0] if self._targets else None
        if target is None or not target.is_method:
            return self._name
        return target.name.rpartition(".")[0]

    def make_pool(
        self,
        clock: Clock,
        capacity: Capacity,
        on_retired: Callable[[Pool], object],
        probe: Probing | None = None,
        kept: Kept | None = None,
        variant: str = "",
        environment: RunEnvironment | None = None,
        key: PoolKey | None = None,
        placing: Placing | None = None,
    ) -> Pool:
        """Make the pool from the options and the current limits.  See `MakePool`.

        Args:
            clock, capacity, on_retired, probe: see `MakePool`.
            kept: what an earlier pool has learned.
            variant: the name of the variant.
            environment: the variables of the run; None to set none.
            key: the key of the pool; None for `self.key`.
            placing: how its containers are processes; None if they are threads.
        """
        options = self._options
        limits = self._of_pool(self.limits, None if placing is None else placing.processes)
        if self.key.limits is not None:
            self._runs.pool_keys.keep(self.key, self._identity)  # marks the key as the last used
        batching: BatchOptions | None = None
        if options.batching is not None:
            if len(self._targets) != 1:  # strict mode checks this here, when the class is used
                check_batched_class(self._name, self._targets)
            batching = BatchOptions(
                batch_target(self._targets[0]),
                options.batching.max_batch_size,
                options.batching.wait_ms / 1000,
            )
        pool_options = PoolOptions(
            name=self._name,
            limits=limits,
            timeout=options.execution_timeout,
            startup_timeout=options.longest_start if self._starts_user_code else None,
            queue_timeout=options.queue_timeout,
            max_backlog=options.max_backlog,
            waits_when_full=options.on_full == "wait",
            retries=options.retries,
            batching=batching,
            variant=variant,
            exit_grace=self._lifecycle.exit_grace,
            nonpreemptible=options.nonpreemptible,
            is_placed=placing is not None,
            is_web=any(is_visit(target) for target in self._targets),
            sync_slots=(
                limits.max_inputs
                if placing is None  # else the threads are another process's
                and (
                    self._lifecycle.has_errands
                    or any(not target.is_async for target in self._targets)
                )
                else 0
            ),
        )
        steps: list[Callable[[], object]] = []
        if self.mounts:
            from .mounts import look_at_mounts

            steps.append(partial(look_at_mounts, self._name, self.mounts, self._runs.warned))
        if environment is not None and options.needs is not None:
            steps.append(
                partial(environment.prepare, key or self.key, pool_options.label, options.needs)
            )
        lifecycle = self._lifecycle
        if steps:
            lifecycle = replace(lifecycle, prepare=steps[0] if len(steps) == 1 else _all(steps))
        container_options = ContainerOptions(
            name=pool_options.label,
            max_inputs=limits.max_inputs,
            has_async=any(target.is_async for target in self._targets),
            lifecycle=lifecycle,
            why_it_waits=why_it_waits,
        )

        factory: ContainerFactory = _local_factory(container_options)
        if placing is not None:
            from .mounts import is_new, mounts_of_process

            name, mounts, warned = self._name, self.mounts, self._runs.warned
            factory = placing.factory(
                container_options,
                [target.name for target in self._targets],
                is_batched=batching is not None,
                is_single_use=options.single_use_containers,
                mounts=partial(mounts_of_process, name, mounts, warned) if mounts else None,
                is_new=partial(is_new, warned),
                environment=partial(
                    environment_of_process, environment, pool_options.label, options.needs
                ),
                reserve=self._lifecycle.take_ports,
            )

        return Pool(
            pool_options,
            factory,
            clock=clock,
            capacity=capacity,
            kept=kept,
            starved=check_pool,
            on_retired=on_retired,
            probe=probe,
        )


def _local_factory(options: ContainerOptions) -> ContainerFactory:
    def factory(host: Host, number: int, target: int, limit: int) -> Container:
        return LocalContainer(host, number, target, limit, options)

    return factory


def _mounts_with(mounts: tuple[Mount, ...], volumes: Volumes | None) -> tuple[Mount, ...]:
    """Return the mounts of a variant: see `mounts_with`, which few programs need."""
    if volumes is None:
        return mounts
    from .mounts import mounts_with

    return mounts_with(mounts, volumes)


def _all(steps: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """Return a function that takes all `steps`, in their order."""

    def take() -> None:
        for step in steps:
            step()

    return take
