"""Error copies: each caller gets an error object of its own.

An error that user code raised is the user's object: user code may keep it and raise it again,
and several callers may wait for it.  So the engine raises a copy at each caller, and never
writes notes, causes, contexts or callers' frames to the original.

Owns how the copy is made, which is without any of the user's code: no ``__init__``, no
``__copy__``, no ``__setattr__``.  Also owns the ``__context__`` that a copy has at its caller.
Pure: no lock, no state.  ``outcome.py`` uses this file.

Begin at `copy_error`, then `context_at_caller`.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Iterator, Sequence
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any, Final, cast

# Of a class: 1 if it was made by a ``class`` statement (or as one), 0 if it is a static type of
# an extension.
_HEAP_TYPE: Final = 1 << 9

# The attributes of every exception, also for a class that has a ``__setattr__`` of its own.
_dict: Final[Any] = vars(BaseException)["__dict__"]
_args: Final[Any] = vars(BaseException)["args"]
_cause: Final[Any] = vars(BaseException)["__cause__"]
_context: Final[Any] = vars(BaseException)["__context__"]
_suppress: Final[Any] = vars(BaseException)["__suppress_context__"]
_traceback: Final[Any] = vars(BaseException)["__traceback__"]

Links = tuple[BaseException | None, BaseException | None, bool]
"""``__cause__``, ``__context__`` and ``__suppress_context__`` of an error."""


# -- copies ------------------------------------------------------------------------------


def copy_error(error: BaseException) -> BaseException:
    """Return a copy of `error` that can be raised, noted and changed independently.

    The copy has the same class, args, attributes, slots, cause, context and traceback.  Its
    attributes are the same objects, except that its list of notes is its own.  The members of
    an exception group are copied, too.

    Returns `error` itself if it cannot be copied: a class of an extension module may have data
    that only its own code can copy.
    """
    try:
        made = _made(error)
    except Exception:
        try:
            made = _made_by_reduce(error)
        except Exception:
            return error
    try:
        attributes: dict[str, Any] = _dict.__get__(error).copy()
        notes = attributes.get("__notes__")
        if type(notes) is list:
            attributes["__notes__"] = list(cast("list[object]", notes))
        _dict.__get__(made).update(attributes)
        set_links(made, links_of(error))
    except Exception:
        return error
    return BaseException.with_traceback(made, traceback_of(error))


def _made(error: BaseException) -> BaseException:
    """Make an object like `error`, field by field, without its ``__new__`` and ``__init__``.

    The fields are the slots of its classes and the data of the built-in ones (`OSError.errno`).

    Raises:
        TypeError: if some field cannot be written.
    """
    kind = type(error)
    if isinstance(error, BaseExceptionGroup):
        made = _made_group(kind, error)
    else:
        made = _built_in_base(kind).__new__(kind)
        _args.__set__(made, _args.__get__(error))
    if type(made) is not kind:
        raise TypeError
    for cls in kind.__mro__:
        if cls in _COPIED_BY_NAME:
            continue
        for name, field in tuple(vars(cls).items()):
            if type(field) not in _FIELDS or name in ("__dict__", "__weakref__"):
                continue
            try:
                value = field.__get__(error, kind)
            except AttributeError:
                continue  # a slot without a value
            # A field that is NULL reads as None, and must stay NULL: `OSError.__str__` shows a
            # filename that was set to None.
            if not _has(made, field, value):
                _write(made, field, value)
    return made


# Classes without other fields than those that `copy_error` and `_made` copy by name.
_COPIED_BY_NAME: Final = (object, BaseException, BaseExceptionGroup, Exception)
_FIELDS: Final = (MemberDescriptorType, GetSetDescriptorType)


def _layout_base(kind: Any) -> Any:
    """Return the base of `kind` that lays out its memory, and whose ``__new__`` is no user code.

    The classes before that base are made by ``class`` statements: they add slots at most.  A
    class of an extension module may be a heap type, too, but it adds more memory than slots.
    """
    while kind.__flags__ & _HEAP_TYPE:
        names: dict[str, object] = dict(cast("dict[str, object]", vars(kind)))
        slots = sum(type(field) is MemberDescriptorType for field in names.values())
        slots += "__weakref__" in names
        if kind.__basicsize__ - kind.__base__.__basicsize__ > slots * _POINTER:
            break
        kind = kind.__base__
    return kind


def _built_in_base(kind: Any) -> Any:
    """Return `_layout_base`, if it is a built-in class, all of whose data are fields.

    Raises:
        TypeError: if it is not.
    """
    base = _layout_base(kind)
    if vars(builtins).get(base.__name__) is not base:
        raise TypeError
    return base


_POINTER: Final = struct.calcsize("P")


def _made_group(kind: Any, group: BaseExceptionGroup[BaseException]) -> Any:
    members: Any = [copy_error(member) for member in group.exceptions]
    if len(group.args) != 2:
        made = _built_in_base(kind).__new__(kind, group.message, members)
        _args.__set__(made, group.args)
        return made
    if type(group.args[1]) is tuple:
        members = tuple(members)
    return _built_in_base(kind).__new__(kind, group.message, members)


def _has(made: object, field: Any, value: object) -> bool:
    try:
        return field.__get__(made, type(made)) is value
    except AttributeError:
        return False


def _write(made: object, field: Any, value: object) -> None:
    try:
        field.__set__(made, value)
    except (AttributeError, TypeError):
        # It is read-only.  Numbers and texts may be equal without being the same object.
        there = field.__get__(made, type(made))
        if type(there) is not type(value) or type(value) not in _PLAIN or there != value:
            raise TypeError from None


_PLAIN: Final = (bool, int, float, str, bytes)


def _made_by_reduce(error: BaseException) -> BaseException:
    """Make an object like `error` as ``copy.copy`` does, but without its ``__init__``."""
    kind: Any = type(error)
    reduced: Any = error.__reduce_ex__(4)
    if reduced[0] is not kind:
        raise TypeError
    made = _layout_base(kind).__new__(kind, *reduced[1])
    if type(made) is not kind:
        raise TypeError
    if len(reduced) > 2 and reduced[2] is not None:
        made.__setstate__(reduced[2])
    return cast(BaseException, made)


def add_notes(error: BaseException, notes: Sequence[str]) -> None:
    """Add `notes` to `error`, also if its class refuses the assignment of attributes."""
    attributes: dict[str, Any] = _dict.__get__(error)
    there: object = attributes.get("__notes__", [])
    if notes and isinstance(there, list):
        attributes["__notes__"] = [*cast("list[object]", there), *notes]


# -- causes and contexts -----------------------------------------------------------------


def links_of(error: BaseException) -> Links:
    return _cause.__get__(error), _context.__get__(error), _suppress.__get__(error)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return ``error.__traceback__``, also if its class has a ``__getattribute__`` that fails."""
    return cast("TracebackType | None", _traceback.__get__(error))


