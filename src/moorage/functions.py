"""Functions: what ``app.function`` returns, and the methods of an app's class.

Owns the handle of a function (`Function`), its options, its look-up by name and by id, and how
its inputs reach the pool.  ``calling/ways.py`` owns the ways to call a function.  The `Service`
(``running/services.py``) that ``app.py`` or ``cls.py`` passes in makes the pool.

Begin at `Function._make`, then `Function._submit`, then `Function._looked_up`.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import (
    AsyncIterable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from functools import cache
from pathlib import PurePosixPath
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NamedTuple,
    Never,
    ParamSpec,
    Self,
    SupportsIndex,
    TypeVar,
    Unpack,
    cast,
)

from . import config
from .advice import no_attribute, of_function
from .calling.asking import ask
from .calling.function_call import FunctionCall as FunctionCall
from .calling.maps import MapCall
from .calling.waited import written
from .calling.ways import (
    ForEach,
    Map,
    Refused,
    Remote,
    RemoteGen,
    Spawn,
    SpawnMap,
    SpawnMapAndForget,
    Starmap,
    WayOfFunction,
)
from .declaring.marks import Batching, Concurrency, Web
from .declaring.options import NOTHING, FunctionOptions, OldNames, OnFull, changed_options
from .declaring.parameters import checked_batching
from .declaring.targets import check_batched, refuse_of_web
from .exception import (
    Error,
    ExecutionError,
    InvalidArgumentsError,
    InvalidError,
    NotFoundError,
)
from .frames import hide_our_frames, warn, without_our_frames
from .old.names import OldMethod, accept_old_spelling
from .placing.blueprints import opened_part, packed_part, reference_of
from .placing.calls import Reference
from .placing.shipping import pack_call
from .retries import Retries
from .running import deployments
from .running.endpoints import FunctionEndpoint, Place
from .running.services import Service, ServiceElsewhere
from .running.urls import WebFunction, open_url
from .runtime import forking
from .runtime.context import is_a_container
from .runtime.input import Input, Kind, Target
from .runtime.pools.autoscaler import Limits
from .runtime.pools.pool import Pool
from .runtime.real import Real
from .serialize.serializing import SerializingTarget, serialize_call, serializing_target
from .stores.home import environment_that_goes_along
from .with_aio import OF_A_FUNCTION, MethodWithAio, Way, poses_as_function

if TYPE_CHECKING:
    from .app import App
    from .cloud_bucket_mount import CloudBucketMount
    from .runtime.pools.statistics import PoolStatistics
    from .secret import Secret
    from .types import FunctionAutoscalerSettings, FunctionCurrentStats
    from .volume import Volume

P = ParamSpec("P")
L = ParamSpec("L")
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)  # the type that the plain function returns
Y = TypeVar("Y")

# The least window of a map without `window=`: how many inputs may be submitted whose results are
# not delivered yet.  The window is this, or twice the number of inputs that the pool can run at
# once, whichever is larger.
WINDOW: Final = 1000


class _Signature:
    """The ``__signature__`` of a method: without ``self``.  Other functions have none."""

    def __get__(self, function: Function[Any, Any, Any] | None, owner: type) -> inspect.Signature:
        target: Target | None = None if function is None else function.__dict__.get("_target")
        method: Any = None
        if target is not None and target.is_method:
            method = target.function
        elif function is not None and "_in_class" in function.__dict__:  # `Model.method`
            method = function.__dict__["__wrapped__"]
        if method is None:
            raise AttributeError("__signature__")  # inspect.signature() asks `__wrapped__`
        signature = Real.signature(method)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


if TYPE_CHECKING:
    _PatchedWays = type
else:

    class _PatchedWays(type):
        """The type of `Function`: a way that a test replaces on the class reaches each function.

        ``patch.object(Function, "remote", ...)`` writes to the class.  A function that keeps its
        ways (see `Function._keep_ways`) would not look at the class.  So the function drops the
        way, and keeps a new one when the patch is undone.
        """

        def __setattr__(cls, name, value):
            before = vars(cls).get(name)
            super().__setattr__(name, value)
            if Way in (type(before), type(value)):
                for function in list(_keepers):
                    function._keep_way(name, value)


@poses_as_function
class Function(Generic[P, R_co, O_co], metaclass=_PatchedWays):
    """A function of an app: ``@app.function()`` above a ``def`` makes it.

    `R_co` is the type of the result of ``remote``.  `O_co` is the type that the plain function
    (and `local`) returns: a coroutine if the function is async.
    """

    __slots__ = {
        "__dict__": "the attributes of a function, and what users set",
        "__weakref__": "for finding the function by its id",
    }

    _moorage_registered: Final = True
    __test__: Final = False  # pytest does not collect a function that is named test_...

    if TYPE_CHECKING:
        # See `NotAFunction`.
        __sizeof__: None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
        __signature__: inspect.Signature
        remote: Remote[P, R_co]
        map: Map[R_co]
        starmap: Starmap[R_co]
        for_each: ForEach
        spawn: Spawn[P, R_co]
        spawn_map: SpawnMapAndForget
        experimental_spawn_map: SpawnMap[R_co]
        _experimental_spawn: Spawn[P, R_co]
        # A function that is looked up by name gets these at first access: see `__getattr__`.
        _target: Target
        _service: Service
        _local: Callable[..., Any] | None
        _web: Web | None
        _place: Place | None
    else:
        # A way refers to its function.  If a function kept its ways, each ``Model().run`` would
        # be a reference cycle, and stay until a garbage collection.  So only a function that
        # lives as long as its app keeps its ways: see `_keep_ways`.
        __signature__ = _Signature()
        remote = Way(Remote, "``remote(...)`` runs one input in a container and waits for it.")
        map = Way(Map, "``map([...])`` runs many inputs and yields their results as they come.")
        starmap = Way(Starmap, "``starmap([(...), ...])`` is ``map`` over rows of arguments.")
        for_each = Way(
            ForEach, "``for_each([...])`` runs many inputs and returns when all have finished."
        )
        spawn = Way(Spawn, "``spawn(...)`` starts one input and returns a handle for its result.")
        spawn_map = Way(SpawnMapAndForget, "``spawn_map([...])`` starts many inputs, no handle.")
        experimental_spawn_map = Way(
            SpawnMap, "``experimental_spawn_map([...])`` is ``spawn_map`` that returns a handle."
        )
        remote_gen = Way(
            RemoteGen, "``remote_gen(...)`` runs a generator and yields its items as they come."
        )
        _experimental_spawn = Way(Spawn, "``_experimental_spawn(...)`` is ``spawn(...)``.")

        # Old spellings.
        lookup = OldMethod(
            "write Function.from_name(...)",
            lambda cls, app_name, name, **kwargs: (
                _method_named(app_name, name)
                if "." in name
                else cls.from_name(app_name, name, **kwargs)
            ),
            on="class",
        )
        keep_warm = OldMethod(
            "write f.update_autoscaler(min_containers=2)",
            lambda function, warm_pool_size: _keep_warm(function, warm_pool_size),
            on="instance",
        )

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise InvalidError(
            "a Function is not made by hand; write @app.function() above a def, or "
            "Function.from_name(...) for one of a deployed app"
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self._lookup is not None:
            return _looked_up_again, self._lookup
        return super().__reduce_ex__(protocol)

    def _moorage_crosses(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what finds this function in another process: see ``placing/shipping.py``."""
        return self._reference()

    def _moorage_code(self) -> Any:
        """Return the code in whose place this object is: see ``placing/blueprints.py``."""
        return None if "_find" in self.__dict__ else self._target.function

    def _moorage_by_value(self) -> Any:
        """Return how this object is made in another process that cannot import it."""
        if "_find" in self.__dict__ or self._made_by is not None or self._target.is_method:
            return self._reference()
        return _function_elsewhere, (self._facts(), self._target.function)

    def _facts(self) -> Facts:
        """Return what stands for this function in another process needs to know."""
        target = self._target
        is_bounded = self._service.options.max_backlog is not None
        return Facts(self._id, target.name, target.kind.value, is_bounded, self._web)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # as of a function

    @classmethod
    def _make(
        cls,
        target: Target,
        service: Service,
        local: Callable[..., Any] | None,
        *,
        shown: str | None = None,
        web: Web | None = None,
        place: Place | None = None,
    ) -> Function[Any, Any, Any]:
        made: Function[Any, Any, Any] = cls.__new__(cls)
        made._target = target
        made._service = service
        made._local = local
        made._web = web
        made._place = place
        made._shown = shown or f"Function({target.name})"
        made._name = target.name
        # What help() and inspect.signature() read.  `poses_as_function` and `__getattr__` find
        # the other attributes of a function.
        made.__wrapped__ = function = target.function
        made.__module__ = getattr(function, "__module__", __name__)
        if web is not None:
            site = service.key if place is None else place.key
            for name in ("remote", "spawn", "_experimental_spawn"):
                made.__dict__[name] = Refused(name, target, service, site)
        return made

    @classmethod
    def _named(
        cls,
        name: str,
        shown: str,
        find: Callable[[], Function[Any, Any, Any]],
        local: Callable[..., Any] | None = None,
    ) -> Function[Any, Any, Any]:
        """Make a function that `find` looks up at the first use."""
        made: Function[Any, Any, Any] = cls.__new__(cls)
        made._name = name
        made._shown = shown
        made._find = find
        made._forgotten = 0
        made._local = local
        return made

    def _keep_ways(self) -> None:
        """Make the ways to call this function once, and keep them.

        Makes a reference cycle, so only for a function that lives as long as its app.
        """
        _keepers.add(self)
        for name, way in vars(Function).items():
            self._keep_way(name, way)

    def _keep_way(self, name: str, way: object) -> None:
        """Keep the way `name` if it is ours; drop it if a test replaced it on the class."""
        kept = self.__dict__.get(name)
        if type(way) is Way:
            self.__dict__.setdefault(name, way.__get__(self, Function))
        elif isinstance(kept, WayOfFunction) and not vars(kept):
            del self.__dict__[name]

    # `_make` or `_named` sets these; they are declared here for type checkers and readers.
    _shown: str  # the text of `repr`
    _find: Callable[[], Function[Any, Any, Any]]  # set only by `_named`
    _forgotten: int  # changes whenever `_forget_found` drops what was found
    _app_name: str  # the app in which the function is looked up
    _lookup: tuple[str, str, str | None] | None = None  # the arguments of `from_name`
    # What makes the function in another process: see `_reference`.
    _made_by: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
    _name: str  # as messages show it: ``f``, or ``Model.method``
    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., object]
    _serializing_target: SerializingTarget  # made when a run with ``serialize=True`` needs it

    if TYPE_CHECKING:

        @property
        def remote_gen(
            self: Function[P, Iterable[Y] | AsyncIterable[Y], object],
        ) -> RemoteGen[P, Y]: ...

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O_co:
        """Call the plain function here, in this thread, without a container.

        Raises:
            ExecutionError: if the function is looked up by name or id.
        """
        local = self._local
        if local is None:
            raise ExecutionError(
                f"{self._shown} is looked up when it runs, so its code is not called here; "
                "write .remote(...) instead, or call .local(...) on the function itself"
            )
        if "_find" not in self.__dict__ and self._service.mounts_volumes:
            warn(
                f"{self._shown} is called here, where none of its volumes is mounted; "
                "give it a local path, e.g. as an argument",
                UserWarning,
            )
        try:
            result: O_co = local(*args, **kwargs)
        except Exception as error:
            raise without_our_frames(error)
        return result

    # -- properties and counts --------------------------------------------------

    @property
    def app(self) -> App:
        """The app that the function belongs to."""
        app: App = self._service.app
        return app

    @property
    def object_id(self) -> str:
        """The id of the function in this process, for `from_id`.

        Raises:
            AttributeError: in strict mode, while the app does not run.
        """
        if is_a_container():
            return self._id_there()
        if config.strict and self._service.open_run is None:
            raise AttributeError(f"{self._shown} has no object_id while its app does not run")
        return self._id

    def _id_there(self) -> str:
        """Return the id that the function has in the calling program."""
        found: str = self.__dict__.get("_its_id", "")
        if not found:
            found = self.__dict__.setdefault("_its_id", ask(_id_of, self))
            _by_id[found] = self
        return found

    @property
    def _id(self) -> str:
        # `from_id` finds the function only after this: nobody else has the id.
        number: int = self.__dict__.get("_number", 0)
        if not number:
            number = self.__dict__.setdefault("_number", next(_numbers))
        shown = f"fu-{_process}{number:06x}"
        _by_id[shown] = self
        return shown

    @MethodWithAio
    def hydrate(self, client: object = None) -> Function[P, R_co, O_co]:
        """Return the function itself: there is nothing to fetch.

        Raises:
            NotFoundError: if the function is looked up by name or id and is not found.
            ExecutionError: in strict mode, if the app does not run.
        """
        self._service.current_run() if config.strict else self._service
        return self

    @MethodWithAio
    def get_web_url(self) -> str | None:
        """Return the URL of a web function, such as ``http://127.0.0.1:41234``; else None.

        The function is served from the first call on, until its run ends.  That starts no
        container.  The URL of ``Model(name="x").generate`` has the parameters as its query.

        Raises:
            ExecutionError: if the run is ending; in strict mode, if the app does not run.
            InvalidError: if the run has a virtual clock, in which there are no sockets, if the
                label is wrong, or if the extra ``web`` is not installed.
        """
        return self._open_url()

    def _open_url(self) -> str | None:
        """See `get_web_url`.  Also called on the HTTP thread."""
        if is_a_container():
            url: str | None = ask(_url_of, self)
            return url
        found = self._with_place()
        web, place = found._web, found._place
        service = found._service if place is None or place.service is None else place.service
        if config.strict:
            service.current_run()
        if web is None:
            return None
        place = place or Place(service.key, found._web_endpoint)
        return open_url(found._name, web, service, place)

    def _with_place(self) -> Function[Any, Any, Any]:
        """Return the function that knows its `Place`: this one, or the one that is looked up.

        The place of a web method needs no parameter values: the query of a request gives them.
        """
        found: Function[Any, Any, Any] = self
        while "_place" not in found.__dict__ and "_find" in found.__dict__:
            found = found._find()
        return found

    def _as_web_function(self) -> WebFunction:
        """Return the function, which is a web function, for a server of all of them."""
        web, service = self._web, self._service
        assert web is not None
        place = self._place or Place(service.key, self._web_endpoint)
        return WebFunction(self._name, web, service, place, own_port=web.port)

    def _web_endpoint(self) -> FunctionEndpoint:
        """Return what a bridge needs of this web function.

        Raises:
            InvalidError: if the function is no web function.
        """
        if self._web is None:
            raise InvalidError(
                f"{self._name} is no web function; write @moorage.asgi_app(), or another web "
                "decorator, below @app.function()"
            )
        return FunctionEndpoint(self._target, self._service)

    def statistics(self) -> PoolStatistics | None:
        """Return the exact counts of the function's pool at this moment.

        None outside of a run, and before the first call.

        The methods of a class share their pool and its counts.  The counts are those of the
        whole run: no count is reset when the last container ends.
        """
        run = self._service.open_run
        if run is None and is_a_container():
            seen: PoolStatistics | None = ask(_statistics_of, self)
            return seen
        return None if run is None else run.statistics(self._service.key)

    @MethodWithAio
    def get_current_stats(self) -> FunctionCurrentStats:
        """Return Modal's four counts of the pool, exactly; see `statistics` for more."""
        from .types import FunctionCurrentStats

        if config.strict:
            self._service.current_run()
        seen = self.statistics()
        if seen is None:
            return FunctionCurrentStats(0, 0, 0, 0)
        serving = [c for c in seen.containers if c.state.value in ("ready", "draining")]
        return FunctionCurrentStats(
            backlog=seen.queued,
            num_total_runners=len(serving),
            num_running_inputs=seen.running,
            input_headroom=sum(
                max(0, c.limit - c.running) for c in serving if c.state.value == "ready"
            )
            * (1 if seen.batches is None else seen.batches.max_batch_size),
        )

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
    ) -> Self:
        """Return the function with these options changed, and with a pool of its own.

        An argument that is not given changes nothing.  Two variants with equal options share
        their pool, and so its containers.  New `secrets` or `env` replace all the secrets and
        variables that the function has, and new `volumes` all its volumes, as in Modal.  The
        arguments of the cloud (``cpu``, ``memory``, ``gpu``, ``region``, ``cloud``,
        ``routing_region``) are checked and have no effect.

        The arguments are those of `App.function`; all times are in seconds.

        Raises:
            InvalidError: if a value is out of its range, or this is a method: the class has the
                options.
        """
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
        made: Self = self._variant(
            "options",
            lambda options: changed_options(
                options, cloud_arguments, dict(old_names), secrets=secrets, **given
            ),
        )
        return made

    @hide_our_frames
    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Self:
        """Return the function with another input concurrency, and with a pool of its own.

        Args:
            max_inputs: the most inputs in one container at once.
            target_inputs: how many inputs a container should have before the pool starts another;
                `max_inputs` if None.

        Raises:
            InvalidError: if a number is below 1, `target_inputs` exceeds `max_inputs`, or this is
                a method: the class has the options.
        """
        concurrency = Concurrency(max_inputs, target_inputs).checked()
        made: Self = self._variant(
            "concurrency", lambda options: options.merged(concurrency=concurrency)
        )
        return made

    @hide_our_frames
    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Self:
        """Return the function with another dynamic batching, and with a pool of its own.

        This also makes a batched function of a function that takes lists and is not batched.

        Args:
            max_batch_size: the most inputs in one batch, from 1 to 1,000.
            wait_ms: the most milliseconds that the first input of a batch waits for other
                inputs, from 0 to 600,000.

        Raises:
            InvalidError: if a number is out of its range, the function cannot be batched, its
                ``queue_timeout`` is not longer than `wait_ms`, or this is a method: the class
                has the options.
        """
        batching: Batching = checked_batching(max_batch_size, wait_ms)
        made: Self = self._variant("batching", lambda options: options.merged(batching=batching))
        return made

    def _variant(self, what: str, change: Callable[[FunctionOptions], FunctionOptions]) -> Any:
        shown = f"{self._shown}.with_{what}(...)"
        app_name = self.__dict__.get("_app_name")
        if app_name is not None:
            change(FunctionOptions())  # so that wrong options raise now, not at the first use

            def find() -> Function[Any, Any, Any]:
                found: Function[Any, Any, Any] = self._find()._variant(what, change)
                return found

            named = self._looked_up(app_name, self._name, shown, find)
            named._made_by = _variant_of, (Reference(self), what, change)
            return named
        target = self._target
        if target.is_method:
            raise InvalidError(
                f"{self._name} is a method, whose class has the options; "
                f"write {self._name.partition('.')[0]}.with_{what}(...)() for an instance"
            )
        options = change(self._service.options)
        options.check_queue_timeout()
        if self._web is not None:
            has_retries = options.retries is not None
            refuse_of_web(self._name, batched=options.batching is not None, retried=has_retries)
        if options.batching is not None:
            check_batched(target)
        made = self._make(
            target, self._service.with_options(options), self._local, shown=shown, web=self._web
        )
        made._made_by = _variant_of, (Reference(self), what, change)
        return made

    # -- the autoscaler ---------------------------------------------------------

    @MethodWithAio
    def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
    ) -> FunctionAutoscalerSettings:
        """Change the bounds of the function's pool, and return the bounds after the change.

        The change is for the present pool and for later pools of this function.  None changes
        nothing.

        The arguments are those of `App.function`; ``scaledown_window`` is in seconds.  In strict
        mode ``max_containers=0`` removes that bound, as in Modal.

        Raises:
            InvalidError: if a value is out of its range, or this is a method: use
                ``obj.update_autoscaler(...)`` on the instance, which has the pool.
        """
        if "_find" not in self.__dict__ and self._target.is_method:
            raise InvalidError(
                f"{self._name} is a method, which shares its pool; "
                "write obj.update_autoscaler(...) on the instance"
            )
        return self.autoscaler.update(
            min_containers=_UNCHANGED if min_containers is None else min_containers,
            max_containers=_UNCHANGED if max_containers is None else max_containers,
            buffer_containers=_UNCHANGED if buffer_containers is None else buffer_containers,
            scaledown_window=_UNCHANGED if scaledown_window is None else scaledown_window,
        )

    @property
    def autoscaler(self) -> FunctionAutoscalerManager:
        """The bounds of the function's pool, to read and to change."""
        return FunctionAutoscalerManager(lambda: self._service, lambda: self)

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
    ) -> Function[..., Any, Any]:
        """Return a function of an app that is deployed or runs in this process, by their names.

        The function is looked up when it is used, so the app may be deployed later.  After a
        new deployment under the same name, the next use finds the new function.

        Args:
            app_name: the name that `App.deploy` was given, or the app's name.  Of several apps
                of one name that run, the last to begin is used, unless one is deployed.
            name: the name of the function; for a method see `Cls.from_name`.
            environment_name: the environment in which the app was deployed or runs.
            version, client: for the cloud; accepted without effect.

        Raises:
            InvalidError: if `name` is the name of a method.
            NotFoundError: at each use, if there is no such app or function.
        """
        if "." in name:
            raise InvalidError(
                f"{name!r} names the method of a class; write Cls.from_name({app_name!r}, "
                f"{name.partition('.')[0]!r})().{name.partition('.')[2]}"
            )

        def find() -> Function[Any, Any, Any]:
            if is_a_container():
                environment = environment_that_goes_along(environment_name)
                return stand_in(ask(_facts_of_named, app_name, name, environment))
            return deployments.of_app(
                "Function", app_name, name, environment_name, lambda app: app._functions_by_name()
            )

        shown = deployments.shown("modal.Function", app_name, name, environment_name)
        named = cls._looked_up(app_name, name, shown, find)
        named._lookup = app_name, name, environment_that_goes_along(environment_name)
        return named

    @classmethod
    def _looked_up(
        cls, app_name: str, name: str, shown: str, find: Callable[[], Function[Any, Any, Any]]
    ) -> Function[Any, Any, Any]:
        """Make a function that is looked up in an app by its name.

        The function is looked up anew after each deployment of `app_name`, and when a run of an
        app of this name begins or ends.
        """
        named: Function[Any, Any, Any] = cls._named(name, shown, find)
        named._app_name = app_name
        deployments.remember(app_name, named)
        return named

    @classmethod
    @hide_our_frames
    def from_id(cls, function_id: str, *, client: object = None) -> Function[..., Any, Any]:
        """Return the function with this `object_id`, if that function is still referenced.

        Raises:
            NotFoundError: at the use of the result, if there is no such function.
        """
        found = _by_id.get(function_id)
        if found is not None:
            return found

        if is_a_container():
            try:
                there: Function[..., Any, Any] = ask(_function_there, function_id)
            except NotFoundError:
                pass
            else:
                return there

        def find() -> Function[Any, Any, Any]:
            raise NotFoundError(
                f"no function with the id {function_id!r} lives in this process; "
                "keep the Function itself, or write Function.from_name(...)"
            )

        named: Function[..., Any, Any] = cls._named(
            function_id, f"modal.Function.from_id({function_id!r})", find
        )
        return named

    if not TYPE_CHECKING:  # hidden from type checkers, so that they refuse ``f(...)`` too

        def __call__(self, *args, **kwargs):
            name = self._name
            # The name of a method has a dot.  A function that is looked up is not looked up here.
            if "." in name if "_find" in self.__dict__ else self._target.is_method:
                owner, _, name = name.rpartition(".")
                where = f"{owner}(...).{name}.remote(...) to run it in a container, "
                local = f"or self.{name}.local(...) inside the class"
            else:
                where = f"{name}.remote(...) to run it in a container, "
                local = f"or {name}.local(...) to run it here"
            raise InvalidArgumentsError(
                f"{self._name} belongs to an app and cannot be called directly: "
                f"write {where}{local}"
            )

        def __getattr__(self, name):
            # Python calls this only for a missing attribute.  A function that is looked up by
            # name misses the attributes in `_FOUND`: they are found now, and kept until the app
            # is deployed anew or stopped.
            if name in _FOUND and "_find" in self.__dict__:
                while True:
                    seen = self._forgotten
                    try:
                        found = self._find()
                    except Error as error:
                        if name != "__wrapped__":
                            raise
                        # pytest, inspect and others ask for it, and take no other error.
                        raise AttributeError(str(error)) from error
                    values = {attribute: getattr(found, attribute) for attribute in _FOUND}
                    self.__dict__.update(values)
                    if values["_web"] is not None:
                        # The way that asks is at work: only its submission can be refused.
                        self.__dict__["_submit"] = found._refuse_submission()
                    if self._forgotten == seen:
                        return values[name]
                    # Another thread deployed the app meanwhile:
                    #     1. this thread finds the attributes in the old app,
                    #     2. the other thread deploys anew, and calls `_forget_found`,
                    #     3. this thread stores the old attributes, and nothing removes them.
                    # So this thread removes them itself, and looks up again.
                    self._forget_found()
            if name == "__name__":
                return self._name.rpartition(".")[2]
            if name in OF_A_FUNCTION:
                wrapped = getattr(self, "__wrapped__", None)
                found = getattr(wrapped, name, None)
                return self._name if found is None and name == "__qualname__" else found
            if name == "web_url" and not config.strict:
                accept_old_spelling(f"{self._shown}.web_url", "write .get_web_url()")
                return self.get_web_url()
            if name in _CLOUD_ONLY:
                raise AttributeError(
                    f"{self._shown} has no {name}, which is a page of Modal's cloud; "
                    "write .statistics() for its counts"
                )
            if not name.startswith("_"):  # not for a copy, whose own attributes are not there yet
                owner, _, last = self._name.rpartition(".")
                function = f"{owner}(...).{last}" if owner else last
                target = self.__dict__.get("_target")
                yields = target is not None and target.kind.is_generator
                instead = of_function(function, name, dir(Function), yields=yields)
                if instead:
                    raise no_attribute(self._shown, name, instead)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _forget_found(self) -> None:
        """Drop what was found, so that the next use looks the function up anew.

        Called when the app was deployed anew or stopped.
        """
        if "_find" in self.__dict__:
            self._forgotten = next(_numbers)  # before the attributes go: see `__getattr__`
            for attribute in (*_FOUND, "_submit"):
                self.__dict__.pop(attribute, None)

    def __repr__(self) -> str:
        return self._shown

    # -- submitting inputs to the pool ------------------------------------------

    def _submit(self, inputs: Sequence[Input], spawned: FunctionCall[Any] | None = None) -> Pool:
        """Submit `inputs` to the pool, and return the pool.

        If the inputs are of the call `spawned`, that call gets its pool before they may run.
        """
        service = self._service
        key = service.key
        while True:
            run = service.current_run()
            if run.copies:
                if run.is_elsewhere:
                    return self._call_elsewhere(run, inputs, spawned)
                if service.places_in(run) is not None:
                    pack_call(inputs, one_of_many=len(inputs) > 1)
                elif run.serialize:
                    serialize_call(inputs, self)
            pool = run.pools.get(key)
            if pool is None:
                pool = run.pool(key, service.maker(run))
            if spawned is not None:
                spawned._pool = pool
            if pool.submit(inputs):
                return pool
            # The pool was retired after it was looked up: it has left the run, or is about to.
            run.drop(key, pool)

    def _call_elsewhere(
        self, run: Any, inputs: Sequence[Input], spawned: FunctionCall[Any] | None
    ) -> Pool:
        """Have the calling program run `inputs`: this process is a container's."""
        pool = run.pool_of(self)
        if spawned is None:
            pool.submit(inputs)
        else:
            spawned._pool = pool
            pool.spawn(inputs)
        return cast(Pool, pool)

    def _reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what finds this function in another process: by names, or by its id."""
        if self._lookup is not None:
            return _looked_up_again, self._lookup
        if self._made_by is not None:
            return self._made_by
        if "_find" in self.__dict__:
            return self._find()._reference()
        found: Any = self.__dict__.get("_refers")
        if found is None:
            found = self.__dict__.setdefault("_refers", self._make_reference())
        return cast("tuple[Callable[..., Any], tuple[Any, ...]]", found)

    def _make_reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        target, service = self._target, self._service
        blueprint = getattr(service, "blueprint", None)
        if target.is_method and blueprint is not None:
            cls, args, kwargs = blueprint.args
            return _method_of, (Reference(cls), args, kwargs, target.name.rpartition(".")[2])
        found = reference_of(self)
        if found is not None:
            return found
        if not is_a_container():
            return _function_with_id, (self._facts(),)
        app = service.app
        if app is not None and app._functions_by_name().get(self._name) is self:
            return _function_of_app, (app, self._name)
        raise ExecutionError(
            f"{self._shown} was made by the code of a container, so the calling program does not "
            "have it; define it at the top of a module"
        )

    def _refuse_submission(self) -> Callable[..., Never]:
        """Return what stands for `_submit` where this web function is looked up by name.

        What is returned refers to no function: see `Refused`.
        """
        site = self._service.key if self._place is None else self._place.key
        remote = Refused("remote", self._target, self._service, site)
        spawn = Refused("spawn", self._target, self._service, site)

        def refuse(inputs: object, spawned: object = None) -> Never:
            remote() if spawned is None else spawn()
            raise AssertionError

        return refuse

    def _spawn_soon(self) -> object:
        """Submit a call without arguments, as ``spawn()`` does, and never wait."""
        self._expect("spawn")
        call = FunctionCall._make(self._target, (), {})
        self._submit(call._inputs, call)
        return call

    def _open_map(self, kwargs: dict[str, Any], window: int | None = None) -> MapCall:
        service = self._service
        if window is None:
            limits = service.limits
            most = limits.max_inputs * (limits.max_containers or config.max_containers)
            batching = service.options.batching
            if batching is not None:
                most *= batching.max_batch_size  # one slot runs one batch
            window = max(WINDOW, 2 * most)
        while True:
            run = service.current_run()
            if run.is_elsewhere:
                its: Any = run
                return MapCall(self._target, its.pool_of(self), kwargs, window)
            pool = run.pool(service.key, service.maker(run))
            if pool.open_call():
                target = self._target
                if run.serialize and not pool.options.is_placed:
                    target = serializing_target(self)
                return MapCall(target, pool, kwargs, window)
            run.drop(service.key, pool)

    def _expect(self, way: str) -> None:
        """Raise `InvalidError` if the function cannot be called in this way.

        Generators have ``remote_gen`` only, other functions all other ways.  Web endpoints have
        none.
        """
        if config.strict:
            self._service.current_run()  # first, as in Modal
        name = self._name
        if self._target.is_generator and self._service.options.batching is not None:
            # ``is_generator=True`` on a function that returns a list.  Modal accepts the decorator.
            raise InvalidError(
                f"the batched function {name} cannot be a generator, got is_generator=True; "
                "take it away, and return a list with one element for each input"
            )
        if self._web is not None:
            site = self._service.key if self._place is None else self._place.key
            Refused(way, self._target, self._service, site)()
        if self._target.is_generator is not (way == "remote_gen"):
            kind, instead = (
                ("is a generator", ".remote_gen(...)")
                if self._target.is_generator
                else ("is not a generator", ".remote(...)")
            )
            if way.endswith(".aio"):
                instead = instead.replace("(", ".aio(")
            raise InvalidError(
                f"{name} {kind}, so it has no .{way}(); write {written(self._target)}{instead}"
            )


if TYPE_CHECKING:

    class BatchedFunction(Function[P, R_co, O_co], Generic[P, R_co, O_co, L]):
        """A batched function: `local` takes lists, the other ways take one element of each.

        For type checkers only, which see this class instead of `Function`.
        """

        def local(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            self, *args: L.args, **kwargs: L.kwargs
        ) -> O_co: ...


class FunctionAutoscalerManager:
    """``Function.autoscaler``: the bounds of a pool, to read and to change."""

    def __init__(
        self, service: Callable[[], Service], function: Callable[[], Function[..., Any, Any]]
    ) -> None:
        self._service_of = service
        self._function_of = function  # that has the pool

    @MethodWithAio
    def settings(self) -> FunctionAutoscalerSettings:
        """Return the present bounds."""
        if is_a_container():
            seen: FunctionAutoscalerSettings = ask(_settings_there, self._function_of())
            return seen
        return _settings_of(self._service.limits)

    @MethodWithAio
    def update(
        self,
        *,
        min_containers: int | None = -1,
        max_containers: int | None = -1,
        buffer_containers: int | None = -1,
        scaledown_window: float | None = -1,
    ) -> FunctionAutoscalerSettings:
        """Change the bounds for the present pool and later ones, and return the new bounds.

        -1 changes nothing.  None removes the bound, so that the default holds; so does
        ``max_containers=0`` in strict mode, as in Modal.  ``scaledown_window`` is in seconds.

        Raises:
            InvalidError: if a value is out of its range.
        """
        given = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
        }
        changes = {name: value for name, value in given.items() if value != _UNCHANGED}
        if is_a_container():
            made: FunctionAutoscalerSettings = ask(_update_there, self._function_of(), changes)
            return made
        return _settings_of(self._service.update_autoscaler(changes))

    @property
    def _service(self) -> Service:
        service = self._service_of()
        if config.strict:
            service.current_run()
        return service


def _looked_up_again(
    app_name: str, name: str, environment_name: str | None
) -> Function[..., Any, Any]:
    """Make the handle that `Function.from_name` made, from its pickle."""
    return Function.from_name(app_name, name, environment_name=environment_name)


if not TYPE_CHECKING:  # for an old spelling

    def _facts_of_method_named(app_name: str, name: str) -> Facts:
        return _method_named(app_name, name)._facts()

    def _method_named(app_name: str, name: str) -> Any:
        """Return the method of a deployed class, by its old name ``Model.method``."""
        owner, _, method = name.partition(".")

        def find() -> Function[Any, Any, Any]:
            if is_a_container():
                return stand_in(ask(_facts_of_method_named, app_name, name))
            cls = deployments.of_app(
                "Cls", app_name, owner, None, lambda app: app._classes_by_name()
            )
            found: Function[Any, Any, Any] = getattr(cls(), method)
            return found

        shown = f"modal.Cls.from_name({app_name!r}, {owner!r})().{method}"
        return Function._looked_up(app_name, name, shown, find)


def _keep_warm(owner: Any, count: int) -> None:
    """The old ``keep_warm(2)`` of a function, or of an instance, which has the pool."""
    owner.update_autoscaler(min_containers=int(count))


if not TYPE_CHECKING:  # old spellings

    def __getattr__(name):
        if name != "gather":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        accept_old_spelling("functions.gather", "write modal.FunctionCall.gather(...)")
        return FunctionCall.gather


def _settings_of(limits: Limits) -> FunctionAutoscalerSettings:
    from .types import FunctionAutoscalerSettings

    return FunctionAutoscalerSettings(
        min_containers=limits.min_containers,
        max_containers=limits.max_containers,
        scaledown_window=limits.scaledown_window,
        buffer_containers=limits.buffer_containers,
    )


_UNCHANGED: Final = -1
# The attributes that a function which is looked up by name takes from the found function.
_FOUND: Final = ("_target", "_service", "_web", "_place", "__wrapped__")
# Modal's attributes that only the cloud can have.
_CLOUD_ONLY: Final = frozenset(
    {"_experimental_get_flash_urls", "client", "get_dashboard_url", "info", "logs", "metrics"}
    | {"stats"}
)

# Part of each id, so that ids differ between processes, as the ids of calls do.
_process: str = Real.urandom(4).hex()
_numbers: Final = itertools.count(1)
_by_id: Final[weakref.WeakValueDictionary[str, Function[..., Any, Any]]] = (
    weakref.WeakValueDictionary()
)
# The functions that keep their ways.
_keepers: Final[weakref.WeakSet[Function[..., Any, Any]]] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child: give each function an id of the child."""
    global _process
    _process = Real.urandom(4).hex()
    functions = list(_by_id.values())
    _by_id.clear()
    for function in functions:
        _by_id[function._id] = function


