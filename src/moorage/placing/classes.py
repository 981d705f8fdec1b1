"""Classes by value: how a class of the program is made in another process.

Owns what cloudpickle's way of it lacks.  There a class

- is filled once.  What comes later is the class that is there, with what the code there has made of
  it: the variables of a class are those of one process, as those of a module are;
- has its attributes in the order of its source, and its ``__slots__``;
- is made without the metaclass and the ``__init_subclass__`` of the program.  They have run where
  the class was written, and may want keywords that only its source has.  What they did to the class
  is in its attributes, and what they did to others goes along with these;
- has all that its members have, if it is an enum, whatever their ``__new__`` and ``__init__`` take.

Called by the pickler of ``shipping.py``.  Begin at `as_written`.
"""

from __future__ import annotations

import enum
import importlib
import sys
import types
import weakref
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from ..runtime import forking
from ..runtime.real import Real

# Classes that were made here, and have no attributes yet.  Guarded by the lock, as are changes of
# `__init_subclass__`.
_unfilled: Final[weakref.WeakSet[type]] = weakref.WeakSet()
_lock: Final = Real.RLock()

forking.in_child(lambda: forking.renew(_lock))


def as_written(kind: type, reduced: Any, named: dict[str, Any]) -> Any:
    """Return how `kind` is made, as ``__reduce__`` says it.

    Args:
        kind: a class that goes by value.
        reduced: what cloudpickle says.
        named: globals that its annotations name: see ``annotated.py``.
    """
    _, args, (attributes, _), *_, fill = reduced
    ordered = {name: attributes[name] for name in vars(kind) if name in attributes}
    attributes = ordered | attributes
    make: Any
    if issubclass(kind, enum.Enum):
        members = _members(kind)
        if members is None:
            return reduced  # as cloudpickle makes it, and fills it
        make, args = _made_enum, (type(kind), kind.__bases__, *args[1:3], members, *args[4:6])
        attributes = {k: v for k, v in attributes.items() if k not in kind.__members__}
    else:
        constructor, name, bases, given, *others = args
        given = {**given, "__qualname__": kind.__qualname__}
        if "__slots__" in attributes and not issubclass(kind, tuple):
            descriptor = types.MemberDescriptorType
            attributes = {k: v for k, v in attributes.items() if type(v) is not descriptor}
            given = {**given, "__slots__": attributes.pop("__slots__")}
        make, args = _made_class, (constructor, name, bases, kind.__bases__, given, others[0])
    return make, args, ((attributes, {}), fill, named), None, None, _fill


# -- in the other process ----------------------------------------------------------------


def _made_class(
    metaclass: Any,
    name: str,
    bases: tuple[Any, ...],
    real_bases: tuple[type, ...],
    given: dict[str, Any],
    number: str,
) -> type:
    known = _known(number)
    if known is not None:
        return known
    foreign = _foreign(metaclass)
    with _without_hooks(real_bases):
        if foreign is metaclass:
            made = types.new_class(name, bases, {"metaclass": metaclass}, lambda n: n.update(given))
        else:
            made = foreign.__new__(metaclass, name, real_bases, given)
    return _tracked(number, made)


@contextmanager
def _without_hooks(bases: Sequence[type]) -> Generator[None]:
    """Have no `__init_subclass__` of the program run."""
    with _lock:
        hooks: dict[type, Any] = {
            each: vars(each)["__init_subclass__"]
            for base in bases
            for each in base.__mro__
            if "__init_subclass__" in vars(each) and _is_of_program(each)
        }
        for each in hooks:
            type.__setattr__(each, "__init_subclass__", classmethod(_nothing))
        try:
            yield
        finally:
            for each, hook in hooks.items():
                type.__setattr__(each, "__init_subclass__", hook)


def _nothing(*args: object, **kwargs: object) -> None:
    pass


class _Member(NamedTuple):
    name: str
    value: Any
    data: tuple[Any, ...] | None  # what makes the number or the text that the member is
    attributes: dict[str, Any]


# The types of which a member may be: what `__getnewargs__` returns makes an equal object.
_DATA: Final[tuple[Any, ...]] = (int, str, bytes, float, complex, tuple)

_OF_MACHINERY: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def _members(kind: Any) -> list[_Member] | None:
    """Return the members of `kind`, also under further names; None if they are of another type."""
    data_type = kind._member_type_
    if data_type not in _DATA and data_type.__new__ is not object.__new__:
        return None
    found: list[_Member] = []
    for name, member in kind.__members__.items():
        attributes: dict[str, Any] = member.__dict__
        own = {k: v for k, v in attributes.items() if k not in _OF_MACHINERY}
        data = data_type.__getnewargs__(member) if data_type in _DATA else None
        found.append(_Member(name, member._value_, data, own))
    return found


def _made_enum(
    metaclass: Any,
    bases: tuple[type, ...],
    name: str,
    qualname: str,
    members: Sequence[_Member],
    module: str,
    number: str,
) -> type:
    known = _known(number)
    if known is not None:
        return known
    left = deque(members)  # of which the machinery makes one after the other

    def new(cls: Any, *args: object) -> Any:
        member = left.popleft()
        if member.data is None:
            made = object.__new__(cls)
        else:
            made = next(each for each in cls.__mro__ if each in _DATA).__new__(cls, *member.data)
        made._value_ = member.value
        return made

    namespace: Any = metaclass.__prepare__(name, bases)
    namespace["__new__"], namespace["__init__"] = new, _nothing
    for member in members:
        namespace[member.name] = enum.member(member.value)
    with _without_hooks(bases):
        made: Any = _foreign(metaclass).__new__(metaclass, name, bases, namespace)
    made.__module__, made.__qualname__ = module, qualname
    type.__delattr__(made, "__init__")  # that of the class comes with its attributes
    for member in members:
        made._member_map_[member.name].__dict__.update(member.attributes)
    return _tracked(number, made)


def _fill(kind: type, state: Any) -> None:
    """Give a class that was made here its attributes, and its module the globals it names."""
    inner, fill, named = state
    with _lock:
        is_known = kind not in _unfilled
    if is_known:
        return
    if named:
        variables = vars(sys.modules["__main__"])
        for name, value in named.items():
            variables.setdefault(name, value)
    fill(kind, inner)
    # Afterwards: another thread to which the class comes meanwhile fills it, too.
    with _lock:
        _unfilled.discard(kind)


# -- what cloudpickle knows --------------------------------------------------------------------


def _tracker() -> Any:
    return importlib.import_module("cloudpickle.cloudpickle")


def _known(number: str) -> type | None:
    known: type | None = _tracker()._DYNAMIC_CLASS_TRACKER_BY_ID.get(number)
    return known


def _foreign(metaclass: Any) -> Any:
    """Return the first of the types of `metaclass` that is not the program's."""
    return next(each for each in metaclass.__mro__ if not _is_of_program(each))


def _is_of_program(kind: type) -> bool:
    """Whether a class is one that goes by value."""
    return kind in _tracker()._DYNAMIC_CLASS_TRACKER_BY_CLASS


def _tracked(number: str, made: type) -> type:
    with _lock:
        found: type = _tracker()._lookup_class_or_track(number, made)
        if found is made:
            _unfilled.add(made)
    return found
