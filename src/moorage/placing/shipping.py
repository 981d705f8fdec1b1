"""Shipping: values as bytes, on their way to another process and back.

Owns what becomes of an argument, a result or an item that goes to another process.  Arguments are
packed at the call, by the caller, whose error it is if one does not pickle; they are unpacked where
the user's code runs, on its thread.  A result is packed on that thread, and unpacked by the first
reader.  So no thread of this library ever runs the user's ``__reduce__`` or ``__setstate__``.

Each value is packed by itself, so two inputs never share an object, and a value that cannot be
read back fails alone.  Buffers of `LARGE` bytes and more (those of numpy arrays) are not copied
into the pickle: they follow it.  Those of a caller that waits for its result are not copied at all.

Begin at `pack`, then `Packed.load`; for calls at `pack_call`; for errors see ``errors.py``.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import threading
from collections.abc import Callable, Iterable, Sequence
from types import CodeType, FunctionType
from typing import Any, Final

from ..exception import DeserializationError, InvalidError, UnpicklableError
from ..runtime.containers.residents import is_visit
from ..runtime.input import Input, Target
from ..runtime.labels import Shown
from ..serialize.culprits import Part, argument_parts, error_text, find_culprit
from .annotated import NOTHING, Named, names_of_class, names_of_function
from .classes import as_written
from .definitions import reduced_definition
from .errors import reduced_error
from .frames import LARGE, Buffer

PROTOCOL: Final = 5

# Values of these types are pickled without cloudpickle, which only matters for functions and
# classes.
_PLAIN: Final = frozenset({int, float, bool, str, bytes, type(None)})

# The file of code that cloudpickle writes.
_NO_FILE: Final = "<dynamic-code>"


class Packed(Shown):
    """A value as bytes: a pickle, and the large buffers that belong to it."""

    __slots__ = ("buffers", "data")

    def __init__(self, data: Buffer, buffers: Sequence[Buffer] = (), shown: str = "") -> None:
        self.shown = shown  # not by a call of `Shown.__init__`: there is one of these an input
        self.data: Buffer = data
        self.buffers: Sequence[Buffer] = buffers

    @staticmethod
    def of(blobs: Sequence[Buffer]) -> Packed:
        """Return the value whose blobs have come."""
        return Packed(_own(blobs[0]), blobs[1:] if len(blobs) > 1 else ())

    @property
    def blobs(self) -> Sequence[Buffer]:
        return (self.data, *self.buffers)

    def load(self) -> Any:
        """Return a copy of the value.  Runs user code."""
        # The buffers are those that have come, which nobody else has: the reader may write to them.
        return pickle.loads(self.data, buffers=self.buffers)


class Received(Packed):
    """A value that a child has sent: see `Sealed` in ``runtime/outcome.py``."""

    __slots__ = ("name", "what")

    def __init__(self, blobs: Sequence[Buffer], what: str, name: str) -> None:
        self.shown = ""
        self.data: Buffer = _own(blobs[0])
        self.buffers: Sequence[Buffer] = blobs[1:] if len(blobs) > 1 else ()
        self.what: str = what  # "result" or "item"
        self.name: str = name  # of the function

    def open(self) -> Any:
        """Return the value.  Runs user code, on the thread of the reader.

        Raises:
            DeserializationError: if the value cannot be read back.
        """
        try:
            return pickle.loads(self.data, buffers=self.buffers)
        except Exception as error:
            refusal = DeserializationError(
                f"the {self.what} of {self.name}() cannot be read back at the caller: "
                f"{error_text(error)}; give its class a __reduce__ that makes an equal object, or "
                "return plain data"
            )
        try:
            raise refusal
        finally:
            del refusal


def _own(blob: Buffer) -> Buffer:
    """Return a blob that does not keep the frame that it came in, unless it is most of it."""
    return blob if type(blob) is bytes or len(blob) >= LARGE else bytes(blob)


# -- pickling ------------------------------------------------------------------------


@functools.cache
def _pickler_class() -> Any:
    try:
        cloudpickle: Any = importlib.import_module("cloudpickle")
    except ImportError:
        raise InvalidError(
            'placement="process" needs cloudpickle, which is not installed; '
            'write pip install "moorage[process]"'
        ) from None
    base: Any = cloudpickle.Pickler

    def reducer_override(self: Any, value: Any) -> Any:
        if isinstance(value, BaseException):
            return reduced_error(value)
        kind: type = type(value)  # pyright: ignore[reportUnknownVariableType]
        crosses: Any = getattr(kind, "_moorage_crosses", None)
        if crosses is not None:
            return crosses(value)
        defined = reduced_definition(value, _is_module)
        if defined is not None:
            return defined
        if type(value) is CodeType:
            make, args, *rest = self.dispatch_table[CodeType](value)
            # cloudpickle writes a name that says that the code was dynamic.  With the name of the
            # file, a traceback shows the lines.
            named = tuple(value.co_filename if each == _NO_FILE else each for each in args)
            return make, named, *rest
        reduced: Any = base.reducer_override(self, value)
        if reduced is NotImplemented or len(reduced) < 3:
            return reduced  # by its name
        if isinstance(value, type):
            return as_written(value, reduced, _taken(self, names_of_class, value).values)
        if type(value) is FunctionType:
            _add_names(self, value, reduced)
        return reduced

    # `tried`: whether a value, by its id, pickles, which only annotations name; None for a pickler
    # that leaves out all such values.
    return type("Pickler", (base,), {"reducer_override": reducer_override, "tried": None})


def _add_names(pickler: Any, function: FunctionType, reduced: Any) -> None:
    """Have a function that goes by value take along the globals that its annotations name."""
    values, modules = _taken(pickler, names_of_function, function)
    state = reduced[2][1]
    state["__globals__"] = values | state["__globals__"]
    state["_cloudpickle_submodules"] += modules


def _taken(pickler: Any, names_of: Callable[[Any], Named], code: object) -> Named:
    """Return what goes along of what annotations name: the code can run without the rest."""
    if pickler.tried is None:
        return NOTHING
    found = names_of(code)
    values = {name: value for name, value in found.values.items() if _pickles(pickler, value)}
    return Named(values, found.modules)


def _pickles(pickler: Any, value: object) -> bool:
    tried: dict[int, tuple[object, bool]] = pickler.tried
    if id(value) not in tried:
        trial: Any = type(pickler)(io.BytesIO(), protocol=PROTOCOL)
        trial.__dict__.update(pickler.__dict__ | {"tried": None})
        trial.globals_ref = pickler.globals_ref.copy()
        try:
            trial.dump(value)
        except Exception:
            tried[id(value)] = value, False
        else:
            tried[id(value)] = value, True
    return tried[id(value)][1]


def _is_module(module: object) -> bool:
    return True  # code that is an argument goes by value only if `__main__` has it


def check_installed() -> None:
    """Raise unless values can cross to another process.

    Raises:
        InvalidError: if cloudpickle is not installed.
    """
    _pickler_class()


class _Reused(threading.local):
    """The pickler of this thread, because making one takes longer than a small pickle."""

    def __init__(self) -> None:
        self.is_used = False
        self.file = io.BytesIO()
        self.buffers: list[pickle.PickleBuffer] = []
        self.pickler: Any = _new_pickler(self.file, self.buffers)


def _new_pickler(file: io.BytesIO, buffers: list[pickle.PickleBuffer]) -> Any:
    def keep(buffer: pickle.PickleBuffer) -> bool:
        """Keep a large buffer out of the pickle; true for one that goes into it."""
        if buffer.raw().nbytes < LARGE:
            return True
        buffers.append(buffer)
        return False

    pickler = _pickler_class()(file, protocol=PROTOCOL, buffer_callback=keep)
    pickler.tried = {}
    return pickler


def pack(value: Any, shown: str = "", *, lends: bool = False) -> Packed:
    """Return `value` as bytes.  Runs user code.

    Args:
        value: anything.
        shown: what an error shows in its place.
        lends: the large buffers of `value` stay its own: nobody changes them until they are
            written, or `Carrier.keep` is called.

    Raises:
        Exception: what pickle or the user's code raises.
    """
    if type(value) in _PLAIN:
        return Packed(pickle.dumps(value, PROTOCOL), (), shown)
    reused = _reused()
    if reused.is_used:  # the user's code pickles, within a pickling
        file: io.BytesIO = io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        _new_pickler(file, buffers).dump(value)
        return Packed(file.getvalue(), _buffers(buffers, lends), shown)
    reused.is_used = True
    file, buffers, pickler = reused.file, reused.buffers, reused.pickler
    try:
        pickler.dump(value)
        data = file.getvalue()
        return Packed(data, _buffers(buffers, lends), shown)
    finally:
        # Nothing of the value is kept, and the next value shares nothing with this one.
        pickler.clear_memo()
        if pickler.globals_ref:  # a function has gone by value
            pickler.globals_ref.clear()
            pickler.tried.clear()
        buffers.clear()
        file.seek(0)
        file.truncate()
        reused.is_used = False


def _buffers(buffers: list[pickle.PickleBuffer], lends: bool) -> list[Buffer]:
    """Copy buffers, unless they are lent: user code may change its array before it is written."""
    return [buffer.raw() if lends else bytes(buffer.raw()) for buffer in buffers]


@functools.cache
def _reused() -> _Reused:
    return _Reused()


def _dump_to(value: object, file: Any) -> object:
    pickler = _pickler_class()(file, protocol=PROTOCOL)
    return pickler.dump(value)


# -- arguments -------------------------------------------------------------------------


def pack_call(inputs: Iterable[Input], *, one_of_many: bool = False) -> None:
    """Pack the arguments of a call that is about to be submitted.  No lock held.

    Raises:
        UnpicklableError: if some argument cannot be pickled; nothing is to be submitted then.
    """
    for input in inputs:
        args = input.args
        if args and type(args[0]) is Packed:
            continue  # its pool was retired meanwhile, and the input goes to the next one
        if is_visit(input.call.target):
            continue
        lends = getattr(input.call, "blocks_caller", False)
        input.args = (packed_arguments(input, one_of_many=one_of_many, lends=lends),)
        input.kwargs = None


def packed_arguments(input: Input, *, one_of_many: bool = False, lends: bool = False) -> Packed:
    """Return the arguments of `input` as bytes.

    Args:
        input: an input that is not submitted.
        one_of_many: whether an error names its index.
        lends: see `pack`.

    Raises:
        UnpicklableError: if some argument cannot be pickled.
    """
    args, kwargs, target = input.args, input.kwargs, input.call.target
    try:
        if kwargs is None and _PLAIN.issuperset(map(type, args)):
            return Packed(pickle.dumps((args, None), PROTOCOL))
        return pack((args, kwargs), lends=lends)
    except Exception as error:
        parts = argument_parts(target.function, args, kwargs or {}, 1 if target.is_method else 0)
        part, culprit = find_culprit(parts, error, _dump_to)
        of_many = f", input {input.index} of its call," if one_of_many else ""
        refusal = UnpicklableError(
            f"the argument {part.path!r} of {target.name}(){of_many} cannot be serialized: "
            f"{culprit.explain(part.path, 'pass')}"
        )
    try:
        raise refusal
    finally:
        del refusal


def unpacked_arguments(packed: Packed, target: Target) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return copies of the arguments of one input.  Runs user code.

    Raises:
        DeserializationError: if they cannot be read back.
    """
    try:
        args, kwargs = pickle.loads(packed.data, buffers=packed.buffers)
    except Exception as error:
        refusal = DeserializationError(
            f"the arguments of {target.name}() cannot be read back in the container: "
            f"{error_text(error)}; give its class a __reduce__ that makes an equal object, or pass "
            "plain data"
        )
    else:
        return args, kwargs or {}
    try:
        raise refusal
    finally:
        del refusal


# -- results ---------------------------------------------------------------------------


def pack_result(value: Any, what: str, target: Target) -> Packed:
    """Return a result or an item as bytes.  Runs user code.

    Args:
        what: "result" or "item".

    Raises:
        UnpicklableError: if it cannot be pickled.
    """
    try:
        return pack(value)
    except Exception as error:
        _, culprit = find_culprit([Part(what, value)], error, _dump_to)
        refusal = UnpicklableError(
            f"the {what} of {target.name}() cannot be serialized: {culprit.explain(what, 'return')}"
        )
    try:
        raise refusal
    finally:
        del refusal, value
