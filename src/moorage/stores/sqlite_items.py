"""Items in a file: what a named queue holds when it persists.

Owns `SqliteItems`; see `Items` in ``partitions.py`` for the contract, and ``sqlite_file.py`` for
what the file promises.  The file keeps the time at which a partition expires, by the machine's
clock, because the items outlive the process.

Several processes may put and take.  Only one of them waits in a blocked ``get`` or ``put`` of a
queue: the one that holds a lock on the queue's lock file.  The others get what is there.

Begin at `SqliteItems.add`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from ..runtime import forking
from ..runtime.real import Real
from .partitions import MOST_ITEMS, Item
from .sqlite_catalogue import Table
from .sqlite_file import NOW, Database, checksum

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: each process may wait, and sees its own puts
    fcntl = None  # type: ignore[assignment]

_KIND: Final = b"q"


class SqliteItems:
    """The items of one queue, in the file of its environment.  See `Items`."""

    outlives = True
    shared = True

    def __init__(self, table: Table) -> None:
        self._database: Database = table.database
        self._object = table.number
        self._id = table.object_id
        # The lock file, while somebody of this process waits.
        self._waits: int | None = None
        forking.know(self)

    def _after_fork(self) -> None:
        if self._waits is not None:
            Real.close(self._waits)  # the parent keeps the lock
            self._waits = None

    def add(self, key: bytes, values: Sequence[bytes], ttl: float) -> list[int]:
        rows = [(self._object, key, value, checksum(_KIND, key, value)) for value in values]

        def put(connection: sqlite3.Connection) -> list[int]:
            connection.execute("BEGIN IMMEDIATE")
            count = self._count(connection, key)
            if count + len(rows) > MOST_ITEMS:
                connection.execute("ROLLBACK")
                return []
            numbers: list[int] = []
            for row in rows:
                made = connection.execute(
                    "INSERT INTO items (object, key, value, crc) VALUES (?, ?, ?, ?)", row
                )
                numbers.append(made.lastrowid or 0)
            connection.execute(
                f"INSERT INTO partitions (object, key, count, expires) VALUES (?, ?, ?, {NOW} + ?) "
                "ON CONFLICT (object, key) DO UPDATE SET "
                "count = count + excluded.count, expires = excluded.expires",
                (self._object, key, len(rows), ttl),
            )
            connection.execute("COMMIT")
            return numbers

        return self._database.run(put)

    def next_number(self) -> int:
        raise NotImplementedError("each item is added to the file")

    def take(self, key: bytes, most: int) -> list[Item]:
        def take(connection: sqlite3.Connection) -> list[Item]:
            if not self._has(connection, key):
                return []
            connection.execute("BEGIN IMMEDIATE")
            rows: list[Any] = []
            if self._count(connection, key):
                rows = connection.execute(
                    "SELECT number, value, crc FROM items WHERE object = ? AND key = ? "
                    "ORDER BY number LIMIT ?",
                    (self._object, key, most),
                ).fetchall()
                for number, value, crc in rows:
                    self._check(key, number, value, crc)
                self._remove(connection, key, [row[0] for row in rows])
            connection.execute("COMMIT")
            return [(number, value) for number, value, _ in rows]

        return self._database.run(take)

    def put_back(self, key: bytes, items: Sequence[Item]) -> None:
        rows = [
            (number, self._object, key, value, checksum(_KIND, key, value))
            for number, value in items
        ]

        def put(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute(
                # The partition had the time of its last put when they were taken, and keeps it.
                f"INSERT INTO partitions VALUES (?, ?, ?, {NOW} + 86400) "
                "ON CONFLICT (object, key) DO UPDATE SET count = count + excluded.count",
                (self._object, key, len(rows)),
            )
            connection.execute("COMMIT")

        self._database.run(put)

    def withdraw(self, key: bytes, numbers: Sequence[int]) -> bool:
        def remove(connection: sqlite3.Connection) -> bool:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(
                "SELECT count(*) FROM items WHERE object = ? AND key = ? "
                "AND number BETWEEN ? AND ?",
                (self._object, key, numbers[0], numbers[-1]),
            ).fetchone()
            is_whole: bool = row[0] == len(numbers)
            if is_whole:
                self._remove(connection, key, numbers)
            connection.execute("COMMIT")
            return is_whole

        return self._database.run(remove)

    def after(self, key: bytes, number: int) -> Item | None:
        def find(connection: sqlite3.Connection) -> Item | None:
            if not self._has(connection, key):
                return None
            row = connection.execute(
                "SELECT number, value, crc FROM items WHERE object = ? AND key = ? "
                "AND number > ? ORDER BY number LIMIT 1",
                (self._object, key, number),
            ).fetchone()
            if row is None:
                return None
            self._check(key, *row)
            return row[0], row[1]

        return self._database.run(find)

    def count(self, key: bytes) -> int:
        return self._database.run(lambda connection: self._alive(connection, key))

    def size(self, key: bytes) -> int:
        row = self._database.run(
            lambda connection: connection.execute(
                "SELECT coalesce(sum(length(value)), 0) FROM items WHERE object = ? AND key = ?",
                (self._object, key),
            ).fetchone()
        )
        found: int = row[0]
        return found

    def total(self) -> int:
        row = self._database.run(
            lambda connection: connection.execute(
                "SELECT coalesce(sum(count), 0) FROM partitions "
                f"WHERE object = ? AND expires > {NOW}",
                (self._object,),
            ).fetchone()
        )
        found: int = row[0]
        return found

    def keys(self) -> list[bytes]:
        rows = self._database.run(
            lambda connection: connection.execute(
                "SELECT key FROM partitions WHERE object = ?", (self._object,)
            ).fetchall()
        )
        return [row[0] for row in rows]

    def clear(self, key: bytes) -> None:
        def clear(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            self._clear(connection, key)
            connection.execute("COMMIT")

        self._database.run(clear)

    def end(self) -> None:
        pass  # the rows go with the object's record

    # -- who may wait -----------------------------------------------------------------------

    def begin_waits(self) -> bool:
        """Become the process that waits; false if another one is."""
        if self._waits is not None or fcntl is None:
            return True
        path = self._database.path.with_name(f"{self._id}.lock")
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            Real.close(file)
            return False
        self._waits = file
        return True

    def end_waits(self) -> None:
        """Let another process wait: nobody waits here any more."""
        file, self._waits = self._waits, None
        if file is not None:
            Real.close(file)

    # -- parts of a step -----------------------------------------------------------------------

    def _has(self, connection: sqlite3.Connection, key: bytes) -> bool:
        if self._alive(connection, key):
            return True
        if (
            connection.execute("SELECT 1 FROM objects WHERE number = ?", (self._object,)).fetchone()
            is None
        ):
            raise sqlite3.IntegrityError("FOREIGN KEY")
        return False

    def _alive(self, connection: sqlite3.Connection, key: bytes) -> int:
        """Return how many items a partition has, if it has not expired."""
        row = connection.execute(
            f"SELECT count FROM partitions WHERE object = ? AND key = ? AND expires > {NOW}",
            (self._object, key),
        ).fetchone()
        return row[0] if row is not None else 0

    def _count(self, connection: sqlite3.Connection, key: bytes) -> int:
        """As `_alive`; clear the partition if it has expired."""
        row = connection.execute(
            f"SELECT count, expires > {NOW} FROM partitions WHERE object = ? AND key = ?",
            (self._object, key),
        ).fetchone()
        if row is None:
            return 0
        if not row[1]:
            self._clear(connection, key)
            return 0
        found: int = row[0]
        return found

    def _remove(self, connection: sqlite3.Connection, key: bytes, numbers: Sequence[int]) -> None:
        connection.executemany("DELETE FROM items WHERE number = ?", [(each,) for each in numbers])
        connection.execute(
            "UPDATE partitions SET count = count - ? WHERE object = ? AND key = ?",
            (len(numbers), self._object, key),
        )

    def _clear(self, connection: sqlite3.Connection, key: bytes) -> None:
        connection.execute("DELETE FROM items WHERE object = ? AND key = ?", (self._object, key))
        connection.execute(
            "DELETE FROM partitions WHERE object = ? AND key = ?", (self._object, key)
        )

    def _check(self, key: bytes, number: int, value: bytes, crc: int) -> None:
        if checksum(_KIND, key, value) != crc:
            partition = f"partition {key.decode(errors='replace')!r}" if key else "the default one"
            raise self._database.damaged(
                f"item {number} of the Queue {self._id} ({partition}) has changed in the file"
            )
