"""Classes: what ``app.cls`` returns, and the handles that users get by calling it.

Owns which handles share a pool (one pool for each set of parameter values and options), the
local instance that ``.local()`` runs on, and the look-up of a class by name.
``declaring/declarations.py`` reads what a class declares; ``app.py`` makes the `Cls`.

Begin at `Cls.__call__`, then `Obj`, then `Values`, then `Plain`.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import PurePosixPath
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, Never, Self, SupportsIndex, TypeVar, Unpack, cast

from . import config
from .advice import CALLS, URLS, of_function
from .calling.asking import ask
from .declaring.declarations import Declarations
from .declaring.marks import REQUIRED, Concurrency, Serves, Web
from .declaring.options import NOTHING, FunctionOptions, OldNames, OnFull, changed_options
from .declaring.parameters import checked_batching
from .declaring.partial import PartialFunction
from .declaring.patching import MISSING, Attributes, Patches, Replacement
from .declaring.targets import check_batched_class, make_target, refuse_of_web
from .exception import Error, ExecutionError, InvalidError, NotFoundError
from .frames import hide_our_frames, without_our_frames
from .functions import Facts, Function, FunctionAutoscalerManager, _method_of, stand_in
from .old import names as old_names
from .old.names import accept_old_spelling, old_call
from .partial_function import parameter as parameter
from .placing.blueprints import Made, opened_part, packed_part, reference_of
from .placing.calls import Reference
from .retries import Retries
from .running import deployments
from .running.endpoints import (
    ByQuery,
    ClassEndpoint,
    FunctionEndpoint,
    Place,
    ServerEndpoint,
    query_of,
)
from .running.local_instance import LocalInstance
from .running.pool_keys import identity_of
from .running.services import Service, ServiceElsewhere
from .running.urls import WebFunction, open_server_url, server_function
from .runtime import forking
from .runtime.containers.lifecycle import Lifecycle
from .runtime.context import is_a_container
from .runtime.input import Kind, Target
from .runtime.labels import type_name
from .runtime.real import Real
from .serialize.constructor_arguments import check_constructor_arguments
from .stores.home import environment_that_goes_along
from .web.residents import with_residents
from .with_aio import Annotations, FunctionWithAio, MethodWithAio

if TYPE_CHECKING:
    from .cloud_bucket_mount import CloudBucketMount
    from .runtime.pools.statistics import ClassStatistics
    from .secret import Secret
    from .types import FunctionAutoscalerSettings
    from .volume import Volume

T = TypeVar("T")

# The ways to call a method.
_WAYS: Final = (
    *("remote", "remote_gen", "map", "starmap", "for_each", "spawn", "spawn_map"),
    *("experimental_spawn_map", "_experimental_spawn"),
)

MakeService = Callable[[FunctionOptions, Lifecycle, str, Hashable], Service]
"""Makes the service of one set of parameter values.

Takes the options, the lifecycle hooks, the shown name, and the identity: see `Values._identity`.
"""


class _AnnotationsOfUsers(Annotations):
    """The ``__annotations__`` of the user's class, on a handle."""

    def __get__(self, instance: Cls | None, owner: type) -> Mapping[str, Any]:
        if instance is None:
            return self
        declared: Declarations | None = instance.__dict__.get("_declared")
        of_class: Mapping[str, Any] = getattr(
            None if declared is None else declared.user_class, "__annotations__", {}
        )
        return of_class


class _SignatureOfUsers:
    """The ``__signature__`` of a handle: the parameters of the user's class."""

    def __get__(self, instance: Cls | None, owner: type) -> inspect.Signature:
        declared = None if instance is None else instance.__dict__.get("_declared")
        if declared is None:
            raise AttributeError("__signature__")
        signature: inspect.Signature = declared.signature
        return signature


