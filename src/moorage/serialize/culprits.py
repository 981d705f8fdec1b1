"""Culprits: which part of a value does not pickle, and what to write instead.

Owns the walk from a value that pickle refused down to the attribute, element or variable at
fault (the *culprit*), and the text that names it.  Each step pickles the parts of one object,
each part alone.  The number of dumps and their bytes are bounded, because the walk runs inside
the caller's call.  ``serializing.py`` calls `find_culprit` and passes in the pickling function.
Begin at `find_culprit`, then `_Search.walk`, `_visit` and `_parts_of`.
"""

from __future__ import annotations

import copyreg
import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Final, Literal, cast

from ..runtime.real import Real

# The bounds of one search: the number of dumps, their bytes in all, and the depth of the walk.
MOST_DUMPS: Final = 10_000
MOST_BYTES: Final = 64_000_000
DEEPEST: Final = 100

PROTOCOL: Final = 4  # the pickle protocol that Modal writes

Way = Literal["pass", "return", "raise"]
"""How the user's code sends a value: as an argument, a result or an exception."""

Dump = Callable[[object, Any], object]
"""A function that pickles a value into a file, or raises."""


class Spent(Exception):
    """Raised when a search has pickled as much as the bounds allow."""


class Sink:
    """A file that counts the bytes written to it, and keeps none."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise Spent
        return size


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a value: its path as one writes it, and the functions that lead to it."""

    path: str  # such as "session._lock"
    value: object
    users: tuple[str, ...] = ()  # functions, nearest first: for "lock, used by callback"

    def at(self, suffix: str, value: object) -> Part:
        return Part(self.path + suffix, value, self.users)

    def of(self, what: str, value: object) -> Part:
        return Part(f"{what} of {self.path}", value, self.users)

    def used(self, name: str, value: object) -> Part:
        """Return the part for a variable that this part, a function, uses."""
        return Part(name, value, (self.path, *self.users))

    @property
    def shown(self) -> str:
        if not self.users:
            return self.path
        return ", ".join([self.path, *(f"used by {user}" for user in self.users), ""]).rstrip()


@dataclass(frozen=True, slots=True)
class Culprit:
    """The part that is at fault, and the error that pickling it raised."""

    part: Part
    error: Exception

    def explain(self, root: str, way: Way) -> str:
        """Return the end of a message, such as ``session._lock is a _thread.lock; make it ...``."""
        value, error = self.part.value, self.error
        subject = "it" if self.part.path == root and not self.part.users else self.part.shown
        text = f"{subject} is {_a(_type_name(type(value)))}"
        kind = _kind_of(value)
        if kind is None:
            kind = _OTHER
            if not str(error).startswith("cannot pickle"):
                text += f", and pickling it raised {_error_text(error)}"
        instead = {
            "pass": kind.passed,
            "return": kind.returned,
            "raise": "keep plain data in the exception",
        }
        return f"{text}; {instead[way]}"


def find_culprit(parts: Sequence[Part], error: Exception, dump: Dump) -> tuple[Part, Culprit]:
    """Return which of `parts` is at fault for `error`, and the culprit inside that part.

    If each part pickles alone, or the bounds are reached, this is the first part.
    """
    search = _Search(dump)
    for part in parts:
        try:
            its_error = search.error_of(part.value)
            if its_error is not None:
                return part, search.walk(part, its_error)
        except Spent:
            break
    return parts[0], Culprit(parts[0], error)


