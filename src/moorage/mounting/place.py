"""The place of this process: who makes paths lead to the files of volumes, and how to ask.

Owns `Place`, which asks the helper of a program (``helper.py``), what it is asked (`Wanted`), what
it answers (`Outcome`), and `WhyNot`, the reason why there is none.  `current` is the `Place` of
this process: that of the command line, or that of ``moorage mounts``, which has started this
program and names its helper in the environment.

``running/mounts.py`` asks `current`.  Begin at `Place.mount`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ..runtime.real import Real

Way = Literal["namespace", "links"]

# mounted, linked: the path leads to the files now.
# there: the path led to the files already, and was left alone.
# taken: something else was mounted at the path before; `detail` is its `Wanted.shown`.
# needed: the program is below that path; `detail` is what is there.
# kept: something else is at the path, and symlinks go over nothing.
# failed: `detail` says why.
How = Literal["mounted", "linked", "there", "taken", "needed", "kept", "failed"]

# In the environment of a program that ``moorage mounts`` has started: how, and its helper.
VARIABLE: Final = "MOORAGE_MOUNTS"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One path, and the directory or file that it is to lead to."""

    path: str  # absolute
    source: str  # absolute
    read_only: bool = False
    shown: str = ""  # for messages
    # Whether directories may be made in the source, for paths below this one.
    may_hold: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one path."""

    path: str
    how: How
    detail: str = ""

    @property
    def is_in_place(self) -> bool:
        """Whether the path leads to the files."""
        return self.how in ("mounted", "linked", "there")


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why there are no mounts: one line that says what to do."""

    text: str

    def __str__(self) -> str:
        return self.text


class Place:
    """The helper of a program, which makes paths lead to the files of volumes.

    All threads may call it, and forked children too: each question has a connection of its own.
    """

    def __init__(self, way: Way, address: str, token: str, pid: int | None = None) -> None:
        """Name a helper.

        Args:
            address: where it listens, which everybody can see.
            token: what only this program and its helper know.
            pid: its process, if that is known.
        """
        self.way: Final = way
        self._token = token
        self.pid: Final = pid
        self._address = address
        self._pid = os.getpid()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Place {self.way} pid={self.pid}>"

    @property
    def variable(self) -> str:
        """The value of `VARIABLE` for a program that is to find this place."""
        return f"{self.way}:{self._token}:{self._address}"

    def mount(
        self, wanted: Iterable[Wanted], *, records: str = "", keep: Iterable[str] = ()
    ) -> list[Outcome]:
        """Make paths lead to their sources.  Returns one outcome for each, in their order.

        Paths that were mounted before may be asked for again.

        Args:
            wanted: the paths; those below others may come in any order.
            records: a directory of this user for the records of what is made (``made.py``).
            keep: nothing is mounted over these paths, nor over a directory that has one of them.

        Raises:
            OSError: if the helper is gone, or belongs to another namespace.
        """
        asked = [asdict(each) for each in wanted]
        if not asked:
            return []
        answer = self._ask({"mount": asked, "records": records, "keep": list(keep)})
        return [Outcome(**each) for each in answer["outcomes"]]

    def close(self) -> None:
        """Remove what was made on the disk, and end the helper.

        The helper does the same when the program ends in any other way.  A forked child changes
        nothing.
        """
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed = True
        try:
            self._ask({"close": True})
        except OSError:
            pass  # the helper is gone

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        question["token"] = self._token
        if self.way == "namespace":
            question["namespace"] = namespace()
        # The null byte of the kernel's own names stands as "@" in texts.
        address = "\0" + self._address[1:] if self._address[:1] == "@" else self._address
        with Real.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(address)
            connection.sendall(json.dumps(question).encode())
            connection.shutdown(socket.SHUT_WR)
            chunks: list[bytes] = []
            while chunk := connection.recv(65536):
                chunks.append(chunk)
        if not chunks:
            raise ConnectionError("the helper that mounts has ended")
        answer: dict[str, Any] = json.loads(b"".join(chunks))
        if "error" in answer:
            raise OSError(answer["error"])
        return answer


def line(outcomes: Iterable[Outcome]) -> str:
    """Say in one line what was mounted; nothing if nothing was."""
    there = {each.path: each.how for each in outcomes if each.is_in_place}
    words = {"mounted": "mounted", "linked": "linked", "there": "in place"}
    parts = [
        f"{word}: {', '.join(path for path, how in there.items() if how == each)}"
        for each, word in words.items()
        if each in there.values()
    ]
    return "; ".join(parts)


def namespace() -> int:
    """Return the number of the mount namespace of this process."""
    return os.stat("/proc/self/ns/mnt").st_ino


class _State:
    """What `namespace.enter` and `links.link` found out, for this process."""

    __slots__ = ("place", "why_not")

    def __init__(self) -> None:
        self.place: Place | None = None
        self.why_not: WhyNot | None = None


state: Final = _State()


def current() -> Place | None:
    """Return the place of this process, if there is one."""
    if state.place is None:
        # Not kept: the environment of a child may say something else.
        match os.environ.get(VARIABLE, "").split(":", 2):
            case ["namespace" | "links" as way, token, address] if address:
                return Place("namespace" if way == "namespace" else "links", address, token)
            case _:
                pass
    return state.place
