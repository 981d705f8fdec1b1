"""Blueprints: how code comes to another process.

Owns what a child makes its targets and its lifecycle of, as bytes.  Code that can be imported goes
by reference: the module is imported anew in the child, as in Modal, with globals of its own.  Code
of ``__main__``, nested functions, lambdas, and code of modules that a new process would not find
go by value, with cloudpickle.

A decorated function is found under its name as the object that the decorator has made.  Objects
that stand in the place of code say so by `_moorage_code`.

Begin at `Blueprint`, then `packed_code`, then `reference_of`.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple, Protocol, cast

from ..exception import ExecutionError, InvalidError
from ..runtime.containers.lifecycle import Lifecycle
from ..runtime.input import Kind, Target
from ..serialize.culprits import Part, error_text, find_culprit, type_name
from .definitions import reduced_definition, reduced_single
from .shipping import PROTOCOL, _pickler_class


class Made(NamedTuple):
    """What a child makes of a blueprint."""

    targets: Sequence[Target]
    lifecycle: Lifecycle


class Blueprint(Protocol):
    """Makes targets and a lifecycle, in the child; it is pickled in the driver."""

    def __call__(self) -> Made: ...


@dataclass(frozen=True)
class FunctionBlueprint:
    """Makes the target of one function."""

    name: str
    code: Callable[..., Any]
    kind: str
    is_cooperative: bool

    def __call__(self) -> Made:
        target = Target(self.name, self.code, Kind(self.kind))
        target.is_cooperative = self.is_cooperative
        return Made([target], Lifecycle())


def function_blueprint(target: Target) -> Blueprint:
    """Return the blueprint of a function without hooks."""
    return FunctionBlueprint(target.name, target.function, target.kind.value, target.is_cooperative)


# -- in the driver -----------------------------------------------------------------------


def packed_code(name: str, blueprint: Blueprint) -> bytes:
    """Return `blueprint` as bytes.  Runs user code; no lock held.

    Raises:
        InvalidError: if some value that the code refers to does not pickle.
    """
    file = io.BytesIO()
    try:
        _dump_to(blueprint, file)
    except Exception as error:
        refusal = InvalidError(
            f"the code of {name} cannot be sent to another process: "
            f"{_why(name, blueprint, error)}; make it in an enter hook, or where it is used, or "
            "put the code into a module that the other process can import"
        )
    else:
        return file.getvalue()
    try:
        raise refusal
    finally:
        del refusal, blueprint


@dataclass(frozen=True)
class _Code:
    """A function or a class, which a process asks for."""

    code: Any


def packed_part(name: str, code: Any) -> bytes:
    """As `packed_code`, for a function or a class."""
    return packed_code(name, cast("Blueprint", _Code(code)))


def opened_part(data: bytes) -> Any:
    """Return what `packed_part` has packed.  Runs user code, of modules."""
    return pickle.loads(data).code


def _why(name: str, blueprint: Any, error: Exception) -> str:
    """Say which of the values that the code refers to does not pickle."""
    parts: list[Part] = []
    for name_of_part in blueprint.__dataclass_fields__:
        code = _code(getattr(blueprint, name_of_part))
        if isinstance(code, FunctionType):
            parts.append(Part(name, code))
        elif isinstance(code, type):
            methods = [(name_, _code(value)) for name_, value in vars(code).items()]
            parts += [Part(f"{name}.{k}", v) for k, v in methods if isinstance(v, FunctionType)]
    for each in getattr(blueprint, "replacements", ()):
        parts.append(Part(f"{name}.{each.name}", each.value))
    if not parts:
        return f"pickling it raised {error_text(error)}"
    _, culprit = find_culprit(parts, error, _dump_to)
    part = culprit.part
    if part in parts:
        return f"pickling {part.path} raised {error_text(culprit.error)}"
    return f"{part.shown} is of the type {type_name(type(part.value))}, which does not pickle"


def _dump_to(value: object, file: Any) -> None:
    register, unregister = _by_value()
    pickler = _code_pickler()(file, protocol=PROTOCOL)
    modules: list[ModuleType] = []
    pickler.by_value = modules
    pickler.tried = {}
    pickler.register = register
    # The code of the program shares the variables of `__main__` there, as it does here.
    pickler.globals_ref[id(vars(sys.modules["__main__"]))] = _GlobalsOfMain()
    try:
        pickler.dump(value)
    finally:
        for module in modules:
            unregister(module)


def _by_value() -> tuple[Any, Any]:
    cloudpickle: Any = importlib.import_module("cloudpickle")
    return cloudpickle.register_pickle_by_value, cloudpickle.unregister_pickle_by_value


@functools.cache
def _code_pickler() -> Any:
    base = _pickler_class()

    def reducer_override(self: Any, value: Any) -> Any:
        if isinstance(value, (FunctionType, type)) or _is_handle(value):
            found = reference_of(value)
            if found is not None:
                return found
            if isinstance(value, (FunctionType, type)):
                _go_by_value(self, value)
            elif hasattr(value, "_moorage_by_value"):
                return value._moorage_by_value()
        defined = reduced_definition(value, _is_found_again) or reduced_single(value)
        if defined is not None:
            return defined
        if isinstance(value, CodeType):
            # cloudpickle drops the file, of which tracebacks show lines.
            _, parts = self.dispatch_table[CodeType](value)
            return _code_of_file, (parts, value.co_filename)
        return base.reducer_override(self, value)

    return type("CodePickler", (base,), {"reducer_override": reducer_override})


def _go_by_value(pickler: Any, value: object) -> None:
    """Have cloudpickle take `value` by value, if its module is not to be imported anew."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or module in pickler.by_value:
        return
    if not _is_found_again(module):
        pickler.register(module)
        pickler.by_value.append(module)


