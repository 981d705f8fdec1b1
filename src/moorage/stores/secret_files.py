"""Secret files: the named secrets of this user, each a ``.env`` file that only the user can read.

Owns ``<home>/<environment>/secrets/<name>.env`` (mode 600), the notes with their ids beside them
(``records/secrets/<name>.json``), and the text of such a file.  ``secret.py`` calls this file.  A
file may be written by hand; a file without a note gets one when it is looked up.

A change is a new file that replaces the old one in one step, under a lock of the directory that
other processes respect.  No user code runs under the lock.

Begin at `SecretFiles`, then `parse`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..exception import InvalidError
from ..runtime import forking
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..variables import Variables, checked
from .alone import alone
from .home import directory_of, environment_of, home
from .records import Record, already_exists, new_id

_KIND: Final = "Secret"


class SecretFiles:
    """The named secrets, and those without a name, which are in memory.  See `Catalogue`."""

    def __init__(self) -> None:
        self._lock = Real.Lock()
        # Where each id was found: the environment and the name.  Single operations, no lock.
        self._places: dict[str, tuple[str, str]] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        self._lock = Real.Lock()

    # -- the catalogue -------------------------------------------------------------------------

    @uninterruptible
    def find(self, environment: str, name: str) -> Record | None:
        """Return the record of a name; None if there is no such file."""
        if not _is_there(environment, name):
            return None
        found = self._noted(environment, name)
        if found is None:
            with self._locked(environment):
                found = self._noted(environment, name) or self._note(environment, name)
        return found

    @uninterruptible
    def of_id(self, object_id: str) -> Record | None:
        """Return the record of an id; None if there is no such secret any more."""
        known = self._places.get(object_id)
        places = [] if known is None else [known]
        if re.fullmatch("st-[A-Za-z0-9]{22}", object_id):
            places += [(e, name) for e in _environments() for name in _names(e)]
        for environment, name in places:
            record = self._noted(environment, name) if _is_there(environment, name) else None
            if record is not None and record.object_id == object_id:
                return record
        return None

    def create(self, environment: str, name: str, *, allow_existing: bool = True) -> Record:
        """Make an empty secret, or return the one that is there."""
        return self.put(environment, name, Variables(), allow_existing=allow_existing)

    def create_ephemeral(self, environment: str) -> Record:
        """Make a record without a name.  The values are the handle's own."""
        return Record(new_id("st"), environment, None, datetime.now(UTC).astimezone())

    @uninterruptible
    def delete(self, record: Record) -> bool:
        """Remove the file; false if it is not there any more."""
        if record.name is None:
            return False
        with self._locked(record.environment):
            found = self._noted(record.environment, record.name)
            if found is None or found.object_id != record.object_id:
                return False
            try:
                _file(record.environment, record.name).unlink()
            except FileNotFoundError:
                return False
            finally:
                _note_file(record.environment, record.name).unlink(missing_ok=True)
        self._places.pop(record.object_id, None)
        return True

    @uninterruptible
    def named(self, environment: str) -> Iterable[Record]:
        """Return the records of an environment, in the order in which they were made."""
        found = [self.find(environment, name) for name in _names(environment)]
        return sorted((each for each in found if each), key=lambda each: each.created_at)

    # -- values --------------------------------------------------------------------------------

    @uninterruptible
    def put(
        self,
        environment: str,
        name: str,
        values: Variables,
        *,
        allow_existing: bool,
        replaces: bool = False,
    ) -> Record:
        """Write a new secret.  One that is there stays as it is, or gets new values.

        Args:
            environment: where the secret is.
            name: its name.
            values: all its variables.
            allow_existing: whether the secret may be there.
            replaces: whether a secret that is there then has `values` and nothing else.

        Raises:
            AlreadyExistsError: if the secret is there, and `allow_existing` is false.
            InvalidError: if a name or value is impossible.
        """
        checked(f"the secret {name!r}", values)
        with self._locked(environment):
            if not _is_there(environment, name):
                _write(_file(environment, name), values)
                return self._note(environment, name)
            if not allow_existing:
                raise already_exists(_KIND, name, environment)
            if replaces:
                _write(_file(environment, name), values)
            return self._noted(environment, name) or self._note(environment, name)

    @uninterruptible
    def update(self, environment: str, name: str, values: Variables) -> None:
        """Change and add values.  The comments of a file written by hand go.

        Raises:
            FileNotFoundError: if there is no such secret.
            InvalidError: if a name or value is impossible, or the file cannot be read.
        """
        checked(f"the secret {name!r}", values)
        with self._locked(environment):
            file = _file(environment, name)
            _write(file, parse(file.read_bytes(), str(file)) | values)

    @uninterruptible
    def values(self, environment: str, name: str) -> tuple[Variables, str] | None:
        """Return the values of a secret and the path of its file; None if there is no file.

        Raises:
            InvalidError: if the file is broken.  The error names the line, and shows no text.
        """
        file = _file(environment, name)
        if not _is_there(environment, name):
            return None
        return parse(file.read_bytes(), str(file)), str(file)

    # -- parts ---------------------------------------------------------------------------------

    def _noted(self, environment: str, name: str) -> Record | None:
        """Read a note; None if there is none that can be read."""
        try:
            note: Any = json.loads(_note_file(environment, name).read_text("utf-8"))
            made = datetime.fromtimestamp(float(note["created_at"]), UTC).astimezone()
            record = Record(str(note["id"]), environment, name, made)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None
        self._places[record.object_id] = environment, name
        return record

    def _note(self, environment: str, name: str) -> Record:
        """Write a note.  Under the lock."""
        record = Record(new_id("st"), environment, name, datetime.now(UTC).astimezone())
        note = {"id": record.object_id, "created_at": record.created_at.timestamp()}
        _replace(_note_file(environment, name), json.dumps(note).encode())
        self._places[record.object_id] = environment, name
        return record

    def _locked(self, environment: str) -> AbstractContextManager[None]:
        return alone(directory_of(environment) / "records" / "secrets", self._lock)


