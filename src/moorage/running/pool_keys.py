"""Pool keys: which calls share a pool.

Owns the keys of an app's pools.  A key stands for a function, or a class with one set of
parameters, and its options.  Equal values get the same key.  ``services.py`` calls this file.

Begin at `PoolKeys.key`, then `PoolKeys.keep`.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, Final, cast

from ..runtime.background import in_background
from ..runtime.pools.autoscaler import Limits
from ..runtime.real import Real


class PoolKey:
    """The key of one pool: one function or class, its parameter values and its options.

    Keys are compared by identity, which is fast: each input looks up its pool by the key.
    """

    __slots__ = ("__weakref__", "limits", "variant")

    def __init__(self) -> None:
        # The limits after `update_autoscaler`; None if it was not called.  The limits live as
        # long as the key, and the key lives as long as it can be reached: from a handle, from
        # a pool of a run, or by naming equal values (see `PoolKeys.keep`).
        self.limits: Limits | None = None
        # See `PoolKeys.variant`; None before its first call.
        self.variant: str | None = None


def identity_of(value: object) -> Hashable:
    """Return what identifies `value`, an argument of a class.  May run user code.

    Equal is not the same: 1, 1.0 and True have different identities, and so have -0.0 and 0.0,
    ``Decimal("1.0")`` and ``Decimal("1.00")``, and two dataclass instances with such fields.  Two
    values have equal identities if they are of the same type, are equal, and would pickle alike.
    The identity of an object that is equal only to itself is a weak reference, so that no table
    keeps an object alive that the program cannot name any more.

    Raises:
        TypeError: if `value` cannot be hashed.
    """
    return _identity(value, ())


def _identity(value: object, path: tuple[int, ...]) -> Hashable:
    """Return the identity of `value`; `path` has the ids of the objects that `value` is part of."""
    kind = type(value)
    if kind in _EXACT:
        return kind, value
    if kind is float or kind is complex:
        return kind, repr(value)  # 0.0 and -0.0 are equal, but differ
    if kind is tuple:
        return kind, tuple(_identity(each, path) for each in cast("Iterable[object]", value))
    if kind is frozenset:
        return kind, frozenset(_identity(each, path) for each in cast("Iterable[object]", value))
    if kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__:
        try:
            return weakref.ref(value)
        except TypeError:
            return kind, value
    hash(value)  # before the object is taken apart, which may be slow for a large array
    if id(value) in path or len(path) > _DEEPEST:
        return kind, value
    try:
        reduced: object = value.__reduce_ex__(_PROTOCOL)
    except Exception:
        return kind, value  # it does not pickle: equality is all that is known of it
    if not isinstance(reduced, tuple):
        return kind, value  # the name of a module's global
    return kind, value, _identity_of_part(cast("object", reduced), (*path, id(value)))


def _identity_of_part(part: object, path: tuple[int, ...]) -> Hashable:
    """Return the identity of what an object is made of.  Such a part need not be hashable."""
    kind = type(part)
    if len(path) > _DEEPEST or id(part) in path:
        return _Same(part)
    inside = (*path, id(part))
    if kind is tuple or kind is list:
        return kind, tuple(_identity_of_part(e, inside) for e in cast("Iterable[object]", part))
    if kind is dict:
        items = cast("dict[object, object]", part).items()
        return kind, tuple(
            (_identity_of_part(k, inside), _identity_of_part(v, inside)) for k, v in items
        )
    if kind is set or kind is frozenset:
        return kind, frozenset(_identity_of_part(e, inside) for e in cast("Iterable[object]", part))
    try:
        return _identity(part, path)
    except TypeError:  # cannot be hashed
        return _Same(part)


class _Same:
    """Equal only for the same object, which need not be hashable."""

    __slots__ = ("_object",)

    def __init__(self, of: object) -> None:
        self._object = of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._object is other._object

    def __hash__(self) -> int:
        return id(self._object)


# Types whose equal values are the same.
_EXACT: Final = frozenset({str, bytes, int, bool, type(None)})
# Objects within objects that are taken apart, at most.
_DEEPEST: Final = 20
_PROTOCOL: Final = 4  # the pickle protocol that Modal writes


class PoolKeys:
    """The keys of an app's pools.  Equal values have the same key."""

    def __init__(self) -> None:
        # Reentrant: values are compared under the lock, and a user's `__eq__` may call a method
        # of this class.
        self._lock = Real.RLock()
        # Guarded by the lock.
        self._keys: weakref.WeakValueDictionary[Hashable, PoolKey] = weakref.WeakValueDictionary()
        # The keys by the name and the variant of their pools.
        self._variants: weakref.WeakValueDictionary[tuple[str, str], PoolKey] = (
            weakref.WeakValueDictionary()
        )
        self._numbers = count(2)  # for variants that changes do not tell apart
        # Keys with updated limits, kept in case equal values are named again: at most `KEPT`,
        # the last used at the end.  The value holds the finalizers that remove the key when
        # one of its parameter values is freed.  Guarded by the lock.
        self._kept: OrderedDict[PoolKey, list[weakref.finalize[..., Any]]] = OrderedDict()

    def _after_fork(self) -> None:
        # Replaced, not renewed: the thread that forked may be inside a user's comparison, and
        # will release the old lock.
        self._lock = Real.RLock()

    def key(self, value: Hashable) -> PoolKey:
        """Return the key for `value`: the same key for equal values."""
        try:
            hash(value)
        except TypeError:
            return PoolKey()  # a wrong option that strict mode checks later: a pool of its own
        with self._lock:
            found = self._keys.get(value)
            if found is None:
                self._keys[value] = found = PoolKey()
            return found

    def variant(self, key: PoolKey, name: str, changes: str) -> str:
        """Return the variant of the pools of `key`: see `PoolStatistics.variant`.

        Args:
            key: the key.
            name: the name of its pools.
            changes: the options that were changed, such as ``timeout=1``.
        """
        if key.variant is not None:
            return key.variant
        with self._lock:
            if key.variant is None:
                variant = changes
                if self._variants.get((name, variant)) is not None:
                    variant = f"{changes} #{next(self._numbers)}".lstrip()
                self._variants[name, variant] = key
                key.variant = variant
            return key.variant

    def keep(self, key: PoolKey, identity: Hashable) -> None:
        """Keep `key` alive without a handle or a pool, as long as it can be named again.

        If `identity` has objects that are equal only to themselves (see `identity_of`), the
        key is removed when one of these objects is freed.
        """
        if type(identity) is object:
            return  # used for values that cannot be compared: no second one is equal
        gone: list[object] = []  # freed outside the lock: users' destructors may run
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return
            refs = list(_references(identity))
            objects = [ref() for ref in refs]
            if any(each is None for each in objects):
                return  # an object is freed already, so the key cannot be named again
            # A finalizer may run in any thread, with any lock held: these only hand the work
            # to the background thread.
            forget = partial(self._forget, weakref.ref(key))
            finalizers = [weakref.finalize(each, in_background, forget) for each in objects]
            for finalizer in finalizers:
                finalizer.atexit = False  # nothing to forget when the interpreter exits
            self._kept[key] = finalizers
            while len(self._kept) > KEPT:
                eldest, finalizers = self._kept.popitem(last=False)
                gone += [eldest, *(finalizer.detach() for finalizer in finalizers)]
        gone.clear()

    def _forget(self, ref: weakref.ref[PoolKey]) -> None:
        key = ref()
        if key is not None:
            with self._lock:
                finalizers = self._kept.pop(key, [])
            for finalizer in finalizers:
                finalizer.detach()


def _references(identity: object) -> Iterator[weakref.ref[object]]:
    """Yield the weak references in a value that `identity_of` returned."""
    if isinstance(identity, weakref.ref):
        yield cast("weakref.ref[object]", identity)
    elif type(identity) is tuple or type(identity) is frozenset:
        for each in cast("Iterable[object]", identity):
            yield from _references(each)


# The most keys per app that are kept for their limits alone, without a handle or a pool.
KEPT: Final = 1000
