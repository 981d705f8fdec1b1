"""Dicts: key-value stores that functions share.

Owns `Dict`; users make it.  A dict holds bytes, in this process or in a file of its environment:
see ``stores/kept.py``.  Keys and values are pickled here, before and after the one step of a
method, so user code runs under no lock.

Begin at `Dict.put`, then `Dict._open`.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from . import config
from .arguments import InvalidUseError
from .client import Client
from .exception import Error, RequestSizeError, UnpicklableError
from .named_objects import NamedObjects, use_contents_elsewhere
from .object import Stored
from .old import names as old_names
from .stores.entries import Entries, MemoryEntries
from .stores.kept import Kept
from .stores.records import Record
from .stores.sqlite_entries import SqliteEntries
from .stores.values import (
    CANNOT,
    PROTOCOL,
    dumps,
    key_bytes,
    key_of,
    loads,
    plain_dumps,
    unreadable,
)
from .types import DictInfo
from .with_aio import (
    IteratorMethodWithAio,
    after_a_turn,
    direct_after_a_turn,
    ending_context,
    hidden,
)

# In strict mode, as in Modal: the most bytes of one `put` or `update`, and how far `len` counts.
MOST_BYTES: Final = 100 * 2**20
MOST_COUNTED: Final = 100_000

_NO_DEFAULT: Final[Any] = object()


def _in_memory() -> Entries:
    return MemoryEntries()


_KEPT: Final[Kept[Entries]] = Kept("Dict", "di", _in_memory, SqliteEntries)


class DictManager(NamedObjects["Dict"]):
    """Creates, lists and deletes the named dicts: the type of `Dict.objects`."""

    @property
    def _kind(self) -> type[Dict]:
        return Dict


class Dict(Stored):
    """A key-value store by value: a change to an object that was put or got changes nothing here.

    Not a mapping of Python: there is no ``len(d)``, no ``for key in d`` and no ``setdefault``.
    """

    _made_by = 'Dict.from_name("my-dict", create_if_missing=True)'
    _instead = "use Dict, which holds its entries in this process"
    objects: ClassVar[DictManager] = DictManager()

    _entries: Entries | None = None  # of the object that this handle was found to be

    def __init__(self) -> None:
        raise InvalidUseError(f"Dict() makes nothing by itself; write {self._made_by}")

    @property
    def name(self) -> str | None:
        """The name of the dict; None for an ephemeral one, and before `from_id` looked it up."""
        return self._name if self._record is None else self._record.name

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
        """Name a dict.  It is looked up when the handle is used for the first time.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        return Dict._from_name(name, environment_name, create_if_missing)

    @staticmethod
    def from_id(dict_id: str, client: Client | None = None) -> Dict:
        """Name a dict by its ``object_id``."""
        return Dict._from_id(dict_id)

    @staticmethod
    @ending_context
    def ephemeral(*, client: Client | None = None, environment_name: str | None = None) -> Dict:
        """Return a context manager with a dict without a name, for ``with`` or ``async with``.

        The dict ends with the block: its contents are freed, and every later use fails.
        """
        return Dict._ephemeral(environment_name)

    @after_a_turn
    def info(self) -> DictInfo:
        """Return the name of the dict, and when it was made."""
        record = self._found()
        return DictInfo(record.name, record.created_at, None)

    @after_a_turn
    def clear(self) -> None:
        """Remove all entries."""
        self._open().clear()

    @direct_after_a_turn
    def get(self, key: object, default: object = None) -> Any:
        """Return the value of `key`, or `default` if it is not there."""
        try:
            entries = self._entries
            if entries is None or entries.gone:
                entries = self._open()
            data = entries.get(key_bytes(key))
            if data is None:
                return default
            try:
                return loads(data)
            except Exception as error:
                raise self._unreadable(error, key) from error
        except Exception as error:
            raise hidden(error)

    @after_a_turn
    def contains(self, key: object) -> bool:
        """Tell whether `key` is there."""
        return self._open().has(key_bytes(key))

    @after_a_turn
    def len(self) -> int:
        """Return the number of entries; at most 100,000 in strict mode, as in Modal."""
        count = self._open().count()
        return min(count, MOST_COUNTED) if config.strict else count

    @after_a_turn
    def update(self, other: Mapping[Any, Any] | None = None, /, **kwargs: object) -> None:
        """Put all entries of `other`, which has ``keys()`` and ``[]``, and of `kwargs`: one step.

        Raises:
            UnpicklableError: if a key or a value cannot be pickled; then no entry is put.
            RequestSizeError: in strict mode, above 100 MiB.
        """
        contents: dict[Any, Any] = {}
        if other:
            contents.update({key: other[key] for key in other.keys()})  # noqa: SIM118
        contents.update(kwargs)
        entries = self._open()
        data = {
            key_bytes(key): self._dumped(key, value, entries) for key, value in contents.items()
        }
        if config.strict:
            _check_size("update", sum(map(builtins.len, [*data, *data.values()])))
        entries.update(data)

    @direct_after_a_turn
    def put(self, key: object, value: object, *, skip_if_exists: bool = False) -> bool:
        """Put an entry; tell whether it was put.

        Args:
            skip_if_exists: change nothing if the key is there, and return False.  The look and the
                change are one step, so that of several callers one gets True.

        Raises:
            UnpicklableError: if the key or the value cannot be pickled.
            RequestSizeError: in strict mode, above 100 MiB.
        """
        try:
            entries = self._entries
            if entries is None or entries.gone:
                entries = self._open()
            hash(key)  # a TypeError for keys that a dict of Python does not take, as in Modal
            at = key_bytes(key)
            if entries.outlives:
                data = self._dumped(key, value, entries)
            else:
                try:
                    data = plain_dumps(value, PROTOCOL)
                except CANNOT:
                    data = self._dumped(key, value, entries)
            if config.strict:
                _check_size("put", builtins.len(at) + builtins.len(data))
            if skip_if_exists:
                return entries.put_new(at, data)
            entries.put(at, data)
            return True
        except Exception as error:
            raise hidden(error)

    @after_a_turn
    def pop(self, key: object, default: object = _NO_DEFAULT) -> Any:
        """Remove `key` and return its value.

        Raises:
            KeyError: if the key is not there, and there is no `default`.
        """
        data = self._open().pop(key_bytes(key))
        if data is None:
            if default is not _NO_DEFAULT:
                return default
            raise self._missing(key)
        try:
            return loads(data)
        except Exception as error:
            raise self._unreadable(error, key) from error

    @direct_after_a_turn
    def __getitem__(self, key: object) -> Any:
        try:
            entries = self._entries
            if entries is None or entries.gone:
                entries = self._open()
            data = entries.get(key_bytes(key))
            if data is None:
                raise self._missing(key)
            try:
                return loads(data)
            except Exception as error:
                raise self._unreadable(error, key) from error
        except Exception as error:
            raise hidden(error)

    @direct_after_a_turn
    def __setitem__(self, key: object, value: object) -> None:
        try:
            entries = self._entries
            if entries is None or entries.gone:
                entries = self._open()
            hash(key)
            at = key_bytes(key)
            if entries.outlives:
                data = self._dumped(key, value, entries)
            else:
                try:
                    data = plain_dumps(value, PROTOCOL)
                except CANNOT:
                    data = self._dumped(key, value, entries)
            if config.strict:
                _check_size("put", builtins.len(at) + builtins.len(data))
            entries.put(at, data)
        except Exception as error:
            raise hidden(error)

    @after_a_turn
    def __delitem__(self, key: object) -> None:
        if self._open().pop(key_bytes(key)) is None:
            raise self._missing(key)

    @after_a_turn
    def __contains__(self, key: object) -> bool:
        return self._open().has(key_bytes(key))

    # Without this line, iter() would call __getitem__ with 0, 1, 2 and so on.
    __iter__: ClassVar[None] = None

    @IteratorMethodWithAio
    def keys(self) -> Iterator[Any]:
        """Yield the keys that are there at the first step; changes after that are not seen."""
        for key in self._open().all():
            yield self._key(key)

    @IteratorMethodWithAio
    def values(self) -> Iterator[Any]:
        """Yield the values, as `keys`."""
        for _, value in self._items():
            yield value

    @IteratorMethodWithAio
    def items(self) -> Iterator[tuple[Any, Any]]:
        """Yield the keys with their values, as `keys`."""
        yield from self._items()

    def _items(self) -> Iterator[tuple[Any, Any]]:
        for at, data in self._open().all().items():
            key = self._key(at)
            try:
                value = loads(data)
            except Exception as error:
                raise self._unreadable(error, key) from error
            yield key, value

    # -- parts ---------------------------------------------------------------------------------

    @classmethod
    def _catalogue(cls) -> Kept[Entries]:
        return _KEPT

    def _open(self) -> Entries:
        """Return the entries of the dict; look it up if this is the first use."""
        entries = self._entries
        if entries is None or entries.gone:
            record: Record = self._found()
            self._entries = entries = _KEPT.contents(record)
            if entries.gone:
                raise self._not_found("is gone: it was deleted, or its block has ended")
        return entries

    def _called(self) -> str:
        name = self.name
        return f"Dict {name!r}" if name else f"ephemeral Dict {self.object_id}"

    def _missing(self, key: object) -> KeyError:
        return KeyError(f"{key} not in dict {self.object_id}")

    def _key(self, data: bytes) -> Any:
        try:
            return key_of(data)
        except Exception as error:
            raise unreadable(f"a key of {self._called()}", error) from error

    def _dumped(self, key: object, value: object, entries: Entries) -> bytes:
        try:
            return dumps(value, outlives=entries.outlives)
        except UnpicklableError as error:
            raise self._unpicklable(key, error) from error.__cause__

    def _unpicklable(self, key: object, error: UnpicklableError) -> UnpicklableError:
        return UnpicklableError(f"the value for key {key!r} of {self._called()}: {error}")

    def _unreadable(self, error: Exception, key: object) -> Error:
        return unreadable(f"the value for key {key!r} of {self._called()}", error)


def _check_size(method: str, size: int) -> None:
    if size > MOST_BYTES:
        raise RequestSizeError(
            f"Dict.{method} takes at most {MOST_BYTES // 2**20} MiB, got {size / 2**20:.1f} MiB; "
            "write several smaller entries, or put the data into a Volume"
        )


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Dict = Dict


use_contents_elsewhere()