forking.in_child(_after_fork)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Function = Function
    _FunctionCall = FunctionCall
    _FunctionAutoscalerManager = FunctionAutoscalerManager


class Facts(NamedTuple):
    """What a process knows of a function of another one."""

    function_id: str
    name: str
    kind: str
    is_bounded: bool  # its backlog
    web: Web | None


def _function_elsewhere(facts: Facts, code: Callable[..., Any]) -> Function[Any, Any, Any]:
    """Make what stands for a function of the calling program whose code has come along."""

    @cache  # when it is used: `code` may be empty until all of the code was read
    def find() -> Function[Any, Any, Any]:
        return _stand_in(facts, code, code)

    made = Function._named(facts.name, f"Function({facts.name})", find, code)
    made._made_by = _function_with_id, (facts,)
    _by_id[facts.function_id] = made
    return made


def _function_with_id(facts: Facts) -> Function[Any, Any, Any]:
    """Return the function with this id, or what stands for it in a container's process."""
    if not is_a_container():
        return Function.from_id(facts.function_id)
    found = _by_id.get(facts.function_id)
    if found is None:
        found = _by_id[facts.function_id] = stand_in(facts)
    return found


def stand_in(facts: Facts) -> Function[Any, Any, Any]:
    """Make what stands for a function of the calling program, in a container's process.

    Its code comes when ``.local()`` is called.
    """

    @cache
    def code() -> Callable[..., Any]:
        found: Callable[..., Any] = opened_part(ask(_code_of, facts))
        return found

    def local(*args: Any, **kwargs: Any) -> Any:
        return code()(*args, **kwargs)

    def function(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    function.__name__ = function.__qualname__ = facts.name.rpartition(".")[2]
    return _stand_in(facts, function, local)


def _stand_in(
    facts: Facts, function: Callable[..., Any], local: Callable[..., Any]
) -> Function[Any, Any, Any]:
    options = FunctionOptions(max_backlog=1 if facts.is_bounded else None)
    target = Target(facts.name, function, Kind(facts.kind))
    made = Function._make(target, ServiceElsewhere(facts.name, options), local, web=facts.web)
    made._made_by = _function_with_id, (facts,)
    return made


# -- what containers ask for: in the calling program ---------------------------------------------


def _facts_of_named(app_name: str, name: str, environment_name: str | None) -> Facts:
    found = Function.from_name(app_name, name, environment_name=environment_name)
    return found._facts()


def _code_of(facts: Facts) -> bytes:
    found = Function.from_id(facts.function_id)
    if found._local is None:
        found.local()  # raises
    if found._target.is_method:
        raise ExecutionError(
            f"the code of {facts.name} is called where its class is; write .remote(...) instead"
        )
    return packed_part(facts.name, found._target.function)


def _function_there(function_id: str) -> Function[..., Any, Any]:
    found = Function.from_id(function_id)
    found._facts()  # raises if there is no such function
    return found


def _statistics_of(function: Function[..., Any, Any]) -> PoolStatistics | None:
    return function.statistics()


def _settings_there(function: Function[..., Any, Any]) -> FunctionAutoscalerSettings:
    return _settings_of(function._service.limits)


def _update_there(
    function: Function[..., Any, Any], changes: dict[str, Any]
) -> FunctionAutoscalerSettings:
    return _settings_of(function._service.update_autoscaler(changes))


async def _url_of(function: Function[..., Any, Any]) -> str | None:
    return await function.get_web_url.aio()


def _id_of(function: Function[..., Any, Any]) -> str:
    return function.object_id


# -- how functions are found in another process --------------------------------------------------


def _method_of(
    cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str
) -> Function[Any, Any, Any]:
    """Return a method of a class with these parameters."""
    method: Function[Any, Any, Any] = getattr(cls(*args, **kwargs), name)
    return method


def _function_of_app(app: Any, name: str) -> Function[Any, Any, Any]:
    """Return the function that an app has under a name."""
    found: Function[Any, Any, Any] | None = app._functions_by_name().get(name)
    if found is None:
        raise NotFoundError(f"{app!r} has no function {name!r} here; define it in a module")
    return found


def _variant_of(
    function: Function[Any, Any, Any],
    what: str,
    change: Callable[[FunctionOptions], FunctionOptions],
) -> Function[Any, Any, Any]:
    """Return the variant of `function` that another process has made."""
    made: Function[Any, Any, Any] = function._variant(what, change)
    return made
