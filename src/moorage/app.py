"""Apps: where functions and classes are registered.

Owns the registration: ``@app.function``, ``@app.cls``, ``@app.local_entrypoint`` and
``app.include``.  Users call this file.  Decorating starts nothing, because containers live
within a run; ``running/app_runs.py`` owns which run an app has.

Begin at `App.function`, then `App.cls`, then `App.run`.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Never,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    dataclass_transform,
    overload,
)

from . import config
from .advice import no_attribute, of_app
from .arguments import check_name
from .calling.asking import ask
from .cls import Cls, web_functions_of
from .declaring.cloud_arguments import check_cloud_arguments, check_scheduled
from .declaring.declarations import Declarations
from .declaring.marks import Concurrency, Serves, name_of
from .declaring.needs import Needs, needs_of
from .declaring.options import (
    NOTHING,
    FunctionOptions,
    OldNames,
    OnFull,
    accept_gone,
    accept_old_names,
    checked_options,
    refuse_no_timeout,
)
from .declaring.partial import PartialFunction
from .declaring.registering import (
    check_place,
    given_parameters,
    raw_and_marks,
    refuse_nested,
    shown_kind,
    with_marks,
)
from .declaring.targets import make_target
from .exception import (
    DeprecationError,
    ExecutionError,
    InvalidArgumentsError,
    InvalidAttributeError,
    InvalidError,
    NotFoundError,
)
from .frames import (
    hide_our_frames,
    hide_our_frames_of_decorator,
    warn,
)
from .functions import Function
from .partial_function import parameter
from .placing.blueprints import reference_of_global
from .retries import Retries
from .running import deployments
from .running.app_runs import AppRuns
from .running.entrypoint import LocalEntrypoint as LocalEntrypoint
from .running.run_method import AppRun as AppRun
from .running.run_method import RunMethod
from .running.schedules import Scheduled
from .running.services import AppService
from .running.urls import WebFunction, server_function
from .runtime import forking
from .runtime.containers.lifecycle import Lifecycle
from .runtime.containers.residents import make_visit_target
from .runtime.context import is_a_container
from .runtime.kinds import is_registered
from .runtime.real import Real
from .runtime.waiting.async_waiters import run_in_thread
from .server import Server
from .stores.home import environment_that_goes_along
from .web.proxy import MOST_CONNECTIONS
from .web.residents import web_lifecycle
from .web.servers import (
    check_http_server,
    check_scaleup_window,
    check_server_class,
    check_server_concurrency,
)
from .with_aio import MethodWithAio, Way, plain_function, with_aio

if TYPE_CHECKING:
    from .cloud_bucket_mount import CloudBucketMount
    from .declaring.batch_types import OneInputAndLocal
    from .functions import BatchedFunction
    from .image import AddedFiles, Image
    from .network_file_system import NetworkFileSystem
    from .proxy import Proxy
    from .running.mounts import Mount
    from .schedule import Schedule
    from .secret import Secret
    from .volume import Volume

logger: Final = logging.getLogger("moorage")

P = ParamSpec("P")
L = ParamSpec("L")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
C = TypeVar("C", bound=type)

Path_ = str | PurePosixPath


class FunctionDecorator(Protocol):
    """The decorator that ``app.function(...)`` returns.  It keeps the function's types."""

    @overload
    def __call__(
        self, function: OneInputAndLocal[P, R, O, L], /
    ) -> BatchedFunction[P, R, O, L]: ...
    @overload
    def __call__(self, function: PartialFunction[P, R, O], /) -> Function[P, R, O]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Function[P, R, R]: ...