def others_can_read(path: str) -> bool:
    """Whether other users may read or write a file."""
    return os.name == "posix" and bool(os.stat(path).st_mode & 0o077)


def _file(environment: str, name: str) -> Path:
    return directory_of(environment) / "secrets" / f"{name}.env"


def _note_file(environment: str, name: str) -> Path:
    return directory_of(environment) / "records" / "secrets" / f"{name}.json"


def _names(environment: str) -> list[str]:
    try:
        found = os.listdir(directory_of(environment) / "secrets")
    except OSError:
        return []
    return sorted(each[:-4] for each in found if each.endswith(".env") and each != ".env")


def _is_there(environment: str, name: str) -> bool:
    # The disk may not tell "Key" from "key"; the names of secrets do.
    return name in _names(environment)


def _environments() -> list[str]:
    current = environment_of(None)
    try:
        others = sorted(each for each in os.listdir(home()) if each != current)
    except OSError:
        others = []
    return [current, *others]


def _write(file: Path, values: Mapping[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(file, text_of(values).encode("utf-8", "surrogateescape"))


def _replace(file: Path, data: bytes) -> None:
    """Write a file of mode 600 in one step."""
    new = file.with_name(f".{secrets.token_hex(8)}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
        os.replace(new, file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


# -- the text ----------------------------------------------------------------------------------

_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
_MEANT: Final = {"n": "\n", "r": "\r", "t": "\t"}
# A name, and what follows the "=".
_NAME: Final = r"[^\s=#'\"]+"
_LINE: Final = re.compile(rf"[ \t]*(?:export[ \t]+)?({_NAME})[ \t]*=[ \t]*")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE: Final = re.compile(r"'([^']*)'")
_PLAIN: Final = re.compile(r"[^\r\n]*")
_REST: Final = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n|\Z)")


def text_of(values: Mapping[str, str]) -> str:
    """Return the text of a file with these values.

    Raises:
        InvalidError: for a name that a line of a file cannot begin with.
    """
    lines: list[str] = []
    for name, value in values.items():
        if not re.fullmatch(_NAME, name) or name == "export":
            raise InvalidError(
                f"{name!r} is no possible name in a secret: a name has no spaces, quotes or '#'; "
                'write {"NAME": "value"}'
            )
        escaped = "".join(_ESCAPED.get(each, each) for each in value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def parse(data: bytes, where: str) -> Variables:
    r"""Return the values in the text of a file.

    A line is ``NAME=value``, perhaps after ``export``.  A value in double quotes may have escapes
    (``\n``, ``\"``, ``\$``) and line ends, one in single quotes is as it is; a value without
    quotes ends at `` #`` or the end of the line.  Nothing is put in for ``$NAME``.

    Raises:
        InvalidError: for another line; the error has its number, and no text of the file.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    found: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        rest = _REST.match(text, at)
        if rest is not None:  # an empty line, or a comment
            at = max(rest.end(), at + 1)
            continue
        start = _LINE.match(text, at)
        if start is None:
            raise _broken(where, text, at)
        name, at = start[1], start.end()
        quoted = _DOUBLE.match(text, at) or _SINGLE.match(text, at)
        if quoted is not None:
            value = quoted[1]
            if text[at] == '"':
                value = re.sub(r"\\(.)", lambda m: _MEANT.get(m[1], m[1]), value, flags=re.DOTALL)
            rest = _REST.match(text, quoted.end())
            if rest is None:
                raise _broken(where, text, at)
            end = rest.end()
        elif text[at : at + 1] in ("'", '"'):
            raise _broken(where, text, at)  # no second quote
        else:
            plain = _PLAIN.match(text, at)
            assert plain is not None
            value, end = re.sub(r"(^|\s)#.*", "", plain[0]).strip(), plain.end()
        found[name] = value
        at = end
    values = Variables(found)
    checked(where, values)
    return values


def _broken(where: str, text: str, at: int) -> InvalidError:
    line = len(re.findall(r"\r\n|\r|\n", text[:at])) + 1
    return InvalidError(
        f'line {line} of {where} is not of the form NAME="value"; write that, or remove the line'
    )
