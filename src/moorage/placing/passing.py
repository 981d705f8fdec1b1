"""Streams that share a terminal with a live line.

Owns `Passing`, in the place of ``sys.stdout`` and ``sys.stderr``: what the program prints there
goes first, and removes the live line (`Beside`).  In the program's own process that is the live
line of ``cli/progress.py``; in the process of a container, see ``terminal.py``.

Begin at `Passing.write`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from ..runtime.real import Real

# Characters of a begun line above which the line is written though it has not ended.
LONGEST_HELD: Final = 8192


class Beside(Protocol):
    """What writes the live line."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while something is written to the terminal."""
        ...

    @property
    def is_shown(self) -> bool:
        """Whether there may be a live line."""
        ...

    def before_text(self) -> str:
        """Remove the live line, or return what does so if it is written before the text."""
        ...

    def after_text(self, is_begun: bool) -> None:
        """Note what was written, and whether its last line has not ended."""
        ...


class Passing:
    """A stream of the program: what is written removes the live line first.

    Lines of threads that print at once stay whole: `print` writes a line in several parts.  A part
    of a line is written when the line ends, or at a `flush`, as by a stream of Python's.  Whoever
    wants unbuffered streams (``python -u``) gets them.
    """

    def __init__(self, beside: Beside, stream: Any) -> None:
        self._beside = beside
        self._stream = stream
        # The lines that threads have begun, by the thread.  Guarded by the lock of `beside`.
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        with self._beside.lock:
            line = self._begun.pop(Real.get_ident(), "") + text
            whole = line[: max(line.rfind("\n"), line.rfind("\r")) + 1]
            if len(line) - len(whole) > LONGEST_HELD or not self._holds:
                whole = line
            if whole != line:
                self._begun[Real.get_ident()] = line[len(whole) :]
            self._pass(whole)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what this thread has begun, too."""
        with self._beside.lock:
            self._pass(self._begun.pop(Real.get_ident(), ""))
        self._stream.flush()

    def end(self) -> None:
        """Write all that was begun."""
        with self._beside.lock:
            self._pass("".join(self._begun.values()))
            self._begun.clear()

    @property
    def _holds(self) -> bool:
        is_unbuffered = getattr(self._stream, "write_through", False)
        return not is_unbuffered and self._beside.is_shown

    def _pass(self, text: str) -> None:
        if not text:
            return
        self._stream.write(self._beside.before_text() + text)
        self._beside.after_text(not text.endswith("\n"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)
