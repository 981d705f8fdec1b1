"""Volumes: directories that functions share.

Owns `Volume`; users make it, and functions, classes and apps accept it.  The files of a volume are
in a directory of the home (``stores/directories.py``), which `Volume.local_path` names.  Where a
function finds that directory is in ``running/mounts.py``.

Begin at `Volume.from_name`, then `Volume.batch_upload`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

from . import config
from .arguments import (
    InvalidArgumentsError,
    InvalidUseError,
    InvalidValueError,
    check_name,
    fs_path,
    lenient,
    unchecked,
    unimplemented,
)
from .client import Client
from .directory_objects import ENTRIES, DirectoryObject, entry, local_directory
from .exception import InvalidError
from .named_objects import NamedObjects
from .off_the_loop import (
    ContextOffTheLoop,
    ending_off_the_loop,
    function_off_the_loop,
    off_the_loop,
    steps_off_the_loop,
)
from .old import names as old_names
from .stores.directories import Directories
from .stores.home import environment_of
from .stores.records import Record
from .stores.trees import Listed, Tree, parts_of, what_is_open
from .stores.uploads import Upload
from .types import FileEntry as FileEntry
from .types import FileEntryType as FileEntryType
from .types import VolumeCreateOptions as VolumeCreateOptions
from .types import VolumeInfo
from .with_aio import (
    ContextWithAio,
    EitherContext,
    iteration_with_aio,
)

_EXAMPLE = 'Volume.from_name("my-volume", create_if_missing=True)'
_INSTEAD = "use Volume, which holds its files in a directory of this machine"

_DIRECTORIES: Final = Directories("Volume", "vo", "volumes")


class VolumeManager(NamedObjects["Volume"]):
    """Creates, lists and deletes the named volumes: the type of `Volume.objects`."""

    @property
    def _kind(self) -> type[Volume]:
        return Volume

    @off_the_loop
    def create(  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
        name: str,
        *,
        version: int | None = None,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
        experimental_options: dict[str, object] | None = None,
    ) -> None:
        """Make the volume of this name, which is empty.

        Raises:
            AlreadyExistsError: if it is there already, and `allow_existing` is false.
        """
        check_name(name, "Volume", 'Volume.objects.create("my-volume")')
        _check_version(version)
        environment = environment_of(environment_name)
        record = _DIRECTORIES.create(
            environment, name, allow_existing=allow_existing, version=version
        )
        _check_same_version(record, version)


class AbstractVolumeUploadContextManager:
    """The base of the types of ``batch`` in ``with volume.batch_upload() as batch``."""

    _upload: Upload | None = None

    def put_file(
        self,
        local_file: str | PathLike[str] | IO[bytes],
        remote_path: str | PurePosixPath,
        mode: int | None = None,
    ) -> None:
        """Upload a file when the block ends.  Directories before it are made.

        Args:
            local_file: a path of this machine, or an open file, which is read from its beginning.
            remote_path: where the file goes in the volume.
            mode: its permissions; None for those of the file, 0o644 for an open file.
        """
        upload = self._begun("put_file")
        if not parts_of(remote_path):
            raise InvalidValueError(
                f"remote_path must be the path of a file, got {remote_path!r}; "
                'write put_file(local_file, "/models/a.bin")'
            )
        given: Any = local_file
        if hasattr(given, "read"):
            upload.add_file(given, remote_path, mode)
        else:
            upload.add_file(Path(fs_path("local_file", given)), remote_path, mode)

    def put_directory(
        self,
        local_path: str | PathLike[str],
        remote_path: str | PurePosixPath,
        recursive: bool = True,
    ) -> None:
        """Upload the files of a directory when the block ends.

        Symlinks to files are followed; empty directories, pipes and devices are left out.

        Raises:
            InvalidError: also an AssertionError, if `local_path` is no directory.
        """
        upload = self._begun("put_directory")
        source = local_directory(local_path, "put_file")
        upload.add_directory(source, remote_path, recursive=recursive)

    def _begun(self, method: str) -> Upload:
        if self._upload is None:
            what = f"{type(self).__name__}.{method}"
            raise unimplemented(what, "write `with volume.batch_upload() as batch:`")
        return self._upload


class VolumeUploadContextManager(AbstractVolumeUploadContextManager):
    """The type of ``batch`` for volumes of version 1."""


class VolumeUploadContextManager2(AbstractVolumeUploadContextManager):
    """The type of ``batch`` for volumes of version 2."""


class _BatchUpload(ContextOffTheLoop[AbstractVolumeUploadContextManager]):
    """The block of one batch.  An exception that leaves the block uploads nothing."""

    def __init__(
        self,
        enter: Callable[[], AbstractVolumeUploadContextManager],
        finish: Callable[[Upload], None],
    ) -> None:
        # `EitherContext` keeps what was entered if there is something to call at the end.
        super().__init__(enter, lambda batch: None)
        self._finish = finish

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._entered:
            return
        batch = self._entered.pop()
        upload, batch._upload = batch._upload, None
        if kind is None and upload is not None:
            self._finish(upload)


class _BatchUploads(ContextWithAio[..., AbstractVolumeUploadContextManager]):
    """The way ``volume.batch_upload``."""

    def __init__(
        self,
        function: Callable[..., AbstractVolumeUploadContextManager],
        finish: Callable[[Upload], None],
    ) -> None:
        super().__init__(function)
        self._finish = finish

    def __call__(
        self, *args: Any, **kwargs: Any
    ) -> EitherContext[AbstractVolumeUploadContextManager]:
        super().__call__(*args, **kwargs)  # checks the arguments
        return _BatchUpload(lambda: self._function(*args, **kwargs), self._finish)


class Volume(DirectoryObject):
    """A directory that functions share, in the home of this user.

    All containers see a change at once: `commit` and `reload` have nothing to do.
    """

    _made_by = _EXAMPLE
    _instead = _INSTEAD
    objects: ClassVar[VolumeManager] = VolumeManager()

    _version: int | None = None  # as it was given
    _is_read_only = False  # made by `read_only`, so methods that write are refused
    _has_options = False  # made by `with_mount_options`
    # How a function mounts this handle.
    _mounts_read_only = False
    _sub_path: str | None = None

    @property
    def name(self) -> str | None:
        """The name of the volume; None for an ephemeral one, and before `from_id` looked it up."""
        return self._name if self._record is None else self._record.name

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
        """Name a volume.  It is looked up when the handle is used for the first time.

        Args:
            version: 1 or 2.  The version only decides whether `copy_files` copies directories.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        made = Volume._from_name(name, environment_name, create_if_missing)
        if version not in (None, 1, 2):
            lenient(_wrong_version(version))
        made._version = version
        return made

    @staticmethod
    def from_id(volume_id: str, client: Client | None = None) -> Volume:
        """Name a volume by its ``object_id``."""
        return Volume._from_id(volume_id)

    @staticmethod
    @ending_off_the_loop
    def ephemeral(
        client: Client | None = None,
        environment_name: str | None = None,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
    ) -> Volume:
        """Return a context manager with a volume without a name, for ``with`` or ``async with``.

        The volume ends with the block: its files are removed, and every later use fails.
        """
        _check_version(version)
        made = Volume._new("modal.Volume.ephemeral()")
        made._record = _DIRECTORIES.create_ephemeral(environment_of(environment_name), version)
        return made

    # -- handles with options --------------------------------------------------------------------

    def read_only(self) -> Volume:
        """Return a handle of the same volume that does not write, and is mounted read-only.

        Raises:
            InvalidError: if this volume was made by `with_mount_options`.
        """
        if self._has_options:
            raise InvalidError(
                "read_only() cannot follow with_mount_options(); "
                "write volume.with_mount_options(read_only=True, ...) alone"
            )
        made = self._copy()
        made._is_read_only = made._mounts_read_only = True
        return made

    def with_mount_options(
        self, *, read_only: bool | None = None, sub_path: str | PurePosixPath | None = None
    ) -> Volume:
        """Return a handle of the same volume, to be mounted read-only or from a directory of it.

        The options are for functions that mount the handle; the methods do not know them.

        Args:
            read_only: whether functions cannot write; None for as before.
            sub_path: the directory to mount, ``"/"`` for the whole volume; None for as before.

        Raises:
            InvalidError: if this volume was made by `read_only`, or `sub_path` leaves the volume.
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
        made = self._copy()
        made._has_options = True
        if read_only is not None:
            made._mounts_read_only = bool(read_only)
        if sub_path is not None:
            try:
                made._sub_path = "/".join(parts_of(sub_path)) or None
            except InvalidError as error:
                lenient(str(error))
                made._sub_path = str(sub_path)  # refused when it is mounted
        return made

    def _copy(self) -> Volume:
        made = Volume._new("Volume()", self._name)
        made.__dict__.update({**self.__dict__, "_shown": "Volume()"})
        return made

    # -- what Modal needs ------------------------------------------------------------------------

    @off_the_loop
    def commit(self) -> None:
        """Do nothing: the files are on the disk, and all containers see them."""
        self._found()

    @off_the_loop
    def reload(self) -> None:
        """Do nothing: files that other containers wrote are seen at once.

        Raises:
            RuntimeError: in strict mode on Linux, if a file of the volume is open in this process,
                as in Modal.
        """
        self._found()
        if config.strict:
            what = what_is_open(self._tree().root)
            if what is not None:
                raise InvalidUseError(
                    f"there are open files preventing the operation: {what}; "
                    "close the files of the volume before reload()"
                )

    @off_the_loop
    def info(self) -> VolumeInfo:
        """Return the name of the volume, and when it was made."""
        found = self._found()
        record = _DIRECTORIES.of_id(found.object_id) or found  # it may have another name by now
        return VolumeInfo(record.name, record.created_at, None)

    # -- looking -------------------------------------------------------------------------------

    async def _iterdir_async(
        self, path: str, *, recursive: bool = True
    ) -> AsyncIterator[FileEntry]:
        listed = partial(self._listed, path, recursive)
        async for each in steps_off_the_loop(listed, ENTRIES):
            yield entry(each)

    @iteration_with_aio(_iterdir_async)
    def iterdir(self, path: str, *, recursive: bool = True) -> Iterator[FileEntry]:
        """Yield what a directory has, sorted, and what its directories have; a file for a file.

        Raises:
            NotFoundError: if nothing is there, at the first step.
        """
        for each in self._listed(path, recursive):
            yield entry(each)

    @off_the_loop
    def listdir(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """Return what a directory has, as `iterdir`; without `recursive`, not what is below."""
        return [entry(each) for each in self._listed(path, recursive)]

    async def _read_file_async(self, path: str) -> AsyncIterator[bytes]:
        async for chunk in steps_off_the_loop(lambda: self._tree().read(path), 1):
            yield chunk

    @iteration_with_aio(_read_file_async)
    def read_file(self, path: str) -> Iterator[bytes]:
        """Yield a file in chunks of up to 8 MiB.

        Raises:
            FileNotFoundError: if it is not there, at the first step.
        """
        yield from self._tree().read(path)

    @off_the_loop
    def read_file_into_fileobj(
        self,
        path: str,
        fileobj: IO[bytes],
        progress_cb: Callable[..., object] | None = None,
    ) -> int:
        """Write a file into `fileobj`, and return its size.

        Args:
            progress_cb: called as ``progress_cb(advance=n)`` after each chunk.
        """
        size = 0
        for chunk in self._tree().read(path):
            fileobj.write(chunk)
            size += len(chunk)
            if progress_cb is not None:
                progress_cb(advance=len(chunk))
        return size

    # -- changing ------------------------------------------------------------------------------

    @off_the_loop
    def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or with `recursive` a directory.  A symlink is removed, not its target.

        Raises:
            FileNotFoundError: if it is not there.
        """
        self._writable().remove(path, recursive=recursive)

    @off_the_loop
    def copy_files(self, src_paths: Sequence[str], dst_path: str, recursive: bool = False) -> None:
        """Copy files within the volume, as ``cp`` does.

        Args:
            recursive: copy directories too; for volumes of version 2.
        """
        given = unchecked(src_paths)
        if isinstance(given, str | bytes | PathLike):
            raise InvalidArgumentsError(
                f"src_paths must be a list of paths, got {given!r}; write copy_files([path], to)"
            )
        tree = self._writable()
        if recursive and _DIRECTORIES.version(self._found()) == 1:
            raise InvalidValueError(
                "copy_files(recursive=True) is for volumes of version 2; write "
                "from_name(..., create_if_missing=True, version=2) for a new volume"
            )
        tree.copy([*src_paths], dst_path, recursive=recursive)

    @property
    def batch_upload(self) -> ContextWithAio[..., AbstractVolumeUploadContextManager]:
        """Upload files, all or none: ``with volume.batch_upload(force=False) as batch``.

        Nothing happens before the block ends, and nothing at all if an exception leaves it.

        Raises:
            FileExistsError: at the end of the block, if a file is there and `force` is false.
        """

        def batch_upload(force: bool = False) -> AbstractVolumeUploadContextManager:
            self._writable()
            is_new = _DIRECTORIES.version(self._found()) == 2
            batch = VolumeUploadContextManager2() if is_new else VolumeUploadContextManager()
            batch._upload = Upload(force=force)
            return batch

        def finish(upload: Upload) -> None:
            tree = self._tree()
            upload.finish(tree, *_DIRECTORIES.staging(self._found()))

        return _BatchUploads(batch_upload, finish)

    @staticmethod
    @function_off_the_loop
    def rename(
        old_name: str,
        new_name: str,
        *,
        client: Client | None = None,
        environment_name: str | None = None,
    ) -> None:
        """Give a volume another name.  Its handles stay handles of the same volume.

        Raises:
            NotFoundError: if there is no volume of the old name.
            AlreadyExistsError: if there is one of the new name.
        """
        for name in (old_name, new_name):
            check_name(name, "Volume", 'Volume.rename("old-name", "new-name")')
        _DIRECTORIES.rename(environment_of(environment_name), old_name, new_name)

    # -- parts -----------------------------------------------------------------------------------

    @classmethod
    def _catalogue(cls) -> Directories:
        return _DIRECTORIES

    def _found(self) -> Record:
        if self._record is not None:
            return super()._found()
        _check_version(self._version)
        record = super()._found()
        try:
            _check_same_version(record, self._version)
        except InvalidError:
            self._record = None  # so that the next use fails too
            raise
        return record

    def _create(self, environment: str, name: str) -> Record:
        return _DIRECTORIES.create(environment, name, version=self._version)

    def _writable(self) -> Tree:
        if self._is_read_only:
            raise InvalidError(
                "this handle was made by read_only(), and does not write; "
                "write to the volume that read_only() was called on"
            )
        return self._tree()

    def _listed(self, path: str, recursive: bool) -> Iterator[Listed]:
        given = fs_path("a path in a volume", path)
        if given.endswith("*"):
            instead = "recursive=True" if given.endswith("**") else "the directory alone"
            raise InvalidError(
                f"listdir() and iterdir() take no patterns, got {given!r}; write {instead}"
            )
        return self._tree().listed(path, recursive=recursive)

    def _mounted(self) -> Path:
        """Return the directory that a function mounts; make it if it is not there."""
        tree = self._tree()
        if self._sub_path is None:
            return tree.root
        place = tree.inside(self._sub_path)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _key(self) -> Hashable:
        """Return a value that is equal for handles that surely mount the same files."""
        what: Hashable = (self._name, self._environment_name, self._version, self._creates)
        if self._name is None:
            what = self._asked_id if self._record is None else self._record.object_id
        return what, self._mounts_read_only, self._sub_path

    def __reduce__(self) -> tuple[Any, ...]:
        options = ("_version", "_is_read_only", "_has_options", "_mounts_read_only", "_sub_path")
        state = {name: self.__dict__[name] for name in options if name in self.__dict__}
        return *super().__reduce__(), {**state, "_shown": self._shown}


def _wrong_version(version: object) -> str:
    return f"version of a Volume must be 1 or 2, got {version!r}; write version=2"


def _check_version(version: object) -> None:
    if version not in (None, 1, 2):
        raise InvalidError(_wrong_version(version))


def _check_same_version(record: Record, version: int | None) -> None:
    there = _DIRECTORIES.version(record)
    if version is not None and version != there:
        raise InvalidError(
            f"the Volume {record.name!r} has version {there}, got version={version}; "
            f"write version={there}, or another name for a new volume"
        )


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Volume = Volume
