"""What is made on the disk for as long as programs run: directories, empty files, symlinks.

Owns `Made`.  A mount needs something to be mounted on, and ``--mounts=link`` makes symlinks.  All
of this is removed again when the program ends, by its helper (``helper.py``).

Two programs may need the same path at the same time; the last one removes it.  So each thing has a
record, a small file in a directory that all programs of a user have in common, also those with
different homes (`records_of_made` in ``stores/home.py``).  A program that uses the thing holds a
shared lock on the record.  Who can have the record for itself alone is the last one.  A program
that finds something at a path without a record leaves it alone: it belongs to the user.  A record
that is left after a power failure makes the next program remove the thing.

A program of another user does not see the records.  It may mount on what was made, and the kernel
drops a mount when the thing below it is removed.  So whoever mounts on an empty thing holds a
shared lock on the thing itself (`Made.hold`), and whoever removes the thing needs that lock alone.
Otherwise the thing and its record stay, for the next program that needs the path.

Begin at `Made.make`, then `Made.join`, `Made.hold` and `Made.remove`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ..runtime.real import Real

Kind = Literal["directory", "file", "link"]


@dataclass(frozen=True, slots=True)
class _Held:
    """One thing that this process uses.  What it is stands in the record."""

    lock: int  # the open record; the lock is shared
    record: Path
    path: str


class Made:
    """What one helper has made, or uses together with others.  One thread uses it."""

    def __init__(self) -> None:
        self._held: Final[list[_Held]] = []
        # By path: the open things on which something is mounted; the locks are shared.
        self._things: Final[dict[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def join(self, records: str, path: str) -> None:
        """Use what other programs have made at a path, and above the path, together with them.

        It stays as long as this helper lives.
        """
        if os.path.isdir(records):
            self.stays(records, path)

    def stays(self, records: str, path: str) -> bool:
        """Return whether something is at a path, and have it and what is above it stay there."""
        parts = Path(path).parts
        return all(
            self._stays(records, os.path.join(*parts[:length]))
            for length in range(2, len(parts) + 1)
        )

    def _stays(self, records: str, path: str) -> bool:
        """Do the same, for a path whose parent stays."""
        while True:
            before = _identity(path)
            if before is None:
                return False
            use = self._use(records, path)
            if use == "together":
                return os.path.lexists(path)
            # Whoever removes a thing removes its record afterwards, and whoever makes a thing
            # makes its record before.  So a thing that was there all the time, and had no record
            # in between, is the user's.
            if use == "alone" and _identity(path) == before:
                return True

    def make(self, records: str, path: str, kind: Kind, target: str = "") -> None:
        """Make something at a path, unless it is there.  Its parent is there.

        Args:
            records: the directory of the records, which is made.

        Raises:
            OSError: if it cannot be made.
        """
        if self._stays(records, path):
            return
        record = _record_of(records, path)
        held = next((held for held in self._held if held.record == record), None)
        if held is None:
            held = _Held(_locked(record, os.O_CREAT), record, path)
            self._held.append(held)
        # The record is complete before anything is there: what is there without a record is the
        # user's own.
        text = json.dumps({"path": path, "kind": kind, "target": target}).encode()
        # Not cut to nothing before: another program that makes the same, or uses it, may read now.
        os.pwrite(held.lock, text, 0)
        os.ftruncate(held.lock, len(text))
        try:
            if kind == "link":
                os.symlink(target, path)
            elif kind == "directory":
                os.mkdir(path, 0o755)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                Real.close(os.open(path, flags, 0o644))
        except FileExistsError:
            pass  # another program was faster

    def hold(self, path: str) -> bool:
        """Have the thing at a path stay there, though a program of another user may have made it.

        Call it before something is mounted there.  Returns false if nothing is there any more.
        """
        if path in self._things:
            return True
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            thing = os.open(path, flags)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # what was made can be opened
        is_there = True
        try:
            if _is_empty(thing):
                # Not with a wait: who locks a directory of the user's own would stop the program.
                fcntl.flock(thing, fcntl.LOCK_SH | fcntl.LOCK_NB)
                # 1. This program opened it.  2. Another one removed it.  3. This one got the lock.
                is_there = os.path.samestat(os.fstat(thing), os.lstat(path))
                if is_there:
                    self._things[path] = thing
        except FileNotFoundError:
            is_there = False
        except OSError:
            pass  # it is locked by others, or cannot be locked here
        finally:
            if path not in self._things:
                Real.close(thing)
        return is_there

    def _use(self, records: str, path: str) -> Literal["together", "alone", "gone"]:
        """Use what is at a path, if another program has made it.

        Returns "together" if this object has its record now, "alone" if there is none, or the user
        has put something else there, and "gone" if another program has just removed it.
        """
        record = _record_of(records, path)
        if any(held.record == record for held in self._held):
            return "together"
        if not record.exists():
            return "alone"
        try:
            held = _Held(_locked(record), record, path)
        except OSError:
            return "gone"
        if os.path.lexists(path) and not _is_as_made(held):
            # The user has put something else there.
            if _is_last(held):
                _forget(held)
            Real.close(held.lock)
            return "alone"
        self._held.append(held)
        return "together"

    def remove(self) -> None:
        """Remove what was made, unless another program uses it, or it has changed."""
        records = {held.record.parent for held in self._held}
        # Before this program asks whether it is the last one.  Else neither of two that end at the
        # same time removes the thing: the first to ask is not the last one, and the second, which
        # is, would still find the thing held.
        for thing in self._things.values():
            _let_go(thing)
        in_use: list[str] = []  # by programs of other users
        while self._held:
            held = self._held.pop()  # what is in a directory comes before the directory
            if _is_last(held):
                has_more = any(path.startswith(held.path + os.sep) for path in in_use)
                if has_more or not _is_alone(self._things.get(held.path)):
                    in_use.append(held.path)
                else:
                    try:
                        if _is_as_made(held):
                            _remove(held)
                    except OSError:
                        pass  # the user put something into the directory
                    _forget(held)
            Real.close(held.lock)
        while self._things:
            Real.close(self._things.popitem()[1])
        for directory in records:
            try:
                directory.rmdir()
            except OSError:
                pass  # other programs have records


def _identity(path: str) -> tuple[int, int, int] | None:
    """Return what tells the thing at a path from another one there later; None if none is there."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _record_of(records: str, path: str) -> Path:
    return Path(records) / hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


