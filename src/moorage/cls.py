"""Classes: what ``app.cls`` gives, their parameters and their instances.

Owns how a decorated class becomes methods, lifecycle hooks and parameters, and
which instance shares which pool: one pool for each set of parameter values.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import typing
from collections.abc import Callable, Hashable
from typing import Any, Final, cast

from .exception import InvalidError
from .functions import Function, Service
from .partial_function import REQUIRED, Parameter, PartialFunction
from .runtime.input import Kind, Target
from .runtime.lifecycle import Hook, Lifecycle

_PARAMETER_TYPES: Final = (str, int, bool, bytes)


class Methods:
    """What a class declares, read once when it is decorated."""

    def __init__(self, user_class: type) -> None:
        self.user_class: type[Any] = user_class
        self.name: str = user_class.__name__
        # None if the class has none of its own: then its parameters make one.
        # mypy fears a subclass's, but it is this very class's that is meant.
        self.init: Callable[..., object] | None = None
        if user_class.__init__ is not object.__init__:  # type: ignore[misc]
            self.init = user_class.__init__  # type: ignore[misc]
        self.methods: dict[str, Target] = {}
        self.parameters: dict[str, Parameter] = {}
        snap: dict[str, Hook] = {}
        enter: dict[str, Hook] = {}
        exits: dict[str, Hook] = {}
        # Base classes first, each in its order of definition; an override
        # takes the place of what it overrides.
        for owner in reversed(user_class.__mro__):
            declared: dict[str, object] = dict(vars(owner))
            for name, value in declared.items():
                if isinstance(value, Parameter):
                    self.parameters[name] = value
                if not isinstance(value, PartialFunction):
                    # A plain override of a hook is no hook any more.
                    for table in (snap, enter, exits, self.methods):
                        cast("dict[str, object]", table).pop(name, None)
                    continue
                self._read(name, value, snap, enter, exits)
        self.lifecycle_hooks: tuple[tuple[Hook, ...], tuple[Hook, ...]] = (
            tuple(snap.values()) + tuple(enter.values()),
            tuple(exits.values()),
        )
        self.types: dict[str, type] = self._parameter_types()

    def _read(
        self,
        name: str,
        partial: PartialFunction[Any, Any, Any],
        snap: dict[str, Hook],
        enter: dict[str, Hook],
        exits: dict[str, Hook],
    ) -> None:
        marks = partial.marks
        if marks.concurrency is not None:
            raise InvalidError(
                f"concurrent decorates the method {self.name}.{name}, but the methods of a class "
                "share its containers and their slots; put @moorage.concurrent(...) on "
                f"the class {self.name} instead, below @app.cls()"
            )
        # In the place of what it overrides, if that was of the same kind.
        tables: tuple[tuple[dict[str, Any], bool], ...] = (
            (self.methods, marks.is_method),
            (snap, marks.enter == "snap"),
            (enter, marks.enter == "enter"),
            (exits, marks.exit),
        )
        for table, stays in tables:
            if not stays:
                table.pop(name, None)
        if marks.is_method:
            self.methods[name] = make_target(
                f"{self.name}.{name}", partial.raw, marks.is_generator, is_method=True
            )
        hook = Hook(f"{self.name}.{name}", partial.raw, inspect.iscoroutinefunction(partial.raw))
        if marks.enter == "snap":
            snap[name] = hook
        elif marks.enter:
            enter[name] = hook
        if marks.exit:
            exits[name] = hook

    def _parameter_types(self) -> dict[str, type]:
        if not self.parameters:
            return {}
        try:
            hints = typing.get_type_hints(self.user_class)
        except Exception:
            hints = dict(getattr(self.user_class, "__annotations__", {}))
        names = {known.__name__: known for known in _PARAMETER_TYPES}
        types: dict[str, type] = {}
        for name, declared in self.parameters.items():
            if not declared.init:
                continue  # never given from outside: of any type
            hint = hints.get(name)
            known = names.get(hint) if isinstance(hint, str) else hint
            if known not in _PARAMETER_TYPES:
                raise InvalidError(
                    f"the parameter {self.name}.{name} must be annotated with str, int, bool or "
                    f"bytes, got {hint!r}; write {name}: {_kind_of(declared.default)} = "
                    "moorage.parameter(...)"
                )
            types[name] = cast(type, known)
        return types

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The values of the parameters for these constructor arguments, checked."""
        given = {name for name, p in self.parameters.items() if p.init}
        shown = ", ".join(f"{name}=..." for name in self.parameters if name in given)
        if args:
            raise InvalidError(
                f"{self.name} takes its parameters by name, got {args!r}; "
                f"write {self.name}({shown})"
            )
        unknown = sorted(set(kwargs) - given)
        if unknown:
            raise InvalidError(
                f"{self.name} has no parameter {', '.join(unknown)}; write {self.name}({shown})"
            )
        values: dict[str, Any] = {}
        for name, declared in self.parameters.items():
            if not declared.init:
                continue  # each instance starts with the default
            value = kwargs.get(name, declared.default)
            if value is REQUIRED:
                raise InvalidError(
                    f"{self.name} needs its parameter {name}; write {self.name}({shown})"
                )
            wanted = self.types[name]
            is_bool = isinstance(value, bool)
            if not isinstance(value, wanted) or (is_bool and wanted is not bool):
                raise InvalidError(
                    f"the parameter {name} of {self.name} is declared {wanted.__name__}, "
                    f"got {value!r}; write {name}={wanted.__name__}(...)"
                )
            values[name] = value
        return values


