"""Out of memory: whether the system has killed a process because memory ran out.

Owns the count of such kills that this program has accounted for.  The system counts them for a
control group, which the processes of containers share with this program: in ``memory.events``, or
in ``memory.oom_control`` of the older kind.  It does not say whom it has killed.  So the first
container that dies by SIGKILL after such a kill is taken for the one.

Begin at `Kills.has_more`.
"""

from __future__ import annotations

import re
from typing import Final

_GROUPS: Final = "/proc/self/cgroup"
_MOUNTED: Final = "/sys/fs/cgroup"
_COUNT: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class Kills:
    """The kills of a control group for lack of memory."""

    def __init__(self) -> None:
        # Set once, before the first container starts.
        self._files: list[str] | None = None
        # Of the post's thread, after that.
        self._accounted: int = 0

    def begin(self) -> None:
        """Take note of the kills before the first container."""
        if self._files is None:
            files = files_of_groups()
            self._accounted = _count(files)
            self._files = files

    def has_more(self) -> bool:
        """Return whether there was a kill that is not accounted for, and account for it."""
        if self._files is None or _count(self._files) <= self._accounted:
            return False
        self._accounted += 1
        return True


def files_of_groups() -> list[str]:
    """Return the files that may have the count of this process's control group."""
    files: list[str] = []
    for line in _read(_GROUPS).splitlines():
        _, _, kinds_and_path = line.partition(":")
        kinds, _, path = kinds_and_path.partition(":")
        path = path.rstrip("/")
        if kinds == "":
            files.append(f"{_MOUNTED}{path}/memory.events")
        elif "memory" in kinds.split(","):
            files.append(f"{_MOUNTED}/memory{path}/memory.oom_control")
    return files


def _count(files: list[str]) -> int:
    return sum(int(number) for file in files for number in _COUNT.findall(_read(file)))


def _read(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except OSError:
        return ""


process_kills: Final = Kills()