class _Search:
    """The search for one culprit, with its bounds and the objects that it has met."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump
        self._sink = Sink()
        self._dumps_left = MOST_DUMPS
        # By id: each object that was pickled alone, and whether that failed.  The reference
        # to the object keeps its id from being used again.
        self._known: dict[int, tuple[object, bool]] = {}
        self._deepest: Culprit | None = None  # the answer if the bounds are reached

    def error_of(self, value: object) -> Exception | None:
        """Pickle `value` alone; return the error, or None if it pickles."""
        self._dumps_left -= 1
        if self._dumps_left < 0:
            raise Spent
        try:
            self._dump(value, self._sink)
        except Spent:
            raise
        except Exception as error:
            # A user's __reduce__, or cloudpickle, may have replaced `Spent` by another error.
            if isinstance(error.__context__, Spent) or isinstance(error.__cause__, Spent):
                raise Spent from None
            return error
        return None

    def walk(self, part: Part, error: Exception) -> Culprit:
        self._known[id(part.value)] = (part.value, True)
        try:
            found = self._visit(part, error, DEEPEST)
        except (Spent, RecursionError):
            found = None
        return found or self._deepest or Culprit(part, error)

    def _visit(self, part: Part, error: Exception, depth: int) -> Culprit | None:
        """Return the culprit in `part`, which fails; None if `part` only refers to its owners.

        An object is at fault if none of its parts fails.  Parts seen before count too: a part
        that refers to its owner fails because of something else in the owner, and then this
        object is not the culprit.
        """
        here = Culprit(part, error)
        self._deepest = here
        if depth == 0 or _kind_of(part.value) is not None:
            return here
        leads_back = False
        for child in _parts_of(part):
            known = self._known.get(id(child.value))
            if known is not None:
                leads_back = leads_back or known[1]
                continue
            its_error = self.error_of(child.value)
            self._known[id(child.value)] = (child.value, its_error is not None)
            if its_error is None:
                continue
            found = self._visit(child, its_error, depth - 1)
            if found is not None:
                return found
            leads_back = True
        return None if leads_back else here


# -- what an object is made of -----------------------------------------------------------


def _parts_of(part: Part) -> Iterator[Part]:
    """Yield the parts that are pickled with an object, as far as known; may run user code."""
    value: Any = part.value
    kind: type = type(part.value)
    if isinstance(value, dict):
        for key, item in list(cast("dict[object, object]", value).items()):
            yield part.of("a key", key)
            yield part.at(f"[{_key_text(key)}]", item)
    elif isinstance(value, (list, tuple, deque)):
        for index, item in enumerate(list(cast("Sequence[object]", value))):
            yield part.at(f"[{index}]", item)
    elif isinstance(value, (set, frozenset)):
        for item in list(cast("set[object]", value)):
            yield part.of("an element", item)
    elif isinstance(value, FunctionType):
        yield from _parts_of_function(part, value)
        return
    elif isinstance(value, MethodType):
        yield part.at(".__self__", value.__self__)
        yield part.at(".__func__", value.__func__)
        return
    elif isinstance(value, functools.partial):
        bound = cast("functools.partial[object]", value)
        yield part.at(".func", bound.func)
        for index, item in enumerate(bound.args):
            yield part.at(f".args[{index}]", item)
        for name, item in bound.keywords.items():
            yield part.at(f".keywords[{name!r}]", item)
        return
    elif hasattr(kind, "_moorage_code"):
        yield part.at("", value._moorage_code())  # a handle, which users know as their code
        return
    elif isinstance(value, type):
        for name, item in list(vars(value).items()):
            if name not in ("__dict__", "__weakref__"):
                yield part.at(f".{name}", item)
        return
    elif isinstance(value, (staticmethod, classmethod)):
        yield part.at("", cast("staticmethod[..., object]", value).__func__)
        return
    elif isinstance(value, property):
        for function in (value.fget, value.fset, value.fdel):
            yield part.at("", function)
        return
    if kind.__module__ != "builtins" or issubclass(kind, BaseException):
        yield from _parts_of_object(part)
        yield Part(kind.__qualname__.rpartition(".")[2], kind, part.users)


def _parts_of_object(part: Part) -> Iterator[Part]:
    """Yield the state of an object and the arguments that make it again, by pickle's protocol."""
    value = part.value
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        reduced: object = value.__reduce_ex__(PROTOCOL) if reduce is None else reduce(value)
    except Exception:
        return  # the object itself is at fault
    if not isinstance(reduced, tuple):
        return
    fields: list[object] = [*cast("tuple[object, ...]", reduced), None]
    function, args, state = fields[:3]
    states = cast("tuple[object, ...]", state) if isinstance(state, tuple) else (state,)
    for each in states:
        if isinstance(each, dict):
            for name, item in list(cast("dict[object, object]", each).items()):
                yield part.at(f".{name}", item)
        elif each is not None:
            yield part.of("the state", each)
    # Skip the arguments of a function of copyreg, which most objects have: they are just the
    # object's class and its bases.
    if isinstance(args, tuple) and getattr(function, "__module__", None) != "copyreg":
        for index, item in enumerate(cast("tuple[object, ...]", args)):
            is_error = isinstance(value, BaseException)
            where = f".args[{index}]" if is_error else f".__reduce__()[1][{index}]"
            yield part.at(where, item)


def _parts_of_function(part: Part, function: FunctionType) -> Iterator[Part]:
    """Yield the parts of a function that is pickled by value: a nested function, or a lambda."""
    cells: tuple[CellType, ...] = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            yield part.used(name, cell.cell_contents)
        except ValueError:
            pass  # the variable has no value yet
    for name in _names_in(function.__code__):
        if name in function.__globals__:
            yield part.used(name, function.__globals__[name])
    for index, item in enumerate(function.__defaults__ or ()):
        yield part.at(f".__defaults__[{index}]", item)
    for name, item in (function.__kwdefaults__ or {}).items():
        yield part.at(f".__kwdefaults__[{name!r}]", item)
    for name, item in list(vars(function).items()):
        yield part.at(f".{name}", item)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


# -- what to write instead -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """The advice for one kind of object: what to write instead."""

    passed: str  # when the object is an argument
    returned: str  # when the object is a result


