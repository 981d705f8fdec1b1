"""Uploads: files that enter a volume together, all or none.

Owns `Upload`: what a batch has collected, and how it enters the tree.  ``volume.py`` makes one for
each ``batch_upload()``.

Begin at `Upload.finish`, then `_enter`.

Nothing happens in the volume before `finish`, which works in two steps:
    1. Each file is copied into a staging directory on the same disk.  This reads the user's files,
       and may fail.
    2. All paths are checked, then the staged files are renamed to their places.  If a rename fails,
       the earlier ones are taken back.
Readers never see half of a file, because a file enters by a rename.  If the process is killed in
the middle of step 2, a part of the files is new, each of them whole, and no old file is lost.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from ..arguments import InvalidArgumentsError, unchecked
from ..runtime.uninterruptible import uninterruptible
from .trees import PARTIAL, Tree, parts_of

_CHUNK: Final = 2**20


@dataclass(frozen=True, slots=True)
class _File:
    """One file to upload: from a path, or from an open file."""

    source: Path | IO[bytes]
    to: tuple[str, ...]
    mode: int | None  # None: that of the source


class Upload:
    """The files of one batch, until `finish` puts them into a tree."""

    def __init__(self, *, force: bool) -> None:
        self._force = force
        # Each yields files when the batch ends: a directory is read only then.
        self._files: list[Callable[[], Iterator[_File]]] = []

    def add_file(self, source: Path | IO[bytes], to: object, mode: int | None) -> None:
        file = _File(source, parts_of(to), mode)
        self._files.append(lambda: iter([file]))

    def add_directory(self, source: Path, to: object, *, recursive: bool) -> None:
        parts = parts_of(to)
        self._files.append(lambda: _files_of(source, parts, recursive))

    def finish(
        self,
        tree: Tree,
        staging: AbstractContextManager[Path],
        lock: AbstractContextManager[Any],
    ) -> None:
        """Put the files into `tree`, all or none.

        Args:
            tree: the volume.
            staging: makes a directory, on the disk of the volume, and removes it.
            lock: held while the staged files enter.

        Raises:
            FileExistsError: if a file is there already, and the batch does not force.
        """
        with staging as directory:
            staged: dict[tuple[str, ...], Path] = {}
            for number, file in enumerate(file for files in self._files for file in files()):
                place = directory / f"new-{number}"
                _copy(file, place)
                staged[file.to] = place  # of two files for one path, the later counts
            with lock:
                self._enter(tree, staged, directory)

    @uninterruptible
    def _enter(self, tree: Tree, staged: dict[tuple[str, ...], Path], staging: Path) -> None:
        ends = [(self._place(tree, parts, staged), staged[parts]) for parts in sorted(staged)]
        for directory in {end.parent for end, _ in ends}:
            tree.remove_partial(directory)
        undo: list[Callable[[], object]] = []
        try:
            for number, (end, new) in enumerate(ends):
                for directory in reversed([p for p in end.parents if not p.exists()]):
                    directory.mkdir()
                    undo.append(directory.rmdir)
                if os.path.lexists(end):
                    # The old file stays until the new one takes its place: killed in between,
                    # the process leaves the one or the other.
                    old = staging / f"old-{number}"
                    _keep(end, old)
                    _move(new, end)
                    undo.append(partial(_move, old, end))
                else:
                    _move(new, end)
                    undo.append(end.unlink)
        except BaseException:
            for step in reversed(undo):
                try:
                    step()
                except OSError:
                    pass  # user code has changed the files meanwhile
            raise

    def _place(
        self, tree: Tree, parts: tuple[str, ...], staged: dict[tuple[str, ...], Path]
    ) -> Path:
        """Return where a file goes; check that it can go there."""
        shown = "/".join(parts)
        end = tree.inside(shown, follow=False)
        if any(parts[:n] in staged for n in range(1, len(parts))):
            raise FileExistsError(
                f"the batch has {shown!r}, and a file where its directory would be; "
                "write another remote_path"
            )
        for parent in end.parents:
            if parent.exists():
                if not parent.is_dir():
                    raise FileExistsError(
                        f"{shown!r} cannot be uploaded: {parent.name!r} is a file of the volume; "
                        "remove it first, or write another remote_path"
                    )
                break
        if end.is_dir() and not end.is_symlink():
            raise FileExistsError(
                f"{shown!r} is a directory of the volume, which a file does not replace; "
                "write the path of a file, or remove_file(..., recursive=True) first"
            )
        if os.path.lexists(end) and not self._force:
            raise FileExistsError(
                f"{shown!r} is in the volume already; "
                "write batch_upload(force=True) to replace files"
            )
        return end


def _files_of(source: Path, to: tuple[str, ...], recursive: bool) -> Iterator[_File]:
    """Yield the files below a directory.  Symlinks to files are followed, others left out."""
    for directory, names, files in os.walk(source):
        names.sort()
        place = Path(directory)
        for name in sorted(files):
            if (place / name).is_file():
                yield _File(place / name, (*to, *(place / name).relative_to(source).parts), None)
        if not recursive:
            return


def _move(source: Path, to: Path) -> None:
    """Rename a file, also to another disk: the volume may be a symlink to a directory there."""
    try:
        os.replace(source, to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        import shutil

        near = to.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
        try:
            shutil.copy2(source, near, follow_symlinks=False)
            os.replace(near, to)
        finally:
            near.unlink(missing_ok=True)
        source.unlink()


def _keep(source: Path, to: Path) -> None:
    """Give a file, or a symlink, a second name."""
    try:
        os.link(source, to, follow_symlinks=False)
    except (OSError, NotImplementedError):  # on another disk, or one without such names
        import shutil

        shutil.copy2(source, to, follow_symlinks=False)


def _copy(file: _File, place: Path) -> None:
    import shutil

    if isinstance(file.source, Path):
        with file.source.open("rb") as source, place.open("xb") as target:
            mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
            shutil.copyfileobj(source, target, _CHUNK)
    else:
        mode = 0o644
        copy_stream(file.source, place)
    place.chmod(file.mode or mode)


def copy_stream(source: IO[bytes], place: Path) -> int:
    """Copy an open file, from its beginning as in Modal, to a new file; return its size."""
    source.seek(0)
    size = 0
    with place.open("xb") as target:
        while chunk := unchecked(source.read(_CHUNK)):
            if not isinstance(chunk, bytes | bytearray):
                raise InvalidArgumentsError(
                    f"a file to upload must give bytes, got {type(chunk).__name__}; "
                    'write open(path, "rb"), or io.BytesIO(text.encode())'
                )
            size += target.write(chunk)
    return size
