"""Values and keys as bytes: how dicts and queues hold the objects of users.

Owns the pickling of values (`dumps`, `loads`) and the form of keys (`key_bytes`, `key_of`).  Dicts
and queues hold bytes only, so a change to an object that was put, or that was got, changes nothing
in the store.  ``dict.py`` and ``queue.py`` call this file, with no lock held: pickling runs user
code.

Begin at `dumps`, then `key_bytes`.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from ..exception import DeserializationError, UnpicklableError

PROTOCOL: Final = 5

# What pickle raises for a value that it cannot pickle.  The code of the value's class may raise
# anything else, which then belongs to the user.
CANNOT: Final = (pickle.PicklingError, TypeError, AttributeError, RecursionError)
# A class of the user's main program, as a pickle names it.
_OF_MAIN: Final = b"__main__"

plain_dumps: Final[Callable[[object, int], bytes]] = pickle.dumps
loads: Final[Callable[[bytes], Any]] = pickle.loads


def dumps(value: object, *, outlives: bool = False) -> bytes:
    """Return the pickle of `value`: of the standard library, or else of cloudpickle.

    cloudpickle, if it is installed, takes functions of functions, lambdas, and classes that other
    processes cannot import.

    Args:
        outlives: whether another process may read the bytes.  The class of a main program is then
            pickled with its code, if cloudpickle is installed.

    Raises:
        UnpicklableError: if neither takes the value.
    """
    try:
        data = plain_dumps(value, PROTOCOL)
        if not outlives or _OF_MAIN not in data:
            return data
    except CANNOT as error:
        failed: Exception = error
    else:
        try:
            return _cloudpickled(value) or data
        except CANNOT:
            return data
    try:
        found = _cloudpickled(value)
    except CANNOT as error:
        failed, found = error, None
    if found is not None:
        return found
    try:
        raise UnpicklableError(
            f"a {_type_name(value)} cannot be pickled: {type(failed).__name__}: {failed}; "
            "write a value of plain data, or install cloudpickle for functions and classes that "
            "are made inside functions: pip install 'moorage[resources]'"
        ) from failed
    finally:
        del failed  # else a cycle: the error -> its traceback -> this frame -> the error


def _cloudpickled(value: object) -> bytes | None:
    """Return the pickle by cloudpickle; None if it is not installed."""
    try:
        cloudpickle: Any = importlib.import_module("cloudpickle")
    except ImportError:
        return None
    file = io.BytesIO()
    _pickler_class(cloudpickle.Pickler)(file, PROTOCOL).dump(value)
    return file.getvalue()


@functools.cache
def _pickler_class(base: Any) -> Any:
    """Return cloudpickle's pickler for values that may have handles of functions and calls."""

    def reducer_override(self: Any, value: Any) -> Any:
        kind: type = type(value)  # pyright: ignore[reportUnknownVariableType]
        crosses: Any = getattr(kind, "_moorage_crosses", None)
        if crosses is None or hasattr(kind, "_moorage_crosses_only_to_processes"):
            return base.reducer_override(self, value)
        return crosses(value)

    return type("Pickler", (base,), {"reducer_override": reducer_override})


def read(data: bytes, what: Callable[[], str]) -> Any:
    """Return the value of a pickle.

    Args:
        what: names the value and its object, for the error.

    Raises:
        DeserializationError: if unpickling fails.
    """
    try:
        return loads(data)
    except Exception as error:
        raise unreadable(what(), error) from error


def unreadable(what: str, error: Exception) -> DeserializationError:
    """Return the error for `what`, whose unpickling raised `error`."""
    return DeserializationError(
        f"{what} cannot be unpickled: {type(error).__name__}: {error}; "
        "write the code that puts it so that its classes can be imported here"
    )


def _type_name(value: object) -> str:
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


# -- keys ----------------------------------------------------------------------------------------
#
# The first byte of a key says what follows.  So 1, 1.0 and True are three keys, as in Modal, where
# keys are equal if their pickles are.  Keys of plain values do not depend on how pickle writes
# them: two equal tuples may have different pickles.

_FLOAT: Final = struct.Struct(">d")
_LENGTH: Final = struct.Struct(">Q")


def key_bytes(key: object) -> bytes:
    """Return `key` as bytes: tagged if it is plain, else its pickle.

    Raises:
        UnpicklableError: if the key is not plain and cannot be pickled.
    """
    if type(key) is str:
        try:
            return b"s" + key.encode()
        except UnicodeEncodeError:
            pass  # a lone surrogate: below
    found = _plain(key)
    return b"p" + dumps(key) if found is None else found


def _plain(key: object) -> bytes | None:
    """Return the bytes of a plain key; None for any other key."""
    kind = type(key)
    if kind is str:
        return b"s" + cast("str", key).encode("utf-8", "surrogatepass")
    if kind is int:
        # In hexadecimal: Python limits the digits of decimal numbers.
        return b"i" + hex(cast("int", key)).encode()
    if kind is bytes:
        return b"b" + cast("bytes", key)
    if kind is bool:
        return b"T" if key else b"F"
    if kind is float:
        return b"f" + _FLOAT.pack(cast("float", key))
    if key is None:
        return b"N"
    if kind is tuple:
        parts = [b"("]
        for each in cast("tuple[object, ...]", key):
            part = _plain(each)
            if part is None:
                return None
            parts += (_LENGTH.pack(len(part)), part)
        return b"".join(parts)
    return None


def key_of(data: bytes) -> Any:
    """Return the key that `key_bytes` made `data` of."""
    tag, rest = data[:1], data[1:]
    if tag == b"s":
        return rest.decode("utf-8", "surrogatepass")
    if tag == b"p":
        return loads(rest)
    if tag == b"i":
        return int(rest, 16)
    if tag == b"b":
        return rest
    if tag == b"f":
        return _FLOAT.unpack(rest)[0]
    if tag == b"(":
        parts: list[Any] = []
        at = 0
        while at < len(rest):
            (length,) = _LENGTH.unpack_from(rest, at)
            at += _LENGTH.size
            parts.append(key_of(rest[at : at + length]))
            at += length
        return tuple(parts)
    return {b"T": True, b"F": False, b"N": None}[tag]
