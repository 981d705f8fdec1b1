"""Entries: what a dict holds, as bytes of keys and bytes of values.

Owns `Entries`, the small protocol behind ``dict.py``, and `MemoryEntries`, which holds them in
this process.  ``sqlite_entries.py`` holds them in a file.  A method is one step: no other thread
sees half of it.

Begin at `Entries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol


class Entries(Protocol):
    """The entries of one dict."""

    gone: bool  # the dict was deleted
    outlives: bool  # whether another process may read the entries

    def get(self, key: bytes, /) -> bytes | None: ...
    def has(self, key: bytes, /) -> bool: ...
    def put(self, key: bytes, value: bytes, /) -> None: ...
    def put_new(self, key: bytes, value: bytes, /) -> bool:
        """Put the entry if the key is not there; tell whether it was put."""
        ...

    def update(self, entries: Mapping[bytes, bytes], /) -> None: ...
    def pop(self, key: bytes, /) -> bytes | None: ...
    def clear(self) -> None: ...
    def count(self) -> int: ...
    def all(self) -> Mapping[bytes, bytes]:
        """Return a copy of all entries, in the order in which the keys were first put."""
        ...

    def end(self) -> None:
        """Free the entries: the dict was deleted."""
        ...


class MemoryEntries:
    """The entries of one dict, in this process.  See `Entries`.

    No lock guards the dict: each method is one operation of a ``dict`` of bytes, which runs no
    Python code and is atomic, also without a GIL.  So neither a strike nor Ctrl-C can break it.
    """

    __slots__ = ("__weakref__", "_entries", "get", "gone", "has", "put")

    outlives = False

    def __init__(self) -> None:
        self.gone: bool = False
        self._entries: dict[bytes, bytes] = {}
        # The methods of the dict itself: one call less for each operation.
        if not TYPE_CHECKING:
            self.get = self._entries.get
            self.has = self._entries.__contains__
            self.put = self._entries.__setitem__

    if TYPE_CHECKING:

        def get(self, key: bytes, /) -> bytes | None: ...
        def has(self, key: bytes, /) -> bool: ...
        def put(self, key: bytes, value: bytes, /) -> None: ...

    def put_new(self, key: bytes, value: bytes) -> bool:
        # Each pickle is a new object, so `is` tells whether this call has put it.
        return self._entries.setdefault(key, value) is value

    def update(self, entries: Mapping[bytes, bytes]) -> None:
        self._entries.update(entries)

    def pop(self, key: bytes) -> bytes | None:
        return self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def count(self) -> int:
        return len(self._entries)

    def all(self) -> Mapping[bytes, bytes]:
        return self._entries.copy()

    def end(self) -> None:
        self.gone = True
        self._entries.clear()
