"""Symlinks at the paths of volumes, for ``--mounts=link``.

Owns `link`, and `Links`, which runs in the helper.  A path that is not there becomes a symlink to
the directory of the volume, and is removed when the program ends, however the program ends
(``helper.py``, ``made.py``).  What is at a path is never replaced.

Begin at `link`, then `Links.place`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from typing import Final

from . import helper
from .made import Made
from .place import Outcome, Place, Wanted, state


def link(*, outlives_exec: bool = False) -> Place:
    """Have missing paths made symlinks, by a helper.

    Call it before the program is imported; threads may be there.

    Raises:
        OSError: if there cannot be another process, or socket.
    """
    place, _ = helper.start("links", lambda: (Links(), ()), outlives_exec=outlives_exec)
    state.place, state.why_not = place, None
    atexit.register(place.close)
    return place


class Links:
    """What the helper of one program has linked.  One thread uses it."""

    def __init__(self) -> None:
        self._made: Final = Made()
        self._linked: Final[dict[str, Wanted]] = {}  # by path

    def place(
        self, wanted: Sequence[Wanted], *, records: str, keep: Sequence[str]
    ) -> list[Outcome]:
        """Make symlinks.  Returns one outcome for each, in their order."""
        outcomes: dict[int, Outcome] = {}
        for number in sorted(range(len(wanted)), key=lambda number: wanted[number].path.count("/")):
            each = wanted[number]
            try:
                outcomes[number] = self._put(each, records)
            except OSError as error:
                outcomes[number] = Outcome(each.path, "failed", str(error))
        return [outcomes[number] for number in range(len(wanted))]

    def clean(self) -> None:
        """Remove the symlinks, and the directories that were made for them."""
        self._made.remove()

    def _put(self, wanted: Wanted, records: str) -> Outcome:
        path = wanted.path
        os.stat(wanted.source)  # a symlink to nothing helps nobody
        before = self._linked.get(path)
        is_there = _leads_to(path, wanted.source)
        # Perhaps the symlink of another program, which ends before this one.
        self._made.join(records, path)
        if is_there and _leads_to(path, wanted.source):
            return Outcome(path, "linked" if before is not None else "there")
        if before is not None:
            return Outcome(path, "taken", before.shown)
        if os.path.lexists(path):
            return Outcome(path, "kept")
        above = [each for at, each in self._linked.items() if path.startswith(at + "/")]
        if any(not each.may_hold for each in above):
            return Outcome(path, "failed", "the path is below files that the image adds")
        parent = os.path.dirname(path)
        parents: list[str] = []
        while not self._made.stays(records, parent):
            parents.append(parent)
            parent = os.path.dirname(parent)
        for parent in reversed(parents):
            self._made.make(records, parent, "directory")
        self._made.make(records, path, "link", wanted.source)
        self._linked[path] = wanted
        return Outcome(path, "linked")


def _leads_to(path: str, source: str) -> bool:
    return os.path.exists(path) and os.path.samefile(path, source)