def _kind_of(default: object) -> str:
    return type(default).__name__ if type(default) in _PARAMETER_TYPES else "str"


def make_target(
    name: str, function: Callable[..., Any], is_generator: bool | None, *, is_method: bool = False
) -> Target:
    """Describe what calling `function` gives."""
    if inspect.isasyncgenfunction(function):
        kind = Kind.ASYNC_GENERATOR
    elif inspect.iscoroutinefunction(function):
        kind = Kind.ASYNC
    elif inspect.isgeneratorfunction(function):
        kind = Kind.SYNC_GENERATOR
    else:
        kind = Kind.SYNC
    if is_generator and not kind.is_generator:
        kind = Kind.ASYNC_GENERATOR if kind.is_async else Kind.SYNC_GENERATOR
    return Target(name, function, kind, is_method=is_method)


MakeService = Callable[[Lifecycle, str], Service]
"""Makes the service of one set of parameter values: its hooks, its shown name."""


class Cls:
    """A class of an app.  Calling it makes a handle; containers make the instances."""

    _moorage_registered: Final = True

    def __init__(self, methods: Methods, make_service: MakeService) -> None:
        self._methods = methods
        self._make_service = make_service
        self.__name__: str = methods.name
        self.__doc__: str | None = methods.user_class.__doc__

    def __call__(self, *args: object, **kwargs: object) -> Obj:
        methods = self._methods
        user_class = methods.user_class
        if methods.init is not None:
            inspect.signature(user_class).bind(*args, **kwargs)
            values: dict[str, Any] = {}
            frozen: Hashable = (args, tuple(sorted(kwargs.items())))
            try:
                hash(frozen)
            except TypeError:
                frozen = object()  # cannot be compared: a pool of its own
        else:
            values = methods.bind(args, kwargs)
            frozen = tuple(values.items())
            args, kwargs = (), {}
        return Obj(self, values, args, kwargs, (self, frozen))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._methods.user_class, name)

    def __repr__(self) -> str:
        return f"<Cls {self._methods.name}>"


class Obj:
    """A handle on the containers of a class with one set of parameter values."""

    def __init__(
        self,
        cls: Cls,
        values: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Hashable,
    ) -> None:
        self._cls = cls
        self._values = values
        self._args = args
        self._kwargs = kwargs
        self._key = key
        enter, exits = cls._methods.lifecycle_hooks
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        name = f"{cls._methods.name}({shown})" if shown else cls._methods.name
        self._service = cls._make_service(Lifecycle(self._construct, enter, exits), name)
        self._bound: dict[str, Function[Any, Any, Any]] = {}
        self._local_lock = threading.RLock()
        self._local_instance: Any = None
        self._entered = False
        self._async_hooks: list[Hook] = []

    def __getattr__(self, name: str) -> Any:
        methods = self.__dict__["_cls"]._methods
        if name in methods.methods:
            return self._bind(name, None)
        if name in self._values:
            return self._values[name]
        if name.startswith("__"):
            raise AttributeError(name)
        # Anything else is the local instance's, as in Modal: made now if need
        # be, but only .local() runs its enter hooks.
        return getattr(self._made(), name)

    def _bind(self, name: str, instance: Any) -> Function[Any, Any, Any]:
        if instance is None and name in self._bound:
            return self._bound[name]
        target = self._cls._methods.methods[name]

        def local(*args: Any, **kwargs: Any) -> Any:
            if instance is not None:
                return target.function(instance, *args, **kwargs)
            mine = self._local()
            if not self._async_hooks:
                return target.function(mine, *args, **kwargs)
            if target.kind is Kind.ASYNC:
                return self._enter_and_call(target, mine, args, kwargs)
            asyncio.run(self._enter_async(mine))
            return target.function(mine, *args, **kwargs)

        function: Function[Any, Any, Any] = Function(target, self._service, local, self._key)
        if instance is None:
            self._bound[name] = function
        return function

    async def _enter_async(self, instance: Any) -> None:
        while self._async_hooks:
            await self._async_hooks.pop(0).function(instance)

    async def _enter_and_call(
        self, target: Target, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        await self._enter_async(instance)
        return await target.function(instance, *args, **kwargs)

    def _made(self) -> Any:
        with self._local_lock:
            if self._local_instance is None:
                self._local_instance = self._construct()
            return self._local_instance

    def _local(self) -> Any:
        """The instance for ``.local()``; its enter hooks run before its first use."""
        with self._local_lock:
            self._made()
            if not self._entered:
                # Before the hooks run, for they may use .local() themselves.
                self._entered = True
                for hook in self._cls._methods.lifecycle_hooks[0]:
                    if hook.is_async:
                        self._async_hooks.append(hook)
                    else:
                        hook.function(self._local_instance)
            return self._local_instance

    def _construct(self) -> Any:
        methods = self._cls._methods
        new: Callable[..., Any] = methods.user_class.__new__
        instance = new(methods.user_class)
        for name, declared in methods.parameters.items():
            if name in self._values:
                setattr(instance, name, self._values[name])
            elif declared.default is not REQUIRED:
                setattr(instance, name, declared.default)
        # By this `self.method` in user code is what it is outside: a Function.

        def bind(name: str) -> Function[Any, Any, Any]:
            return self._bind(name, instance)

        object.__setattr__(instance, "_moorage_bind", bind)
        if methods.init is not None:
            methods.init(instance, *self._args, **self._kwargs)
        return instance

    def __repr__(self) -> str:
        return f"<Obj of {self._cls!r}: {self._values}>"
