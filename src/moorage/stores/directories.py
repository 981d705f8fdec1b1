"""Directories: which volumes there are, each a directory of the home.

Owns `Directories`, the catalogue of one kind of object that is always on disk: see `Catalogue` in
``records.py``.  ``volume.py`` and ``network_file_system.py`` make one each.

Begin at `Directories.create`, then `_kept`.

The files of the volume ``data`` of the environment ``main`` are in ``<home>/main/volumes/data/``,
and nothing else is there.  What this file notes about the volume, such as its id, is in
``<home>/main/records/volumes/data.json``.  **A named volume is there if its directory is there**:
the user may make, copy, link and remove directories by hand.  A note without a directory counts for
nothing, and a directory without a note gets one.

An ephemeral volume is ``<home>/main/ephemeral/<id>/``.  Uploads are prepared in
``<home>/main/staging/``; what a killed process leaves there is removed with the next upload.

Two locks guard the notes and the names: one of this process, and one on the file ``lock`` beside
the notes, for other processes.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..exception import InvalidError, NotFoundError
from ..runtime import forking
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from .alone import alone
from .home import directory_of, environment_of, home
from .records import Record, already_exists, new_id

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: the lock of this process alone
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class _Kept:
    """One object, and what its note says."""

    record: Record
    version: int | None
    path: Path


class Directories:
    """The objects of one kind, each a directory.  See `Catalogue`."""

    def __init__(self, kind: str, prefix: str, folder: str) -> None:
        self._kind = kind
        self._prefix = prefix
        self._folder = folder
        self._lock = Real.Lock()
        # Where each object was found: the directory of its environment, and its name there.
        # Another process may have renamed the object since.  Single operations, no lock.
        self._places: dict[str, tuple[Path, str | None]] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        self._lock = Real.Lock()

    # -- the catalogue -------------------------------------------------------------------------

    @uninterruptible
    def find(self, environment: str, name: str) -> Record | None:
        found = self._named(directory_of(environment), name)
        return None if found is None else found.record

    @uninterruptible
    def of_id(self, object_id: str) -> Record | None:
        found = self._of_id(object_id)
        return None if found is None else found.record

    @uninterruptible
    def create(
        self,
        environment: str,
        name: str,
        *,
        allow_existing: bool = True,
        version: int | None = None,
    ) -> Record:
        base = directory_of(environment)
        path = self._path(base, name)
        found = self._named(base, name)
        if found is None:
            with self._locked(base):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not os.path.lexists(path):
                    # The note first: killed in between, the process leaves a note that counts for
                    # nothing, and not a directory whose version is lost.
                    found = self._note(base, name, path, new_id(self._prefix), version)
                    try:
                        path.mkdir()
                    except FileExistsError:  # made by hand since
                        self._note_file(base, name).unlink(missing_ok=True)
                        raise _taken(self._kind, name, path) from None
                elif name not in os.listdir(path.parent) or not path.is_dir():
                    raise _taken(self._kind, name, path)
                # Else another process was first.
            if found is None:
                return self.create(environment, name, allow_existing=allow_existing)
        elif not allow_existing:
            raise already_exists(self._kind, name, environment)
        return found.record

    @uninterruptible
    def create_ephemeral(self, environment: str, version: int | None = None) -> Record:
        base = directory_of(environment)
        object_id = new_id(self._prefix)
        path = base / "ephemeral" / object_id
        path.mkdir(parents=True, mode=0o700)
        with self._locked(base):
            return self._note(base, None, path, object_id, version).record

    @uninterruptible
    def delete(self, record: Record) -> bool:
        import shutil  # late, as in ``trees.py``

        found = self._of_id(record.object_id)
        if found is None:
            return False
        base, _ = self._places[record.object_id]
        gone = base / "staging" / f"{_GONE}{secrets.token_hex(8)}"
        with self._locked(base):
            _remove_leftovers(base)
            try:
                if found.path.is_symlink():
                    found.path.unlink()  # not the directory, which is the user's
                else:
                    gone.parent.mkdir(exist_ok=True)
                    os.replace(found.path, gone)
            except FileNotFoundError:
                return False  # another process was first
            self._note_file(base, found.record.name, record.object_id).unlink(missing_ok=True)
        self._places.pop(record.object_id, None)
        shutil.rmtree(gone, ignore_errors=True)
        return True

    @uninterruptible
    def named(self, environment: str) -> Iterable[Record]:
        base = directory_of(environment)
        found = [self._named(base, name) for name in _directories(base / self._folder)]
        records = [each.record for each in found if each is not None]
        return sorted(records, key=lambda each: each.created_at)

    # -- more than a catalogue has ---------------------------------------------------------------

    @uninterruptible
    def rename(self, environment: str, old: str, new: str) -> None:
        """Give an object another name; its id and its files stay.

        Raises:
            NotFoundError: if there is no object of the name `old`.
            AlreadyExistsError: if the name `new` is taken.
        """
        import shutil  # late, as in ``trees.py``

        base = directory_of(environment)
        source, target = self._path(base, old), self._path(base, new)
        found = self._named(base, old)
        if found is None:
            raise NotFoundError(
                f"there is no {self._kind} {old!r} in the environment {environment!r}; "
                f"{self._kind}.objects.list() shows those that are there"
            )
        with self._locked(base):
            same = old != new and old.lower() == new.lower()  # on some disks also the same file
            if os.path.lexists(target) and not (same and new not in os.listdir(target.parent)):
                raise already_exists(self._kind, new, environment)
            note = self._note_file(base, old)
            if not same:
                # First a copy of the note: killed in between, the process leaves a volume with
                # its id, under the one name or the other.
                shutil.copyfile(note, self._note_file(base, new))
            os.rename(source, target)
            if same:
                os.replace(note, self._note_file(base, new))
            else:
                note.unlink(missing_ok=True)

    def path(self, record: Record) -> Path:
        """Return the directory of an object.

        Raises:
            NotFoundError: if the object is gone.
        """
        found = self._of_id(record.object_id)
        if found is None:
            raise NotFoundError(
                f"the {self._kind} {record.name or record.object_id!r} is gone: its directory was "
                "removed; write from_name(..., create_if_missing=True) for a new one"
            )
        return found.path

    def version(self, record: Record) -> int:
        """Return the version with which an object was made."""
        found = self._of_id(record.object_id)
        return (None if found is None else found.version) or 1

    def staging(
        self, record: Record
    ) -> tuple[AbstractContextManager[Path], AbstractContextManager[None]]:
        """Return a new directory for an upload, removed at the end, and the lock for its entry."""
        known = self._places.get(record.object_id)
        base = directory_of(record.environment) if known is None else known[0]
        return self._staged(base), self._locked(base)

    @contextmanager
    def _staged(self, base: Path) -> Generator[Path]:
        import shutil  # late, as in ``trees.py``

        path = base / "staging" / secrets.token_hex(8)
        held: int | None = None
        try:
            with uninterruptible, self._locked(base):
                _remove_leftovers(base)
                path.mkdir(parents=True, mode=0o700)
                # As long as this process lives, others see that the directory is used.
                held = _hold(path)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            if held is not None:
                Real.close(held)

    # -- parts ------------------------------------------------------------------------------------

    def _path(self, base: Path, name: str) -> Path:
        if name in (".", ".."):
            raise InvalidError(
                f"{name!r} is the name of no directory, so no {self._kind} of this machine can "
                f'have it; write {self._kind}.from_name("my-data")'
            )
        return base / self._folder / name

    def _note_file(self, base: Path, name: str | None, object_id: str = "") -> Path:
        records = base / "records" / self._folder
        return records / (f"{name}.json" if name is not None else f"ephemeral/{object_id}.json")

    def _named(self, base: Path, name: str) -> _Kept | None:
        path = self._path(base, name)
        # The disk may not tell "Data" from "data"; the names of volumes do.
        if not path.is_dir() or name not in os.listdir(path.parent):
            return None
        found = self._kept(base, name, path)
        if found is not None:
            return found
        with self._locked(base):
            return self._kept(base, name, path) or self._note(
                base, name, path, new_id(self._prefix), None
            )

    def _kept(self, base: Path, name: str | None, path: Path, object_id: str = "") -> _Kept | None:
        """Read a note; None if there is none that can be read."""
        import json

        try:
            note: Any = json.loads(self._note_file(base, name, object_id).read_text("utf-8"))
            made = datetime.fromtimestamp(float(note["created_at"]), UTC).astimezone()
            found = str(note["id"])
            version = note["version"] if note["version"] in (1, 2) else None
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None
        self._places[found] = base, name
        return _Kept(Record(found, base.name, name, made), version, path)

    def _note(
        self, base: Path, name: str | None, path: Path, object_id: str, version: int | None
    ) -> _Kept:
        """Write a note.  Under the lock."""
        import json

        made = datetime.now(UTC)
        file = self._note_file(base, name, object_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{secrets.token_hex(8)}.new")
        note = {"id": object_id, "created_at": made.timestamp(), "version": version}
        new.write_text(json.dumps(note), "utf-8")
        os.replace(new, file)
        self._places[object_id] = base, name
        return _Kept(Record(object_id, base.name, name, made.astimezone()), version, path)

    def _of_id(self, object_id: str) -> _Kept | None:
        if not re.fullmatch(f"{self._prefix}-[A-Za-z0-9]{{22}}", object_id):
            return None
        known = self._places.get(object_id)
        bases: list[Path] = []
        if known is not None:
            base, name = known
            found = self._at(base, name, object_id)
            if found is not None:
                return found
            bases.append(base)
        current = directory_of(environment_of(None))
        bases += [base for base in (current, *_environments()) if base not in bases]
        for base in bases:
            for name in (None, *_directories(base / self._folder)):
                found = self._at(base, name, object_id)
                if found is not None:
                    return found
        return None

    def _at(self, base: Path, name: str | None, object_id: str) -> _Kept | None:
        """Return the object of an id if it is at this place."""
        path = base / "ephemeral" / object_id if name is None else base / self._folder / name
        if not path.is_dir():
            return None
        found = self._kept(base, name, path, object_id)
        return found if found is not None and found.record.object_id == object_id else None

    def _locked(self, base: Path) -> AbstractContextManager[None]:
        return alone(base / "records" / self._folder, self._lock)


# How the directories begin that are being removed.
_GONE: Final = "gone-"


def _hold(path: Path) -> int | None:
    """Lock a directory, and return its open file; None if another process has it."""
    if sys.platform == "win32":  # a directory cannot be opened there
        return None
    assert fcntl is not None
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        Real.close(file)
        return None
    return file


def _remove_leftovers(base: Path) -> None:
    """Remove what processes that were killed have left in the staging directory.  Under a lock."""
    import shutil

    staging = base / "staging"
    try:
        names = os.listdir(staging)
    except FileNotFoundError:
        return
    for name in names:
        try:
            held = _hold(staging / name)
        except OSError:
            continue  # gone since, or not ours
        if held is not None or name.startswith(_GONE):
            shutil.rmtree(staging / name, ignore_errors=True)
        if held is not None:
            Real.close(held)


def _directories(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        name
        for name in names
        if re.fullmatch(r"[A-Za-z0-9\-._]{1,64}", name) and (folder / name).is_dir()
    )


def _environments() -> list[Path]:
    here = home()
    return [here / name for name in _directories(here)]


def _taken(kind: str, name: str, path: Path) -> InvalidError:
    return InvalidError(
        f"the {kind} {name!r} cannot be made: {path} is there already, under a name that differs "
        "in case only, or is no directory; write another name, or move it away"
    )
