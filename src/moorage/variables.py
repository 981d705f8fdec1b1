"""Environment variables as a value that does not show what it holds.

Owns `Variables`, and the rules of names and values that an operating system takes.  ``secret.py``,
``stores/secret_files.py`` and ``running/environment.py`` use both.  The values may be passwords:
no `repr`, error or log record has one.

Begin at `Variables`, then `checked`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .exception import InvalidError


class Variables(Mapping[str, str]):
    """Names and values.  Its `repr` has the names only, so tracebacks with locals are safe."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str | None] | None = None) -> None:
        # A value None leaves the variable out.
        self._values = {k: v for k, v in (values or {}).items() if v is not None}

    def __getitem__(self, name: str) -> str:
        found = self._values.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, other: Mapping[str, str]) -> Variables:
        """Return both together; a value of `other` comes first."""
        return Variables({**self._values, **other})

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Variables([{', '.join(self._values)}])"


def checked(where: str, variables: Mapping[str, str]) -> None:
    """Refuse what no environment of a process can hold.

    Raises:
        InvalidError: for an empty name, one with ``=``, and a NUL or a lone surrogate anywhere.
    """
    for name, value in variables.items():
        if not name or "=" in name or not _possible(name):
            raise InvalidError(
                f"{name!r} in {where} is no possible name of an environment variable: a name is "
                'not empty and has no "=" and no NUL; write {"NAME": "value"}'
            )
        if not _possible(value):
            raise InvalidError(
                f"the value for {name} in {where} has a NUL or a lone surrogate, which no "
                "environment variable can hold; encode the value, e.g. with base64"
            )


def _possible(text: str) -> bool:
    # `surrogateescape` is how Python reads bytes that are not UTF-8 from the environment.
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # its `object` is the value, so it must not be the context
        return False
    return "\0" not in text