class Cls:
    """A class of an app: ``@app.cls()`` above a class makes it.

    Calling it (``Model(...)``) makes a handle, an `Obj`.  The containers make the instances of
    the user's class.
    """

    _moorage_registered: Final = True
    _moorage_registered_by = "@app.cls()"
    __test__: Final = False  # pytest does not collect a class that is named test_...

    # `_make` sets these three.  A class that is looked up by name does not have them: see
    # `_found`.
    _declared: Declarations
    _make_service: MakeService
    _options: FunctionOptions
    _shown: str  # the text of `repr`
    # `_named` sets these two.
    _find: Callable[[], Cls]
    _app_name: str  # the app in which the class is looked up
    _lookup: tuple[str, str, str | None]  # the arguments of `from_name`, which sets them
    # The service of a handle without arguments.  Only ``app.cls`` sets it; variants have none.
    _plain_service: Service
    # What handles without arguments share.  Made at the first one, if there is such a service.
    _plain: Plain | None = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        if len(args) == 3 and isinstance(args[1], tuple):  # class B(A): ...
            bases = cast("tuple[object, ...]", args[1])
            raise InvalidError(
                f"the class {args[0]} inherits from {', '.join(map(repr, bases))}, "
                "which belongs to an app; "
                "inherit from a plain class, and put @app.cls() on each that is called"
            )
        raise InvalidError(
            "a Cls is not made by hand; write @app.cls() above a class, or "
            "Cls.from_name(...) for one of a deployed app"
        )

    @classmethod
    def _make(
        cls,
        declared: Declarations,
        make_service: MakeService,
        options: FunctionOptions,
        shown: str | None = None,
    ) -> Cls:
        made = cls.__new__(cls)
        made._declared = declared
        made._make_service = make_service
        made._options = options
        made._shown = shown or f"Cls({declared.name})"
        made.__name__ = declared.name
        made.__doc__ = declared.user_class.__doc__
        made.__module__ = declared.user_class.__module__
        made.__qualname__ = declared.user_class.__qualname__
        return made

    @classmethod
    def _named(cls, app_name: str, name: str, shown: str, find: Callable[[], Cls]) -> Cls:
        """Make a class that is looked up at each use, in the app that is then `app_name`."""
        made = cls.__new__(cls)
        made.__name__ = made.__qualname__ = name
        made._app_name = app_name
        made._shown = shown
        made._find = find
        return made

    __name__: str
    __qualname__: str

    def __call__(self, *args: object, **kwargs: object) -> Obj:
        """Return a handle for these parameter values; no instance is made yet.

        Raises:
            TypeError: if the arguments do not fit the parameters.  In strict mode, and for a
                class that is looked up by name, this is raised at the first use; also for a
                class with web methods and no argument at all, because the URLs of its web methods
                need none.  Also raised, in strict mode, if an argument does not pickle.
            ValueError: in strict mode, if an argument does not pickle, as a lambda.
        """
        plain = self._plain
        if (
            plain is not None
            and not args
            and not kwargs
            and not config.strict
            and plain.seen is plain.declared._seen
        ):
            # What the constructors of `Values` and `Obj` do, without calls.
            own = _new_values(Values)
            own.cls = self
            own.kwargs = kwargs
            own._service = plain.service
            made = _new_obj(plain.kind)
            made._cls = self
            made._values = own
            return made
        if not config.strict and "_find" not in self.__dict__:
            declared = self._declared
            seen = declared._seen
            try:
                values = declared.bind(args, kwargs, check_types=True)
            except Error as error:
                if not args and not kwargs and declared.types and declared.web:
                    # The query of each request gives the values.  Other uses raise the error.
                    return Obj(self, Values(self, args, kwargs))
                raise without_our_frames(error)
            kind = Obj
            if not args and not kwargs and not is_a_container():
                service = self.__dict__.get("_plain_service")
                if service is not None:
                    self._plain = Plain(declared, seen, service)
                    kind = self._plain.kind
            return kind(self, Values(self, args, kwargs, values=values))
        if config.strict:
            try:
                check_constructor_arguments(self.__name__, args, kwargs)
            except Error as error:
                raise without_our_frames(error)
        return Obj(self, Values(self, args, kwargs))

    # -- other options ----------------------------------------------------------

    @hide_our_frames
    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[str | PurePosixPath, Volume | CloudBucketMount] = NOTHING,
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        max_backlog: int | None = None,
        on_full: OnFull | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
        **old_names: Unpack[OldNames],
    ) -> Cls:
        """Return the class with these options changed: see `Function.with_options`."""
        cloud_arguments: dict[str, object] = {
            "cpu": cpu,
            "memory": memory,
            "gpu": gpu,
            "env": env,
            "secrets": secrets,
            "volumes": volumes,
            "region": region,
            "cloud": cloud,
            "routing_region": routing_region,
        }
        given = {
            "retries": retries,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "timeout": timeout,
            "queue_timeout": queue_timeout,
            "max_backlog": max_backlog,
            "on_full": on_full,
        }
        if config.strict:  # Modal checks secrets only when the class is used
            del cloud_arguments["secrets"]
        return self._variant(
            "options",
            lambda options: changed_options(
                options, cloud_arguments, dict(old_names), secrets=secrets, **given
            ),
        )

    @hide_our_frames
    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Cls:
        """Return the class with another input concurrency: see `Function.with_concurrency`."""
        concurrency = Concurrency(max_inputs, target_inputs).checked()
        return self._variant("concurrency", lambda options: options.merged(concurrency=concurrency))

    @hide_our_frames
    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Cls:
        """Return the class with another dynamic batching of its only method: see `batched`.

        Args:
            max_batch_size: the most inputs in one batch, from 1 to 1,000.
            wait_ms: the most milliseconds that the first input of a batch waits for other
                inputs, from 0 to 600,000.

        Raises:
            InvalidError: if a number is out of its range, the class does not have exactly one
                method, that method cannot be batched, or its ``queue_timeout`` is not longer
                than `wait_ms`.
        """
        batching = checked_batching(max_batch_size, wait_ms)
        if "_find" not in self.__dict__ and not config.strict:
            check_batched_class(self.__name__, list(self._declared.methods.values()))
        return self._variant("batching", lambda options: options.merged(batching=batching))

    def _variant(self, what: str, change: Callable[[FunctionOptions], FunctionOptions]) -> Cls:
        name = self._shown
        if name.startswith("Cls("):
            name = name.removeprefix("Cls(").removesuffix(")")
        shown = f"{name}.with_{what}(...)"
        if "_find" in self.__dict__:
            change(FunctionOptions())  # so that wrong options raise now, not at the first use

            def find() -> Cls:
                return self._found()._variant(what, change)

            named = self._named(self._app_name, self.__name__, shown, find)
            named.__dict__["_made_by"] = _variant_of, (Reference(self), what, change)
            return named
        options = change(self._options)
        options.check_queue_timeout()
        for method in self._declared.web if options.batching is not None else ():
            refuse_of_web(self._declared.methods[method].name, batched=True)
        made = self._make(self._declared, self._make_service, options, shown)
        made.__dict__["_made_by"] = _variant_of, (Reference(self), what, change)
        if options.volumes is not None:
            # Kept, so that `mounts_of` finds the volumes before there is an instance.
            made.__dict__["_with_volumes"] = self._nameless_service().with_options(options)
        return made

    def _found(self) -> Cls:
        """Return the class itself, or the class that is found by name now."""
        return self._find() if "_find" in self.__dict__ else self

    # -- looking it up ----------------------------------------------------------

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: object = None,
    ) -> Cls:
        """Return a class of an app that is deployed or runs here: see `Function.from_name`.

        Raises:
            NotFoundError: at each use, if there is no such app or class.
        """

        def find() -> Cls:
            found: Cls = deployments.of_app(
                "Cls", app_name, name, environment_name, lambda app: app._classes_by_name()
            )
            return found

        shown = deployments.shown("Cls", app_name, name, environment_name)
        named = cls._named(app_name, name, shown, find)
        named._lookup = app_name, name, environment_that_goes_along(environment_name)
        return named

    if not TYPE_CHECKING:  # an old spelling
        lookup = old_names.from_name("Cls")

    def _get_user_cls(self) -> type[Any]:
        """Return the undecorated class, which tests of Modal programs use."""
        return self._found()._declared.user_class

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        lookup = self.__dict__.get("_lookup")
        if lookup is not None:
            return _looked_up_again, lookup
        return super().__reduce_ex__(protocol)

    def _moorage_crosses(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what finds this class in another process: see ``placing/shipping.py``."""
        return self._reference()

    def _reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what finds this class in another process: by names, or by its number."""
        lookup = self.__dict__.get("_lookup")
        if lookup is not None:
            return _looked_up_again, lookup
        found = self.__dict__.get("_made_by") or self.__dict__.get("_refers")
        if found is None:
            found = self.__dict__.setdefault("_refers", self._make_reference())
        return cast("tuple[Callable[..., Any], tuple[Any, ...]]", found)

    def _make_reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        found = reference_of(self)
        if found is not None:
            return found
        if not is_a_container():
            return _class_with_number, (self._known_number(), self.__name__)
        app = self._nameless_service().app
        if app is not None and app._classes_by_name().get(self.__name__) is self:
            return _class_of_app, (app, self.__name__)
        raise ExecutionError(
            f"{self._shown} was made by the code of a container, so the calling program does not "
            "have it; define it at the top of a module"
        )

    def _known_number(self) -> int:
        """Return the number by which containers' processes know this class."""
        number: int = self.__dict__.setdefault("_number", next(_numbers))
        _by_number[number] = self
        return number

    def _moorage_code(self) -> Any:
        """Return the code in whose place this object is: see ``placing/blueprints.py``."""
        return None if "_find" in self.__dict__ else self._declared.user_class

    def _moorage_by_value(self) -> Any:
        """Return how this object is made in another process that cannot import it."""
        if "_find" in self.__dict__ or "_made_by" in self.__dict__:
            return self._reference()
        declared, number = self._declared, self._known_number()
        return (
            _class_elsewhere,
            (
                declared.user_class,
                declared.replacements(),
                declared._snapshots,
                declared.serves,
                number,
            ),
        )

    def __deepcopy__(self, memo: object) -> Self:
        return self  # as of a class

    def _nameless_service(self) -> Service:
        """Return a service of the class's app that has no pool, to ask for the app's run."""
        return self._make_service(self._options, Lifecycle(), self.__name__, object())

    def _web_endpoint(self) -> ServerEndpoint:
        """Return what a bridge needs of the server that the class starts in its enter hooks.

        Raises:
            InvalidError: if the class starts none.
        """
        declared = self._found()._declared
        if declared.serves is None:
            raise InvalidError(
                f"{declared.name} is a class without a server of its own; pass a web method of an "
                f"instance, such as {declared.name}().web"
            )
        service = self()._service
        return ServerEndpoint(declared.server_target(), service, declared.serves)

    def _server_by_query(self) -> ServerEndpoint | None:
        """Return the endpoint of the class's server, whose requests give the class parameters.

        None if the enter hooks of the class start no server.
        """
        found = self._found()
        declared = found._declared
        if declared.serves is None:
            return None
        if not declared.types:
            return found._web_endpoint()
        services = Values(found, (), {}).by_query()
        key = (declared, found._options)
        return ServerEndpoint(declared.server_target(), services, declared.serves, key)

    @MethodWithAio
    def _experimental_get_flash_urls(self) -> list[str] | None:
        """Return the URL of the server of a class under ``http_server``, as a list; else None.

        The query of a request gives the parameters of the class, as for web methods.  The class
        is served from the first call on, until its run ends.  That starts no container.

        Raises:
            ExecutionError: if the run is ending; in strict mode, if the app does not run.
            InvalidError: if the run has a virtual clock, or the extra ``web`` is not installed.
        """
        endpoint = self._server_by_query()
        return None if endpoint is None else [open_server_url(endpoint)]

    @MethodWithAio
    def hydrate(self, client: object = None) -> Cls:
        """Return the class itself: there is nothing to fetch.  In strict mode its app must run.

        Raises:
            NotFoundError: if the class is looked up by name and is not found.
            ExecutionError: in strict mode, if the app does not run.
        """
        found = self._found()
        if config.strict:
            found._nameless_service().current_run()
        return self

    def __getattr__(self, name: str) -> Any:
        if "_declared" not in self.__dict__:
            raise AttributeError(
                f"{self.__dict__.get('_shown')} has no attribute {name!r} before it is called; "
                f"write {self.__dict__.get('__name__')}().{name}"
            )
        if name in self._declared.methods:
            unbound = Function._named(
                f"{self.__name__}.{name}",
                f"UnboundMethod({self.__name__}.{name})",
                lambda: self._called_without_instance(name),
                lambda *args, **kwargs: _refuse_unbound(self.__name__, name),
            )
            unbound.__module__ = self.__module__
            # What help() and the like read, without a look for an instance.
            unbound.__dict__["__wrapped__"] = self._declared.methods[name].function
            # What is in the class: see `_in_class`.
            unbound.__dict__["_in_class"] = Real.getattr_static(self._declared.user_class, name)
            if not config.strict:
                unbound.__dict__.update(self._ways_without_instance(name))
            return unbound
        if name.startswith("_moorage"):
            raise AttributeError(name)
        # Any other attribute comes from the user's class: isinstance() asks for ``__bases__``.
        user_class: object = self._declared.user_class
        is_elsewhere = name in _OF_METHODS or name == "update_autoscaler"
        if is_elsewhere and _lacks(user_class, name):
            if name == "statistics":
                return self._statistics
            raise AttributeError(f"{self.__name__} has no {name}; {_where(self._declared, name)}")
        return getattr(user_class, name)

    def _called_without_instance(self, name: str) -> Any:
        """Return the method of an instance without arguments, for ``Model.method.remote()``.

        Raises:
            AttributeError: in strict mode, as Modal does.
        """
        if config.strict:
            way = "get_web_url()" if name in self._declared.web else "remote(...)"
            raise AttributeError(
                f"{self.__name__}.{name} belongs to the class, and callers need an instance; "
                f"write {self.__name__}().{name}.{way}"
            )
        return getattr(self(), name)

    def _ways_without_instance(self, name: str) -> dict[str, Any]:
        """Return what stands for the ways to call `name`, as an old spelling."""

        def made(way: str) -> Any:
            shown = f"{self.__name__}.{name}.{way}"

            def way_of_instance() -> Any:
                found = getattr(getattr(self(), name), way)  # first: parameters may be missing
                accept_old_spelling(
                    f"{shown}(...) without an instance",
                    f"write {self.__name__}().{name}.{way}(...)",
                )
                return found

            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return way_of_instance()(*args, **kwargs)
                except Exception as error:
                    raise without_our_frames(error)

            def aio(*args: Any, **kwargs: Any) -> Any:
                return way_of_instance().aio(*args, **kwargs)

            for posed, last in ((call, way), (aio, "aio")):
                posed.__name__ = last
                posed.__doc__ = "An old spelling: a way to call a method without an instance."
            call.__qualname__, aio.__qualname__ = shown, f"{shown}.aio"
            vars(call)["aio"] = aio
            return call

        return {way: made(way) for way in _WAYS}

    # A test patches the class by its handle.  Type checkers refuse an assignment to the handle, as
    # they do for the user's class.
    if not TYPE_CHECKING:
        __signature__ = _SignatureOfUsers()

        def __setattr__(self, name, value):
            if self._is_ours(name):
                object.__setattr__(self, name, value)
            else:
                self._patches.set(name, _in_class(value), self._seen(name))
                self._forget_defaults(name)

        def __delattr__(self, name):
            if self._is_ours(name):
                object.__delattr__(self, name)
            else:
                self._patches.delete(name, self._seen(name))
                self._forget_defaults(name)

    def _is_ours(self, name: str) -> bool:
        """Whether an assignment to `name` is for the handle, and not for the user's class."""
        if "_declared" in self.__dict__:
            return name in _OF_HANDLE or (name in vars(Cls) and not name.startswith("__"))
        if "_find" in self.__dict__ and name not in _OF_HANDLE:
            raise AttributeError(
                f"{self._shown} is looked up by name, so its attributes are not set here; "
                f"write patch.object({self.__name__}, {name!r}, ...) on the class itself"
            )
        return True

    @property
    def _patches(self) -> Patches:
        return self._declared.patches

    def _seen(self, name: str) -> object:
        return _in_class(getattr(self, name, MISSING))

    def _forget_defaults(self, name: str) -> None:
        """After a patch of a parameter, a handle without arguments has other values."""
        if name in self._declared.parameters:
            self.__dict__.pop("_plain_service", None)
            self.__dict__.pop("_plain", None)

    def _statistics(self) -> ClassStatistics | None:
        """Return the counts of all pools of the class in this run, with any parameter values.

        None outside of a run.  Users call ``Model.statistics()``, unless the user's class has an
        attribute of that name.
        """
        name = self._declared.name
        run = self._nameless_service().open_run
        if run is None and is_a_container():
            seen: ClassStatistics | None = ask(_statistics_of, self)
            return seen
        return None if run is None else run.class_statistics(name)

    def __repr__(self) -> str:
        return self._shown


Cls.__annotations__ = _AnnotationsOfUsers(vars(Cls).get("__annotations__", {}))


class Values:
    """The parameter values of one handle; makes its service and its local instance.

    A handle and the functions of its methods refer to this object.  This object does not refer
    to them: so a handle that was made for one call, ``Model().run.remote(x)``, is freed after
    that call without a garbage collection.
    """

    args: tuple[Any, ...] = ()
    # Values, identity, service and local instance, each made at its first use.  Two threads may
    # both make one: `_keep` stores it, so that both threads get the first.
    _values: dict[str, Any] | None = None
    _kept_identity: Hashable | None = None
    _service: Service | None = None
    _local_instance: LocalInstance | None = None

    def __init__(
        self,
        cls: Cls,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        values: dict[str, Any] | None = None,
        identity: Hashable | None = None,
    ) -> None:
        self.cls: Cls = cls
        self.args = args
        self.kwargs: dict[str, Any] = kwargs
        if values is not None:
            self._values = values
        if identity is not None:
            self._kept_identity = identity

    def _keep(self, name: str, made: T) -> T:
        """Keep what was made, and return what is kept: what another thread made before."""
        kept: T = self.__dict__.setdefault(name, made)
        return kept

    @property
    def service(self) -> Service:
        """The service that makes the pool of these values.

        Raises:
            TypeError: if the values do not fit the parameters.  Outside of strict mode
                `Cls.__call__` has checked them.
        """
        found = self._service
        return self._keep("_service", self._make_service()) if found is None else found

    def _make_service(self) -> Service:
        cls, declared = self.cls, self.cls._declared
        if not self.args and not self.kwargs:
            plain = cls.__dict__.get("_plain_service")
            if plain is not None:
                return cast("Service", plain)
        values = self._values
        if values is None:
            values = declared.bind(self.args, self.kwargs, check_types=True)
        shown = ", ".join(f"{name}={_shown_value(value)}" for name, value in values.items())
        identity = self._identity(values)
        return cls._make_service(
            cls._options,
            with_residents(self.lifecycle(identity), declared),
            f"{declared.name}({shown})" if shown else declared.name,
            identity,
        )

    def lifecycle(self, identity: Hashable) -> Lifecycle:
        """Return how a container makes its instance, and the hooks."""
        cls, args, kwargs = self.cls, self.args, self.kwargs
        return Lifecycle(
            # A partial, because ``serialize=True`` copies the arguments of the partial.
            partial(Construction(cls, args, kwargs, identity), cls._declared.init, args, kwargs),
            hooks=cls._declared.hooks,
            blueprint=partial(_blueprint, cls, args, kwargs),
        )

    def _identity(self, values: dict[str, Any]) -> Hashable:
        """Return a key for these values: handles with equal keys and options share a pool."""
        if self._kept_identity is not None:
            return self._kept_identity
        declared = self.cls._declared
        identity: Hashable
        try:
            if declared.init is None:
                identity = (declared, tuple((n, identity_of(v)) for n, v in values.items()))
            else:
                identity = (
                    declared,
                    tuple(identity_of(value) for value in self.args),
                    tuple((name, identity_of(self.kwargs[name])) for name in sorted(self.kwargs)),
                )
            hash(identity)
        except TypeError:
            identity = object()  # values that cannot be hashed get a pool of their own
        return self._keep("_kept_identity", identity)

    @property
    def local_instance(self) -> LocalInstance:
        """The instance that ``.local()`` runs on, made at its first use."""
        if self._local_instance is not None:
            return self._local_instance
        cls, args, kwargs = self.cls, self.args, self.kwargs
        identity = self._identity(cls._declared.bind(args, kwargs, check_types=False))
        construction = Construction(cls, args, kwargs, identity)
        mine = LocalInstance(
            cls.__name__,
            lambda: construction(cls._declared.init, args, kwargs),
            lambda: cls._declared.hooks()[0],
        )
        made = self._keep("_local_instance", mine)
        if made is mine:
            forking.know(made)
        return made

    def bind(
        self, instance: Any, name: str, found: PartialFunction[Any, Any, Any] | None
    ) -> Function[Any, Any, Any]:
        """Return a method as a `Function`.

        Args:
            instance: the instance whose own code asks (``self.method``); None for a handle.
            name: the name of the method.
            found: the decorated method that the attribute look-up found: with
                ``super().method`` that of a base class.  None for a handle.
        """
        declared = self.cls._declared
        target, raw = declared.methods[name], declared.raw_methods[name]
        if found is not None and found.raw is not raw:
            raw = found.raw
            target = make_target(target.name, raw, found.marks.is_generator, is_method=True)

        if instance is None:
            return self._function(target, MethodType(_on_local_instance(name, target, raw), self))
        inside = _weakly(instance)

        def local(*args: Any, **kwargs: Any) -> Any:
            return raw(self._alive(inside()), *args, **kwargs)

        return self._function(target, local)

    def _alive(self, instance: Any) -> Any:
        """Return `instance`, which is None if it was freed with its container."""
        if instance is None:
            raise ExecutionError(
                f"this method of {self.cls.__name__} was taken from an instance in a container, "
                f"which has ended; call .remote(...), or write {self.cls.__name__}().method"
            )
        return instance

    def _function(self, target: Target, local: Callable[..., Any]) -> Function[Any, Any, Any]:
        shown = f"Method({target.name})"
        web = self.cls._declared.web.get(target.name.rpartition(".")[2])
        try:
            return self._made_function(target, local, shown, web)
        except TypeError:
            is_web = web is not None and not self.args and not self.kwargs
            if not config.strict and not is_web:
                raise
        # In strict mode, as in Modal: only a use such as .remote() finds wrong parameters.

        def find() -> Function[Any, Any, Any]:
            return self._made_function(target, local, shown, web)

        made: Function[Any, Any, Any] = Function._named(target.name, shown, find, local)
        if is_web:
            # A URL needs no values: the query of each request gives them.
            made._web, made._place = web, self._place(target)
            made.__wrapped__ = target.function
        return made

    def _made_function(
        self, target: Target, local: Callable[..., Any], shown: str, web: Web | None
    ) -> Function[Any, Any, Any]:
        service = self.service
        place = None if web is None else self._place(target)
        made = Function._make(target, service, local, shown=shown, web=web, place=place)
        if is_a_container():
            name = target.name.rpartition(".")[2]
            made._made_by = _method_of, (Reference(self.cls), self.args, self.kwargs, name)
        return made

    def _place(self, target: Target) -> Place:
        """Return how a web method is served: behind one port, whatever the parameters."""
        cls, declared = self.cls, self.cls._declared
        if not declared.types:
            service = self.service
            return Place((service.key, target.name), partial(FunctionEndpoint, target, service))

        given = declared.signature.bind_partial(*self.args, **self.kwargs).arguments
        # None is the default: see `Declarations.bind`.
        own = {name: value for name, value in given.items() if value is not None}
        return Place(
            (declared, cls._options, target.name),
            lambda: ClassEndpoint(target, self.by_query()),
            cls._nameless_service(),
            query_of(given),
            lambda: ClassEndpoint(target, self.by_query(own)),
        )

    def by_query(self, given: Mapping[str, Any] | None = None) -> ByQuery:
        """Return the services of the class with the parameters that come in queries.

        Args:
            given: values that hold if a query does not give others.
        """
        cls = self.cls

        def service_of(values: dict[str, Any]) -> Service:
            return cls(**values)._service

        return ByQuery(cls._declared, cls._nameless_service(), service_of, given)

    async def _enter_and_call(
        self, raw: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return await raw(await self.local_instance.entered_async(), *args, **kwargs)


_new_values: Final[Callable[[type[Values]], Values]] = Values.__new__


def _on_local_instance(name: str, target: Target, raw: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs a method on the local instance of some `Values`.

    Args:
        raw: the code of the method, as it was when a handle was asked for the method.
    """

    def local(values: Values, /, *args: Any, **kwargs: Any) -> Any:
        declared = values.cls._declared
        hooks = declared.hooks()[0]
        raw_now = declared.raw_methods.get(name, raw)  # a test may have replaced it
        if target.kind is Kind.ASYNC and any(hook.is_async for hook in hooks):
            return values._enter_and_call(raw_now, args, kwargs)
        return raw_now(values.local_instance.entered(), *args, **kwargs)

    return local


class Plain:
    """What all handles without arguments share, so that ``Model().run.remote(x)`` costs little.

    Each handle has its own `Values`, local instance and methods.  They share the service, their
    type, which has a descriptor for each method, and what the attributes of a method begin with.

    Invariant: `Cls.__call__` uses this object only while `seen` is ``declared._seen``, and so while
    the class is as it was read when its defaults were checked.
    """

    __slots__ = ("declared", "kind", "seen", "service")

    def __init__(self, declared: Declarations, seen: Attributes, service: Service) -> None:
        self.declared: Declarations = declared
        self.seen: Attributes = seen
        self.service: Service = service
        inside: dict[str, Any] = {"__module__": __name__, "__qualname__": Obj.__qualname__}
        inside |= {
            name: _PlainMethod(self, name)
            for name in declared.methods
            if not name.startswith("__") and not hasattr(Obj, name)
        }
        self.kind: type[Obj] = type(Obj.__name__, (Obj,), inside)


class _PlainMethod:
    """A method of the handles of a `Plain`.

    A descriptor costs a tenth of what `Obj.__getattr__` costs, which the interpreter calls after it
    has made an AttributeError.
    """

    __slots__ = ("_begin", "_local", "_name", "_plain")

    def __init__(self, plain: Plain, name: str) -> None:
        self._plain = plain
        self._name = name
        # What the attributes of the `Function` begin with, all but `_local`; and the code of that.
        # None before the first handle is asked, and for a web method, which is made otherwise.
        self._begin: dict[str, Any] | None = None
        self._local: Callable[..., Any]

    def __get__(self, obj: Obj | None, owner: type) -> Any:
        if obj is None:
            return self
        plain, begin = self._plain, self._begin
        if begin is None or plain.seen is not plain.declared._seen:
            return self._first(obj)
        made: Function[Any, Any, Any] = _new_function(Function)
        attributes = begin.copy()
        attributes["_local"] = MethodType(self._local, obj._values)
        made.__dict__ = attributes
        return obj.__dict__.setdefault(self._name, made)

    def _first(self, obj: Obj) -> Any:
        """Make the method without what is known of it, and note what can be known."""
        made: object = obj.__getattr__(self._name)
        if isinstance(made, Function) and self._begin is None:
            attributes = dict(made.__dict__)
            local = attributes.pop("_local", None)
            if attributes.get("_web") is None and isinstance(local, MethodType):
                self._local = local.__func__
                self._begin = attributes
        return made


# The most characters of one parameter value in the name of a pool.
LONGEST: Final = 80


def _shown_value(value: object) -> str:
    """Return the text for a parameter value in the name of a pool.

    Runs the user's ``__repr__``, so call this function with no lock held.
    """
    try:
        text = repr(value)
    except Exception:
        return f"<{type_name(type(value))}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]}...{text[-1]}"


def web_functions_of(cls: Cls) -> list[WebFunction]:
    """Return the web methods of a class, and the server that its enter hooks start.

    Raises:
        InvalidError: if the class has any, and a constructor of its own that needs arguments.
    """
    declared = cls._declared
    found: list[WebFunction] = []
    parameters = declared.signature.parameters.values()
    required = tuple(p.name for p in parameters if p.default is p.empty and p.kind not in _REST)
    if required and not declared.types and (declared.web or declared.serves is not None):
        raise InvalidError(
            f"{declared.name} has web methods, and its __init__ needs {', '.join(required)}, which "
            f"no URL can give; write `{required[0]}: str = moorage.parameter()` in the class"
        )
    values = Values(cls, (), {})
    for name, web in declared.web.items():
        target = declared.methods[name]
        place = values._place(target)
        # With parameters, the values come with each request.
        service = values.service if place.service is None else place.service
        found.append(
            WebFunction(target.name, web, service, place, own_port=web.port, required=required)
        )
    endpoint = cls._server_by_query()
    if endpoint is not None and declared.serves is not None:
        own = declared.serves.port
        found.append(server_function(declared.name, endpoint, own, required))
    return found


# Parameters that may be left out.
_REST: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class ClassBlueprint:
    """Makes the targets and the lifecycle of a class, in the process of a container."""

    cls: Cls
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    # What a test has patched: a class that is imported there is as it is on the disk.
    replacements: tuple[Replacement, ...]

    def __call__(self) -> Made:
        cls = self.cls._found()
        for replacement in self.replacements:
            replacement.make()
        cls._declared.refresh()
        values = Values(cls, self.args, self.kwargs)
        bound = cls._declared.bind(self.args, self.kwargs, check_types=False)
        lifecycle = with_residents(values.lifecycle(values._identity(bound)), cls._declared)
        return Made(cls._declared.targets, lifecycle)


def _blueprint(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ClassBlueprint:
    return ClassBlueprint(cls, args, kwargs, tuple(cls._found()._declared.changes()))


def _class_elsewhere(
    user_class: type,
    replacements: Sequence[Replacement],
    snapshots: bool,
    serves: Serves | None,
    number: int,
) -> Cls:
    """Make what stands for a class of the calling program whose code has come along."""

    def code() -> tuple[type, bool, Serves | None]:
        for replacement in replacements:
            replacement.make()
        return user_class, snapshots, serves

    return _class_made_of(code, number, user_class.__name__)


def _class_made_of(
    code: Callable[[], tuple[type, bool, Serves | None]], number: int, name: str
) -> Cls:
    @cache  # when it is used: the class may be empty until all of the code was read
    def find() -> Cls:
        user_class, snapshots, serves = code()
        declared = Declarations(user_class, snapshots=snapshots)
        if serves is not None:
            declared.serve(serves)
        found = Cls._make(declared, _service_elsewhere, FunctionOptions())
        found.__dict__["_made_by"] = _class_with_number, (number, name)
        return found

    made = Cls._named("", name, f"Cls({name})", find)
    made.__dict__["_made_by"] = _class_with_number, (number, name)
    _by_number[number] = made
    return made


def _service_elsewhere(
    options: FunctionOptions, lifecycle: Lifecycle, shown: str, identity: Hashable
) -> Service:
    return ServiceElsewhere(shown, options)


# The classes that containers' processes have by value.
_numbers: Final = itertools.count(1)
_by_number: Final[weakref.WeakValueDictionary[int, Cls]] = weakref.WeakValueDictionary()


def _class_with_number(number: int, name: str) -> Cls:
    """Return the class with this number, or what stands for it in a container's process."""
    found = _by_number.get(number)
    if found is not None:
        return found
    if not is_a_container():
        raise NotFoundError(f"the class {name} is not there any more; keep its Cls")
    return _class_made_of(lambda: opened_part(ask(_code_of, number)), number, name)


def _class_of_app(app: Any, name: str) -> Cls:
    """Return the class that an app has under a name."""
    found: Cls | None = app._classes_by_name().get(name)
    if found is None:
        raise NotFoundError(f"{app!r} has no class {name!r} here; define it in a module")
    return found


# -- what containers ask for: in the calling program ---------------------------------------------


def _code_of(number: int) -> bytes:
    cls = _by_number[number]
    declared = cls._declared
    return packed_part(cls.__name__, (declared.user_class, declared._snapshots, declared.serves))


def _statistics_of(cls: Cls) -> ClassStatistics | None:
    return cls._found()._statistics()


def _facts_of_method(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Facts:
    method: Function[Any, Any, Any] = getattr(cls(*args, **kwargs), name)
    return method._facts()


def _obj_of(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Obj:
    """Make a handle that has come from another process."""
    return cls(*args, **kwargs)


def _variant_of(cls: Cls, what: str, change: Callable[[FunctionOptions], FunctionOptions]) -> Cls:
    """Return the variant of `cls` that another process has made."""
    return cls._variant(what, change)


class Construction:
    """Makes instances with one set of parameter values: in containers, and the local instance.

    The service refers to this object.  This object must not refer to the `Values` of a handle,
    and so to the service: they would be a cycle.
    """

    __slots__ = ("_args", "_cls", "_identity", "_kwargs")

    def __init__(
        self, cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any], identity: Hashable
    ) -> None:
        self._cls = cls
        self._args = args
        self._kwargs = kwargs
        self._identity = identity

    def __call__(
        self, init: Callable[..., object] | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        declared = self._cls._declared
        declared.refresh()
        init = declared.init  # a test may have replaced it
        values = declared.bind(args, kwargs, check_types=False)
        new: Callable[..., Any] = declared.user_class.__new__
        instance = new(declared.user_class)
        for name, declaration in declared.parameters.items():
            if name in values:
                setattr(instance, name, values[name])
            elif declaration.default is not REQUIRED:
                setattr(instance, name, declaration.default)
        try:
            # So `self.method` in user code is a Function, as `Model().method` is outside.  `inside`
            # does not refer to the instance, so the instance is freed with its container.
            inside = Values(self._cls, self._args, self._kwargs, identity=self._identity)
            object.__setattr__(instance, "_moorage_bind", inside.bind)
        except AttributeError:
            raise InvalidError(
                f"{declared.name} has __slots__ without room for its methods; "
                "add '__dict__' to __slots__, or remove __slots__"
            ) from None
        if init is not None:
            init(instance, *args, **kwargs)
        return instance


class Obj:
    """The handle of a class with one set of parameter values: ``Model(...)`` makes it.

    Its methods are `Function` objects: ``Model(...).method.remote(...)``.
    """

    def __init__(self, cls: Cls, values: Values) -> None:
        self._cls = cls
        # The methods refer to the values and not to the handle, so there is no cycle.
        self._values = values

    def __deepcopy__(self, memo: object) -> Self:
        return self  # its methods would run in the same containers

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        # As one of `Obj` itself: no module has the type that a `Plain` makes.
        return _obj_again, (self._cls, self._values), self.__dict__

    def _moorage_crosses(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what makes this handle in another process: see ``placing/shipping.py``."""
        return _obj_of, (self._cls, self._values.args, self._values.kwargs)

    @property
    def _service(self) -> Service:
        return self._values.service

    def _method(self, name: str) -> Function[Any, Any, Any]:
        # Kept as an attribute, so that the next access does not call `__getattr__`.
        made: Function[Any, Any, Any] = self.__dict__.setdefault(
            name, self._values.bind(None, name, None)
        )
        return made

    def __getattr__(self, name: str) -> Any:
        if name in ("_cls", "_values"):
            raise AttributeError(name)
        is_special = name.startswith("__")
        if "_find" in self._cls.__dict__ and not is_special:
            return self._named_method(name)
        declared: Declarations | None = self._cls.__dict__.get("_declared")
        if declared is not None and name in declared.methods:
            return self._method(name)
        if is_special:
            raise AttributeError(name)
        if name == "update_autoscaler":
            return FunctionWithAio(self._update_autoscaler)
        is_old = name == "keep_warm" and not config.strict
        if is_old and declared is not None and _lacks(declared.user_class, name):
            return old_call(
                f"{self._cls.__name__}(...).keep_warm",
                "write .update_autoscaler(min_containers=2)",
                self._keep_warm,
            )
        # Any other attribute comes from the local instance, as in Modal.  The instance is made
        # now if there is none, but only .local() runs its enter hooks.
        instance = self._values.local_instance.made()
        if declared is not None and name in _OF_METHODS and _lacks(instance, name):
            shown = f"an instance of {declared.name}"
            raise AttributeError(f"{shown} has no {name}; {_where(declared, name)}")
        return getattr(instance, name)

    def _named_method(self, name: str) -> Any:
        """Return a method of a class that is looked up by name; the method is found at its use."""
        values, named = self._values, self._cls

        def found(cls: Cls) -> Any:
            return getattr(cls(*values.args, **values.kwargs), name)

        if name == "update_autoscaler":

            def update(**bounds: float | None) -> FunctionAutoscalerSettings:
                settings: FunctionAutoscalerSettings = found(named._found())(**bounds)
                return settings

            return FunctionWithAio(update)

        def find() -> Function[Any, Any, Any]:
            if is_a_container() and _is_looked_up(named):
                facts: Facts = ask(_facts_of_method, named, values.args, values.kwargs, name)
                return stand_in(facts)
            cls = named._found()
            known = cls._declared.methods
            if name not in known:
                raise NotFoundError(
                    f"{named!r} has no method {name!r}; put @moorage.method() above it, "
                    f"or write the name of one it has: {', '.join(known) or 'none'}"
                )
            method: Function[Any, Any, Any] = found(cls)
            return method

        shown = f"{self._cls.__name__}.{name}"
        made = Function._looked_up(self._cls._app_name, shown, f"Method({shown})", find)
        if _is_looked_up(named) or is_a_container():
            made._made_by = _method_of, (Reference(named), values.args, values.kwargs, name)
        if not _is_looked_up(named):  # the code of the class comes along, or when it is used
            made._local = lambda *args, **kwargs: found(named._found()).local(*args, **kwargs)
        return made

    def _update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        scaledown_window: float | None = None,
        buffer_containers: int | None = None,
    ) -> FunctionAutoscalerSettings:
        """Change the bounds of the handle's pool, and return the bounds after the change.

        See `Function.update_autoscaler`.
        """
        given: dict[str, Any] = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "scaledown_window": scaledown_window,
            "buffer_containers": buffer_containers,
        }
        methods = self._cls._found()._declared.methods
        manager = FunctionAutoscalerManager(
            lambda: self._service, lambda: self._method(next(iter(methods)))
        )
        return manager.update(**{k: v for k, v in given.items() if v is not None})

    def _keep_warm(self, count: int) -> None:
        self._update_autoscaler(min_containers=int(count))

    def __repr__(self) -> str:
        shown = [repr(value) for value in self._values.args]
        shown += [f"{name}={value!r}" for name, value in self._values.kwargs.items()]
        return f"<{self._cls.__name__}({', '.join(shown)}) of {self._cls!r}>"


_new_obj: Final[Callable[[type[Obj]], Obj]] = Obj.__new__
_new_function: Final[Callable[[Any], Any]] = Function.__new__


def _obj_again(cls: Cls, values: Values) -> Obj:
    return Obj(cls, values)


def _is_looked_up(cls: Cls) -> bool:
    """Whether a class is one of `Cls.from_name`, or a variant of such a class."""
    return bool(cls.__dict__.get("_app_name"))


def _looked_up_again(app_name: str, name: str, environment_name: str | None) -> Cls:
    """Make the handle that `Cls.from_name` made, from its pickle."""
    return Cls.from_name(app_name, name, environment_name=environment_name)


# The attributes that a handle has itself.
_OF_HANDLE: Final = frozenset(
    {"_declared", "_make_service", "_options", "_shown", "_find", "_app_name", "_plain_service"}
    | {"_lookup"}
    | {"__name__", "__qualname__", "__module__", "__doc__"}
)


def _in_class(value: object) -> object:
    """Return what the class has, for a method that was read from its handle (``Model.run``)."""
    if isinstance(value, Function):
        return vars(value).get("_in_class", value)
    return value


# Names that users look for on a class or an instance, but that belong to a method, or to the
# class: `_where` says where.
_OF_METHODS: Final = frozenset(
    {"autoscaler", "get_current_stats", "statistics"}
    | {"with_batching", "with_concurrency", "with_options"}
    | CALLS
    | URLS
)


def _where(declared: Declarations, name: str) -> str:
    """Return the hint of the error for such a name: what to write instead."""
    if name.startswith("with_"):
        return f"write {declared.name}.{name}(...)() for an instance"
    obj = f"{declared.name}(...)"
    if name == "update_autoscaler":
        return f"write {obj}.{name}(...) on an instance, which has the pool"
    if name in URLS:
        return f"write {obj}.{next(iter(declared.web), 'method')}.get_web_url()"
    called = "" if name == "autoscaler" else "()"
    method = next(iter(declared.methods), "method")
    if name in CALLS:
        return of_function(f"{obj}.{method}", name, ()) or f"write {obj}.{method}.{name}(...)"
    return f"write {obj}.{method}.{name}{called}, for the methods of an instance share its pool"


def _lacks(user: object, name: str) -> bool:
    """Return whether the user's class or instance has no such attribute; runs no user code."""
    dynamic = getattr(type(user), "__getattr__", None)
    return dynamic is None and Real.getattr_static(user, name, None) is None


def _weakly(instance: object) -> Callable[[], object | None]:
    """Return a weak reference to `instance`.

    With a strong reference, a method that is kept would keep the instance, with its large model,
    after its container has ended.
    """
    try:
        return weakref.ref(instance)
    except TypeError:  # the class has ``__slots__`` without ``__weakref__``
        return lambda: instance


def _refuse_unbound(class_name: str, name: str) -> Never:
    raise ExecutionError(
        f"{class_name}.{name} belongs to the class, and .local() needs an instance; "
        f"write {class_name}(...).{name}.local(...)"
    )


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Cls = Cls
    _Obj = Obj
