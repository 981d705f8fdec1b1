"""Network file systems: Modal's older shared file systems.

Owns `NetworkFileSystem`, a placeholder like `Volume` (``volume.py``), with the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from .arguments import check_name, unimplemented
from .client import Client
from .exception import DeprecationError
from .frames import warn
from .object import Object
from .old import names as old_names
from .types import FileEntry
from .with_aio import IteratorMethodWithAio, MethodWithAio, plain_context, plain_function

_INSTEAD = "use the files of this machine, e.g. pathlib.Path(...)"


class NetworkFileSystem(Object):
    """A shared file system at Modal.  Accepted as a mount, but not mounted in this process."""

    _made_by = 'NetworkFileSystem.from_name("my-nfs", create_if_missing=True)'
    _instead = _INSTEAD

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
        """Name a network file system.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        check_name(name, "NetworkFileSystem", NetworkFileSystem._made_by)
        warn(
            "NetworkFileSystem is on its way out of Modal; write modal.Volume.from_name(...)",
            DeprecationError,
        )
        return NetworkFileSystem._new("NetworkFileSystem()", name)

    @staticmethod
    @plain_context
    def ephemeral(
        client: Client | None = None, environment_name: str | None = None
    ) -> NetworkFileSystem:
        """Return a context manager with a file system without a name.

        For ``with`` or ``async with``.
        """
        return NetworkFileSystem._new("NetworkFileSystem.ephemeral()")

    @staticmethod
    @plain_function
    def create_deployed(
        deployment_name: str, client: Client | None = None, environment_name: str | None = None
    ) -> str:
        check_name(deployment_name, "NetworkFileSystem", NetworkFileSystem._made_by)
        raise unimplemented("NetworkFileSystem.create_deployed", _INSTEAD)

    @staticmethod
    @plain_function
    def delete(
        name: str, client: Client | None = None, environment_name: str | None = None
    ) -> None:
        raise unimplemented("NetworkFileSystem.delete", _INSTEAD)

    @MethodWithAio
    def write_file(
        self,
        remote_path: str,
        fp: BinaryIO,
        progress_cb: Callable[..., object] | None = None,
    ) -> int:
        raise self._unimplemented("write_file")

    @IteratorMethodWithAio
    def read_file(self, path: str) -> Iterator[bytes]:
        raise self._unimplemented("read_file")

    @IteratorMethodWithAio
    def iterdir(self, path: str) -> Iterator[FileEntry]:
        raise self._unimplemented("iterdir")

    @MethodWithAio
    def listdir(self, path: str) -> list[FileEntry]:
        raise self._unimplemented("listdir")

    @MethodWithAio
    def add_local_file(
        self,
        local_path: str | PathLike[str],
        remote_path: str | PurePosixPath | None = None,
        progress_cb: Callable[..., object] | None = None,
    ) -> None:
        raise self._unimplemented("add_local_file")

    @MethodWithAio
    def add_local_dir(
        self,
        local_path: str | PathLike[str],
        remote_path: str | PurePosixPath | None = None,
        progress_cb: Callable[..., object] | None = None,
    ) -> None:
        raise self._unimplemented("add_local_dir")

    @MethodWithAio
    def remove_file(self, path: str, recursive: bool = False) -> None:
        raise self._unimplemented("remove_file")


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _NetworkFileSystem = NetworkFileSystem


class SharedVolume(NetworkFileSystem):
    """The old name, whose constructor made a file system: ``SharedVolume().persist("cache")``."""

    if not TYPE_CHECKING:  # old spellings

        def __init__(self, *args, **kwargs):
            self._shown, self._name = "SharedVolume()", None

        persist = old_names.OldMethod(
            "write modal.Volume.from_name(..., create_if_missing=True)",
            lambda self, name, *args, **kwargs: NetworkFileSystem.from_name(name),
            on="instance",
        )
