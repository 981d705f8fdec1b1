"""Alone: one thread of one process at a time changes the records of a folder.

Owns `alone`.  ``directories.py`` and ``secret_files.py`` change their records in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ..runtime.real import Real
from .home import make_folder

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: the lock of this process alone
    fcntl = None  # type: ignore[assignment]


def alone(records: Path, lock: threading.Lock) -> AbstractContextManager[None]:
    """Keep others out of the folder `records`, which is made at once.

    Args:
        records: the folder; processes wait for each other at its file ``lock``.
        lock: keeps the threads of this process apart.

    Raises:
        OSError: if the folder cannot be made: see `make_folder`.
    """
    make_folder(records)
    return _alone(records, lock)


@contextmanager
def _alone(records: Path, lock: threading.Lock) -> Generator[None]:
    with lock:
        file = os.open(records / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            Real.close(file)