class EntrypointDecorator(Protocol):
    """The decorator that ``app.local_entrypoint(...)`` returns.

    Calling the entrypoint of an async function returns the awaited value.
    """

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> LocalEntrypoint[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> LocalEntrypoint[P, R]: ...


# Seconds that a request to a server of ``app.server`` may take: as long as any input may.
LONGEST_REQUEST: Final = 24 * 60 * 60


class App:
    """A collection of functions and classes that run together.

    ``with app.run():`` (or ``async with``) scopes the containers of the app.  A call outside
    of any run opens an *ambient* run, which ends when the interpreter exits.

    Args:
        name: the name under which the app is deployed and shown.
        image, secrets: for all functions and classes of the app.  A function with an image of
            its own does not have the app's; it has the app's secrets before its own.
        tags, volumes, include_source: for the cloud; checked, without effect here.

    Raises:
        InvalidError: if `name` is not a str, or an argument for the cloud is wrong.
    """

    @hide_our_frames
    def __init__(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Secret] = (),
        volumes: Mapping[Path_, Volume] = NOTHING,
        include_source: bool = True,
        **old_names: Never,
    ) -> None:
        accept_gone("App", old_names, lambda: Real.signature(App).parameters)
        if name is not None and not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f'name must be a string, got {name!r}; write App("my-app")')
        check_cloud_arguments(
            "App",
            {
                "tags": tags,
                "image": image,
                "secrets": secrets,
                "volumes": volumes,
                "include_source": include_source,
            },
        )
        self._name = name
        self._image = image
        self._secrets = tuple(secrets)
        self._volumes: Mapping[Path_, Volume] = volumes
        self._old_files = _old_files_of(dict(old_names).get("mounts"))
        self._tags = dict(tags or {})
        self._runs: AppRuns[App] = AppRuns(self, name)
        self._functions: dict[str, Function[..., Any, Any]] = {}
        self._classes: dict[str, Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        self._servers: dict[str, Server] = {}
        self._web_endpoints: list[str] = []
        # What has a URL, in the order of definition, by the name of the function or class.
        self._served: dict[str, Callable[[], list[WebFunction]]] = {}

    # -- properties -----------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """The name that the app was made with; None without one."""
        return self._name

    @property
    def description(self) -> str | None:
        """The name that the app was last deployed or run under, or else its `name`."""
        return self._runs.description

    def _moorage_crosses(self) -> Any:
        """Return what finds the app in another process: where its module has it, or its number."""
        found: Any = self.__dict__.get("_refers")
        if found is None:
            found = self.__dict__.setdefault("_refers", self._make_reference())
        return found

    def _make_reference(self) -> tuple[Any, ...]:
        found = reference_of_global(self)
        if found is not None:
            return found
        if is_a_container():
            raise ExecutionError(
                f"{self!r} was made by the code of a container, so the calling program does not "
                "have it; make it at the top of a module"
            )
        number = self.__dict__.setdefault("_number", next(_numbers))
        _by_number[number] = self
        return _app_with_number, (number, self._name)

    @property
    def app_id(self) -> str | None:
        """The id of the app's run; None while the app does not run."""
        if is_a_container():
            there: str | None = ask(_app_id_of, self)
            return there
        return self._runs.app_id

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """The functions of the app and of included apps, by name; a class C appears as ``C.*``."""
        self._warn_registered("registered_functions")
        functions = self._functions_by_name()
        for name in self._classes_by_name():
            functions[f"{name}.*"] = _all_methods(name)
        return functions

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """The classes of the app and of included apps, by name."""
        self._warn_registered("registered_classes")
        return self._classes_by_name()

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """The local entrypoints of the app, by name."""
        self._warn_registered("registered_entrypoints")
        return dict(self._entrypoints)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """The names of the web functions of the app and of included apps."""
        self._warn_registered("registered_web_endpoints")
        return [name for app in self._all_apps() for name in app._web_endpoints.copy()]

    def _warn_registered(self, name: str) -> None:
        if config.strict:  # as Modal does
            warn(
                f"App.{name} goes away in Modal 1.7; keep what the decorators return instead",
                DeprecationError,
            )

    def _functions_by_name(self) -> dict[str, Function[..., Any, Any]]:
        return {n: f for app in self._all_apps() for n, f in app._functions.copy().items()}

    def _classes_by_name(self) -> dict[str, Cls]:
        return {n: c for app in self._all_apps() for n, c in app._classes.copy().items()}

    def _servers_by_name(self) -> dict[str, Server]:
        return {n: s for app in self._all_apps() for n, s in app._servers.copy().items()}

    def _web_functions(self, *, skip_wrong: bool = False) -> list[WebFunction]:
        """Return the web functions and servers of this app, and then of the apps it includes.

        Each app has them in the order of definition.

        Args:
            skip_wrong: leave out what cannot be served, instead of raising the error.

        Raises:
            InvalidError: if a class with web methods cannot be made without arguments.
        """
        found: dict[object, WebFunction] = {}
        for app in self._all_apps():
            for serve in app._served.copy().values():
                try:
                    found.update({one.place.key: one for one in serve()})
                except InvalidError:
                    if not skip_wrong:
                        raise
        return list(found.values())

    def _serves(self, name: str, serve: Callable[[], list[WebFunction]] | None) -> None:
        """Note what the function or class `name` serves, in the place of an older one."""
        self._served.pop(name, None)
        if serve is not None:
            self._served[name] = serve

    def _all_apps(self) -> list[App]:
        """Return this app and all apps that it includes."""
        return [runs.app for runs in self._runs.with_included()]

    # -- registering ------------------------------------------------------------------

    @hide_our_frames_of_decorator("@app.function()")
    def function(
        self,
        *,
        image: Image | None = None,
        schedule: Schedule | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: str | list[str] | None = None,
        serialized: bool = False,
        network_file_systems: Mapping[Path_, NetworkFileSystem] = NOTHING,
        volumes: Mapping[Path_, Volume | CloudBucketMount] = NOTHING,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        proxy: Proxy | None = None,
        retries: int | Retries | None = None,
        timeout: float | None = 300,
        startup_timeout: float | None = None,
        queue_timeout: float | None = None,
        max_backlog: int | None = None,
        on_full: OnFull | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: Mapping[str, Any] | None = None,
        _experimental_restrict_output: bool = False,
        max_inputs: int | None = None,
        **old_names: Unpack[OldNames],
    ) -> FunctionDecorator:
        """Register a function with the app.

        The arguments that are not listed below are for the cloud: checked, without effect.

        Args:
            name: the name under which the function is shown and looked up; by default the
                function's own name.
            timeout: seconds an input may run, counted from when the input got its slot.
                After that the caller gets `FunctionTimeoutError`.
            startup_timeout: seconds a container may take to start.  If None, `timeout`, but
                at least 1.  When a start takes longer, and there is no other container, the
                inputs that wait for the container fail with `FunctionTimeoutError`.
            queue_timeout: seconds an input may wait for a slot, each time that the input
                queues.  After that the caller gets `QueueTimeoutError`.  No limit if None.
            max_backlog: the most inputs that may wait for a slot; no limit if None.
            on_full: what a call does when `max_backlog` inputs wait: ``"raise"`` (the
                default) raises `ResourceExhaustedError` at once; ``"wait"`` waits for room,
                first come, first served.
            min_containers: containers that start with the run, and are kept until its end.
            max_containers: the most containers that start or take inputs at the same time.
                If None, only the limit of the process holds.
            buffer_containers: extra containers beyond the need, while there is any demand.
            scaledown_window: seconds an idle container is kept, 2 to 3,600.  If None, the
                autoscaler chooses: 60 for the last container; for the others about as long
                as starting a new one would take, or 60 for containers that were needed
                again late.
            retries: how often a failed input is tried again: a count, with 1 s between the
                attempts, or a `Retries` policy.  Not for generators and web functions.
            is_generator: whether calling the function returns a generator; if None, this is
                read from the function.
            serialized: in strict mode, required for a nested function.  No other effect.
            single_use_containers: checked, without effect.
            max_inputs: the old name of ``single_use_containers``; it does not set the
                concurrency.  For concurrency write ``@moorage.concurrent(max_inputs=...)``.

        Raises:
            InvalidError: if an argument is wrong, or the decorated object is not a function.
        """
        shared: dict[str, Any] = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "retries": retries,
            "timeout": timeout,
            "startup_timeout": startup_timeout,
            "queue_timeout": queue_timeout,
            "max_backlog": max_backlog,
            "on_full": on_full,
            "single_use_containers": single_use_containers,
            "max_inputs": max_inputs,
        }
        concurrent_inputs = accept_old_names(
            "app.function",
            shared,
            dict(old_names),
            lambda: Real.signature(App.function).parameters,
        )
        old_files, secrets, network_file_systems = _with_old(
            dict(old_names), secrets, network_file_systems
        )
        refuse_no_timeout(timeout)
        cloud_arguments: dict[str, object] = {
            "image": image,
            "schedule": schedule,
            "env": env,
            "secrets": secrets,
            "gpu": gpu,
            "network_file_systems": network_file_systems,
            "volumes": volumes,
            "cpu": cpu,
            "memory": memory,
            "ephemeral_disk": ephemeral_disk,
            "proxy": proxy,
            "cloud": cloud,
            "region": region,
            "routing_region": routing_region,
            "nonpreemptible": nonpreemptible,
            "block_network": block_network,
            "restrict_modal_access": restrict_modal_access,
            "i6pn": i6pn,
            "include_source": include_source,
            "experimental_options": experimental_options,
            "_experimental_restrict_output": _experimental_restrict_output,
        }
        self._check_cloud("app.function", cloud_arguments, decorating=False)
        options = checked_options("app.function", **shared, nonpreemptible=nonpreemptible)

        @hide_our_frames
        def decorate(function: Any) -> Any:
            raw, marks = raw_and_marks(function)
            if isinstance(raw, type):
                raise InvalidArgumentsError(
                    f"app.function() decorates functions, got the class {raw.__name__}; "
                    "write @app.cls() instead"
                )
            if not callable(raw) or is_registered(raw):
                raise InvalidAttributeError(
                    f"app.function() decorates functions, got {raw!r}; "
                    "write it above a def, once and as the only decorator of an app"
                )
            shown = name or getattr(raw, "__name__", None)
            if not isinstance(shown, str) and not config.strict:
                raise InvalidError(
                    f"app.function() needs a name for {raw!r}, got {shown!r}; "
                    'write @app.function(name="...")'
                )
            shown = str(shown)
            check_place(raw, shown, marks, serialized)
            self._check_cloud("app.function", cloud_arguments, decorating=True)
            check_scheduled(schedule, raw)
            target = make_target(shown, raw, is_generator, batched=marks.batching is not None)
            if marks.web is not None and target.is_generator:
                raise InvalidError(
                    f"the web function {shown} is a generator; "
                    "return a streaming response of your web framework instead"
                )
            if retries is not None and (target.is_generator or marks.web is not None):
                kind = "a generator" if target.is_generator else f"a web function ({shown})"
                raise InvalidError(
                    f"app.function(retries=...) does not go with {kind}, got retries={retries!r}; "
                    f"take it away from {shown}"
                )
            if marks.web is None:
                runs, lifecycle = target, Lifecycle()
            else:
                runs = make_visit_target(shown, is_method=False)
                lifecycle = web_lifecycle(shown, marks.web, raw)
            mounts = self._mounts(image, old_files, volumes, network_file_systems)
            service = AppService(
                self._runs,
                shown,
                object(),
                with_marks(
                    options.merged(needs=self._needs(image, secrets, env)),
                    marks,
                    concurrent_inputs,
                    shown,
                ),
                [runs],
                lifecycle,
                mounts=mounts,
            )
            registered = Function._make(target, service, raw, web=marks.web)
            registered._keep_ways()
            if shown in self._functions:
                logger.warning(
                    "function name %r is registered twice in %s; the last one counts",
                    shown,
                    self._runs.shown,
                )
            self._functions[shown] = registered
            self._runs.services[shown] = service
            self._runs.mounts[shown] = mounts
            self._runs.scheduled.pop(shown, None)
            if schedule is not None:
                self._runs.scheduled[shown] = Scheduled(shown, schedule, registered._spawn_soon)
            if marks.web is not None:
                self._web_endpoints.append(shown)
            self._serves(
                shown, None if marks.web is None else lambda: [registered._as_web_function()]
            )
            return registered

        return decorate

    # With `dataclass_transform`, type checkers know the parameters of `C(k=1)`.
    @hide_our_frames_of_decorator("@app.cls()")
    @dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
    def cls(
        self,
        *,
        image: Image | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: str | list[str] | None = None,
        serialized: bool = False,
        network_file_systems: Mapping[Path_, NetworkFileSystem] = NOTHING,
        volumes: Mapping[Path_, Volume | CloudBucketMount] = NOTHING,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        proxy: Proxy | None = None,
        retries: int | Retries | None = None,
        timeout: float | None = 300,
        startup_timeout: float | None = None,
        queue_timeout: float | None = None,
        max_backlog: int | None = None,
        on_full: OnFull | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: Mapping[str, Any] | None = None,
        _experimental_restrict_output: bool = False,
        max_inputs: int | None = None,
        **old_names: Unpack[OldNames],
    ) -> Callable[[C], C]:
        """Register a class with the app.  See `function` for the arguments.

        The methods of an instance share its containers and their slots; the instances with
        equal parameter values share one pool of containers.

        Raises:
            InvalidError: if an argument is wrong, or a method is decorated with
                ``concurrent``, which belongs on the class.
        """
        shared: dict[str, Any] = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "retries": retries,
            "timeout": timeout,
            "startup_timeout": startup_timeout,
            "queue_timeout": queue_timeout,
            "max_backlog": max_backlog,
            "on_full": on_full,
            "single_use_containers": single_use_containers,
            "max_inputs": max_inputs,
        }
        concurrent_inputs = accept_old_names(
            "app.cls", shared, dict(old_names), lambda: Real.signature(App.cls).parameters
        )
        old_files, secrets, network_file_systems = _with_old(
            dict(old_names), secrets, network_file_systems
        )
        refuse_no_timeout(timeout)
        cloud_arguments: dict[str, object] = {
            "image": image,
            "env": env,
            "secrets": secrets,
            "gpu": gpu,
            "network_file_systems": network_file_systems,
            "volumes": volumes,
            "cpu": cpu,
            "memory": memory,
            "ephemeral_disk": ephemeral_disk,
            "proxy": proxy,
            "cloud": cloud,
            "region": region,
            "routing_region": routing_region,
            "nonpreemptible": nonpreemptible,
            "block_network": block_network,
            "restrict_modal_access": restrict_modal_access,
            "i6pn": i6pn,
            "include_source": include_source,
            "experimental_options": experimental_options,
            "_experimental_restrict_output": _experimental_restrict_output,
        }
        self._check_cloud("app.cls", cloud_arguments, decorating=False)
        options = checked_options("app.cls", **shared, nonpreemptible=nonpreemptible)

        @hide_our_frames
        def decorate(user_class: Any) -> Any:
            raw, marks = raw_and_marks(user_class)
            if not isinstance(raw, type):
                raise InvalidArgumentsError(
                    f"app.cls() decorates classes, got {shown_kind(raw)}; "
                    "write @app.function() for a function, and app.cls() once"
                )
            refuse_nested(raw, serialized)
            self._check_cloud("app.cls", cloud_arguments, decorating=True)
            declared = Declarations(raw, snapshots=enable_memory_snapshot)
            mine = with_marks(options, marks, concurrent_inputs, raw.__name__).merged(
                batching=declared.batching, needs=self._needs(image, secrets, env)
            )
            mine.check_queue_timeout()
            forking.know(declared)

            if marks.serves is not None:
                declared.serve(marks.serves)
                asked = mine.concurrency or Concurrency()
                if asked.max_inputs is None and (asked.target_inputs or not declared.methods):
                    most = max(MOST_CONNECTIONS, asked.target_inputs or 0)
                    mine = mine.merged(concurrency=Concurrency(most, asked.target_inputs))
            mounts = self._mounts(image, old_files, volumes, network_file_systems)
            registered = self._register_class(declared, mine, mounts=mounts)
            if raw.__name__ in self._classes:
                logger.warning(
                    "class name %r is registered twice in %s; the last one counts",
                    raw.__name__,
                    self._runs.shown,
                )
            self._classes[raw.__name__] = registered
            self._runs.mounts[raw.__name__] = mounts
            self._web_endpoints += [f"{raw.__name__}.{name}" for name in declared.web]
            self._serves(raw.__name__, lambda: web_functions_of(registered))
            self._runs.services.pop(f"{raw.__name__}.*", None)  # of another class with this name
            if all(p.default is not inspect.Parameter.empty for p in given_parameters(declared)):
                self._know_default_pool(registered)
            return registered

        return decorate

    def _register_class(
        self, declared: Declarations, options: FunctionOptions, *, mounts: tuple[Mount, ...]
    ) -> Cls:
        def make_service(
            changed: FunctionOptions, lifecycle: Lifecycle, shown: str, identity: Any
        ) -> AppService:
            return AppService(
                self._runs,
                shown,
                identity,
                changed,
                declared.targets,
                lifecycle,
                mounts=mounts,
                declared=options,
            )

        return Cls._make(declared, make_service, options)

    def _check_cloud(self, where: str, given: dict[str, object], *, decorating: bool) -> None:
        """Check the arguments for the cloud.

        This runs twice: when ``app.function(...)`` is called, and when its decorator is
        applied.  Without strict mode the first checks everything.  In strict mode the first
        checks `secrets` only, as Modal does, and the second checks everything.
        """
        if not decorating and config.strict:
            given = {"secrets": given["secrets"]}
        elif decorating:
            if not config.strict and not self._volumes:
                return
            volumes = given["volumes"]
            if self._volumes and isinstance(volumes, dict):
                given = {**given, "volumes": {**self._volumes, **volumes}}
        check_cloud_arguments(where, given)

    def _needs(self, image: Image | None, secrets: object, env: object) -> Needs | None:
        return needs_of(self._image if image is None else image, self._secrets, secrets, env)

    def _mounts(self, image: Image | None, *mounts: Mapping[Any, Any]) -> tuple[Mount, ...]:
        """Return the mounts of a function: of its arguments, and of the app."""
        image = image or self._image
        given: tuple[Mapping[Any, Any], ...] = (self._old_files, self._volumes, *mounts)
        if image is None and not any(given):
            return ()  # without an import that few programs need
        from .running.mounts import mounts_from

        return mounts_from(image, *given)

    def _know_default_pool(self, cls: Cls) -> None:
        """Register the pool of ``C()``: a run then checks its options and starts its minimum."""
        try:
            service: Any = cls()._service
        except TypeError:  # a default of a wrong type, which strict mode reports on use
            if not config.strict:
                raise
        else:
            self._runs.services[f"{cls.__name__}.*"] = service
            cls._plain_service = service

    @hide_our_frames_of_decorator("@app.local_entrypoint()")
    def local_entrypoint(self, *, name: str | None = None) -> EntrypointDecorator:
        """Register the function that starts the program's work from the command line.

        Args:
            name: the name of the entrypoint; by default the function's own name.

        Raises:
            InvalidError: if the name is taken, or the decorated object is not a function.
        """
        if name is not None and not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f'name must be a string, got {name!r}; write name="main"')

        @hide_our_frames
        def decorate(function: Any) -> Any:
            if not _may_be_entrypoint(function):
                raise InvalidAttributeError(
                    f"app.local_entrypoint() decorates functions, got {function!r}; write it above "
                    "a def of its own, which calls the others by .remote(...)"
                )
            refuse_nested(function, False)
            shown = name or name_of(function)
            if shown in self._entrypoints:
                raise InvalidError(
                    f"the local entrypoint {shown!r} is registered already; "
                    'write @app.local_entrypoint(name="...") with another name'
                )
            entrypoint = self._entrypoints[shown] = LocalEntrypoint(self, function)
            return entrypoint

        return decorate

    @hide_our_frames
    def include(self, /, other_app: App, inherit_tags: bool = True) -> App:
        """Add the functions and classes of `other_app` to this app.

        Runs of this app are then runs of `other_app` too.  If both apps have a function or
        class of the same name, the one of the app that was included last is found by name,
        and a warning is logged.

        Args:
            inherit_tags: for the cloud; without effect.

        Returns:
            This app.

        Raises:
            InvalidError: if `other_app` is not an App.
        """
        if not isinstance(other_app, App):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidAttributeError(
                f"include takes an App, got {other_app!r}; write app.include(other.app)"
            )
        if other_app is self:
            return self
        mine = self._functions_by_name() | self._classes_by_name()
        theirs = other_app._functions_by_name() | other_app._classes_by_name()
        for name in mine.keys() & theirs.keys():
            if mine[name] is not theirs[name]:
                logger.warning(
                    "%r of %s is registered in %s too; the last one counts",
                    name,
                    other_app._runs.shown,
                    self._runs.shown,
                )
        self._runs.include(other_app._runs)
        return self

    # -- runs -----------------------------------------------------------------------

    if TYPE_CHECKING:

        @property
        def run(self) -> RunMethod[App]: ...
    else:
        run = Way(
            RunMethod,
            "Scope the app's containers: ``with app.run():`` or ``async with app.run():``.\n\n"
            "`RunMethod.__call__` describes the arguments.",
            lambda app: RunMethod(app._runs),
        )

    async def _deploy_async(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: object = None,
        strategy: str = "rolling",
    ) -> App:
        return await run_in_thread(lambda: self._deploy(name, strategy, environment_name))

    @with_aio(_deploy_async)
    @hide_our_frames
    def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: object = None,
        strategy: str = "rolling",
    ) -> App:
        """Keep the app running in this process, under a name, until `stop`.

        ``Function.from_name`` and ``Cls.from_name`` find the app by that name.  Another app
        that is deployed under the name, and under no other name, is stopped.

        Args:
            name: the name to deploy under; by default the app's own name.
            strategy: ``"rolling"`` or ``"recreate"``, for the cloud; without effect.
            environment_name: where ``from_name`` finds the app, and where its functions find
                their named objects; see `run`.
            tag, client: for the cloud; accepted without effect.

        Raises:
            InvalidError: if there is no name, inside ``with app.run():``, or for another
                `strategy`.
        """
        return self._deploy(name, strategy, environment_name)

    def _deploy(self, name: str | None, strategy: str, environment_name: str | None) -> App:
        if is_a_container():
            raise InvalidError(
                f"{self._runs.shown} cannot be deployed in a container; write app.deploy() in the "
                'program that calls, e.g. under `if __name__ == "__main__":`'
            )
        if strategy not in ("rolling", "recreate"):
            raise InvalidError(
                f"the deployment strategy must be 'rolling' or 'recreate', got {strategy!r}; "
                "write strategy='rolling'"
            )
        name = name or self._name
        if name is None:
            raise InvalidError(
                'deploy needs a name; write app.deploy(name="some-name") or App("some-name")'
            )
        check_name(name, "App", 'app.deploy(name="my-app")')
        self._runs.deploy(name, environment_name)
        return self

    async def _stop_async(self, *, client: object = None) -> None:
        await run_in_thread(
            partial(ask, _stop_there, self) if is_a_container() else self._runs.stop
        )

    @with_aio(_stop_async)
    def stop(self, *, client: object = None) -> None:
        """End the app's run and remove the app from the deployments.

        The inputs that are left are cancelled, then the exit hooks run.

        Raises:
            InvalidError: if the app does not run.
        """
        if is_a_container():
            ask(_stop_there, self)
            return
        # In a forked child a deployed app has no run until the first call, but is still deployed.
        if self._runs.run is None and not self._runs.deployed:
            raise InvalidError(
                f"{self._runs.shown} does not run, so App.stop has no run with an ID to stop; "
                "write it inside `with app.run():` or after app.deploy()"
            )
        self._runs.stop()

    @staticmethod
    @plain_function
    def lookup(
        name: str,
        *,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> App:
        """Return the app that is deployed or runs in this process under `name`.

        Args:
            create_if_missing: if there is no such app, deploy an empty one.
            environment_name: the environment of the app, as in `deploy`.
            client: for the cloud; accepted without effect.

        Raises:
            NotFoundError: if there is no such app, without `create_if_missing`.
        """
        if is_a_container():
            environment = environment_that_goes_along(environment_name)
            there: App = ask(_look_up_there, name, environment, create_if_missing)
            return there
        with deployments.creating:
            try:
                found: App = deployments.find(name, environment_name)
                return found
            except NotFoundError:
                if not create_if_missing:
                    raise
            return App(name)._deploy(name, "rolling", environment_name)

    @MethodWithAio
    def get_tags(self, *, client: object = None) -> dict[str, str]:
        """Return the tags of the app."""
        return dict(self._tags)

    @MethodWithAio
    def set_tags(self, tags: Mapping[str, str], *, client: object = None) -> None:
        """Replace all tags of the app.

        Raises:
            InvalidError: if `tags` is not a dict of possible names to possible values.
        """
        check_cloud_arguments("App", {"tags": tags})
        self._tags = dict(tags)

    @hide_our_frames_of_decorator("@app.server(port=8000)")
    def server(
        self,
        *,
        image: Image | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: str | list[str] | None = None,
        serialized: bool = False,
        volumes: Mapping[Path_, Volume | CloudBucketMount] = NOTHING,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        target_concurrency: float | None = None,
        max_concurrency: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaleup_window: int | None = None,
        scaledown_window: int | None = None,
        startup_timeout: int = 30,
        name: str | None = None,
        port: int = 8000,
        unauthenticated: bool = False,
        h2_enabled: bool = False,
        exit_grace_period: int = 0,
        routing_region: str = "us-east",
        compute_region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        nonpreemptible: bool = False,
        proxy: Proxy | None = None,
        i6pn: bool | None = None,
        enable_memory_snapshot: bool = False,
        include_source: bool | None = None,
        experimental_options: Mapping[str, Any] | None = None,
    ) -> Callable[[type[Any]], Server]:
        """Register a class whose enter hook starts an HTTP server.

        Requests go to that server by a proxy.  A container is one server, and a port has one
        server at a time: so there is at most one container.

        Args:
            port: the port that the server listens on, 1 to 65,535.
            target_concurrency, max_concurrency: requests in one container, aimed at and at most.
            startup_timeout: seconds until the server must listen; above 0.
            exit_grace_period: seconds for the last requests, 0 to 3,600; at most half of the
                run's ``grace``.
            unauthenticated: whether requests need no token, if the configuration has tokens.

        Raises:
            InvalidError: if an argument is wrong; if the class has parameters, methods for
                callers or no enter hook; or if it is decorated with ``concurrent``.
        """
        check_http_server(
            port, startup_timeout, exit_grace_period, "routing_region", routing_region, longest=3600
        )
        check_server_concurrency(target_concurrency, max_concurrency, experimental_options)
        check_scaleup_window(scaleup_window)
        self._check_cloud(
            "app.server",
            {
                "image": image,
                "env": env,
                "secrets": secrets,
                "gpu": gpu,
                "volumes": volumes,
                "cpu": cpu,
                "memory": memory,
                "ephemeral_disk": ephemeral_disk,
                "proxy": proxy,
                "cloud": cloud,
                "region": compute_region,
                "routing_region": routing_region,
                "nonpreemptible": nonpreemptible,
                "i6pn": i6pn,
                "include_source": include_source,
                "experimental_options": experimental_options,
            },
            decorating=False,
        )
        # A container runs as many requests as come, up to `max_concurrency`.
        requests = Concurrency(max_concurrency or MOST_CONNECTIONS)
        options = checked_options(
            "app.server",
            min_containers=min_containers,
            max_containers=max_containers,
            buffer_containers=buffer_containers,
            scaledown_window=scaledown_window,
            nonpreemptible=nonpreemptible,
        ).merged(concurrency=requests, timeout=LONGEST_REQUEST)
        serves = Serves(
            int(port),
            startup_timeout,
            exit_grace_period,
            max_concurrency or None,
            needs_token=not unauthenticated,
            target_concurrency=target_concurrency,
            scaleup_window=scaleup_window,
        )

        @hide_our_frames
        def decorate(user_class: Any) -> Server:
            raw, marks = raw_and_marks(user_class)
            check_server_class(raw, marks, snapshots=enable_memory_snapshot)
            refuse_nested(raw, serialized)
            shown = name or raw.__name__
            declared = Declarations(raw, snapshots=enable_memory_snapshot)
            declared.serve(serves)
            forking.know(declared)
            mounts = self._mounts(image, volumes)
            mine = options.merged(needs=self._needs(image, secrets, env))
            made = self._register_class(declared, mine, mounts=mounts)
            service: Any = made()._service
            self._runs.services[shown] = service
            self._runs.mounts[shown] = mounts
            endpoint = made._web_endpoint()
            self._servers[shown] = Server._of_class(self, raw, made, shown, endpoint)
            self._serves(shown, lambda: [server_function(shown, endpoint, serves.port)])
            return self._servers[shown]

        return decorate

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name in ("get_dashboard_url", "info", "logs", "sandboxes", "stats"):
                raise AttributeError(
                    f"App has no {name}, which is a page of Modal's cloud; "
                    "write f.statistics() for the counts of a function"
                )
            instead = of_app(name, dir(App))
            if instead:
                raise no_attribute("App", name, instead)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return "App()" if self._name is None else f"App({self._name!r})"


def _with_old(
    old_names: Mapping[str, Any],
    secrets: Collection[Secret] | None,
    network_file_systems: Mapping[Path_, NetworkFileSystem],
) -> tuple[dict[str, AddedFiles], Collection[Secret] | None, Mapping[Path_, NetworkFileSystem]]:
    """Return what old arguments of a function or class say, beside their names of today.

    Returns:
        The files of ``mounts=``, the secrets, and the network file systems.
    """
    if old_names.get("secret") is not None:
        secrets = [*(secrets or ()), old_names["secret"]]
    if old_names.get("shared_volumes"):
        network_file_systems = {**(network_file_systems or {}), **old_names["shared_volumes"]}
    return _old_files_of(old_names.get("mounts")), secrets, network_file_systems


def _old_files_of(mounts: object) -> dict[str, AddedFiles]:
    """Return the files of ``mounts=[...]``, which few programs still have."""
    if mounts is None:
        return {}
    from .mount import files_of

    return files_of(mounts)


def _all_methods(name: str) -> Function[..., Any, Any]:
    """Return the entry ``C.*`` for all methods of a class; using it is an error."""

    def find() -> Function[Any, Any, Any]:
        raise InvalidError(f"{name}.* stands for all methods of {name}; write {name}().method")

    return Function._named(f"{name}.*", f"Function({name}.*)", find)


def _may_be_entrypoint(found: object) -> bool:
    """Whether `found` is the user's own function, and not the object of another decorator."""
    if isinstance(found, Cls) and config.strict:
        return True  # Modal accepts a class here
    made = isinstance(found, PartialFunction) or hasattr(found, "_moorage_registered")
    return not made and (callable(found) or isinstance(found, staticmethod | classmethod))


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _App = App
    _LocalEntrypoint = LocalEntrypoint


# -- apps of other processes ---------------------------------------------------------------------

# The apps that containers' processes know by their numbers.
_numbers: Final = itertools.count(1)
_by_number: Final[weakref.WeakValueDictionary[int, App]] = weakref.WeakValueDictionary()


def _app_with_number(number: int, name: str | None) -> App:
    """Return the app with this number, or what stands for it in a container's process."""
    found = _by_number.get(number)
    if found is None:
        if not is_a_container():
            raise NotFoundError(f"the app {name!r} is not there any more; keep it in a variable")
        found = _by_number[number] = App(name)
        found.__dict__["_refers"] = _app_with_number, (number, name)
    return found


def _app_id_of(app: App) -> str | None:
    return app.app_id


async def _stop_there(app: App) -> None:
    await app.stop.aio()


def _look_up_there(name: str, environment_name: str | None, creates: bool) -> App:
    return App.lookup(name, environment_name=environment_name, create_if_missing=creates)