_IN_ENTER: Final = "in an @moorage.enter() hook"
_OTHER: Final = _Kind(
    f"pass plain data instead, and make it in the container, {_IN_ENTER}",
    "return plain data instead",
)
_TOOL: Final = _Kind(
    f"make it in the container, {_IN_ENTER}", "leave it out, and return plain data"
)
_DATABASE: Final = _Kind(
    f"pass the path or address of the database, and connect {_IN_ENTER}",
    "return the rows, e.g. fetchall()",
)
_CONNECTION: Final = _Kind(
    f"pass the address, and connect {_IN_ENTER}", "return what was read from it"
)
_FILE: Final = _Kind(
    "pass its path and open it in the function, or pass what is in it",
    "return its path, or what is in it",
)
_ITEMS: Final = _Kind("pass its items: list(...)", "return its items: list(...)")
_ITEMS_ASYNC: Final = _Kind(
    "pass its items: [item async for item in ...]", "return its items: [item async for item in ...]"
)
_AWAITED: Final = _Kind("await it first, and pass the result", "await it, and return the result")
_FUTURE: Final = _Kind("wait for it, and pass its result", "wait for it, and return its result")
_QUEUE: Final = _Kind("pass a list of what is in it", "return a list of what is in it")
_PROCESS: Final = _Kind("start it in the function", "return its exit code and its output")
_VARIABLE: Final = _Kind("pass its value: .get()", "return its value: .get()")
_REFERENCE: Final = _Kind("pass the object itself", "return the object itself")
_TEXT: Final = _Kind(
    'pass its text: "".join(traceback.format_tb(...))',
    'return its text: "".join(traceback.format_tb(...))',
)

# Kinds by the full name of the class, or of one of its bases.  The walk does not go into these
# objects: their class tells the user more than the private lock inside them would.
_KINDS: Final[Mapping[str, _Kind]] = {
    "_thread.lock": _TOOL,
    "_thread.RLock": _TOOL,
    "_thread._local": _TOOL,
    "threading.Event": _TOOL,
    "threading.Condition": _TOOL,
    "threading.Semaphore": _TOOL,
    "threading.Barrier": _TOOL,
    "threading.Thread": _TOOL,
    "ssl.SSLContext": _TOOL,
    "concurrent.futures._base.Executor": _TOOL,
    "asyncio.events.AbstractEventLoop": _TOOL,
    "selectors.BaseSelector": _TOOL,
    "mmap.mmap": _FILE,
    "_io._IOBase": _FILE,
    "tempfile._TemporaryFileWrapper": _FILE,
    "os.ScandirIterator": _ITEMS,
    "sqlite3.Connection": _DATABASE,
    "sqlite3.Cursor": _DATABASE,
    "_socket.socket": _CONNECTION,
    "http.client.HTTPConnection": _CONNECTION,
    "builtins.generator": _ITEMS,
    "builtins.async_generator": _ITEMS_ASYNC,
    "builtins.coroutine": _AWAITED,
    "moorage.calling.maps.MapResults": _ITEMS,
    "moorage.calling.waited.StreamReader": _ITEMS,
    "_asyncio.Future": _FUTURE,
    "asyncio.futures.Future": _FUTURE,
    "concurrent.futures._base.Future": _FUTURE,
    "queue.Queue": _QUEUE,
    "_queue.SimpleQueue": _QUEUE,
    "subprocess.Popen": _PROCESS,
    "_contextvars.ContextVar": _VARIABLE,
    "_contextvars.Context": _TOOL,
    "weakref.ReferenceType": _REFERENCE,
    "builtins.frame": _TEXT,
    "builtins.traceback": _TEXT,
}


def _kind_of(value: object) -> _Kind | None:
    for base in type(value).__mro__:
        kind = _KINDS.get(f"{base.__module__}.{base.__qualname__}")
        if kind is not None:
            return kind
    return None


def _type_name(kind: type) -> str:
    module = kind.__module__
    name = kind.__qualname__.rpartition("<locals>.")[2]
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def _a(noun: str) -> str:
    return f"{'an' if noun.lstrip('_')[:1].lower() in tuple('aeiou') else 'a'} {noun}"


def _key_text(key: object) -> str:
    if isinstance(key, (str, bytes)):
        return repr(key if len(key) <= 40 else key[:40]) + ("" if len(key) <= 40 else "...")
    if key is None or isinstance(key, (int, float)):
        return repr(key)
    return f"<{_type_name(type(key))}>"  # do not call a user's repr: it may do anything


def _error_text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


error_text: Final = _error_text
type_name: Final = _type_name


def argument_parts(
    function: Callable[..., Any] | None,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    skip: int,
) -> list[Part]:
    """Return each argument as a part named by its parameter.

    `skip` is the number of parameters before the first argument, such as 1 for `self`.
    """
    try:
        signature = Real.signature(cast("Callable[..., Any]", function))
        parameters = list(signature.parameters.values())[skip:]
    except (TypeError, ValueError):  # no function, or a function in C without a signature
        parameters = []
    by_place = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    more = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    parts = [
        Part(by_place[i] if i < len(by_place) else f"{more}[{i - len(by_place)}]", value)
        for i, value in enumerate(args)
    ]
    return parts + [Part(name, value) for name, value in kwargs.items()]
