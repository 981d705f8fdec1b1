"""Dicts: key-value stores at Modal that containers share.

Owns `Dict`, a placeholder; users make it.  A `Dict` holds nothing, and every operation on its
contents raises `UnimplementedError`.  Containers here share one process, so a plain ``dict`` does
the same.

Begin at `Dict.from_name`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .arguments import InvalidUseError, check_name
from .client import Client
from .object import Manager, Object
from .old import names as old_names
from .types import DictInfo
from .with_aio import IteratorMethodWithAio, MethodWithAio, plain_context

_INSTEAD = "use a plain dict of the module, with a threading.Lock where functions update it"


class DictManager(Manager["Dict"]):
    """Lists and deletes the dicts at Modal: the type of `Dict.objects`."""

    @MethodWithAio
    def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        check_name(name, "Dict", 'Dict.objects.create("my-dict")')
        raise self._unimplemented("create")


class Dict(Object):
    """A key-value store at Modal.  Here it can be named and passed on, but not used."""

    _made_by = 'Dict.from_name("my-dict", create_if_missing=True)'
    _instead = _INSTEAD
    objects: ClassVar[DictManager] = DictManager("Dict.objects", _INSTEAD)

    def __init__(self) -> None:
        raise InvalidUseError(f"Dict() makes nothing by itself; write {self._made_by}")

    @property
    def name(self) -> str | None:
        """The name given to `from_name`; None for an object made in another way."""
        return self._name

    if not TYPE_CHECKING:  # old spellings
        lookup = old_names.from_name("Dict")
        persisted = old_names.persisted("Dict")
        new = old_names.new("Dict")

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
    ) -> Dict:
        """Name a dict.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        check_name(name, "Dict", Dict._made_by)
        return Dict._named(name, environment_name)

    @staticmethod
    def from_id(dict_id: str, client: Client | None = None) -> Dict:
        """Name a dict by Modal's id."""
        return Dict._new(f"Dict.from_id({dict_id!r})")

    @staticmethod
    @plain_context
    def ephemeral(*, client: Client | None = None, environment_name: str | None = None) -> Dict:
        """Return a context manager with a dict without a name, for ``with`` or ``async with``."""
        return Dict._new("Dict.ephemeral()")

    @MethodWithAio
    def info(self) -> DictInfo:
        raise self._unimplemented("info")

    @MethodWithAio
    def clear(self) -> None:
        raise self._unimplemented("clear")

    @MethodWithAio
    def get(self, key: object, default: object = None) -> Any:
        raise self._unimplemented("get")

    @MethodWithAio
    def contains(self, key: object) -> bool:
        raise self._unimplemented("contains")

    @MethodWithAio
    def len(self) -> int:
        raise self._unimplemented("len")

    @MethodWithAio
    def update(self, other: Mapping[Any, Any] | None = None, /, **kwargs: object) -> None:
        raise self._unimplemented("update")

    @MethodWithAio
    def put(self, key: object, value: object, *, skip_if_exists: bool = False) -> bool:
        raise self._unimplemented("put")

    @MethodWithAio
    def pop(self, key: object, default: object = None) -> Any:
        raise self._unimplemented("pop")

    @MethodWithAio
    def __getitem__(self, key: object) -> Any:
        raise self._unimplemented("__getitem__")

    @MethodWithAio
    def __setitem__(self, key: object, value: object) -> None:
        raise self._unimplemented("__setitem__")

    @MethodWithAio
    def __delitem__(self, key: object) -> None:
        raise self._unimplemented("__delitem__")

    @MethodWithAio
    def __contains__(self, key: object) -> bool:
        raise self._unimplemented("__contains__")

    # Without this method, iter() would call __getitem__, which raises a different error.
    def __iter__(self) -> Iterator[Any]:
        raise self._unimplemented("__iter__")

    @IteratorMethodWithAio
    def keys(self) -> Iterator[Any]:
        raise self._unimplemented("keys")

    @IteratorMethodWithAio
    def values(self) -> Iterator[Any]:
        raise self._unimplemented("values")

    @IteratorMethodWithAio
    def items(self) -> Iterator[tuple[Any, Any]]:
        raise self._unimplemented("items")


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Dict = Dict
