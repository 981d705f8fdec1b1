"""Declarations: what a class declares, read when the class is decorated, and after a patch.

Owns how a class body becomes methods, lifecycle hooks and parameters, and which of them may not
be combined.  `App.cls` makes `Declarations`; ``cls.py`` reads them.  Tests replace attributes of
the class and of its bases (``patching.py``), so `refresh` reads a class that has changed again, at
the start of each container.

Begin at `Declarations.__init__`, then `_read`, then `refresh`, then `bind`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final

from .. import config
from ..exception import DeprecationError, InvalidArgumentsError, InvalidError, InvalidValueError
from ..frames import warn
from ..runtime.containers.lifecycle import Hook
from ..runtime.containers.residents import make_visit_target
from ..runtime.input import Target
from ..runtime.kinds import inner_kind_of, kind_of
from ..runtime.real import Real
from .marks import REQUIRED, Batching, Serves, Web
from .parameters import Parameter, parameter
from .partial import PartialFunction
from .patching import (
    MISSING,
    Attributes,
    Patches,
    Replacement,
    attributes_of,
    is_partial,
    is_same,
    replaced,
    with_kind,
)
from .targets import make_target

_OLD_HOOKS: Final = ("__enter__", "__aenter__", "__exit__", "__aexit__")

# Advice for an annotation of another type: pass a str, int, bool or bytes, convert it later.
_CONVERTED: Final = ", and make of it what you need in an enter hook"
_PARAMETER_TYPES: Final = (str, int, bool, bytes)
# The fields of `Declarations` that `refresh` takes from a new reading.
_READ: Final = (
    "methods",
    "raw_methods",
    "web",
    "parameters",
    "_batched",
    "_hooks",
    "lifecycle_hooks",
    "init",
    "types",
    "signature",
    "_seen",
)
_ANYTHING: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


class Declarations:
    """The methods, hooks and parameters of a class.

    Nothing changes after `__init__`, unless the user's class or a base of the class changes.  Then
    `refresh` replaces the dicts and tuples by new ones, which no reader sees half filled.

    Args:
        written: the attributes of the class and its bases as their bodies wrote them; None if
            nothing has changed yet.
    """

    def __init__(
        self, user_class: type, *, snapshots: bool = False, written: Attributes | None = None
    ) -> None:
        self.user_class: type[Any] = user_class
        self.name: str = user_class.__name__
        self._snapshots = snapshots
        self._lock = Real.RLock()
        self._seen: Attributes = attributes_of(user_class)  # guarded by the lock, as `_known`
        self.written: Attributes = self._seen if written is None else written
        self.patches: Patches = Patches(self)
        self._known: dict[str, Target] = {}  # the targets of all methods that there ever were
        self.methods: dict[str, Target] = {}
        self.raw_methods: dict[str, Callable[..., Any]] = {}
        self.web: dict[str, Web] = {}
        # Set once, by the decorator of the app: the class starts a server of its own.
        self.serves: Serves | None = None
        self.parameters: dict[str, Parameter] = {}
        self._batched: dict[str, Batching] = {}
        self._hooks: dict[str, dict[str, Hook]] = {"snap": {}, "enter": {}, "exit": {}}
        # Base classes first, and each class in its order of definition.  An override keeps the
        # position of what it overrides.
        for owner, declared in reversed(self._seen.items()):
            as_written = self.written.get(owner, {})
            for name, found in declared.items():
                value = found
                if found is not as_written.get(name, MISSING):
                    value = replaced(found, self.as_written(name))
                    if value is found:  # no mark counts any more
                        self._forget(name)
                if isinstance(value, Parameter):
                    self.parameters[name] = value
                    continue
                # If a subclass sets the name to anything else, the parameter does not exist there.
                self.parameters.pop(name, None)
                if value is parameter and not config.strict:
                    raise InvalidArgumentsError(
                        f"the parameter {self.name}.{name} was written without parentheses; "
                        f"write {name}: str = moorage.parameter()"
                    )
                if is_partial(value):
                    self._read(name, value, snapshots)
                elif isinstance(value, staticmethod):
                    # As in Modal, its marks have no effect; calling the method explains that.
                    marked: object = value.__func__
                    if isinstance(marked, PartialFunction):
                        marked.is_static = True
                elif name in _OLD_HOOKS and Real.isfunction(value):
                    self._read_old_hook(name, value)
        self.lifecycle_hooks: tuple[tuple[Hook, ...], tuple[Hook, ...]] = (
            (*self._hooks["snap"].values(), *self._hooks["enter"].values()),
            tuple(self._hooks["exit"].values()),
        )
        self._check_batched_alone()
        # What the inputs of the class run.  Always the same list: the pools' services refer to it.
        self.targets: list[Target] = self._targets()
        # The class's own constructor; None without one: then the parameters are set directly.
        self.init: Callable[..., object] | None = self._custom_init(warns=written is None)
        self.types: dict[str, type] = self._parameter_types()
        self.signature: inspect.Signature = self._signature()

    def as_written(self, name: str) -> object:
        """Return what the bodies of the class and its bases wrote for `name`, or `MISSING`."""
        for attributes in self.written.values():
            if name in attributes:
                return attributes[name]
        return MISSING

    def changes(self) -> list[Replacement]:
        """Return the attributes that patches have replaced, as they are now.

        What replaces a method as a whole stays out: it is asked where the method is called.
        """
        self.refresh()
        return [
            Replacement(owner, name, value)
            for owner, attributes in self._seen.items()
            for name, value in attributes.items()
            if value is not self.written.get(owner, {}).get(name, MISSING)
            and not (is_partial(self.as_written(name)) and hasattr(value, "remote"))
        ]

    def replacements(self) -> list[Replacement]:
        """Return what patches have put in the place of hooks, methods and parameters."""
        self.refresh()
        found: list[Replacement] = []
        for owner, attributes in self._seen.items():
            as_written = self.written.get(owner, {})
            for name, value in attributes.items():
                if value is not as_written.get(name, MISSING):
                    meant = replaced(value, self.as_written(name))
                    if meant is not value:
                        found.append(Replacement(owner, name, meant))
        return found

    def hooks(self) -> tuple[tuple[Hook, ...], tuple[Hook, ...]]:
        """Return the enter and exit hooks for a container that starts now."""
        self.refresh()
        return self.lifecycle_hooks

    def refresh(self) -> None:
        """Read the class again, if the class or a base has changed.

        A method keeps its target, which handles and pools refer to: the target gets the new code.

        Raises:
            InvalidError: if the class could not be decorated as it is now.
        """
        if is_same(self._seen, self.user_class):
            return
        with self._lock:
            fresh = Declarations(self.user_class, snapshots=self._snapshots, written=self.written)
            fresh.serves = self.serves
            for name, target in fresh.methods.items():
                known = self._known.setdefault(name, self.methods.get(name, target))
                fresh.methods[name] = known
                if known is not target:
                    known.function = with_kind(target, known.kind)
                    known.is_cooperative = target.is_cooperative
            self._known.update(self.methods)  # those that are gone may come back
            self.targets[:] = fresh._targets()
            for field in _READ:
                setattr(self, field, getattr(fresh, field))

    def _targets(self) -> list[Target]:
        """Return the methods' targets; those of web methods visit their application."""
        targets = [
            make_visit_target(target.name, is_method=True) if name in self.web else target
            for name, target in self.methods.items()
        ]
        if self.serves is not None:
            targets.append(self.server_target())
        return targets

    def serve(self, serves: Serves) -> None:
        """Note that the enter hooks of the class start a server."""
        self.serves = serves
        self.targets[:] = self._targets()

    def server_target(self) -> Target:
        """Return the target of requests to the server of the class."""
        return make_visit_target(self.name, is_method=True)

    def _after_fork(self) -> None:
        self._lock = Real.RLock()

    def _forget(self, name: str) -> None:
        """Drop what bases declare for `name`: the class has another attribute in its place."""
        self.methods.pop(name, None)
        self.raw_methods.pop(name, None)
        self.web.pop(name, None)
        self._batched.pop(name, None)
        for hooks in self._hooks.values():
            hooks.pop(name, None)

    def _read(self, name: str, partial: PartialFunction[Any, Any, Any], snapshots: bool) -> None:
        marks, shown = partial.marks, f"{self.name}.{name}"
        if marks.concurrency is not None:
            raise InvalidError(
                f"concurrent decorates the method {shown}, but the methods of a class "
                "share its containers and their slots; put @moorage.concurrent(...) on "
                f"the class {self.name} instead, below @app.cls()"
            )
        if marks.enter == "snap" and not snapshots:
            raise InvalidError(
                f"enter(snap=True) on {shown} needs enable_memory_snapshot=True on its class; "
                "write @app.cls(enable_memory_snapshot=True), or take snap=True away"
            )
        # A hook replaces an overridden hook of the same kind.  An overridden hook of another
        # kind stays, as in Modal.
        for kind, is_one in (
            ("snap", marks.enter == "snap"),
            ("enter", marks.enter == "enter"),
            ("exit", marks.exit),
        ):
            if is_one:
                self._hooks[kind][name] = _hook(shown, partial.raw, partial.raw)
        if marks.web is not None:
            self.web[name] = marks.web
        else:
            self.web.pop(name, None)
        self._batched.pop(name, None)
        if marks.batching is not None:
            self._batched[name] = marks.batching
        if marks.is_interface:
            self.raw_methods[name] = partial.raw
            self.methods[name] = make_target(
                shown,
                partial.raw,
                marks.is_generator,
                is_method=True,
                batched=marks.batching is not None,
            )

    def _read_old_hook(self, name: str, function: Callable[..., Any]) -> None:
        """Read ``__enter__`` and the like, which were Modal's hooks before it had decorators."""
        kind = "enter" if "enter" in name else "exit"

        def leave(instance: Any) -> Any:  # like the end of a `with` block without an error
            return function(instance, None, None, None)

        run, shown = function if kind == "enter" else leave, f"{self.name}.{name}"
        self._hooks[kind][name] = _hook(shown, run, function)

    @property
    def batching(self) -> Batching | None:
        """The batching of the class's only method; None if the method is not batched."""
        return next(iter(self._batched.values()), None)

    def _check_batched_alone(self) -> None:
        if not self._batched or len(self.methods) == 1:
            return
        first = next(iter(self._batched))
        others = ", ".join(name for name in self.methods if name != first)
        raise InvalidError(
            f"the class {self.name} has the batched method {first}, and may have no other that is "
            f"called from outside, got {others}; write a class for each"
        )

    def _custom_init(self, *, warns: bool) -> Callable[..., object] | None:
        # mypy warns that a subclass may have another `__init__`; this class's own is meant.
        init: Callable[..., object] = self.user_class.__init__
        if init is object.__init__:
            return None
        if not warns:
            return init
        advice = (
            f"declare what {self.name} is given as parameters (name: str = moorage.parameter()), "
            "and do the work of __init__ in a method under @moorage.enter()"
        )
        if self.parameters:
            raise InvalidError(
                f"the class {self.name} has moorage.parameter()s and a constructor (__init__) "
                f"of its own; {advice}"
            )
        if config.strict:
            raise InvalidError(
                f"the class {self.name} has a constructor (__init__) of its own; {advice}"
            )
        warn(
            f"the class {self.name} has a constructor (__init__) of its own, which Modal refuses; "
            f"{advice}",
            DeprecationError,
        )
        return init

    def _parameter_types(self) -> dict[str, type]:
        if not self.parameters:
            return {}
        try:
            hints = typing.get_type_hints(self.user_class, include_extras=True)
        except Exception:
            hints = dict(getattr(self.user_class, "__annotations__", {}))
        names = {known.__name__: known for known in _PARAMETER_TYPES}
        types: dict[str, type] = {}
        for name, declared in self.parameters.items():
            if not declared.init:
                continue  # callers never give it, so it may have any type
            hint = hints.get(name)
            known = names.get(hint) if isinstance(hint, str) else hint
            if known not in _PARAMETER_TYPES:
                shown = "nothing" if hint is None else getattr(hint, "__name__", repr(hint))
                raise InvalidError(
                    f"the parameter {self.name}.{name} must be annotated with str, int, bool or "
                    f"bytes, got {shown}; write {name}: {_kind_of(declared.default)} = "
                    f"moorage.parameter(...){'' if hint is None else _CONVERTED}"
                )
            types[name] = known
            default = declared.default
            if not config.strict and default is not REQUIRED and default is not None:
                advice = f"write parameter(default={known.__name__}(...))"
                self._check_type(name, known, default, f"the default {default!r}", advice)
        return types

    def _check_type(
        self, name: str, wanted: type, value: object, shown: str, advice: str = ""
    ) -> None:
        is_bool = isinstance(value, bool)
        if not isinstance(value, wanted) or (is_bool and wanted is not bool):
            raise InvalidArgumentsError(
                f"the parameter {name} of {self.name} is declared {wanted.__name__}, "
                f"got {shown}; {advice or f'write {name}={wanted.__name__}(...)'}"
            )

    def _signature(self) -> inspect.Signature:
        if self.init is not None:
            try:
                return Real.signature(self.user_class)
            except ValueError:  # a builtin class without a signature: accept all arguments
                return _ANYTHING
        given = [(name, p) for name, p in self.parameters.items() if p.init]
        try:
            return inspect.Signature(
                [
                    inspect.Parameter(
                        name,
                        inspect.Parameter.POSITIONAL_OR_KEYWORD,
                        default=p.default if p.default is not REQUIRED else inspect.Parameter.empty,
                        annotation=self.types[name],
                    )
                    for name, p in given
                ]
            )
        except ValueError:
            order = [name for name, p in given if p.default is REQUIRED]
            raise InvalidValueError(
                f"the parameters of {self.name} without a default must come before those with one; "
                f"write {', '.join(order)} first, or give them defaults"
            ) from None

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, check_types: bool
    ) -> dict[str, Any]:
        """Return the values of the parameters, or of the constructor's arguments.

        Args:
            check_types: whether to check the values against the declared types.

        Raises:
            InvalidArgumentsError: also a TypeError; if an argument is missing, unknown, one
                too many or, with `check_types`, of a wrong type.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            shown = ", ".join(f"{name}=..." for name in self.signature.parameters)
            raise InvalidArgumentsError(
                f"{self.name}(...): {error}; write {self.name}({shown})"
            ) from None
        bound.apply_defaults()
        values = dict(bound.arguments)
        if check_types:
            for name, wanted in self.types.items():
                if values[name] is not None or self.parameters[name].default is not None:
                    self._check_type(name, wanted, values[name], repr(values[name]))
        return values


def _kind_of(default: object) -> str:
    return type(default).__name__ if type(default) in _PARAMETER_TYPES else "str"


def _hook(name: str, run: Callable[..., Any], function: Callable[..., Any]) -> Hook:
    """Return the hook that calls `run`; `function` is what the user wrote.

    Raises:
        InvalidError: if `function` is a generator, whose code nobody would run.
    """
    kind = kind_of(function)
    if kind.is_generator:
        raise InvalidError(
            f"the hook {name} is a generator, whose code nobody would run; write it without "
            "yield, as one method under @moorage.enter() and one under @moorage.exit()"
        )
    return Hook(name, run, kind.is_async, inner_kind_of(function).is_async)
