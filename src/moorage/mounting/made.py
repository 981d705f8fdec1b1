"""What is made on the disk for as long as programs run: directories, empty files, symlinks.

Owns `Made`.  A mount needs something to be mounted on, and ``--mounts=link`` makes symlinks.  All
of this is removed again when the program ends, by its helper (``helper.py``).

Two programs may need the same path at the same time; the last one removes it.  So each thing has a
record, a small file in the home.  A program that uses the thing holds a shared lock on the record.
Who can have the record for itself alone is the last one.  A program that finds something at a path
without a record leaves it alone: it belongs to the user.  A record that is left after a power
failure makes the next program remove the thing.

Begin at `Made.make`, then `Made.remove`.
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
    """One thing that this process uses.  The lock on the record is shared."""

    lock: int  # the open record
    record: Path
    path: str
    kind: Kind
    target: str  # of a symlink


class Made:
    """What one helper has made, or uses together with others.  One thread uses it."""

    def __init__(self) -> None:
        self._held: Final[list[_Held]] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    def make(self, records: str, path: str, kind: Kind, target: str = "") -> None:
        """Make something at a path, unless it is there.  Its parent is there.

        Args:
            records: the directory of the records, which is made.

        Raises:
            OSError: if it cannot be made.
        """
        record = Path(records) / hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
        if os.path.lexists(path) and not record.exists():
            return  # the user's own
        held = _Held(_locked(record), record, path, kind, target)
        self._held.append(held)
        if os.path.lexists(path):
            if _is_as_made(held) and _text_of(held) == os.pread(held.lock, 65536, 0):
                return  # another program's, which runs, or was killed together with its helper
            self._held.pop()
            _give_up(held)
            return
        # The record is complete before anything is there: see the end of the file's docstring.
        os.ftruncate(held.lock, 0)
        os.pwrite(held.lock, _text_of(held), 0)
        try:
            _make(held)
        except FileExistsError:
            pass  # another program was faster
        except OSError:
            self._held.pop()
            _give_up(held)
            raise

    def remove(self) -> None:
        """Remove what was made, unless another program uses it, or it has changed."""
        records = {held.record.parent for held in self._held}
        while self._held:
            held = self._held.pop()
            if _is_last(held):
                try:
                    if _is_as_made(held):
                        _remove(held)
                except OSError:
                    pass  # the user put something into the directory
                _forget(held)
            Real.close(held.lock)
        for directory in records:
            try:
                directory.rmdir()
            except OSError:
                pass  # other programs have records


def _locked(record: Path) -> int:
    """Open a record, and lock it together with others."""
    while True:
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            lock = os.open(record, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the directory went, with the last record of another program
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


def _is_last(held: _Held) -> bool:
    # flock() gives the shared lock up before it asks for the other one.  So of two programs that
    # end at the same time, the second to ask gets the lock.
    try:
        fcntl.flock(held.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # see `_locked`
    return True


def _give_up(held: _Held) -> None:
    """Leave what is at the path to the user."""
    if _is_last(held):
        _forget(held)
    Real.close(held.lock)


def _forget(held: _Held) -> None:
    try:
        held.record.unlink()
    except OSError:
        pass


def _text_of(held: _Held) -> bytes:
    made = {"path": held.path, "kind": held.kind, "target": held.target}
    return json.dumps(made, sort_keys=True).encode()


def _make(held: _Held) -> None:
    if held.kind == "link":
        os.symlink(held.target, held.path)
    elif held.kind == "directory":
        os.mkdir(held.path, 0o755)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        Real.close(os.open(held.path, flags, 0o644))


def _is_as_made(held: _Held) -> bool:
    try:
        found = os.lstat(held.path)
        if held.kind == "link":
            return stat.S_ISLNK(found.st_mode) and os.readlink(held.path) == held.target
    except OSError:
        return False
    if held.kind == "directory":
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _remove(held: _Held) -> None:
    if held.kind == "directory":
        os.rmdir(held.path)
    else:
        os.unlink(held.path)
