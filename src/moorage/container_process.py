"""A process in a sandbox: a name for annotations.

Owns `ContainerProcess`.  There are no sandboxes in this process, so no object of it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from .arguments import unimplemented
from .io_streams import StreamReader, StreamWriter, T
from .with_aio import MethodWithAio

_INSTEAD = "use subprocess.Popen"


class ContainerProcess(Generic[T]):
    """The type of ``sandbox.exec(...)`` at Modal."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise unimplemented("ContainerProcess", _INSTEAD)

    @property
    def stdout(self) -> StreamReader[T]:
        raise unimplemented("ContainerProcess.stdout", _INSTEAD)

    @property
    def stderr(self) -> StreamReader[T]:
        raise unimplemented("ContainerProcess.stderr", _INSTEAD)

    @property
    def stdin(self) -> StreamWriter:
        raise unimplemented("ContainerProcess.stdin", _INSTEAD)

    @property
    def returncode(self) -> int:
        raise unimplemented("ContainerProcess.returncode", _INSTEAD)

    @MethodWithAio
    def poll(self) -> int | None:
        raise unimplemented("ContainerProcess.poll", _INSTEAD)

    @MethodWithAio
    def wait(self) -> int:
        raise unimplemented("ContainerProcess.wait", _INSTEAD)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _ContainerProcess = ContainerProcess
