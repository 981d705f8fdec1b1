"""Records: which named objects there are, of which kind, and their ids.

Owns `Record`, the `Catalogue` protocol, and `MemoryCatalogue`, which forgets everything with the
process.  A kind of object (`Dict`, `Queue`, `Volume`) has a catalogue; ``object.py`` asks it when a
handle is used for the first time.  Handles of one name are handles of one record, and the contents
belong to the record's id.

A lock of the catalogue guards it; no user code runs under it.

Begin at `Record`, then `Catalogue`.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from ..exception import AlreadyExistsError
from ..runtime import forking
from ..runtime.real import Real

_CHARACTERS: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Record:
    """One object: named, or ephemeral (then `name` is None)."""

    object_id: str
    environment: str
    name: str | None
    created_at: datetime  # aware


class Catalogue(Protocol):
    """The objects of one kind."""

    def find(self, environment: str, name: str, /) -> Record | None: ...
    def of_id(self, object_id: str, /) -> Record | None: ...
    def create(self, environment: str, name: str, /, *, allow_existing: bool = True) -> Record:
        """Make the record of a name, or return the one that is there.

        Raises:
            AlreadyExistsError: if it is there, and `allow_existing` is false.
        """
        ...

    def create_ephemeral(self, environment: str, /) -> Record:
        """Make a record without a name; `delete` ends it."""
        ...

    def delete(self, record: Record, /) -> bool:
        """Forget the record; false if it is not there any more."""
        ...

    def named(self, environment: str, /) -> Iterable[Record]:
        """Return the named records of an environment, in the order in which they were made."""
        ...


def new_id(prefix: str) -> str:
    """Return a new id as Modal's are: a prefix such as ``"di"``, and 22 letters and digits."""
    return f"{prefix}-{''.join(secrets.choice(_CHARACTERS) for _ in range(22))}"


class MemoryCatalogue:
    """The objects of one kind, in this process.  See `Catalogue`."""

    def __init__(self, kind: str, prefix: str) -> None:
        self._kind = kind
        self._prefix = prefix
        self._lock = Real.Lock()
        # Guarded by the lock:
        self._by_name: dict[tuple[str, str], Record] = {}
        self._by_id: dict[str, Record] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        self._lock = Real.Lock()

    def find(self, environment: str, name: str) -> Record | None:
        with self._lock:
            return self._by_name.get((environment, name))

    def of_id(self, object_id: str) -> Record | None:
        with self._lock:
            return self._by_id.get(object_id)

    def create(self, environment: str, name: str, *, allow_existing: bool = True) -> Record:
        with self._lock:
            found = self._by_name.get((environment, name))
            if found is None:
                found = self._make(environment, name)
                self._by_name[environment, name] = found
            elif not allow_existing:
                raise already_exists(self._kind, name, environment)
            return found

    def create_ephemeral(self, environment: str) -> Record:
        with self._lock:
            return self._make(environment, None)

    def _make(self, environment: str, name: str | None) -> Record:
        made = Record(new_id(self._prefix), environment, name, datetime.now(UTC).astimezone())
        self._by_id[made.object_id] = made
        return made

    def delete(self, record: Record) -> bool:
        with self._lock:
            if self._by_id.pop(record.object_id, None) is None:
                return False
            if record.name is not None:
                self._by_name.pop((record.environment, record.name), None)
            return True

    def named(self, environment: str) -> Iterable[Record]:
        with self._lock:
            return [each for (where, _), each in self._by_name.items() if where == environment]


def already_exists(kind: str, name: str, environment: str) -> AlreadyExistsError:
    """Return the error for making an object whose name is taken."""
    return AlreadyExistsError(
        f"there is a {kind} {name!r} in the environment {environment!r} already; "
        f"write allow_existing=True, or {kind}.from_name({name!r}) for the one that is there"
    )
