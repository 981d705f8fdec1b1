"""Queues: first-in, first-out queues at Modal, through which containers pass values.

Owns `Queue`, a placeholder; users make it.  A `Queue` holds nothing, and every operation on its
contents raises `UnimplementedError`.  Containers here share one process, so the standard library's
``queue.Queue`` does the same.

Begin at `Queue.from_name`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from .arguments import InvalidAttributeError, InvalidUseError, check_name, unchecked
from .client import Client
from .exception import InvalidError
from .object import Manager, Object
from .old import names as old_names
from .types import QueueInfo
from .with_aio import IteratorMethodWithAio, MethodWithAio, plain_context

_INSTEAD = "use queue.Queue of the standard library, or asyncio.Queue within one function"


class QueueManager(Manager["Queue"]):
    """Lists and deletes the queues at Modal: the type of `Queue.objects`."""

    @MethodWithAio
    def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        check_name(name, "Queue", 'Queue.objects.create("my-queue")')
        raise self._unimplemented("create")


class Queue(Object):
    """A queue at Modal.  Here it can be named and passed on, but not used."""

    _made_by = 'Queue.from_name("my-queue", create_if_missing=True)'
    _instead = _INSTEAD
    objects: ClassVar[QueueManager] = QueueManager("Queue.objects", _INSTEAD)

    def __init__(self) -> None:
        raise InvalidUseError(f"Queue() makes nothing by itself; write {self._made_by}")

    @property
    def name(self) -> str | None:
        """The name given to `from_name`; None for an object made in another way."""
        return self._name

    @staticmethod
    def validate_partition_key(partition: str | None) -> bytes:
        """Return the key of a partition as bytes; empty for None, the default partition.

        Raises:
            InvalidError: if the key does not have 1 to 64 bytes in UTF-8.
        """
        if partition is None:
            return b""
        advice = 'write partition="my-partition"'
        if not isinstance(unchecked(partition), str):
            raise InvalidAttributeError(f"partition must be a str, got {partition!r}; {advice}")
        key = partition.encode()
        if not 1 <= len(key) <= 64:
            raise InvalidError(f"partition must have 1 to 64 bytes, got {len(key)}; {advice}")
        return key

    if not TYPE_CHECKING:  # old spellings
        lookup = old_names.from_name("Queue")
        persisted = old_names.persisted("Queue")
        new = old_names.new("Queue")

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
    ) -> Queue:
        """Name a queue.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        check_name(name, "Queue", Queue._made_by)
        return Queue._named(name, environment_name)

    @staticmethod
    def from_id(queue_id: str, client: Client | None = None) -> Queue:
        """Name a queue by Modal's id."""
        return Queue._new(f"Queue.from_id({queue_id!r})")

    @staticmethod
    @plain_context
    def ephemeral(client: Client | None = None, environment_name: str | None = None) -> Queue:
        """Return a context manager with a queue without a name, for ``with`` or ``async with``."""
        return Queue._new("Queue.ephemeral()")

    @MethodWithAio
    def info(self) -> QueueInfo:
        raise self._unimplemented("info")

    @MethodWithAio
    def clear(self, *, partition: str | None = None, all: bool = False) -> None:
        raise self._unimplemented("clear")

    @MethodWithAio
    def get(
        self, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Any:
        raise self._unimplemented("get")

    @MethodWithAio
    def get_many(
        self,
        n_values: int,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
    ) -> list[Any]:
        raise self._unimplemented("get_many")

    @MethodWithAio
    def put(
        self,
        v: object,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = 86400,
    ) -> None:
        raise self._unimplemented("put")

    @MethodWithAio
    def put_many(
        self,
        vs: list[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = 86400,
    ) -> None:
        raise self._unimplemented("put_many")

    @MethodWithAio
    def len(self, *, partition: str | None = None, total: bool = False) -> int:
        raise self._unimplemented("len")

    @IteratorMethodWithAio
    def iterate(
        self, *, partition: str | None = None, item_poll_timeout: float = 0.0
    ) -> Iterator[Any]:
        raise self._unimplemented("iterate")


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Queue = Queue
