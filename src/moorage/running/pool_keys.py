"""Pool keys: which calls share a pool.

Owns the keys of an app's pools, which stand for a function, or a class with one set of
parameters, and its options.  Equal values have the same key.  Begin at `PoolKeys.key`.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from typing import Any, Final, cast

from ..runtime.background import in_background
from ..runtime.pools.autoscaler import Limits
from ..runtime.real import Real


class PoolKey:
    """Stands for one function or class, its parameter values and its options.

    Compared by identity, for each input looks its pool up by it.
    """

    __slots__ = ("__weakref__", "limits")

    def __init__(self) -> None:
        # What `update_autoscaler` made of the bounds; None if it was not called.  They go
        # with the key, which lives as long as somebody can come to it: by a handle, by a
        # pool of a run, or by equal values (see `PoolKeys.keep`).
        self.limits: Limits | None = None


def identity_of(value: object) -> Hashable:
    """What tells `value`, an argument of a class, from others; hashable if `value` is.

    Values of different types are different, though they are equal: 1, 1.0 and True.  Of an
    object that is equal to itself only it is a weak reference, so that no table keeps what
    nobody can name any more.
    """
    kind = type(value)
    if kind is tuple:
        return kind, tuple(identity_of(each) for each in cast("Iterable[object]", value))
    if kind is frozenset:
        return kind, frozenset(identity_of(each) for each in cast("Iterable[object]", value))
    if kind is float or kind is complex:
        return kind, repr(value)  # 0.0 and -0.0
    if kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__:
        try:
            return weakref.ref(value)
        except TypeError:
            pass
    return kind, value


class PoolKeys:
    """The keys of an app's pools: equal values have the same key."""

    def __init__(self) -> None:
        # Reentrant: values are compared under it, and a user's may come back here.
        self._lock = Real.RLock()
        self._keys: weakref.WeakValueDictionary[Hashable, PoolKey] = weakref.WeakValueDictionary()
        # Keys with updated limits, kept for whoever names equal values again: the latest
        # last, `KEPT` at most.  With each, what forgets it when one of its values has died.
        # Guarded by the lock.
        self._kept: OrderedDict[PoolKey, list[weakref.finalize[..., Any]]] = OrderedDict()

    def _after_fork(self) -> None:
        # A new one: the thread that forked may be in a user's comparison, and gives
        # back the old one.
        self._lock = Real.RLock()

    def key(self, value: Hashable) -> PoolKey:
        try:
            hash(value)
        except TypeError:
            return PoolKey()  # strict mode leaves nonsense for later: a pool of its own
        with self._lock:
            found = self._keys.get(value)
            if found is None:
                self._keys[value] = found = PoolKey()
            return found

    def keep(self, key: PoolKey, identity: Hashable) -> None:
        """Keep `key` though no handle and no pool is left, while it can be named again.

        An `identity` with objects that are equal to themselves only is forgotten when one
        of them dies: see `identity_of`.
        """
        if type(identity) is object:
            return  # in the place of what cannot be compared: nobody has an equal one
        gone: list[object] = []  # let go of without the lock, as values are the user's
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return
            refs = list(_references(identity))
            objects = [ref() for ref in refs]
            if any(each is None for each in objects):
                return
            # Finalizers run anywhere: these only hand over.
            forget = partial(self._forget, weakref.ref(key))
            finalizers = [weakref.finalize(each, in_background, forget) for each in objects]
            for finalizer in finalizers:
                finalizer.atexit = False
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
    """The weak references in what `identity_of` made."""
    if isinstance(identity, weakref.ref):
        yield cast("weakref.ref[object]", identity)
    elif type(identity) is tuple or type(identity) is frozenset:
        for each in cast("Iterable[object]", identity):
            yield from _references(each)


# The most keys of an app that are kept for the limits of values without handle or pool.
KEPT: Final = 1000
