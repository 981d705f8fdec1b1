"""Patches: a test replaces an attribute of a decorated class, and the class behaves accordingly.

Owns what a replacement means, and how it is undone.  ``patch.object(Model, "load", fake)`` and
``monkeypatch.setattr(Model, "load", fake)`` write to the handle of the class; the handle (`Cls`)
writes through to the user's class, with `Patches`.  A base class is patched without any code of
ours.  In both cases `Declarations.refresh` reads the class again, with the functions of this file:

- A function in place of a hook or of a method is the new code of that hook or method.
- What has a ``remote`` (a `Mock`, another handle) replaces a method as a whole: ``Model().run`` is
  that object.
- A value in place of a parameter is the new default.
- Everything else is an attribute of the class, as with any class.

Begin at `Patches`, then `replaced`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from ..runtime.input import Kind, Target
from ..runtime.posing import poses_as
from ..runtime.real import Real
from .parameters import Parameter
from .partial import PartialFunction

if TYPE_CHECKING:
    from .declarations import Declarations

Attributes = dict[type, dict[str, object]]
"""The attributes of a class and its bases, by class, in the order of the look-up."""

MISSING: Final = object()  # in place of an attribute that is not there

# The most writes to one name that are kept to be undone; the first write is always kept.
KEPT: Final = 100


def attributes_of(user_class: type) -> Attributes:
    """Return a copy of the attributes of `user_class` and its bases."""
    return {owner: dict(vars(owner)) for owner in user_class.__mro__ if owner is not object}


def is_same(seen: Attributes, user_class: type) -> bool:
    """Return whether the attributes of `user_class` and its bases are the objects in `seen`."""
    for owner, attributes in seen.items():
        now = vars(owner)
        if len(now) != len(attributes):
            return False
        for name, value in attributes.items():
            if now.get(name, MISSING) is not value:
                return False
    return True


def replaced(value: Any, before: object) -> Any:
    """Return what `value` means as an attribute of the class.

    Args:
        before: what the body of the class, or of a base, wrote for this name.
    """
    if _is_decorated(value):
        return value
    if isinstance(before, Parameter):
        return Parameter(default=value, init=before.init)
    if isinstance(before, PartialFunction) and is_code(value, before):
        marked: PartialFunction[Any, Any, Any] = PartialFunction(as_method(value), before.marks)
        return marked
    return value


def _is_decorated(value: object) -> bool:
    # The type itself is asked: ``__class__`` of an autospecced mock is what it was made of.
    return issubclass(type(value), (PartialFunction, Parameter))


def is_partial(value: object) -> TypeGuard[PartialFunction[Any, Any, Any]]:
    """Return whether `value` is a marked function, and no mock of one."""
    return issubclass(type(value), PartialFunction)


def _is_mock_of_partial(value: object) -> bool:
    """Return whether `value` is what ``autospec=True`` made of a marked function."""
    return isinstance(value, PartialFunction) and not is_partial(value)


def is_code(value: object, before: PartialFunction[Any, Any, Any]) -> bool:
    """Return whether `value` is the new code of the hook or method `before`."""
    if before.marks.is_interface and hasattr(value, "remote"):
        return False
    return callable(value) or isinstance(value, (staticmethod, classmethod))


def as_method(value: Any) -> Callable[..., Any]:
    """Return `value` as a function that takes the instance, as Python would call it.

    A function gets the instance.  Other callables, a `Mock` for example, do not.
    """
    if Real.isfunction(value):
        return value

    if _is_mock_of_partial(value):  # as an autospecced function, it gets the instance, too

        def run_mock(instance: object, /, *args: Any, **kwargs: Any) -> Any:
            return value(instance, *args, **kwargs)

        return run_mock

    def bound(instance: object) -> Any:
        kind = cast("Any", type(value))
        bind = getattr(kind, "__get__", None)
        return value if bind is None else bind(value, instance, type(instance))

    if Real.iscoroutinefunction(value) or type(value).__name__ == "AsyncMock":

        async def run_async(instance: object, /, *args: Any, **kwargs: Any) -> Any:
            return await bound(instance)(*args, **kwargs)

        return run_async

    def run(instance: object, /, *args: Any, **kwargs: Any) -> Any:
        return bound(instance)(*args, **kwargs)

    return run


def with_kind(target: Target, kind: Kind) -> Callable[..., Any]:
    """Return the code of `target` as a function of `kind`.

    The pools of the class are made for the kind of the method that was replaced.
    """
    function: Callable[..., Any] = target.function
    if target.kind is kind:
        return function
    if kind.is_generator:
        return _generator(function, kind)
    if kind is Kind.ASYNC:

        @poses_as(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return run_async

    @poses_as(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return Real.run(result) if Real.iscoroutine(result) else result  # no loop runs here

    return run


def _generator(function: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    """Return `function`, which returns something to iterate over, as a generator function."""
    if kind is Kind.SYNC_GENERATOR:

        async def all_of(items: Any) -> list[Any]:
            return [item async for item in items]

        @poses_as(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if Real.iscoroutine(result):
                result = Real.run(result)
            yield from Real.run(all_of(result)) if hasattr(result, "__aiter__") else result

        return run

    @poses_as(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if Real.iscoroutine(result):
            result = await result
        if hasattr(result, "__aiter__"):
            async for item in result:
                yield item
        else:
            for item in result:
                yield item

    return run_async


@dataclass(frozen=True)
class Replacement:
    """An attribute of a class that a patch has replaced, with the marks of what was there before.

    A process that gets the class by value reads the class as if its body had written this.
    """

    owner: type
    name: str
    value: object

    def make(self) -> None:
        _assign(self.owner, self.name, self.value)


class Patches:
    """The attributes that were written to a class through its handle, and how to undo them.

    A patch is undone in one of two ways.  ``patch.object`` deletes the attribute that it set, or
    sets the value that the attribute had.  ``monkeypatch`` always sets that value: what it read
    from the handle, which is not always what is in the class (a static method is read as a
    function).  So each write keeps both.
    """

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared
        # By name, for each write that is not undone: what the handle gave before the write, and
        # what was in the class itself (`MISSING` if a base had it, or nobody).
        self._before: dict[str, list[tuple[object, object]]] = {}

    def set(self, name: str, value: object, seen: object) -> None:
        """Set the attribute; `seen` is what the handle gives for it now.

        Raises:
            InvalidError: if the class could not be decorated with this attribute.
        """
        before = self._before.setdefault(name, [])
        for index, (was_seen, in_class) in enumerate(before):
            if _is_same_value(value, was_seen):
                self._write(name, in_class)
                del before[index:]
                return
        marked = self._declared.as_written(name)
        is_method = isinstance(marked, PartialFunction) and marked.marks.is_interface
        if is_method:
            # So that ``self.method.remote`` works in the class, too.
            value = replaced(value, marked)
        in_class = vars(self._declared.user_class).get(name, MISSING)
        is_static = isinstance(
            Real.getattr_static(self._declared.user_class, name, None), staticmethod
        )
        if is_static and Real.isfunction(value) and hasattr(value, "mock"):
            # ``autospec=True`` made a function of the static method, which takes no instance.
            value = staticmethod(value)
        self._write(name, value)
        before.append((seen, in_class))
        if len(before) > KEPT:
            del before[1]

    def delete(self, name: str, seen: object) -> None:
        """Undo the last write to the attribute; without a write, delete it from the class.

        Raises:
            AttributeError: if the class itself has no such attribute.
        """
        declared, before = self._declared, self._before.setdefault(name, [])
        if name not in vars(declared.user_class):
            raise AttributeError(f"{declared.name} itself has no attribute {name!r} to delete")
        if before:
            _, in_class = before.pop()
            self._write(name, in_class)
        else:
            in_class = vars(declared.user_class)[name]
            self._write(name, MISSING)
            before.append((seen, in_class))

    def _write(self, name: str, value: object) -> None:
        declared = self._declared
        in_class = vars(declared.user_class).get(name, MISSING)
        _assign(declared.user_class, name, value)
        try:
            declared.refresh()
        except BaseException:
            _assign(declared.user_class, name, in_class)
            raise


def _assign(user_class: type, name: str, value: object) -> None:
    if value is not MISSING:
        setattr(user_class, name, value)
        if is_partial(value):
            value.__set_name__(user_class, name)
    elif name in vars(user_class):
        delattr(user_class, name)


def _is_same_value(value: object, other: object) -> bool:
    if type(value) is MethodType and type(other) is MethodType:  # made at each access
        return value.__func__ is other.__func__ and value.__self__ is other.__self__
    return value is other
