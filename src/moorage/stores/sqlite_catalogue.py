"""The catalogue of a file: which named dicts and queues an environment keeps.

Owns `SqliteCatalogue`, and `Table`: the place of one object in a file.  See `Catalogue` in
``records.py`` for the contract.  ``kept.py`` makes the catalogues.

Begin at `SqliteCatalogue.create`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from .. import config
from .home import environment_of, home
from .records import Record, already_exists, new_id
from .sqlite_file import NOW, Database, database_of, known_databases


@dataclass(frozen=True, slots=True)
class Table:
    """The place of one object: its file, and its number there.  The number is 0 if it is gone."""

    database: Database
    number: int
    object_id: str


class SqliteCatalogue:
    """The named objects of one kind, in the files of their environments."""

    def __init__(self, kind: str, prefix: str) -> None:
        self._kind = kind
        self._prefix = prefix
        # The files of the objects that were found, by their ids.  Single operations, no lock.
        self._places: dict[str, Database] = {}

    def find(self, environment: str, name: str) -> Record | None:
        database = database_of(environment)
        return self._one(database, "name = ?", name) if database.exists else None

    def of_id(self, object_id: str) -> Record | None:
        place = self._places.get(object_id)
        for database in self._databases() if place is None else [place]:
            found = self._one(database, "id = ?", object_id)
            if found is not None:
                return found
        return None

    def create(self, environment: str, name: str, *, allow_existing: bool = True) -> Record:
        database = database_of(environment)

        def make(connection: sqlite3.Connection) -> bool:
            return (
                connection.execute(
                    f"INSERT INTO objects (kind, id, name, created) VALUES (?, ?, ?, {NOW}) "
                    "ON CONFLICT (kind, name) DO NOTHING",
                    (self._kind, new_id(self._prefix), name),
                ).rowcount
                > 0
            )

        found = self._one(database, "name = ?", name) if database.exists else None
        made = found is None and database.run(make)
        if not made and not allow_existing:
            raise already_exists(self._kind, name, environment)
        if found is None:
            found = self._one(database, "name = ?", name)
        # None: another process has deleted it since.
        return found or self.create(environment, name, allow_existing=allow_existing)

    def delete(self, record: Record) -> bool:
        table = self.table(record)
        if not table.number:
            return False
        return table.database.run(
            lambda connection: (
                connection.execute("DELETE FROM objects WHERE number = ?", (table.number,)).rowcount
                > 0
            )
        )

    def named(self, environment: str) -> Iterable[Record]:
        database = database_of(environment)
        return self._all(database, "1 = ?", 1) if database.exists else []

    def table(self, record: Record) -> Table:
        """Return the place of an object."""
        found = self._places.get(record.object_id)
        for database in self._databases() if found is None else [found]:
            row = database.run(
                lambda connection: connection.execute(
                    "SELECT number FROM objects WHERE id = ?", (record.object_id,)
                ).fetchone()
            )
            if row is not None:
                return Table(database, row[0], record.object_id)
        return Table(database_of(record.environment), 0, record.object_id)

    @staticmethod
    def _databases() -> list[Database]:
        """Return the databases in which an object with an id may be: it names no environment."""
        here = home()
        found = [each for each in known_databases() if each.path.parent.parent == here]
        if config.persist:
            current = database_of(environment_of(None))
            found = [current, *(each for each in found if each is not current)]
        return [each for each in found if each.exists]

    def _one(self, database: Database, where: str, value: str) -> Record | None:
        return next(iter(self._all(database, where, value)), None)

    def _all(self, database: Database, where: str, value: object) -> list[Record]:
        rows = database.run(
            lambda connection: connection.execute(
                f"SELECT id, name, created FROM objects WHERE kind = ? AND {where} ORDER BY number",
                (self._kind, value),
            ).fetchall()
        )
        environment = database.path.parent.name
        for object_id, _, _ in rows:
            self._places[object_id] = database
        return [
            Record(object_id, environment, name, datetime.fromtimestamp(created, UTC).astimezone())
            for object_id, name, created in rows
        ]
