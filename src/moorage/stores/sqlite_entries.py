"""Entries in a file: what a named dict holds when it persists.

Owns `SqliteEntries`; see `Entries` in ``entries.py`` for the contract, and ``sqlite_file.py`` for
what the file promises.

An entry that was not read or written for 7 days expires, as in Modal.  Reading an entry writes
that it was used, but at most once in an hour; so an entry may stay up to an hour longer.

Begin at `SqliteEntries.put`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from .sqlite_catalogue import Table
from .sqlite_file import NOW, Database, checksum
from .values import key_of

# Seconds.
EXPIRES_AFTER: Final = 7 * 86400
NOTED_EVERY: Final = 3600

_KIND: Final = b"d"
_PUT: Final = (
    f"INSERT INTO entries (object, key, value, crc, used) VALUES (?, ?, ?, ?, {NOW}) "
    "ON CONFLICT (object, key) DO UPDATE SET "
    "value = excluded.value, crc = excluded.crc, used = excluded.used"
)
_PUT_NEW: Final = f"{_PUT} WHERE used < {NOW} - {EXPIRES_AFTER + NOTED_EVERY}"
_GET: Final = (
    f"SELECT key, value, crc, {NOW} - used, number FROM entries WHERE object = ? AND key = ?"
)
_POP: Final = (
    "DELETE FROM entries WHERE object = ? AND key = ? "
    f"RETURNING key, value, crc, {NOW} - used, number"
)
_EXPIRE: Final = (
    f"DELETE FROM entries WHERE number = ? AND used < {NOW} - {EXPIRES_AFTER + NOTED_EVERY}"
)
_ALIVE: Final = f"object = ? AND used >= {NOW} - {EXPIRES_AFTER + NOTED_EVERY}"


class SqliteEntries:
    """The entries of one dict, in the file of its environment.  See `Entries`."""

    outlives = True

    def __init__(self, table: Table, kind: str = "Dict") -> None:
        self._database: Database = table.database
        self._object = table.number
        self._id = table.object_id
        self.gone: bool = not table.number

    def put(self, key: bytes, value: bytes) -> None:
        row = (self._object, key, value, checksum(_KIND, key, value))
        self._database.run(lambda connection: connection.execute(_PUT, row))

    def put_new(self, key: bytes, value: bytes) -> bool:
        row = (self._object, key, value, checksum(_KIND, key, value))
        return self._database.run(lambda connection: connection.execute(_PUT_NEW, row).rowcount > 0)

    def update(self, entries: Mapping[bytes, bytes]) -> None:
        rows = [
            (self._object, key, value, checksum(_KIND, key, value))
            for key, value in entries.items()
        ]

        def put_all(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_PUT, rows)
            connection.execute("COMMIT")

        self._database.run(put_all)

    def get(self, key: bytes) -> bytes | None:
        where = (self._object, key)

        def find(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(_GET, where).fetchone()
            if row is None:
                self._check_is_there(connection)
                return None
            there, value, crc, age, number = row
            self._check(there, value, crc)
            if age > NOTED_EVERY:
                if age > EXPIRES_AFTER + NOTED_EVERY:
                    # Not by its number alone: another process may have put it again meanwhile.
                    connection.execute(_EXPIRE, (number,))
                    return None
                connection.execute(f"UPDATE entries SET used = {NOW} WHERE number = ?", (number,))
            found: bytes = value
            return found

        return self._database.run(find)

    def has(self, key: bytes) -> bool:
        return self.get(key) is not None

    def pop(self, key: bytes) -> bytes | None:
        where = (self._object, key)

        def remove(connection: sqlite3.Connection) -> bytes | None:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(_POP, where).fetchall()
            if not rows:
                self._check_is_there(connection)
            for there, value, crc, _, _ in rows:
                self._check(there, value, crc)
            connection.execute("COMMIT")
            if not rows or rows[0][3] > EXPIRES_AFTER + NOTED_EVERY:
                return None
            found: bytes = rows[0][1]
            return found

        return self._database.run(remove)

    def clear(self) -> None:
        self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM entries WHERE object = ?", (self._object,)
            )
        )

    def count(self) -> int:
        def count(connection: sqlite3.Connection) -> int:
            self._check_is_there(connection)
            row = connection.execute(
                f"SELECT count(*) FROM entries WHERE {_ALIVE}", (self._object,)
            ).fetchone()
            found: int = row[0]
            return found

        return self._database.run(count)

    def all(self) -> Mapping[bytes, bytes]:
        def read(connection: sqlite3.Connection) -> dict[bytes, bytes]:
            connection.execute(
                f"DELETE FROM entries WHERE object = ? AND NOT ({_ALIVE})",
                (self._object, self._object),
            )
            rows = connection.execute(
                "SELECT key, value, crc FROM entries WHERE object = ? ORDER BY number",
                (self._object,),
            ).fetchall()
            if not rows:
                self._check_is_there(connection)
            for key, value, crc in rows:
                self._check(key, value, crc)
            return {key: value for key, value, _ in rows}

        return self._database.run(read)

    def end(self) -> None:
        self.gone = True  # the rows go with the object's record

    def _check(self, key: bytes, value: bytes, crc: int) -> None:
        if checksum(_KIND, key, value) != crc:
            try:
                shown = repr(key_of(key)) if key[:1] != b"p" else repr(key)
            except Exception:  # the key itself is damaged
                shown = repr(key)
            raise self._database.damaged(
                f"the entry of the key {shown} in the Dict {self._id} has changed in the file"
            )

    def _check_is_there(self, connection: sqlite3.Connection) -> None:
        """Raise if another process has deleted the dict.  Asked when nothing was found."""
        found = connection.execute("SELECT 1 FROM objects WHERE number = ?", (self._object,))
        if found.fetchone() is None:
            self.gone = True
            raise sqlite3.IntegrityError("FOREIGN KEY")