def set_links(error: BaseException, links: Links) -> None:
    cause, context, suppress = links
    _cause.__set__(error, cause)  # sets `__suppress_context__`, too
    _context.__set__(error, context)
    _suppress.__set__(error, suppress)


def set_context(error: BaseException, context: BaseException | None) -> None:
    _context.__set__(error, context)


def context_at_caller(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """Return the ``__context__`` for `error`, a copy, at a caller that handles `handled`.

    ``raise`` replaces an error's context by the error that is being handled.  In a plain call
    the error's own context would have been raised while `handled` was being handled: so
    `handled` comes at the end of the chain.  The chain is copied for that, because it is the
    user's, and other callers have it.  Its causes that are in the chain are replaced in `error`.

    Returns:
        None if the error has no own context: then ``raise`` does what a plain call does.
    """
    own: BaseException | None = _context.__get__(error)
    if own is None or handled is None:
        return own
    chain = list(_contexts(own))
    met = {id(error), *map(id, chain)}
    if any(id(one) in met for one in _contexts(handled)):
        return own  # `handled` is in the chain already, or would close a cycle
    if _context.__get__(chain[-1]) is not None:
        return own  # the chain is a cycle
    copies = [copy_error(one) for one in chain]
    if any(copied is one for copied, one in zip(copies, chain, strict=True)):
        return own
    copy_of = {id(one): copied for one, copied in zip(chain, copies, strict=True)}
    for one, following in zip((error, *copies), (*copies, handled), strict=True):
        cause, _, suppress = links_of(one)
        set_links(one, (copy_of.get(id(cause), cause), following, suppress))
    return copies[0]


def _contexts(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, its context, the context of that, and so on; each once."""
    one: BaseException | None = error
    met: set[int] = set()
    while one is not None and id(one) not in met:
        met.add(id(one))
        yield one
        one = _context.__get__(one)
