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
    """Return what identifies `value`, an argument of a class; hashable if `value` is.

    Equal values of different types have different identities: 1, 1.0 and True.  The
    identity of an object that is equal only to itself is a weak reference, so that no table
    keeps an object alive that the program cannot name any more.
    """
    kind = type(value)
    if kind is tuple:
        return kind, tuple(identity_of(each) for each in cast("Iterable[object]", value))
    if kind is frozenset:
        return kind, frozenset(identity_of(each) for each in cast("Iterable[object]", value))
    if kind is float or kind is complex:
        return kind, repr(value)  # 0.0 and -0.0 are equal, but differ
    if kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__:
        try:
            return weakref.ref(value)
        except TypeError:
            pass
    return kind, value


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
