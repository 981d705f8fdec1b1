"""Binding directories at paths, in the mount namespace of a program.  Runs in the helper.

Owns `Paths`: what is mounted where, and how a path that is not there comes to be:

- In a directory that the program may write to, missing directories are made on the disk, and are
  removed when the program ends (``made.py``).
- A directory that an image adds is the lower part of an overlay: what the program writes there is
  in a tmpfs, and the user's own files stay as they are.
- Another directory is shadowed: a tmpfs is mounted over it, with all that it had bound into it.
  Then the missing directories are made in the tmpfs.  The root is such a tmpfs mostly
  (``namespace.py``).  Nobody can write into a shadow, as nobody could into the directory: what is
  written there would be lost.  Where the modes of directories do not stop the program, or the
  directory was a read-only mount, the tmpfs is read-only (sealed), and writable for a moment.

A path that is there is bound over, as in a container, unless the program needs what is there.

Begin at `Paths.place`, then `_put`, then `_make`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ..runtime.real import Real
from . import syscalls as sys_
from .made import Made
from .place import Outcome, Wanted


@dataclass(slots=True)
class _Bound:
    """A source that is mounted at a path."""

    path: str
    wanted: Wanted
    is_read_only: bool


class _CannotBeDone(Exception):
    """A path stays as it is, for the reason in the text."""


class Paths:
    """What the helper of one program has mounted.  One thread uses it."""

    def __init__(self, *, root_is_ours: bool, has_power: bool) -> None:
        """Remember the root, and nothing more.

        Args:
            root_is_ours: the root is a tmpfs that `namespace.enter` has made.
            has_power: the program may write where the modes of directories forbid it.
        """
        self._has_power = has_power
        self._bound: Final[dict[str, _Bound]] = {}  # by real path
        self._mounted: Final[list[str]] = []  # where sources and tmpfs are mounted, in this order
        # The tmpfs that we have made: by device, whether it is sealed, and where it is.
        self._ours: Final[dict[int, tuple[str, bool]]] = {}
        self._root_is_ours = root_is_ours
        if root_is_ours:
            if has_power:
                sys_.remount("/", read_only=True)
            self._ours[os.stat("/").st_dev] = ("/", has_power)
        self._made: Final = Made()

    def place(
        self, wanted: Sequence[Wanted], *, records: str, keep: Sequence[str]
    ) -> list[Outcome]:
        """Bind sources at their paths.  Returns one outcome for each, in their order."""
        sources: dict[int, int] = {}
        outcomes: dict[int, Outcome] = {}
        kept = [os.path.realpath(each) for each in keep]
        try:
            # All sources first: a mount may hide the source of another.
            for number, each in enumerate(wanted):
                try:
                    sources[number] = os.open(each.source, os.O_PATH | os.O_CLOEXEC)
                except OSError as error:
                    outcomes[number] = Outcome(each.path, "failed", str(error))
            # A path before those below it.
            for number in sorted(sources, key=lambda number: wanted[number].path.count("/")):
                each = wanted[number]
                try:
                    outcomes[number] = self._put(each, sources[number], records, kept)
                except (OSError, _CannotBeDone) as error:
                    outcomes[number] = Outcome(each.path, "failed", str(error))
        finally:
            for source in sources.values():
                Real.close(source)
        return [outcomes[number] for number in range(len(wanted))]

    def clean(self) -> None:
        """Remove what was made on the disk."""
        if self._made:
            for path in reversed(self._mounted):
                try:
                    sys_.umount(path)
                except OSError:
                    pass  # somebody has unmounted it
            self._made.remove()

    def _put(self, wanted: Wanted, source: int, records: str, keep: Sequence[str]) -> Outcome:
        path = os.path.realpath(wanted.path)
        before = self._bound.get(path)
        if before is not None:
            if not os.path.samefile(before.wanted.source, source):
                return Outcome(wanted.path, "taken", before.wanted.shown)
            if before.is_read_only and not wanted.read_only:
                sys_.remount(path, read_only=False)
                before.is_read_only = False
            return Outcome(wanted.path, "mounted")
        if os.path.exists(path):
            if os.path.samefile(path, source) and not (
                # A mount of another function, which may write there.
                wanted.read_only and path != os.path.realpath(wanted.source)
            ):
                return Outcome(wanted.path, "there")
            for needed in keep:
                if _is_below(needed, path):
                    return Outcome(wanted.path, "needed", needed)
        if any(_is_below(path, each) for each in ("/proc", "/sys", "/dev")):
            raise _CannotBeDone("nothing is mounted below /dev, /proc and /sys")
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        self._have(path, is_directory, records)
        while not self._hold(path):
            self._have(path, is_directory, records)  # a program of another user has removed it
        if wanted.is_copy and is_directory and self._overlay(source, path):
            self._mounted.append(path)
            self._bound[path] = _Bound(path, wanted, is_read_only=False)
            # Directories for paths below this one are made in the overlay, and go with it.
            self._ours[os.stat(path).st_dev] = (path, False)
            return Outcome(wanted.path, "mounted")
        sys_.mount(f"/proc/self/fd/{source}", path, None, sys_.MS_BIND | sys_.MS_REC)
        self._mounted.append(path)
        self._bound[path] = _Bound(path, wanted, wanted.read_only)
        if wanted.read_only:
            _make_read_only(path)
        return Outcome(wanted.path, "mounted")

    def _have(self, path: str, is_directory: bool, records: str) -> None:
        """Have a directory or a file at a path."""
        if not self._stays(path, records):
            self._make(path, is_directory, records)
        elif os.path.isdir(path) != is_directory:
            what = "a directory" if is_directory else "a file"
            raise _CannotBeDone(f"{path} is there, and is not {what}")

    def _overlay(self, source: int, path: str) -> bool:
        """Mount a directory at a path so that what is written there is kept in memory, apart.

        The directory must not be mounted itself already.  Returns False if the system cannot do
        that, e.g. Linux before 5.11 without root.
        """
        place = os.readlink(f"/proc/self/fd/{source}")
        if any(point != place and _is_below(point, place) for point in mount_points()):
            return False  # an overlay would not have what is mounted below
        with self._stage() as stage:
            try:
                # Memory is used for what is written only.  The overlay keeps the tmpfs.
                sys_.mount("moorage", stage, "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, "mode=0755")
            except OSError:
                return False
            try:
                upper, work, made = (
                    os.path.join(stage, name) for name in ("upper", "work", "made")
                )
                for each in (upper, work, made):
                    os.mkdir(each)
                # The attributes of the upper directory are those of the whole.  It stays this
                # user's own if the source belongs to a user or group that is not known here.
                found = os.fstat(source)
                os.chmod(upper, stat.S_IMODE(found.st_mode))
                try:
                    os.chown(upper, found.st_uid, found.st_gid)
                except OSError:
                    pass
                lower = f"lowerdir=/proc/self/fd/{source},upperdir={upper},workdir={work}"
                flags = sys_.MS_NOSUID | sys_.MS_NODEV
                sys_.mount("moorage", made, "overlay", flags, f"{lower},userxattr")
                sys_.mount(made, path, None, sys_.MS_MOVE)
            except OSError:
                return False
            finally:
                sys_.umount(stage)
        return True

    def _stays(self, path: str, records: str) -> bool:
        """Return whether a path is there, and have it stay there if another program made it."""
        real = self._on_the_disk(path)
        # In a view of ours there may be what is not on the disk, and nobody removes that.
        there = real is not None and self._made.stays(records, real)
        return there or os.path.lexists(path)

    def _hold(self, path: str) -> bool:
        """Have what is at a path stay there; return false if it is not there any more."""
        real = self._on_the_disk(path)
        try:
            # In a view of ours nobody else removes anything.
            if real is None or os.lstat(path).st_dev in self._ours:
                return True
        except FileNotFoundError:
            return False
        return self._made.hold(real)

    def _make(self, path: str, is_directory: bool, records: str) -> None:
        """Make a directory or empty file on which something can be mounted."""
        there = os.path.dirname(path)
        while not self._stays(there, records):
            there = os.path.dirname(there)
        missing = os.path.relpath(path, there).split("/")
        if not os.path.isdir(there):
            raise _CannotBeDone(f"{there} is not a directory")
        if os.stat(there).st_dev not in self._ours:
            real = self._on_the_disk(there)
            if real is not None and os.access(real, os.W_OK | os.X_OK):
                for name in missing[:-1]:
                    real = os.path.join(real, name)
                    self._made.make(records, real, "directory")
                real = os.path.join(real, missing[-1])
                self._made.make(records, real, "directory" if is_directory else "file")
                return
            self._shadow(there)
        with self._unsealed(os.stat(there).st_dev):
            for name in missing[:-1]:
                there = os.path.join(there, name)
                os.mkdir(there)
                os.chmod(there, 0o555)
            there = os.path.join(there, missing[-1])
            if is_directory:
                os.mkdir(there)
            else:
                _touch(there)

    @contextmanager
    def _unsealed(self, device: int) -> Generator[None, None, None]:
        """Let this process write into a tmpfs of ours."""
        path, sealed = self._ours[device]
        if not sealed:
            yield
            return
        sys_.remount(path, read_only=False)
        try:
            yield
        finally:
            sys_.remount(path, read_only=True)

    def _on_the_disk(self, directory: str) -> str | None:
        """Return where a directory is, apart from our mounts; None if it must not be changed."""
        above = [each for each in self._bound.values() if _is_below(directory, each.path)]
        if not above:
            return directory
        nearest = max(above, key=lambda bound: len(bound.path))
        if not nearest.wanted.may_hold:
            return None
        rest = os.path.relpath(directory, nearest.path)
        return os.path.normpath(os.path.join(nearest.wanted.source, rest))

    def _shadow(self, directory: str) -> None:
        """Mount a tmpfs over a directory, with its entries bound into it."""
        try:
            names = os.listdir(directory)
        except PermissionError:
            if os.access(directory, os.X_OK):
                # There may be entries that the program knows by their names.
                raise _CannotBeDone(f"{directory} can be neither written to nor listed")
            names = []
        sealed = self._has_power or bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
        with self._stage() as stage:
            tmpfs(stage)
            try:
                for name in names:
                    bind_entry(os.path.join(directory, name), os.path.join(stage, name))
                os.chmod(stage, 0o555)
                device = os.stat(stage).st_dev
                if sealed:
                    sys_.remount(stage, read_only=True)
                # At once: the program's threads see the directory before or after.
                sys_.mount(stage, directory, None, sys_.MS_MOVE)
            except OSError:
                sys_.umount(stage)
                raise
        self._ours[device] = (directory, sealed)
        self._mounted.append(directory)

    @contextmanager
    def _stage(self) -> Generator[str, None, None]:
        """Make a directory for a moment, in which a tmpfs is filled."""
        if not self._root_is_ours:
            stage = tempfile.mkdtemp(prefix=".moorage-")
            try:
                yield stage
            finally:
                os.rmdir(stage)
            return
        stage = "/.moorage-stage"
        root = os.stat("/").st_dev
        with self._unsealed(root):
            os.mkdir(stage)
        try:
            yield stage
        finally:
            with self._unsealed(root):
                os.rmdir(stage)


def tmpfs(path: str) -> None:
    """Mount an empty tmpfs, which is for mount points alone."""
    sys_.mount("moorage", path, "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, "mode=0755,size=4m")


def bind_entry(source: str, path: str) -> None:
    """Have an entry of a directory in another one too.  Symlinks are copied.

    Raises:
        OSError: if the entry is there, and cannot be bound.
    """
    try:
        mode = os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), path)
            return
    except FileNotFoundError:
        return  # it has just been removed
    except OSError:
        # E.g. the root of a FUSE file system of another user.  Nobody here could look into it.
        os.mkdir(path, 0o555)
        return
    if stat.S_ISDIR(mode):
        os.mkdir(path)
    else:
        _touch(path)
    try:
        sys_.mount(source, path, None, sys_.MS_BIND | sys_.MS_REC)
    except FileNotFoundError:
        os.rmdir(path) if stat.S_ISDIR(mode) else os.unlink(path)


def _touch(path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    Real.close(os.open(path, flags, 0o444))


def _is_below(path: str, directory: str) -> bool:
    """Whether a path is a directory, or below the directory."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _make_read_only(path: str) -> None:
    """Make what is mounted at a path read-only, with the mounts below it."""
    for point in mount_points():
        if _is_below(point, path):
            sys_.remount(point, read_only=True)


def mount_points() -> list[str]:
    """Return the paths at which something is mounted in this namespace."""
    with open("/proc/self/mountinfo", "rb") as lines:
        # Spaces, tabs, newlines and backslashes in paths are octal numbers there.
        points = [line.split()[4].decode("ascii", "surrogateescape") for line in lines]
    found: list[str] = []
    for point in points:
        for number in (" ", "\t", "\n", "#", "\\"):
            point = point.replace(f"\\{ord(number):03o}", number)
        found.append(point)
    return found
