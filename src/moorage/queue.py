"""Queues: first-in, first-out queues through which functions pass values.

Owns `Queue`; users make it.  A queue holds bytes, in this process or in a file of its environment:
see ``stores/kept.py``.  Items are pickled here, before and after the one step of a method, so user
code runs under no lock.  ``stores/blocking.py`` owns the waits, ``stores/lines.py`` who is served.

Begin at `Queue.get`, then `Queue._open`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from . import config
from .arguments import (
    InvalidArgumentsError,
    InvalidAttributeError,
    InvalidUseError,
    InvalidValueError,
    lenient,
    unchecked,
)
from .client import Client
from .exception import InvalidError, RequestSizeError, UnpicklableError
from .frames import warn
from .named_objects import NamedObjects, use_contents_elsewhere
from .object import Stored
from .old import names as old_names
from .runtime.clocks.clock import system_clock
from .runtime.thread_state import thread_state
from .stores.blocking import (
    clock_here,
    get,
    get_async,
    next_item,
    next_item_async,
    put,
    put_async,
)
from .stores.kept import Kept
from .stores.lines import Getter, Lines, Putter, Watcher
from .stores.partitions import MOST_ITEMS, MemoryItems
from .stores.sqlite_catalogue import Table
from .stores.sqlite_items import SqliteItems
from .stores.values import dumps, loads, unreadable
from .types import QueueInfo
from .with_aio import (
    after_a_turn,
    ending_context,
    hidden,
    iteration_with_aio,
    one_turn,
    with_aio,
)

# In strict mode, as in Modal: the most bytes of an item, and of a partition.
MOST_BYTES: Final = 2**20
MOST_BYTES_OF_PARTITION: Final = 64 * 2**20

DAY: Final = 86400


def _in_memory() -> Lines:
    return Lines(MemoryItems())


def _in_file(table: Table) -> Lines:
    lines = Lines(SqliteItems(table))
    lines.gone = not table.number
    return lines


_KEPT: Final[Kept[Lines]] = Kept("Queue", "qu", _in_memory, _in_file)


class QueueManager(NamedObjects["Queue"]):
    """Creates, lists and deletes the named queues: the type of `Queue.objects`."""

    @property
    def _kind(self) -> type[Queue]:
        return Queue


class Queue(Stored):
    """A first-in, first-out queue with partitions, by value."""

    _made_by = 'Queue.from_name("my-queue", create_if_missing=True)'
    _instead = "use Queue, which holds its items in this process"
    objects: ClassVar[QueueManager] = QueueManager()

    _lines: Lines | None = None  # of the object that this handle was found to be

    def __init__(self) -> None:
        raise InvalidUseError(f"Queue() makes nothing by itself; write {self._made_by}")

    @property
    def name(self) -> str | None:
        """The name of the queue; None for an ephemeral one, and before `from_id` looked it up."""
        return self._name if self._record is None else self._record.name

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
        """Name a queue.  It is looked up when the handle is used for the first time.

        Raises:
            InvalidError: if `name` is not a possible name; see `arguments.check_name`.
        """
        return Queue._from_name(name, environment_name, create_if_missing)

    @staticmethod
    def from_id(queue_id: str, client: Client | None = None) -> Queue:
        """Name a queue by its ``object_id``."""
        return Queue._from_id(queue_id)

    @staticmethod
    @ending_context
    def ephemeral(client: Client | None = None, environment_name: str | None = None) -> Queue:
        """Return a context manager with a queue without a name, for ``with`` or ``async with``.

        The queue ends with the block: its items are freed, and every wait and later use fails.
        """
        return Queue._ephemeral(environment_name)

    @after_a_turn
    def info(self) -> QueueInfo:
        """Return the name of the queue, and when it was made."""
        record = self._found()
        return QueueInfo(record.name, record.created_at, None)

    @after_a_turn
    def clear(self, *, partition: str | None = None, all: bool = False) -> None:
        """Remove the items of one partition, or of all."""
        if partition and all:
            raise InvalidError(
                f"clear takes a partition or all=True, got both, {partition!r}; "
                "write clear(all=True) for all partitions"
            )
        key = self.validate_partition_key(partition)
        self._open().clear(None if all else [key])

    async def _get_async(
        self, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Any:
        # As `_take_async`, with one coroutine less.
        getter = self._getter(1, block, timeout, partition)
        lines = self._open()
        if not block:
            await one_turn()
        found = await get_async(lines, getter, block, timeout, self._called, self._values)
        return found[0] if found else None

    @with_aio(_get_async, direct=True)
    def get(
        self, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Any:
        """Remove the first item and return it.

        Args:
            block: wait for an item; if false, return None if there is none.
            timeout: the most seconds to wait; no limit if None.
            partition: the partition; the default one if None.

        Raises:
            queue.Empty: of the standard library, if no item came within `timeout` seconds.
        """
        try:
            found = self._take(1, block, timeout, partition)
            return found[0] if found else None
        except Exception as error:
            raise hidden(error)

    async def _get_many_async(
        self,
        n_values: int,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
    ) -> list[Any]:
        if not _check_number(n_values):
            return []
        return await self._take_async(n_values, block, timeout, partition)

    @with_aio(_get_many_async)
    def get_many(
        self,
        n_values: int,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
    ) -> list[Any]:
        """Remove up to `n_values` items from the front and return them, as soon as there is one.

        Args:
            n_values: the most items.
            block: wait for an item; if false, return an empty list if there is none.
            timeout: the most seconds to wait; no limit if None.
            partition: the partition; the default one if None.

        Raises:
            queue.Empty: of the standard library, if no item came within `timeout` seconds.
        """
        if not _check_number(n_values):
            return []
        return self._take(n_values, block, timeout, partition)

    async def _put_async(
        self,
        v: object,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = DAY,
    ) -> None:
        putter = self._putter("put", [v], block, timeout, partition, partition_ttl)
        await put_async(self._open(), putter, block, timeout, self._called)

    @with_aio(_put_async, direct=True)
    def put(
        self,
        v: object,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = DAY,
    ) -> None:
        """Add an item at the end.

        Args:
            v: the item; pickled now.
            block: wait for room, if the partition has 5,000 items.
            timeout: the most seconds to wait; no limit if None.
            partition: the partition; the default one if None.
            partition_ttl: the partition is cleared so many seconds after its last put.

        Raises:
            queue.Full: of the standard library, if there was no room.
            UnpicklableError: if the item cannot be pickled.
            RequestSizeError: in strict mode, above 1 MiB.
        """
        try:
            putter = self._putter("put", [v], block, timeout, partition, partition_ttl)
            put(self._open(), putter, block, timeout, self._called)
        except Exception as error:
            raise hidden(error)

    async def _put_many_async(
        self,
        vs: list[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = DAY,
    ) -> None:
        putter = self._putter("put_many", vs, block, timeout, partition, partition_ttl)
        lines = self._open()
        if putter.values:
            fits = len(putter.values) <= MOST_ITEMS
            await put_async(lines, putter, block and fits, timeout, self._called)

    @with_aio(_put_many_async)
    def put_many(
        self,
        vs: list[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = DAY,
    ) -> None:
        """Add items at the end: all of them in one step, or none.

        The arguments and errors are those of `put`.  More than 5,000 items never fit: then
        ``queue.Full`` comes at once.
        """
        putter = self._putter("put_many", vs, block, timeout, partition, partition_ttl)
        lines = self._open()
        if putter.values:
            fits = len(putter.values) <= MOST_ITEMS
            put(lines, putter, block and fits, timeout, self._called)

    @after_a_turn
    def len(self, *, partition: str | None = None, total: bool = False) -> int:
        """Return the number of items in one partition, or in all."""
        if partition and total:
            raise InvalidError(
                f"len takes a partition or total=True, got both, {partition!r}; "
                "write len(total=True) for all partitions"
            )
        key = self.validate_partition_key(partition)
        lines = self._open()
        return lines.total() if total else lines.count(key)

    def _iterate_async(
        self, *, partition: str | None = None, item_poll_timeout: float = 0.0
    ) -> AsyncIterator[Any]:
        return _AsyncItems(self._steps_async(partition, item_poll_timeout))

    @iteration_with_aio(_iterate_async)
    def iterate(
        self, *, partition: str | None = None, item_poll_timeout: float = 0.0
    ) -> Iterator[Any]:
        """Yield the items from the first one on, and remove none.

        Items that others take meanwhile are left out.

        Args:
            partition: the partition; the default one if None.
            item_poll_timeout: the end comes when no new item came for so many seconds.
        """
        return _Items(self._steps(partition, item_poll_timeout))

    # -- parts ---------------------------------------------------------------------------------

    @classmethod
    def _catalogue(cls) -> Kept[Lines]:
        return _KEPT

    def _open(self) -> Lines:
        """Return the lines of the queue; look it up if this is the first use."""
        lines = self._lines
        if lines is None or lines.gone:
            self._lines = lines = _KEPT.contents(self._found())
            if lines.gone:
                raise self._not_found("is gone: it was deleted, or its block has ended")
        return lines

    def _called(self) -> str:
        name = self.name
        return f"Queue {name!r}" if name else f"ephemeral Queue {self.object_id}"

    def _getter(
        self, n_values: int, block: bool, timeout: float | None, partition: str | None
    ) -> Getter:
        if timeout is None and partition is None:
            return Getter(b"", n_values)
        if timeout is not None:
            _check_timeout(timeout)
            if not block:
                warn("Timeout is ignored for non-blocking get.", UserWarning)
        return Getter(self.validate_partition_key(partition), n_values)

    def _take(
        self, n_values: int, block: bool, timeout: float | None, partition: str | None
    ) -> list[Any]:
        getter = self._getter(n_values, block, timeout, partition)
        return get(self._open(), getter, block, timeout, self._called, self._values)

    async def _take_async(
        self, n_values: int, block: bool, timeout: float | None, partition: str | None
    ) -> list[Any]:
        getter = self._getter(n_values, block, timeout, partition)
        lines = self._open()
        if not block:
            await one_turn()  # a task that asks again and again must not hold up its loop
        return await get_async(lines, getter, block, timeout, self._called, self._values)

    def _values(self, getter: Getter) -> list[Any]:
        """Return the values of the items that were taken.

        An item that cannot be unpickled is dropped, as in Modal; the others go back.
        """
        items = getter.items
        try:
            if len(items) == 1:
                return [loads(items[0][1])]
            return [loads(data) for _, data in items]
        except Exception:
            pass
        values: list[Any] = []
        for index, (_, data) in enumerate(items):
            try:
                values.append(loads(data))
            except Exception as error:
                getter.items = items[:index] + items[index + 1 :]
                raise unreadable(f"an item of {self._called()}", error) from error
        return values

    def _putter(
        self,
        method: str,
        vs: Iterable[Any],
        block: bool,
        timeout: float | None,
        partition: str | None,
        ttl: float,
    ) -> Putter:
        if timeout is not None:
            _check_timeout(timeout)
            if not block:
                warn("`timeout` argument is ignored for non-blocking put.", UserWarning)
        if type(ttl) is not int or ttl <= 0:
            _check_ttl(ttl)
        key = b"" if partition is None else self.validate_partition_key(partition)
        lines = self._open()
        try:
            values = [dumps(each, outlives=lines.outlives) for each in vs]
        except UnpicklableError as error:
            raise UnpicklableError(f"an item for {self._called()}: {error}") from error.__cause__
        if config.strict:
            _check_sizes(method, values, lines, key)
        clock = system_clock if thread_state.clock is None else clock_here()
        return Putter(key, values, ttl, clock)

    def _steps(self, partition: str | None, timeout: float) -> Generator[Any, None, None]:
        watcher = self._watcher(partition, timeout)
        while next_item(self._open(), watcher, timeout, self._called):
            yield self._read(watcher)
            watcher = _next(watcher)

    async def _steps_async(
        self, partition: str | None, timeout: float
    ) -> AsyncGenerator[Any, None]:
        watcher = self._watcher(partition, timeout)
        await one_turn()
        while await next_item_async(self._open(), watcher, timeout, self._called):
            yield self._read(watcher)
            watcher = _next(watcher)

    async def _item_after(
        self, partition: str | None, timeout: float, after: int | None
    ) -> tuple[int, Any] | None:
        """Return the item of `_steps` that follows the one with the number `after`."""
        watcher = self._watcher(partition, timeout)
        if after is not None:
            watcher.number = after
        if not await next_item_async(self._open(), watcher, timeout, self._called):
            return None
        assert watcher.item is not None
        return watcher.item[0], self._read(watcher)

    def _watcher(self, partition: str | None, timeout: float) -> Watcher:
        _check_timeout(timeout, "item_poll_timeout")
        return Watcher(self.validate_partition_key(partition))

    def _read(self, watcher: Watcher) -> Any:
        assert watcher.item is not None
        try:
            return loads(watcher.item[1])
        except Exception as error:
            raise unreadable(f"an item of {self._called()}", error) from error


def _next(watcher: Watcher) -> Watcher:
    following = Watcher(watcher.key)
    assert watcher.item is not None
    following.number = watcher.item[0]
    return following


def _check_timeout(timeout: object, name: str = "timeout") -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidArgumentsError(
            f"{name} must be a number of seconds, got {timeout!r}; write {name}=1.5"
        )
    if timeout != timeout:
        raise InvalidValueError(f"{name} must be a number, got {timeout!r}; write {name}=1.5")


def _check_number(n_values: object) -> bool:
    """Check `n_values`; false for none at all."""
    advice = "write get_many(10)"
    if isinstance(n_values, bool) or not isinstance(n_values, int):
        raise InvalidArgumentsError(f"n_values must be a whole number, got {n_values!r}; {advice}")
    if n_values < 1:
        lenient(f"n_values must be at least 1, got {n_values}; {advice}")
        return False
    return True


def _check_ttl(ttl: object) -> None:
    advice = "write partition_ttl=3600"
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise InvalidArgumentsError(
            f"partition_ttl must be a number of seconds, got {ttl!r}; {advice}"
        )
    if config.strict and not isinstance(ttl, int):
        raise InvalidArgumentsError(f"partition_ttl must be an int, got {ttl!r}; {advice}")
    if not ttl > 0:
        raise InvalidValueError(f"partition_ttl must be above 0, got {ttl!r}; {advice}")


def _check_sizes(method: str, values: list[bytes], lines: Lines, key: bytes) -> None:
    largest = max(map(len, values), default=0)
    if largest > MOST_BYTES:
        raise RequestSizeError(
            f"Queue.{method} takes items of at most 1 MiB, got {largest / 2**20:.1f} MiB; "
            "put the data into a Dict or a Volume, and its name into the queue"
        )
    if lines.size(key) + sum(map(len, values)) > MOST_BYTES_OF_PARTITION:
        raise RequestSizeError(
            f"Queue.{method} would bring the partition above 64 MiB; "
            "put the data into a Dict or a Volume, and its name into the queue"
        )


# -- iterators that warn ---------------------------------------------------------------------

_UNREAD: Final = (
    "the iterator of Queue.iterate(...) was made and never read; "
    "write `for item in queue.iterate()`"
)


class _Items:
    """The iterator of `Queue.iterate`; warns if it is dropped unread, as in Modal."""

    def __init__(self, steps: Generator[Any, None, None]) -> None:
        self._steps = steps
        self._read = False

    def __iter__(self) -> Iterator[Any]:
        self._read = True
        return self._steps

    def __next__(self) -> Any:
        self._read = True
        return next(self._steps)

    def send(self, value: object) -> Any:
        return self.__next__()

    def throw(self, *error: Any) -> Any:
        self._read = True
        return self._steps.throw(*error)

    def close(self) -> None:
        self._read = True
        self._steps.close()

    def __del__(self) -> None:
        if not self._read:
            warn(_UNREAD, UserWarning)


class _AsyncItems:
    """As `_Items`, for ``async for``."""

    def __init__(self, steps: AsyncGenerator[Any, None]) -> None:
        self._steps = steps
        self._read = False

    def __aiter__(self) -> AsyncIterator[Any]:
        self._read = True
        return self._steps

    async def __anext__(self) -> Any:
        self._read = True
        return await anext(self._steps)

    async def aclose(self) -> None:
        self._read = True
        await self._steps.aclose()

    def __del__(self) -> None:
        if not self._read:
            warn(_UNREAD, UserWarning)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Queue = Queue


use_contents_elsewhere()
