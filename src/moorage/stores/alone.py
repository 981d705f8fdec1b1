"""Alone: one thread of one process at a time changes the records of a folder.

Owns `alone`.  ``directories.py`` and ``secret_files.py`` change their records in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..runtime.real import Real

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: the lock of this process alone
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone(records: Path, lock: threading.Lock) -> Generator[None]:
    """Keep others out of the folder `records`, which is made.

    Args:
        records: the folder; processes wait for each other at its file ``lock``.
        lock: keeps the threads of this process apart.
    """
    records.mkdir(parents=True, exist_ok=True)
    with lock:
        file = os.open(records / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            Real.close(file)
