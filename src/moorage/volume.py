"""Volumes: file systems at Modal that containers share.

Owns `Volume`, a placeholder; users make it, and functions, classes and apps accept it.  A volume
mounts nothing: code in this process sees the machine's own files.  So `commit` and `reload` have
nothing to do, and operations on the volume's files raise `UnimplementedError`.

Begin at `Volume.from_name`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, ClassVar

from .arguments import check_name, fs_path, lenient, unchecked, unimplemented
from .client import Client
from .exception import InvalidError
from .object import Manager, Object
from .old import names as old_names
from .types import FileEntry as FileEntry
from .types import FileEntryType as FileEntryType
from .types import VolumeCreateOptions as VolumeCreateOptions
from .types import VolumeInfo
from .with_aio import (
    ContextWithAio,
    IteratorMethodWithAio,
    MethodWithAio,
    plain_context,
    plain_function,
)

_INSTEAD = "use the files of this machine, e.g. pathlib.Path(...)"
_EXAMPLE = 'Volume.from_name("my-volume", create_if_missing=True)'


class VolumeManager(Manager["Volume"]):
    """Lists and deletes the volumes at Modal: the type of `Volume.objects`."""

    @MethodWithAio
    def create(
        self,
        name: str,
        *,
        version: int | None = None,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
        experimental_options: dict[str, object] | None = None,
    ) -> None:
        check_name(name, "Volume", 'Volume.objects.create("my-volume")')
        raise self._unimplemented("create")


class AbstractVolumeUploadContextManager:
    """The base of the types of ``batch`` in ``with volume.batch_upload() as batch``."""

    def put_file(
        self,
        local_file: str | PathLike[str] | IO[bytes],
        remote_path: str | PurePosixPath,
        mode: int | None = None,
    ) -> None:
        raise unimplemented("VolumeUploadContextManager.put_file", _INSTEAD)

    def put_directory(
        self,
        local_path: str | PathLike[str],
        remote_path: str | PurePosixPath,
        recursive: bool = True,
    ) -> None:
        raise unimplemented("VolumeUploadContextManager.put_directory", _INSTEAD)


class VolumeUploadContextManager(AbstractVolumeUploadContextManager):
    """The type of ``batch`` for volumes of version 1; never made here."""


class VolumeUploadContextManager2(AbstractVolumeUploadContextManager):
    """The type of ``batch`` for volumes of version 2; never made here."""


class Volume(Object):
    """A file system at Modal.  Accepted as a mount, but not mounted in this process.

    Hazard: code in this process reads and writes the real path on this machine instead.
    """

    _made_by = _EXAMPLE
    _instead = _INSTEAD
    objects: ClassVar[VolumeManager] = VolumeManager("Volume.objects", _INSTEAD)

    # True if `read_only` made this volume: then `with_mount_options` refuses it.
    _is_read_only = False

    @property
    def name(self) -> str | None:
        """The name given to `from_name`; None for an object made in another way."""
        return self._name

    if not TYPE_CHECKING:  # old spellings
        lookup = old_names.from_name("Volume")
        persisted = old_names.persisted("Volume")
        new = old_names.new("Volume")

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
        client: Client | None = None,
    ) -> Volume:
        """Name a volume.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        check_name(name, "Volume", _EXAMPLE)
        if version not in (None, 1, 2):
            lenient(f"version of a Volume must be 1 or 2, got {version!r}; write version=2")
        return Volume._named(name, environment_name)

    @staticmethod
    def from_id(volume_id: str, client: Client | None = None) -> Volume:
        """Name a volume by Modal's id."""
        return Volume._new(f"Volume.from_id({volume_id!r})")

    @staticmethod
    @plain_context
    def ephemeral(
        client: Client | None = None,
        environment_name: str | None = None,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
    ) -> Volume:
        """Return a context manager with a volume without a name, for ``with`` or ``async with``."""
        return Volume._new("Volume.ephemeral()")

    def read_only(self) -> Volume:
        """Return the same volume, to be mounted read-only.  Nothing enforces that here."""
        made = self._copy()
        made._is_read_only = True
        return made

    def with_mount_options(
        self, *, read_only: bool | None = None, sub_path: str | PurePosixPath | None = None
    ) -> Volume:
        """Return the same volume, to be mounted read-only or from one of its directories.

        Raises:
            InvalidError: if this volume was made by `read_only`.
        """
        if sub_path is not None:
            fs_path("sub_path", sub_path)
        if read_only is not None and not isinstance(unchecked(read_only), bool):
            lenient(f"read_only must be True or False, got {read_only!r}; write read_only=True")
        if self._is_read_only:
            raise InvalidError(
                "with_mount_options() cannot follow read_only(); "
                "write volume.with_mount_options(read_only=True, ...) alone"
            )
        return self._copy()

    def _copy(self) -> Volume:
        return Volume._new("Volume()", self._name)

    @MethodWithAio
    def commit(self) -> None:
        """Do nothing: written files are on this machine already."""

    @MethodWithAio
    def reload(self) -> None:
        """Do nothing: files that other containers wrote are on this machine already."""

    @MethodWithAio
    def info(self) -> VolumeInfo:
        raise self._unimplemented("info")

    @IteratorMethodWithAio
    def iterdir(self, path: str, *, recursive: bool = True) -> Iterator[FileEntry]:
        raise self._unimplemented("iterdir")

    @MethodWithAio
    def listdir(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        raise self._unimplemented("listdir")

    @IteratorMethodWithAio
    def read_file(self, path: str) -> Iterator[bytes]:
        raise self._unimplemented("read_file")

    @MethodWithAio
    def read_file_into_fileobj(
        self,
        path: str,
        fileobj: IO[bytes],
        progress_cb: Callable[..., object] | None = None,
    ) -> int:
        raise self._unimplemented("read_file_into_fileobj")

    @MethodWithAio
    def remove_file(self, path: str, recursive: bool = False) -> None:
        raise self._unimplemented("remove_file")

    @MethodWithAio
    def copy_files(self, src_paths: Sequence[str], dst_path: str, recursive: bool = False) -> None:
        raise self._unimplemented("copy_files")

    @property
    def batch_upload(self) -> ContextWithAio[..., AbstractVolumeUploadContextManager]:
        """Upload files to Modal: ``with volume.batch_upload(force=False) as batch``.

        Raises:
            UnimplementedError: always, on entering.
        """

        def enter(force: bool = False) -> AbstractVolumeUploadContextManager:
            raise self._unimplemented("batch_upload")

        return ContextWithAio(enter)

    @staticmethod
    @plain_function
    def rename(
        old_name: str,
        new_name: str,
        *,
        client: Client | None = None,
        environment_name: str | None = None,
    ) -> None:
        raise unimplemented("Volume.rename", _INSTEAD)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Volume = Volume
