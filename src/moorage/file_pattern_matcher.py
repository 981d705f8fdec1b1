"""The files that a pattern means: the rules of .dockerignore files, for ``ignore=``.

Owns `FilePatternMatcher`, which works here as in Modal.  Users and ``image.py`` make it.  The
rules are those of Docker's documentation of .dockerignore files: patterns are relative to the
root; ``*`` and ``?`` stay within a directory, ``**`` crosses any number of directories; a pattern
that matches a directory matches everything in it; ``!`` makes an exception; of the patterns that
match a path, the last one decides.

Begin at `FilePatternMatcher`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import cached_property
from os import PathLike
from pathlib import Path, PurePath

from .arguments import InvalidAttributeError, InvalidValueError, lenient, unchecked


class Pattern:
    """One line of a .dockerignore file: a pattern, and whether it makes an exception."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_exception: bool = text.startswith("!")
        path = text[1:] if self.is_exception else text
        if not path:
            raise InvalidValueError(
                f'Illegal exclusion pattern: "{text}" excepts nothing; write "!keep.txt"'
            )
        # A pattern is relative to the root, with or without a leading slash.
        self._expression = _expression(posixpath.normpath(path).lstrip("/"), text)

    def match(self, path: str) -> bool:
        """Whether a pattern matches the path or one of its parent directories."""
        while True:
            if self._expression.fullmatch(path):
                return True
            path, slash, _ = path.rpartition("/")
            if not slash or not path:
                return False

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def _expression(path: str, text: str) -> re.Pattern[str]:
    if path.startswith("**") and not re.search(r"[*?\[\\]", path[2:]):
        # `**.py` is not a directory part: it matches every path that ends in `.py`.
        ending = path[2:].lstrip("/")
        anything = ".*" if ending == path[2:] else "(?:.*/)?"
        return re.compile(anything + re.escape(ending) if path[2:].strip("/") else ".*", re.DOTALL)
    parts: list[str] = []
    at = 0
    while at < len(path):
        if path.startswith("**", at):
            at += 2
            if path.startswith("/", at):
                at += 1
            # `**` matches any number of whole directories, also none; at the end, anything.
            parts.append(".*" if at >= len(path) else "(?:.*/)?")
            continue
        char = path[at]
        at += 1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\" and at < len(path):
            parts.append(re.escape(path[at]))
            at += 1
        elif char == "[":
            # A class of characters.  A closing bracket at its beginning belongs to the class.
            inside = re.compile(r"(\^?)((?:\\.|[^\\])(?:\\.|[^\\\]])*)\]", re.DOTALL).match(
                path, at
            )
            if inside is None:
                raise InvalidValueError(
                    f"Bad pattern: {text} opens a class of characters and does not close it; "
                    r'write "[abc]", or "\[" for the bracket itself'
                )
            members = re.sub(r"(?<!\\)([\[\]&|~^])", r"\\\1", inside[2])
            parts.append(f"[{inside[1]}{members}]")
            at = inside.end()
        else:
            parts.append(re.escape(char))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise InvalidValueError(f'Bad pattern: {text}: {error}; write "[a-z]"') from None


class _Matcher:
    """The base of matchers: a function from paths to bool; ``~`` inverts it."""

    def can_prune_directories(self) -> bool:
        """Whether everything in a matching directory matches, so that it need not be searched."""
        return False

    def __call__(self, file_path: Path) -> bool:
        raise NotImplementedError

    def __invert__(self) -> _Matcher:
        """Return a matcher of exactly the other paths."""
        return _Predicate(lambda path: not self(path))


class _Predicate(_Matcher):
    def __init__(self, predicate: Callable[[Path], bool]) -> None:
        self._predicate = predicate

    def __call__(self, file_path: Path) -> bool:
        return self._predicate(file_path)


class FilePatternMatcher(_Matcher):
    """Says whether patterns match a path: ``FilePatternMatcher("**/*.py")(Path("a.py"))``.

    The patterns are read when the matcher is called the first time, not when it is made.

    Raises:
        ValueError: on that first call, for a pattern without a meaning, as in Modal.
    """

    def __init__(self, *pattern: str) -> None:
        self._read: Callable[[], list[str]] = lambda: [*pattern]
        for each in pattern:
            if not isinstance(unchecked(each), str):
                lenient(
                    f"FilePatternMatcher takes patterns as str, got {each!r}; "
                    'write FilePatternMatcher("**/*.py", "*.md")'
                )

    @classmethod
    def from_file(cls, file_path: str | PathLike[str]) -> FilePatternMatcher:
        """Return a matcher of the patterns in a file, one per line.  Read on the first call."""
        made = cls()
        made._read = lambda: Path(file_path).read_text("utf-8").splitlines()
        return made

    @cached_property
    def patterns(self) -> list[Pattern]:
        """The patterns in order, without empty lines."""
        found: list[Pattern] = []
        for each in self._read():
            if not isinstance(unchecked(each), str):
                raise InvalidAttributeError(
                    f"FilePatternMatcher takes patterns as str, got {each!r}; "
                    'write FilePatternMatcher("**/*.py")'
                )
            text = each.strip()
            if text:
                found.append(Pattern(text))
        return found

    def can_prune_directories(self) -> bool:
        return not any(pattern.is_exception for pattern in self.patterns)

    def __call__(self, file_path: Path) -> bool:
        path = PurePath(str(file_path)).as_posix()
        meant = False
        for pattern in self.patterns:
            if pattern.is_exception == meant and pattern.match(path):
                meant = not pattern.is_exception
        return meant

    def __repr__(self) -> str:
        return f"FilePatternMatcher({', '.join(repr(each.text) for each in self.patterns)})"


# The default of `ignore` in `Image.add_local_python_source`.
NON_PYTHON_FILES: _Matcher = ~FilePatternMatcher("**/*.py")
