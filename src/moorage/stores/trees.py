"""Trees: the files of a volume, in a directory of this machine.

Owns `Tree`: what a path in a volume means, and how files are listed, read, removed and copied.
``uploads.py`` adds files; ``directories.py`` says where the directory is; ``volume.py`` and
``network_file_system.py`` call both.

Begin at `Tree.inside`.

**No path leaves the directory.**  A path is relative to the directory, with or without a ``/`` in
front.  ``..`` may not climb above the directory.  A symlink inside may lead anywhere, because user
code makes symlinks with `os.symlink`: a symlink is listed, removed and copied as a symlink, and
read only if its target is inside.

``shutil`` is imported where it is needed: `import moorage` shall be fast.

No lock guards the files, as none guards those of any directory: user code changes them by its own
means.  What changes the whole tree at once takes the lock of ``directories.py``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ..arguments import InvalidValueError, fs_path
from ..exception import InvalidError, NotFoundError
from ..runtime.real import Real

# The most bytes of one chunk, as in Modal.
CHUNK: Final = 8 * 2**20

# How the files begin that are copied into a volume on another disk, until they are whole.  A killed
# process may leave such a file: it is no content, and the next upload to its directory removes it.
PARTIAL: Final = ".moorage-partial-"

# The names of the members of ``FileEntryType``.
_TYPES: Final = {
    stat.S_IFREG: "FILE",
    stat.S_IFDIR: "DIRECTORY",
    stat.S_IFLNK: "SYMLINK",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "SOCKET",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One path of a tree.  `path` is relative to the tree, without a ``/`` in front."""

    path: str
    type: str  # the name of a member of ``FileEntryType``
    mtime: int
    size: int


def parts_of(path: object) -> tuple[str, ...]:
    """Return the parts of a path in a volume; none for the volume itself.

    Raises:
        InvalidError: if the path climbs above the volume, or no file system takes its name.
    """
    given = fs_path("a path in a volume", path)
    parts: list[str] = []
    for part in PurePosixPath(given).parts:
        if part in ("/", "//"):
            continue
        if part == "..":
            if not parts:
                raise InvalidError(
                    f"the path {given!r} leaves the volume; write a path below the volume's root, "
                    'such as "models/a.bin"'
                )
            parts.pop()
            continue
        if "\0" in part or (os.sep != "/" and os.sep in part) or os.path.splitdrive(part)[0]:
            raise InvalidValueError(
                f"no file can have the name {part!r}, got {given!r}; "
                'write a path such as "models/a.bin"'
            )
        parts.append(part)
    return tuple(parts)


