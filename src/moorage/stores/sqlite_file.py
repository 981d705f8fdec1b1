"""The file of an environment: a database of sqlite, with named dicts and queues that persist.

Owns `Database`: how the file is made, opened, checked and locked, and what is said when it is
damaged.  ``sqlite_catalogue.py``, ``sqlite_entries.py`` and ``sqlite_items.py`` own the statements.

Begin at `Database.run`, then `_open`.

**Acknowledged means committed.**  Each change is one transaction in WAL mode, which has ended when
the method returns.  The change survives the sudden end of the process, at any moment.  A power
failure may lose the last changes (``synchronous=NORMAL``), and leaves the file sound.

**Several processes** may use the file at once; sqlite locks it for each transaction.  In one
process, all threads share one connection and one lock.

**Fork.**  sqlite's locks do not survive a fork.  So a fork closes the connections first, and parent
and child open the file again when they use it next.

**Damage.**  sqlite notices a damaged structure, and `check` a flipped bit in a key or a value, by
the CRC-32 of each row.  A damaged file is never repaired or deleted here.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from ..exception import DataLossError, NotFoundError, ServiceError
from ..runtime import forking
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from .home import directory_of, make_folder

T = TypeVar("T")

FILE: Final = "objects.sqlite3"

# In the header of the file: "moor", and the version of the tables.
_APPLICATION: Final = 0x6D6F6F72
_VERSION: Final = 1
_MAGIC: Final = b"SQLite format 3\0"

# Of each connection: in WAL mode a crash of the system then undoes changes, and damages nothing.
_SYNCHRONOUS: Final = "PRAGMA synchronous = NORMAL"

# Seconds to wait for another process that changes the file.
BUSY: Final = 60.0
# Files up to this size are checked whole when they are opened: also each index.  Larger files are
# checked without the comparison of indexes and tables, which takes several times as long.
WHOLE_CHECK: Final = 16 * 2**20

# Seconds since 1970, of the machine, also while a test patches Python's time.
NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

# The numbers of objects and items are never used again: AUTOINCREMENT.  For that sqlite writes one
# page more in each transaction, which entries do without: their numbers only tell the order.
_TABLES: Final = """
CREATE TABLE objects (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created REAL NOT NULL,
    UNIQUE (kind, name)
);
CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
    key BLOB NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL, used INTEGER NOT NULL,
    UNIQUE (object, key)
);
CREATE TABLE partitions (
    object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
    key BLOB NOT NULL, count INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (object, key)
) WITHOUT ROWID;
CREATE TABLE items (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
    key BLOB NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX items_in_order ON items (object, key, number);
"""


class Database:
    """The file of one environment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Real.Lock()
        # Guarded by the lock.  None until the file is needed, and after a fork.
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        return self._connection is not None or self.path.exists()

    @uninterruptible
    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return ``work(connection)``; roll back if it raises.  `work` runs no user code.

        Raises:
            DataLossError: if the file is damaged, or is no file of moorage's.
            NotFoundError: if the object that `work` changes was deleted.
            ServiceError: if the file cannot be used: the disk is full, or another process keeps
                it locked.
        """
        with self._lock:
            connection = self._connection
            try:
                if connection is None:
                    connection = self._open()
                return work(connection)
            except BaseException as error:
                self._roll_back(connection)
                if isinstance(error, sqlite3.Error):
                    raise self._translated(error) from error
                raise

    @staticmethod
    def _roll_back(connection: sqlite3.Connection | None) -> None:
        if connection is not None and connection.in_transaction:
            try:
                connection.rollback()
            except sqlite3.Error:
                pass  # sqlite has rolled back itself

    def _translated(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.IntegrityError) and "FOREIGN KEY" in str(error):
            return NotFoundError(
                "the object was deleted meanwhile, maybe by another process; "
                "write from_name(..., create_if_missing=True) for a new one"
            )
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            return ServiceError(
                f"{self.path} cannot be used: {error}; "
                "see that the disk has room and that no other program keeps the file locked"
            )
        return self.damaged(str(error))

    def damaged(self, why: str) -> DataLossError:
        """Return the error for a damaged file."""
        return DataLossError(
            f"{self.path} is damaged: {why}; bring back a copy of the file, or move it away "
            "with its -wal and -shm files, and the objects begin empty"
        )

    # -- opening, under the lock ------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            self._make()
        self._check_header()
        connection = _connect(self.path)
        try:
            connection.execute(_SYNCHRONOUS)  # raises, as the check does, if the file is damaged
            self._check(connection)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _make(self) -> None:
        """Make an empty database, in one step: another process may do the same."""
        make_folder(self.path.parent)
        new = self.path.with_name(f".{FILE}.{secrets.token_hex(8)}")
        try:
            # Only for this user: who writes pickles into the file makes this program run code.
            Real.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = _connect(new)
            try:
                connection.executescript(
                    f"{_SYNCHRONOUS}; PRAGMA journal_mode = WAL;"
                    f"PRAGMA application_id = {_APPLICATION};"
                    f"PRAGMA user_version = {_VERSION}; {_TABLES}"
                )
            finally:
                connection.close()
            try:
                os.link(new, self.path)
            except FileExistsError:
                pass  # another process was first
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{new}{suffix}").unlink(missing_ok=True)

    def _check_header(self) -> None:
        file = os.open(self.path, os.O_RDONLY)
        try:
            header = os.read(file, 100)
        finally:
            Real.close(file)
        if header[:16] != _MAGIC or len(header) < 100:
            raise DataLossError(
                f"{self.path} is no database of moorage, or was cut off: it begins with "
                f"{header[:16]!r}; move the file away, and the objects begin empty, or bring back "
                "a copy"
            )
        application, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
        if application != _APPLICATION or version != _VERSION:
            raise DataLossError(
                f"{self.path} is a database of another program, or of another version of moorage "
                f"(application {application:#x}, version {version}); move the file away, and the "
                "objects begin empty"
            )

    def _check(self, connection: sqlite3.Connection) -> None:
        whole = self.path.stat().st_size <= WHOLE_CHECK
        check = "integrity_check" if whole else "quick_check"
        rows = connection.execute(f"PRAGMA {check}(3)").fetchall()
        if rows != [("ok",)]:
            raise self.damaged("; ".join(str(row[0]) for row in rows))

    # -- fork ------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        self._lock.acquire()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        self._lock = Real.Lock()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=64
    )


def checksum(kind: bytes, key: bytes, value: bytes) -> int:
    """Return the CRC-32 of a row."""
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(b"%b%d:" % (kind, len(key)))))


# -- one object for each file -------------------------------------------------------------------

_databases: Final[dict[Path, Database]] = {}
_lock: Final = Real.Lock()  # guards `_databases`


def database_of(environment: str) -> Database:
    """Return the database of an environment of the present home."""
    path = directory_of(environment) / FILE
    with _lock:
        found = _databases.get(path)
        if found is None:
            found = _databases[path] = Database(path)
        return found


def known_databases() -> list[Database]:
    """Return the databases that this process has used."""
    with _lock:
        return list(_databases.values())


_forking: Final[list[Database]] = []  # closed for the fork that is going on


def _before_fork() -> None:
    _lock.acquire()
    _forking.extend(_databases.values())
    for each in _forking:
        each.before_fork()


def _after_fork_in_parent() -> None:
    for each in _forking:
        each.after_fork()
    _forking.clear()
    _lock.release()


def _after_fork_in_child() -> None:
    for each in _forking:
        each.after_fork_in_child()
    _forking.clear()
    forking.renew(_lock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
forking.in_child(_after_fork_in_child)

Row = tuple[Any, ...]
