"""Kept objects: which dicts or queues there are, and where the contents of each are.

Owns `Kept`: the catalogue of one kind of object, over two stores.  Ephemeral objects are in this
process.  A named one is in this process too, or, if `config.persist` is true when a handle is used
for the first time, in a file of its environment (``sqlite_catalogue.py``).  A handle keeps to the
object that it found.

Begin at `Kept.contents`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from .. import config
from ..runtime import forking
from ..runtime.real import Real
from .records import MemoryCatalogue, Record
from .sqlite_catalogue import SqliteCatalogue, Table


class Contents(Protocol):
    """What an object holds."""

    @property
    def gone(self) -> bool: ...
    def end(self) -> None: ...


C = TypeVar("C", bound=Contents)


class Kept(Generic[C]):
    """The objects of one kind, with their contents.  See `Catalogue`.

    Args:
        kind: the name of the class.
        prefix: that of the ids.
        in_memory: makes the contents of an object of this process.
        in_file: makes the contents of an object that is in a file.
    """

    def __init__(
        self,
        kind: str,
        prefix: str,
        in_memory: Callable[[], C],
        in_file: Callable[[Table], C],
    ) -> None:
        self._memory = MemoryCatalogue(kind, prefix)
        self._files = SqliteCatalogue(kind, prefix)
        self._in_memory = in_memory
        self._in_file = in_file
        self._lock = Real.Lock()
        # By id; guarded by the lock.  All handles of one object have the same contents.
        self._contents: dict[str, C] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        self._lock = Real.Lock()

    def find(self, environment: str, name: str) -> Record | None:
        return self._of_names().find(environment, name)

    def of_id(self, object_id: str) -> Record | None:
        found = self._memory.of_id(object_id)
        return found if found is not None else self._files.of_id(object_id)

    def create(self, environment: str, name: str, *, allow_existing: bool = True) -> Record:
        return self._of_names().create(environment, name, allow_existing=allow_existing)

    def create_ephemeral(self, environment: str) -> Record:
        return self._memory.create_ephemeral(environment)

    def named(self, environment: str) -> Iterable[Record]:
        return self._of_names().named(environment)

    def delete(self, record: Record) -> bool:
        """Forget the record and free the contents; false if it is not there any more."""
        with self._lock:
            contents = self._contents.pop(record.object_id, None)
        if contents is not None:
            contents.end()
        return self._memory.delete(record) or self._files.delete(record)

    def contents(self, record: Record) -> C:
        """Return the contents of an object; the same for all its handles."""
        with self._lock:
            found = self._contents.get(record.object_id)
            if found is None:
                if self._memory.of_id(record.object_id) is not None:
                    found = self._in_memory()
                else:
                    found = self._in_file(self._files.table(record))
                self._contents[record.object_id] = found
            return found

    def _of_names(self) -> MemoryCatalogue | SqliteCatalogue:
        return self._files if config.persist else self._memory
