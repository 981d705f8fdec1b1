"""Checks and errors that the cloud's objects and arguments share.

Owns the checks that several objects share, and re-exports the errors of wrong arguments.  Modal
reports some mistakes by accident: as the TypeError or AttributeError of the line that fails.
Our errors are `InvalidError` and that builtin error at once, so either ``except`` clause works.

Begin at `lenient`, `meant` and `check_name`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Final, NoReturn, TypeAlias, TypeGuard

from . import config
from .exception import InvalidArgumentsError as InvalidArgumentsError
from .exception import InvalidAttributeError as InvalidAttributeError
from .exception import InvalidError, UnimplementedError
from .exception import InvalidUseError as InvalidUseError
from .exception import InvalidValueError as InvalidValueError

LocalPath: TypeAlias = "str | os.PathLike[str]"
# Names of environment variables to values; the value None leaves the variable out.
EnvDict: TypeAlias = Mapping[str, str | None]


def lenient(message: str) -> None:
    """Refuse a mistake that Modal would find only later, e.g. when it builds an image.

    Raises:
        InvalidError: with `message`, unless in strict mode, which is silent where Modal is.
    """
    if not config.strict:
        raise InvalidError(message)


def unimplemented(what: str, instead: str) -> UnimplementedError:
    """Return the error for the operation `what`, which needs Modal's servers."""
    return UnimplementedError(
        f"{what} needs Modal's servers, which this process does not have; {instead}"
    )


def meant(value: object, least: int, most: int | None = None) -> int | None:
    """Return the whole number to write instead of `value`, for an error's advice.

    `value` may be a number or a string of a number; its fraction is cut off, and `most` bounds
    the result.  None if `value` is neither, or the result is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = int(float(value))
    except (ValueError, OverflowError):  # not a number, NaN or infinite
        return None
    if number < least:
        return None
    return number if most is None else min(number, most)


def unchecked(value: object) -> object:
    """Return `value` typed as `object`: callers may pass other types than the annotation says."""
    return value


def is_dict(value: object) -> TypeGuard[dict[object, object]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    return isinstance(value, tuple)


def no_constructor(name: str, instead: str) -> NoReturn:
    """Raise the error for calling a class whose objects come from class methods."""
    raise InvalidError(f"{name}() makes nothing by itself; write {instead}")


def check_name(name: object, kind: str, example: str) -> None:
    """Refuse a name that Modal refuses for deployed objects.

    A name has 1 to 64 of the characters A-Z a-z 0-9 - . _ and is not like the id of an app.

    Raises:
        InvalidError: for another name; also a TypeError if `name` is not a str.
    """
    if not isinstance(name, str):
        raise InvalidArgumentsError(
            f"the name of a {kind} must be a str, got {name!r}; write {example}"
        )
    taken = re.fullmatch(r"ap-[A-Za-z0-9]{22}", name)
    if taken or not re.fullmatch(r"[A-Za-z0-9\-._]{1,64}", name):
        reason = "is reserved for the ids of apps" if taken else "is not a possible name"
        raise InvalidError(
            f"{name!r} {reason} of {'an' if kind == 'App' else 'a'} {kind}: "
            "a name has 1 to 64 letters, digits, '-', '.' or '_'; "
            f"write {example}"
        )


def check_env(where: str, env: object) -> Mapping[str, str | None]:
    """Check a dict of environment variables: str to str or None.  Nothing is converted.

    Raises:
        InvalidError: if `env` is not such a dict.
    """
    if not is_dict(env):
        # The object, like the values below, may hold secrets: the message shows only its type.
        kind = type(env).__name__
        raise InvalidError(f"{where} must be a dict of str to str or None, got {kind}; {_ENV}")
    checked: dict[str, str | None] = {}
    for key, value in env.items():
        if not isinstance(key, str):
            raise InvalidError(f"the names in {where} must be str, got {key!r}; {_ENV}")
        if value is not None and not isinstance(value, str):
            raise InvalidError(
                f"the values in {where} must be str or None, got {type(value).__name__} "
                f"for {key}; {_ENV}"
            )
        checked[key] = value
    return checked


_ENV: Final = 'write {"NAME": "value"}'


def flat_strings(where: str, name: str, values: Iterable[object]) -> list[str]:
    """Flatten strings and lists of strings into one list.

    Raises:
        InvalidError: if a member is not a str.
    """
    found: list[str] = []
    for value in values:
        group = value if is_list(value) else [value]
        for each in group:
            if not isinstance(each, str):
                raise InvalidError(
                    f"{where} takes {name} as str, got {each!r}; "
                    f'write {where}("a", "b") or {where}(["a", "b"])'
                )
            found.append(each)
    return found


def string_list(where: str, value: object) -> list[str]:
    """Return `value` if it is a list of str; a tuple or a single str is refused.

    Raises:
        InvalidError: if it is not.
    """
    given = value if is_list(value) else [None]
    found = [each for each in given if isinstance(each, str)]
    if len(found) != len(given):
        raise InvalidError(f'{where} must be a list of str, got {value!r}; write ["a", "b"]')
    return found


def fs_path(where: str, value: object) -> str:
    """Return a path as text, from a str or an object with ``__fspath__``.

    Raises:
        InvalidArgumentsError: if `value` is neither.
    """
    if isinstance(value, str | PurePath):
        return os.fspath(value)
    convert: Callable[[], object] | None = getattr(value, "__fspath__", None)
    found = convert() if convert is not None and not isinstance(value, type) else None
    if not isinstance(found, str):
        raise InvalidArgumentsError(
            f'{where} must be a path as str or Path, got {value!r}; write "/data"'
        )
    return found


def iterated(where: str, value: object, advice: str) -> list[object]:
    """Return the members of an iterable as a list.

    Raises:
        InvalidArgumentsError: if `value` cannot be iterated.
    """
    if not isinstance(value, Iterable):
        raise InvalidArgumentsError(f"{where} must be a list, got {value!r}; {advice}")
    each: Iterable[object] = value
    return [*each]