def _locked(record: Path, flags: int = 0) -> int:
    """Open a record, and lock it together with others.

    Raises:
        FileNotFoundError: if it is not there, and `flags` do not create it.
    """
    while True:
        if flags and not _has_directory(record.parent):
            continue
        try:
            lock = os.open(record, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        except FileNotFoundError:
            if flags:
                continue  # the directory went, with the last record of another program
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        except OSError:
            return lock  # a file system without locks: the first who ends removes
        # 1. Another program opened this record.  2. That program removed the record.  3. This one
        # got the lock, of a file that nobody will find.
        try:
            if os.path.samestat(os.fstat(lock), os.stat(record)):
                return lock
        except FileNotFoundError:
            pass
        Real.close(lock)


def _has_directory(path: Path) -> bool:
    """Make a directory; return false if another program has removed it in between.

    Raises:
        OSError: if it cannot be made.
    """
    try:
        # 1. The directory is there: FileExistsError.  2. Another program removes it.  3. `mkdir`
        # finds no directory, and raises the error although `exist_ok` is true.
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        try:
            is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False
        if not is_directory:
            raise
    return True


def _is_last(held: _Held) -> bool:
    # flock() gives the shared lock up before it asks for the other one.  So of two programs that
    # end at the same time, the second to ask gets the lock.
    return _locks_alone(held.lock)


def _let_go(thing: int) -> None:
    try:
        fcntl.flock(thing, fcntl.LOCK_UN)
    except OSError:
        pass  # see `_locks_alone`


def _is_alone(thing: int | None) -> bool:
    """Whether nobody else has something mounted on a thing; `thing` is None if nobody here has."""
    return thing is None or _locks_alone(thing)


def _locks_alone(file: int) -> bool:
    """Lock an open file alone; return false if others have locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def _is_empty(thing: int) -> bool:
    found = os.fstat(thing)
    if stat.S_ISDIR(found.st_mode):
        return not os.listdir(thing)
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _forget(held: _Held) -> None:
    try:
        held.record.unlink()
    except OSError:
        pass


def _is_as_made(held: _Held) -> bool:
    """Whether what is at the path is what the record says."""
    try:
        said = json.loads(os.pread(held.lock, 65536, 0))
        found = os.lstat(held.path)
        if said["kind"] == "link":
            return stat.S_ISLNK(found.st_mode) and os.readlink(held.path) == said["target"]
        if said["kind"] == "directory":
            return stat.S_ISDIR(found.st_mode)
    except (OSError, ValueError, LookupError, TypeError):
        return False  # e.g. a program was killed before it wrote the record
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _remove(held: _Held) -> None:
    try:
        os.unlink(held.path)
    except (IsADirectoryError, PermissionError):  # macOS says the latter of a directory
        os.rmdir(held.path)