class Tree:
    """The files below one directory, which is there."""

    def __init__(self, root: Path) -> None:
        # The directory itself may be a symlink, which the user has put there.
        self.root: Path = Path(os.path.realpath(root))

    def inside(self, path: object, *, follow: bool = True) -> Path:
        """Return the place of `path`.  All symlinks before its last part are resolved.

        Args:
            path: a path in the volume.
            follow: whether to resolve the last part too, if it is a symlink.

        Raises:
            InvalidError: if the place is outside.
        """
        parts = parts_of(path)
        if not parts:
            return self.root
        if follow:
            found = Path(os.path.realpath(self.root.joinpath(*parts)))
        else:
            found = Path(os.path.realpath(self.root.joinpath(*parts[:-1]))) / parts[-1]
        if not found.is_relative_to(self.root):
            raise InvalidError(
                f"the path {_shown(path)!r} leads out of the volume through a symlink, to "
                f"{os.fspath(found)!r}; open that path itself, or write a path in the volume"
            )
        return found

    # -- looking -----------------------------------------------------------------------------

    def listed(self, path: object, *, recursive: bool) -> Iterator[Listed]:
        """Yield what a directory has, sorted; for a file, that file.

        Raises:
            NotFoundError: if nothing is there.
        """
        parts = parts_of(path)
        place = self.inside(path, follow=False)
        try:
            kind = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(
                f"there is no {_shown(path)!r} in the volume; "
                'listdir("/", recursive=True) shows what is there'
            ) from None
        if stat.S_ISLNK(kind):
            target = Path(os.path.realpath(place))
            if target.is_relative_to(self.root) and target.is_dir():
                place, kind = target, stat.S_IFDIR
        if not stat.S_ISDIR(kind):
            found = _listed("/".join(parts), place)
            if found is not None:
                yield found
            return
        yield from self._below(place, "/".join(parts), recursive)

    def _below(self, directory: Path, prefix: str, recursive: bool) -> Iterator[Listed]:
        waiting = [(directory, prefix)]
        while waiting:
            place, prefix = waiting.pop()
            try:
                names = sorted(os.listdir(place))
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed meanwhile
            below: list[tuple[Path, str]] = []
            for name in names:
                if name.startswith(PARTIAL):
                    continue
                path = f"{prefix}/{name}" if prefix else name
                found = _listed(path, place / name)
                if found is None:
                    continue
                yield found
                if recursive and found.type == "DIRECTORY":
                    below.append((place / name, path))
            waiting += reversed(below)

    def matching(self, pattern: str) -> Iterator[Listed]:
        """Yield the paths that match a pattern with ``*`` and ``**``, sorted."""
        for place in sorted(self.root.glob("/".join(parts_of(pattern)))):
            if place == self.root or place.name.startswith(PARTIAL):
                continue
            # A pattern follows symlinks to directories.
            if Path(os.path.realpath(place.parent)).is_relative_to(self.root):
                found = _listed(place.relative_to(self.root).as_posix(), place)
                if found is not None:
                    yield found

    def read(self, path: object) -> Iterator[bytes]:
        """Yield a file in chunks; nothing for an empty file.

        Raises:
            FileNotFoundError: if it is not there.
        """
        place = self._file(path)
        with place.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _file(self, path: object) -> Path:
        """Return the place of a file that can be read."""
        place = self.inside(path)
        try:
            kind = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(path) from None
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(
                f"{_shown(path)!r} is a directory of the volume; "
                "write the path of a file, which listdir() shows"
            )
        if not stat.S_ISREG(kind):  # to open a pipe would block
            raise InvalidError(
                f"{_shown(path)!r} is not a file with contents; write the path of another file"
            )
        return place

    # -- changing ----------------------------------------------------------------------------

    def remove(self, path: object, *, recursive: bool) -> None:
        """Remove a file, a symlink, or with `recursive` a directory and all that it has.

        Raises:
            FileNotFoundError: if it is not there.
        """
        place = self.inside(path, follow=False)
        if place == self.root:
            if not recursive:
                raise _needs_recursive("remove_file", path)
            for name in os.listdir(place):
                self._remove(place / name)
            return
        try:
            kind = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(path) from None
        if stat.S_ISDIR(kind) and not recursive:
            raise _needs_recursive("remove_file", path)
        self._remove(place)

    def remove_partial(self, directory: Path) -> None:
        """Remove what killed processes have left in a directory.  Under the lock of uploads."""
        try:
            names = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            return  # not made yet
        for name in names:
            if name.startswith(PARTIAL):
                (directory / name).unlink(missing_ok=True)

    def _remove(self, place: Path) -> None:
        import shutil

        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)  # follows no symlinks
        else:
            place.unlink()

    def copy(self, sources: Sequence[object], to: object, *, recursive: bool) -> None:
        """Copy as ``cp`` does: into `to` if it is a directory, else to that name.

        All sources are looked at before the first is copied.

        Raises:
            FileNotFoundError: if a source, or the directory to copy to, is not there.
        """
        import shutil

        target = self.inside(to)
        into = target.is_dir()
        if not into:
            if len(sources) > 1 or _shown(to).endswith("/"):
                raise NotADirectoryError(
                    f"{_shown(to)!r} is no directory of the volume; copy several files into a "
                    "directory that is there"
                )
            if not target.parent.is_dir():
                raise FileNotFoundError(
                    f"there is no directory {_shown_parent(to)!r} in the volume; "
                    "copy to a directory that is there"
                )
        steps: list[tuple[Path, Path]] = []
        for source in sources:
            place = self.inside(source)
            if not place.exists():
                raise _missing(source)
            if place.is_dir() and not recursive:
                raise _needs_recursive("copy_files", source)
            name = (parts_of(source) or (self.root.name,))[-1]
            end = Path(os.path.realpath(target / name)) if into else target
            if not end.is_relative_to(self.root):
                raise InvalidError(
                    f"{_shown(to)!r} has a symlink {name!r} that leads out of the volume; "
                    "remove the symlink first"
                )
            if end == place or (place.is_dir() and end.is_relative_to(place)):
                raise shutil.SameFileError(
                    f"{_shown(source)!r} would be copied onto or into itself at {_shown(to)!r}; "
                    "write another destination"
                )
            if end.is_dir() and not place.is_dir():
                raise IsADirectoryError(
                    f"{name!r} is a directory in {_shown(to)!r}; write another destination"
                )
            if place.is_dir() and end.exists() and not end.is_dir():
                raise NotADirectoryError(
                    f"{_shown(to)!r} has a file where the directory {name!r} would be; "
                    "write another destination"
                )
            steps.append((place, end))
        for place, end in steps:
            if place.is_dir():
                self._copy_directory(place, end)
            else:
                shutil.copy2(place, end)

    def _copy_directory(self, place: Path, end: Path) -> None:
        """Copy a directory into one that may be there; symlinks stay symlinks."""
        import shutil

        end.mkdir(exist_ok=True)
        for entry in sorted(os.listdir(place)):
            source, target = place / entry, end / entry
            kind = source.lstat().st_mode
            if stat.S_ISDIR(kind):
                if target.is_symlink():
                    target.unlink()
                self._copy_directory(source, target)
            elif stat.S_ISLNK(kind) or stat.S_ISREG(kind):
                if target.is_symlink():
                    target.unlink()  # not through it: it may lead out
                shutil.copy2(source, target, follow_symlinks=False)


