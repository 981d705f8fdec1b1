"""The streams of a process in a sandbox: names for annotations.

Owns `StreamReader` and `StreamWriter`.  There are no sandboxes in this process, so no object of
them is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from .arguments import unimplemented
from .with_aio import MethodWithAio

T = TypeVar("T", str, bytes)

_INSTEAD = "use subprocess.Popen(...).stdout and .stdin"


class StreamReader(Generic[T]):
    """The output of a process in a sandbox."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise unimplemented("StreamReader", _INSTEAD)

    @MethodWithAio
    def read(self) -> T:
        raise unimplemented("StreamReader.read", _INSTEAD)

    def __iter__(self) -> Iterator[T]:
        raise unimplemented("StreamReader", _INSTEAD)

    def __aiter__(self) -> AsyncIterator[T]:
        raise unimplemented("StreamReader", _INSTEAD)


class StreamWriter:
    """The input of a process in a sandbox."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise unimplemented("StreamWriter", _INSTEAD)

    def write(self, data: bytes | bytearray | memoryview | str) -> None:
        raise unimplemented("StreamWriter.write", _INSTEAD)

    def write_eof(self) -> None:
        raise unimplemented("StreamWriter.write_eof", _INSTEAD)

    @MethodWithAio
    def drain(self) -> None:
        raise unimplemented("StreamWriter.drain", _INSTEAD)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _StreamReader = StreamReader
    _StreamWriter = StreamWriter
