"""Dicts and queues in a container's process: their contents are in the calling program.

Owns what replaces the methods of `Dict` and `Queue` in such a process: each asks the calling
program to call the method there.  A ``get`` that waits is a task of a loop in that program, and
holds no thread there.  The catalogues are those of the calling program, too, and so are ephemeral
objects.  Dicts in a file (``config.persist``) are used directly; queues never, because all who wait
for an item are woken in the calling program.

Begin at `install`; see also ``asking.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, Final

from .. import config
from ..dict import Dict
from ..queue import Queue
from ..runtime.context import is_a_container
from ..stores.records import Record
from ..with_aio import MethodWithAio
from .asking import ask, ask_async

_METHODS: Final[dict[type, tuple[str, ...]]] = {
    Dict: ("clear", "contains", "get", "info", "len", "pop", "put", "update"),
    Queue: ("clear", "get", "get_many", "info", "len", "put", "put_many"),
}
_SPECIAL: Final[dict[type, tuple[str, ...]]] = {
    Dict: ("__contains__", "__delitem__", "__getitem__", "__setitem__"),
    Queue: (),
}
_LISTED: Final = ("items", "keys", "values")  # of a `Dict`: iterators

_MARK: Final = "_moorage_is_elsewhere"


def install() -> None:
    """Replace the methods.  In a container's process; a second call does nothing."""
    if _MARK in vars(Dict):
        return
    for kind, names in _METHODS.items():
        for name in names:
            setattr(kind, name, _method(kind, name))
    for kind, names in _SPECIAL.items():
        for name in names:
            setattr(kind, name, _special(kind, name))
    for name in _LISTED:
        setattr(Dict, name, _listed(name))
    queue: Any = Queue
    queue._steps, queue._steps_async = _steps(), _steps_async()
    for each in (Dict, Queue):
        kept: Any = each._catalogue()
        kept._memory = _Catalogue(each)
    setattr(Dict, _MARK, True)


def _is_here(obj: Any) -> bool:
    """Whether this process can use the contents of `obj` itself: it is a dict in a file.

    A queue in a file is for the calling program too: only there are all who wait for an item woken.
    """
    if not config.persist or not isinstance(obj, Dict):
        return False
    if obj._name is not None:
        return True
    kept = obj._catalogue()
    record = obj._record
    object_id: Any = obj._asked_id if record is None else record.object_id
    return kept._files.of_id(object_id) is not None


def _look_up(obj: Any) -> None:
    """Look the object up if this is the first use: from then on it has its id."""
    if obj._record is None:
        obj._found()


class _Catalogue:
    """The catalogue of the objects that the calling program has in memory: see `Catalogue`."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def find(self, environment: str, name: str) -> Record | None:
        found: Record | None = ask(_of_catalogue, self._kind, "find", environment, name)
        return found

    def of_id(self, object_id: str) -> Record | None:
        found: Record | None = ask(_of_catalogue, self._kind, "of_id", object_id)
        return found

    def create(self, environment: str, name: str, *, allow_existing: bool = True) -> Record:
        made: Record = ask(
            _of_catalogue, self._kind, "create", environment, name, allow_existing=allow_existing
        )
        return made

    def create_ephemeral(self, environment: str) -> Record:
        made: Record = ask(_of_catalogue, self._kind, "create_ephemeral", environment)
        return made

    def delete(self, record: Record) -> bool:
        was_there: bool = ask(_of_catalogue, self._kind, "delete", record)
        return was_there

    def named(self, environment: str) -> Iterable[Record]:
        found: list[Record] = ask(_of_catalogue, self._kind, "named", environment)
        return found


def _method(kind: type, name: str) -> Any:
    original: Any = vars(kind)[name]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_here(self):
            return original.__get__(self, kind)(*args, **kwargs)
        _look_up(self)
        return ask(_call_method, self, name, args, kwargs)

    async def aio(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_here(self):
            return await original.__get__(self, kind).aio(*args, **kwargs)
        _look_up(self)
        return await ask_async(_call_method, self, name, args, kwargs)

    wrapped = getattr(original, "__wrapped__", original)
    return MethodWithAio(wraps(wrapped)(call), wraps(wrapped)(aio))


def _special(kind: type, name: str) -> Any:
    original: Any = vars(kind)[name]

    @wraps(original)
    def call(self: Any, *args: Any) -> Any:
        if _is_here(self):
            return original(self, *args)
        _look_up(self)
        return ask(_call_special, self, name, args)

    return call


def _listed(name: str) -> Any:
    original: Any = vars(Dict)[name]

    def call(self: Any) -> Any:
        if _is_here(self):
            yield from original.__get__(self, Dict)()
        else:
            yield from ask(_call_special, self, name, ())

    async def call_async(self: Any) -> Any:
        if _is_here(self):
            found = list(original.__get__(self, Dict)())
        else:
            found = await ask_async(_call_special, self, name, ())
        for each in found:
            yield each

    return _Listed(call, call_async)


def _steps() -> Any:
    original: Any = vars(Queue)["_steps"]

    def steps(self: Any, partition: str | None, timeout: float) -> Any:
        if _is_here(self):
            yield from original(self, partition, timeout)
            return
        after = None
        while step := ask(_item_after, self, partition, timeout, after):
            after, item = step
            yield item

    return steps


def _steps_async() -> Any:
    original: Any = vars(Queue)["_steps_async"]

    async def steps(self: Any, partition: str | None, timeout: float) -> Any:
        if _is_here(self):
            async for item in original(self, partition, timeout):
                yield item
            return
        after = None
        while step := await ask_async(_item_after, self, partition, timeout, after):
            after, item = step
            yield item

    return steps


class _Listed:
    """A method that gives an iterator, or with ``.aio`` an async one."""

    def __init__(self, call: Callable[..., Any], aio: Callable[..., Any]) -> None:
        self._call = call
        self._aio = aio

    def __get__(self, instance: Any, owner: type) -> Any:
        call, aio = self._call, self._aio

        def bound(*args: Any, **kwargs: Any) -> Any:
            return call(instance, *args, **kwargs)

        bound.aio = partial(aio, instance)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
        return bound


# -- what is asked for: in the calling program --------------------------------------------------


async def _call_method(obj: Any, name: str, args: Any, kwargs: Any) -> Any:
    return await getattr(obj, name).aio(*args, **kwargs)


def _call_special(obj: Any, name: str, args: Any) -> Any:
    value = getattr(obj, name)(*args)
    return list(value) if inspect.isgenerator(value) or hasattr(value, "__next__") else value


def _of_catalogue(kind: Any, what: str, *args: Any, **kwargs: Any) -> Any:
    kept = kind._catalogue()
    # Only what is in memory is asked for; a deletion also frees the contents.
    value = getattr(kept if what == "delete" else kept._memory, what)(*args, **kwargs)
    return list(value) if what == "named" else value


async def _item_after(queue: Queue, partition: str | None, timeout: float, after: Any) -> Any:
    return await queue._item_after(partition, timeout, after)


if is_a_container():
    install()  # also if an import of a dict or queue alone has led here
