"""Old spellings: names that Modal once had, which old programs still use.

Owns what such a name does.  In lenient mode the name works and warns with a `DeprecationError`
that shows what to write today.  In strict mode the name is not there, as in Modal 1.6.4.  The
files of the public names use this file; they hide the old names from type checkers.

Begin at `accept_old_spelling`, then `OldMethod`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ParamSpec, TypeVar

from .. import config
from ..exception import DeprecationError, Error
from ..frames import warn, without_our_frames

P = ParamSpec("P")
R = TypeVar("R")


def accept_old_spelling(name: str, instead: str) -> None:
    """Warn that `name` is an old spelling.

    Raises:
        AttributeError: in strict mode.
    """
    message = f"{name} is gone from Modal; {instead}"
    if config.strict:
        raise AttributeError(message)
    warn(message, DeprecationError)


class OldMethod:
    """A method or static method under an old name: each call warns, then does what `run` does.

    ``method.aio(...)`` works, too.  If `on` is "class", the name is read on the class only, and an
    instance has no such attribute; if it is "instance", the other way round.  `run` gets the object
    that the name was read on.
    """

    def __init__(self, instead: str, run: Callable[..., Any], *, on: str = "") -> None:
        self._instead = instead
        self._run = run
        self._on = on
        self.__doc__ = f"An old spelling; {instead}."

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner: str = owner.__name__
        self.__name__: str = name

    def __get__(self, instance: object, owner: type) -> Any:
        read_on = "class" if instance is None else "instance"
        if config.strict or self._on not in ("", read_on):
            kind = f"type object {self._owner!r}" if instance is None else f"{self._owner!r} object"
            raise AttributeError(f"{kind} has no attribute {self.__name__!r}; {self._instead}")
        found = owner if instance is None else instance
        run = partial(self._run, found)
        return old_call(f"{self._owner}.{self.__name__}", self._instead, run)


def old_call(name: str, instead: str, run: Callable[..., Any]) -> Any:
    """Return a function that warns that `name` is an old spelling, and then does what `run` does.

    So does its ``.aio(...)``, where nothing waits.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        accept_old_spelling(name, instead)
        try:
            return run(*args, **kwargs)
        except (Error, DeprecationError) as error:
            raise without_our_frames(error)

    async def aio(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    call.__name__ = name.rpartition(".")[2]
    call.__qualname__ = name
    call.__doc__ = f"An old spelling; {instead}."
    aio.__qualname__ = f"{name}.aio"
    vars(call)["aio"] = aio
    return call


def from_name(kind: str) -> OldMethod:
    """Return the old ``lookup`` of a `kind`, which is ``from_name`` now."""

    def run(owner: Any, *args: Any, **kwargs: Any) -> Any:
        return owner.from_name(*args, **kwargs)

    return OldMethod(f"write {kind}.from_name(...)", run, on="class")


def persisted(kind: str) -> OldMethod:
    """Return the old ``persisted`` of a `kind`."""

    def run(owner: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        return owner.from_name(name, create_if_missing=True)

    return OldMethod(f"write {kind}.from_name(..., create_if_missing=True)", run, on="class")


def new(kind: str) -> OldMethod:
    """Return the old ``new`` of a `kind`, which made an object without a name."""

    def run(owner: Any, *args: Any, **kwargs: Any) -> Any:
        if hasattr(owner, "_ephemeral"):  # holds something in this process
            return owner._ephemeral(None)
        return owner._new(f"{kind}.new()", None)

    return OldMethod(f"write {kind}.from_name(..., create_if_missing=True)", run, on="class")


def accepting_gone(
    owner: str, gone: Mapping[str, str]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of methods of `owner` that once had the arguments `gone`.

    Each argument warns with its advice, and has no effect.  In strict mode the arguments are
    unknown, as in Modal 1.6.4.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def accepting(*args: P.args, **kwargs: P.kwargs) -> R:
            if not config.strict:
                for name in gone.keys() & kwargs.keys():
                    del kwargs[name]
                    message = (
                        f"{name} of {owner}.{method.__name__} is gone from Modal; {gone[name]}"
                    )
                    warn(message, DeprecationError)
            return method(*args, **kwargs)

        return accepting

    return decorate
