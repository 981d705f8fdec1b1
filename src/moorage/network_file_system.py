"""Network file systems: Modal's older shared directories.

Owns `NetworkFileSystem`: a directory of the home, like a `Volume` (``volume.py``), with fewer
methods.

Begin at `NetworkFileSystem.write_file`.
"""

from __future__ import annotations

import atexit
from collections.abc import AsyncIterator, Callable, Iterator
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from .arguments import InvalidValueError, check_name, fs_path
from .client import Client
from .directory_objects import ENTRIES, DirectoryObject, entry, local_directory
from .exception import DeprecationError, NotFoundError
from .frames import warn
from .off_the_loop import (
    ending_off_the_loop,
    function_off_the_loop,
    off_the_loop,
    steps_off_the_loop,
)
from .old import names as old_names
from .stores.directories import Directories
from .stores.home import environment_of
from .stores.trees import Listed, parts_of
from .stores.uploads import Upload
from .types import FileEntry
from .with_aio import (
    iteration_with_aio,
)

_DIRECTORIES: Final = Directories("NetworkFileSystem", "st", "nfs")


class NetworkFileSystem(DirectoryObject):
    """A directory that functions share.  On its way out of Modal: write `Volume`."""

    _made_by = 'NetworkFileSystem.from_name("my-nfs", create_if_missing=True)'
    _instead = "use Volume, which holds its files in a directory of this machine"

    if not TYPE_CHECKING:  # old spellings
        lookup = old_names.from_name("NetworkFileSystem")
        persisted = old_names.persisted("NetworkFileSystem")
        new = old_names.new("NetworkFileSystem")

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
    ) -> NetworkFileSystem:
        """Name a network file system.  It is looked up when the handle is used for the first time.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        check_name(name, "NetworkFileSystem", NetworkFileSystem._made_by)
        _warn()
        made = NetworkFileSystem._from_name(name, environment_name, create_if_missing)
        made._shown = "NetworkFileSystem()"
        return made

    @staticmethod
    @ending_off_the_loop
    def ephemeral(
        client: Client | None = None, environment_name: str | None = None
    ) -> NetworkFileSystem:
        """Return a context manager with a file system without a name.

        For ``with`` or ``async with``.  The file system ends with the block.
        """
        made = NetworkFileSystem._new("modal.NetworkFileSystem.ephemeral()")
        made._record = _DIRECTORIES.create_ephemeral(environment_of(environment_name))
        return made

    @staticmethod
    @function_off_the_loop
    def create_deployed(
        deployment_name: str, client: Client | None = None, environment_name: str | None = None
    ) -> str:
        """Make the file system of a name, and return its id.

        Raises:
            AlreadyExistsError: if it is there already.
        """
        check_name(deployment_name, "NetworkFileSystem", NetworkFileSystem._made_by)
        _warn()
        environment = environment_of(environment_name)
        return _DIRECTORIES.create(environment, deployment_name, allow_existing=False).object_id

    @staticmethod
    @function_off_the_loop
    def delete(
        name: str, client: Client | None = None, environment_name: str | None = None
    ) -> None:
        """Delete the file system of a name, with its files.

        Raises:
            NotFoundError: if there is none.
        """
        check_name(name, "NetworkFileSystem", NetworkFileSystem._made_by)
        environment = environment_of(environment_name)
        record = _DIRECTORIES.find(environment, name)
        if record is None or not _DIRECTORIES.delete(record):
            raise NotFoundError(
                f"there is no NetworkFileSystem {name!r} in the environment {environment!r}; "
                "write the name of one that is there"
            )

    @off_the_loop
    def write_file(
        self,
        remote_path: str,
        fp: BinaryIO,
        progress_cb: Callable[..., object] | None = None,
    ) -> int:
        """Write an open file, which is read from its beginning; return its size.

        Directories before it are made, and a file of this path is replaced, in one step.
        """
        return self._write(remote_path, fp, progress_cb)

    async def _read_file_async(self, path: str) -> AsyncIterator[bytes]:
        async for chunk in steps_off_the_loop(lambda: self._tree().read(path), 1):
            yield chunk

    @iteration_with_aio(_read_file_async)
    def read_file(self, path: str) -> Iterator[bytes]:
        """Yield a file in chunks.

        Raises:
            FileNotFoundError: if it is not there, at the first step.
        """
        yield from self._tree().read(path)

    async def _iterdir_async(self, path: str) -> AsyncIterator[FileEntry]:
        async for each in steps_off_the_loop(lambda: self._listed(path), ENTRIES):
            yield entry(each)

    @iteration_with_aio(_iterdir_async)
    def iterdir(self, path: str) -> Iterator[FileEntry]:
        """Yield what a directory has, with paths relative to that directory; a file for a file.

        A path with ``*`` or ``**`` yields all paths that match, relative to the file system.
        """
        for each in self._listed(path):
            yield entry(each)

    @off_the_loop
    def listdir(self, path: str) -> list[FileEntry]:
        """Return what a directory has, as `iterdir`."""
        return [entry(each) for each in self._listed(path)]

    @off_the_loop
    def add_local_file(
        self,
        local_path: str | PathLike[str],
        remote_path: str | PurePosixPath | None = None,
        progress_cb: Callable[..., object] | None = None,
    ) -> None:
        """Copy a file of this machine, to its own name if `remote_path` is None."""
        source = Path(fs_path("local_path", local_path))
        with source.open("rb") as file:
            self._write(_remote(source, remote_path), file, progress_cb)

    @off_the_loop
    def add_local_dir(
        self,
        local_path: str | PathLike[str],
        remote_path: str | PurePosixPath | None = None,
        progress_cb: Callable[..., object] | None = None,
    ) -> None:
        """Copy the files of a directory of this machine, all or none.

        Raises:
            InvalidError: also an AssertionError, if `local_path` is no directory.
        """
        source = local_directory(local_path, "add_local_file")
        upload = Upload(force=True)
        upload.add_directory(source, _remote(source, remote_path), recursive=True)
        self._finish(upload)

    @off_the_loop
    def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or with `recursive` a directory.

        Raises:
            FileNotFoundError: if it is not there.
        """
        self._tree().remove(path, recursive=recursive)

    # -- parts -----------------------------------------------------------------------------------

    @classmethod
    def _catalogue(cls) -> Directories:
        return _DIRECTORIES

    def _write(
        self, path: str, file: BinaryIO, progress_cb: Callable[..., object] | None = None
    ) -> int:
        given = fs_path("remote_path", path)
        if given.endswith("/"):  # into this directory, under its own name
            given += Path(str(getattr(file, "name", ""))).name
        if not parts_of(given) or given.endswith("/"):
            raise InvalidValueError(
                f"remote_path must be the path of a file, got {path!r}; "
                'write write_file("/models/a.bin", file)'
            )
        size = file.seek(0, 2)
        upload = Upload(force=True)
        upload.add_file(file, given, None)
        self._finish(upload)
        if progress_cb is not None:
            progress_cb(progress_cb(name=path, size=size), advance=size)
        return size

    def _finish(self, upload: Upload) -> None:
        tree = self._tree()
        upload.finish(tree, *_DIRECTORIES.staging(self._found()))

    def _listed(self, path: str) -> Iterator[Listed]:
        tree = self._tree()
        given = fs_path("a path in a file system", path)
        if "*" in given:
            yield from tree.matching(given)
            return
        prefix = "/".join(parts_of(given))
        for each in tree.listed(given, recursive=False):
            relative = each.path.removeprefix(f"{prefix}/") if prefix else each.path
            yield Listed(relative, each.type, each.mtime, each.size)

    def _mounted(self) -> Path:
        """Return the directory that a function mounts."""
        return self._tree().root


def _remote(source: Path, path: str | PurePosixPath | None) -> str:
    return f"/{source.name}" if path is None else fs_path("remote_path", path)


def _warn() -> None:
    warn(
        "NetworkFileSystem is on its way out of Modal; write modal.Volume.from_name(...)",
        DeprecationError,
    )


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _NetworkFileSystem = NetworkFileSystem


class SharedVolume(NetworkFileSystem):
    """The old name, whose constructor made a file system: ``SharedVolume().persist("cache")``."""

    if not TYPE_CHECKING:  # old spellings

        def __init__(self, *args, **kwargs):
            self._shown, self._name = "SharedVolume()", None

        def _found(self):
            if self._record is None:  # without a name: it lasts as long as the program
                self._record = _DIRECTORIES.create_ephemeral(environment_of(None))
                atexit.register(_DIRECTORIES.delete, self._record)
            return super()._found()

        persist = old_names.OldMethod(
            "write modal.Volume.from_name(..., create_if_missing=True)",
            lambda self, name, *args, **kwargs: NetworkFileSystem.from_name(
                name, create_if_missing=True
            ),
            on="instance",
        )