def reference_of(value: Any) -> tuple[Any, tuple[str, str]] | None:
    """Return how `value` is imported in another process; None if it cannot be.

    `value` is a function, a class, or an object in the place of one.
    """
    is_handle = _is_handle(value)
    code = value._moorage_code() if is_handle else value
    name = getattr(code, "__module__", None) or ""
    if name == "__main__" or name.partition(".")[0] in ("builtins", _PACKAGE):
        return None  # pickle knows how
    qualname: str = getattr(code, "__qualname__", "<locals>")
    module = sys.modules.get(name)
    if module is None or "<locals>" in qualname or "<lambda>" in qualname:
        return None
    try:
        found = _walk(module, qualname)
    except AttributeError:
        return None
    if is_handle and found is value:
        how: Any = handle_at
    elif is_handle and getattr(found, "_class", None) is value:
        how = class_at
    elif not is_handle and found is not value and _is_handle(found) and _code(found) is value:
        how = code_at
    else:
        return None  # pickle finds it itself, or nobody does
    return (how, (name, qualname)) if _is_found_again(module) else None


def reference_of_global(value: object) -> tuple[Any, tuple[str, str]] | None:
    """Return how `value` is imported in another process as a global; None if it cannot be."""
    for module in list(sys.modules.values()):
        if type(module) is not ModuleType or module.__name__ == "__main__":
            continue
        for name, found in list(vars(module).items()):
            if found is value and _is_found_again(module):
                return global_at, (module.__name__, name)
    return None


def global_at(module: str, name: str) -> Any:
    """Import a module, and return one of its globals."""
    return getattr(importlib.import_module(module), name)


_PACKAGE: Final = __name__.partition(".")[0]


def _code(found: Any) -> Any:
    return found._moorage_code() if _is_handle(found) else found


def _is_handle(value: object) -> bool:
    return hasattr(type(value), "_moorage_code")


def _walk(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for name in qualname.split("."):
        found = _code(found)
        if isinstance(found, type):
            found = next((vars(kind)[name] for kind in found.__mro__ if name in vars(kind)), None)
            if found is None:
                raise AttributeError(name)
        else:
            found = getattr(found, name)
    return found


def _is_found_again(module: ModuleType) -> bool:
    """Return whether another process that imports this name gets the module of the same file."""
    name = module.__name__
    if _is_of_interpreter(module):
        return True
    parent, _, _ = name.rpartition(".")
    path: Any = None
    if parent:
        package = sys.modules.get(parent)
        if package is None or not _is_found_again(package):
            return False
        path = getattr(package, "__path__", None)
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = None if find is None else find(name, path)
        except Exception:
            continue
        if spec is not None:
            file = getattr(module, "__file__", None)
            return spec.origin is None or (file is not None and _is_same_file(spec.origin, file))
    return False


def _is_of_interpreter(module: ModuleType) -> bool:
    """Whether a module is of the standard library, and no other one of the same name.

    One that the interpreter has frozen, such as `abc`, is found as such, though it has a file;
    `collections.abc` has the file of another one.
    """
    if module.__name__.partition(".")[0] not in sys.stdlib_module_names:
        return False
    file: str | None = getattr(module, "__file__", None)
    return file is None or file.startswith(_LIBRARY)


_LIBRARY: Final = os.path.dirname(os.__file__) + os.sep


def _is_same_file(origin: str, file: str) -> bool:
    try:
        return os.path.samefile(origin, file)
    except OSError:
        return origin == file


def needs_surface(code: bytes) -> bool:
    """Return whether a process that runs `code` will surely import what users import.

    Code that is imported surely imports this library, and objects of the surface need it.
    """
    return any(each in code for each in _OF_SURFACE)


_OF_SURFACE: Final = (
    *(b"code_at", b"class_at", b"handle_at", b"global_at"),
    *(f"{_PACKAGE}.{name}".encode() for name in ("app", "cls", "functions", "declaring")),
)


def _code_of_file(parts: tuple[Any, ...], filename: str) -> CodeType:
    return CodeType(*parts).replace(co_filename=filename)


class _GlobalsOfMain:
    """The variables of the program, which are those of ``__main__`` in the other process too."""

    def __reduce__(self) -> Any:
        return _globals_of_main, ()


# -- in the child ------------------------------------------------------------------------


def _globals_of_main() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def opened_code(data: bytes) -> Made:
    """Import and make what `packed_code` has packed.  Runs user code, of modules."""
    blueprint: Blueprint = pickle.loads(data)
    return blueprint()


def handle_at(module: str, qualname: str) -> Any:
    """Import a module, and return what is there under a name."""
    found = importlib.import_module(module)  # an AttributeError of its code is the user's
    try:
        return _walk(found, qualname)
    except AttributeError:
        missing = ExecutionError(
            f"{module}.{qualname} is not there when {module} is imported in a container; "
            "define it at the top of the module, also where modal.is_local() is false"
        )
    raise missing


def class_at(module: str, qualname: str) -> Any:
    """Import a module, and return the class behind the server that is there under a name."""
    return handle_at(module, qualname)._class


def code_at(module: str, qualname: str) -> Any:
    """Import a module, and return the code that is there under a name."""
    return _code(handle_at(module, qualname))
