"""Directory objects: the base of volumes and network file systems, which are directories.

Owns `DirectoryObject`: how a handle finds its directory of the home.  ``volume.py`` and
``network_file_system.py`` subclass it; ``stores/directories.py`` owns the directories, and
``stores/trees.py`` what happens to the files.

Begin at `DirectoryObject.local_path`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from .arguments import fs_path
from .exception import InvalidError
from .object import Stored
from .stores.directories import Directories
from .stores.home import environment_of
from .stores.records import Record
from .stores.trees import Listed, Tree

if TYPE_CHECKING:
    from .types import FileEntry

# How many entries of a directory an async iterator reads at a time.
ENTRIES: Final = 500


class DirectoryObject(Stored):
    """An object that is a directory of this machine."""

    _is_on_disk = True

    @classmethod
    def _catalogue(cls) -> Directories:
        raise NotImplementedError

    @property
    def local_path(self) -> Path:
        """The directory of this machine that holds the files.  It is made if it is not there.

        moorage's own: Modal has no such attribute.

        Raises:
            NotFoundError: if the object was deleted, or its block has ended.
        """
        if self._record is None and self._name is not None:
            self._record = self._create(environment_of(self._environment_name), self._name)
        return self._catalogue().path(self._found())

    def _tree(self) -> Tree:
        record: Record = self._found()
        return Tree(self._catalogue().path(record))


class NoDirectoryError(InvalidError, AssertionError):
    """A path is no directory of this machine.  Also an AssertionError, which Modal raises."""


def local_directory(path: object, instead: str) -> Path:
    """Return the path of a directory of this machine.

    Raises:
        NoDirectoryError: if there is none; the advice for a file is `instead`.
    """
    source = Path(fs_path("local_path", path))
    if not source.is_dir():
        raise NoDirectoryError(
            f"local_path must be a directory that is there, got {str(source)!r}; "
            f"write {instead}(...) for a file"
        )
    return source


def entry(listed: Listed) -> FileEntry:
    """Return what was listed as Modal's type."""
    from .types import FileEntry, FileEntryType

    return FileEntry(listed.path, FileEntryType[listed.type], listed.mtime, listed.size)