def what_is_open(root: Path) -> str | None:
    """Tell which file below a directory this process has open; None if none, or not on Linux.

    By device and inode, because the directory may also be mounted at another path.
    """
    try:
        names = os.listdir("/proc/self/fd")
        there = root.stat()
    except OSError:
        return None

    def below(path: Path) -> str | None:
        for parent in (path, *path.parents):
            try:
                if os.path.samestat(parent.stat(), there):
                    return path.relative_to(parent).as_posix()
            except OSError:
                continue
        return None

    if below(Path(Real.getcwd())) is not None:
        return "cwd is inside volume"
    for name in names:
        try:
            path = Path(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue  # the one with which the directory was read
        found = below(path) if path.is_absolute() else None
        if found is not None:
            return f"path {found} is open"
    return None


def _listed(path: str, place: Path) -> Listed | None:
    """Describe a path, without following it; None if it is gone."""
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    kind = _TYPES.get(stat.S_IFMT(found.st_mode), "UNSPECIFIED")
    size = 0 if kind == "DIRECTORY" else found.st_size
    return Listed(path, kind, int(found.st_mtime), size)


def _shown(path: object) -> str:
    return fs_path("a path in a volume", path)


def _shown_parent(path: object) -> str:
    return "/".join(parts_of(path)[:-1]) or "/"


def _missing(path: object) -> FileNotFoundError:
    return FileNotFoundError(
        f"there is no file {_shown(path)!r} in the volume; "
        'listdir("/", recursive=True) shows what is there'
    )


def _needs_recursive(method: str, path: object) -> IsADirectoryError:
    return IsADirectoryError(
        f"{_shown(path)!r} is a directory of the volume; write {method}(..., recursive=True)"
    )
