"""Deployments: the apps that run in this process under a name.

Owns the table that ``from_name`` looks into.  `AppRuns.deploy` writes into it.

Begin at `put`, then `find`.
"""

from __future__ import annotations

import weakref
from typing import Any, Final, Protocol

from ..exception import NotFoundError
from ..runtime import forking
from ..runtime.real import Real


class Deployed(Protocol):
    """What is deployed: the runs of an app."""

    @property
    def app(self) -> Any: ...
    def stop(self) -> None: ...


class Named(Protocol):
    """What was looked up by name and keeps what it found."""

    def _forget_found(self) -> None: ...


# Held by ``App.lookup(create_if_missing=True)``: without it two threads would each deploy an
# app, and each would stop the other's.
creating: Final = Real.Lock()
forking.in_child(lambda: forking.renew(creating))

_lock: Final = Real.Lock()
forking.in_child(lambda: forking.renew(_lock))
# Both guarded by the lock.
_deployed: Final[dict[str, Deployed]] = {}
# What was looked up, by the name of its app.  Entries whose handles have died go when there
# are as many entries as `_room` says.
_named: Final[dict[str, weakref.WeakSet[Named]]] = {}
_room: int = 64


def find(name: str) -> Any:
    """The app deployed under `name`.

    Raises:
        NotFoundError: if there is none.
    """
    with _lock:
        found = _deployed.get(name)
        known = ", ".join(_deployed)
    if found is None:
        raise NotFoundError(
            f"no app is deployed as {name!r} in this process (deployed: {known or 'none'}); "
            f'write App({name!r}) and app.deploy() first, or app.deploy(name="{name}")'
        )
    return found.app


def names() -> list[str]:
    """The names of the deployed apps."""
    with _lock:
        return list(_deployed)


def put(name: str, deployed: Deployed) -> Deployed | None:
    """Deploy an app under `name`; return the other app that had it and no further name."""
    with _lock:
        before = _deployed.get(name)
        _deployed[name] = deployed
        named = list(_deployed.values())
    _forget(name)
    return None if before is None or any(before is one for one in named) else before


def remove(gone: Deployed) -> None:
    """Forget all names of `gone`."""
    with _lock:
        names = [name for name, deployed in _deployed.items() if deployed is gone]
        for name in names:
            del _deployed[name]
    for name in names:
        _forget(name)


def remember(name: str, named: Named) -> None:
    """`named` keeps what it finds in the app `name`: tell it when that changes."""
    global _room
    with _lock:
        if name not in _named and len(_named) >= _room:
            for each in [each for each, handles in _named.items() if not handles]:
                del _named[each]
            _room = max(64, 2 * len(_named))  # so that each name costs the same in the end
        _named.setdefault(name, weakref.WeakSet()).add(named)


def _forget(name: str) -> None:
    with _lock:
        affected = list(_named.get(name, ()))
    for named in affected:
        named._forget_found()
