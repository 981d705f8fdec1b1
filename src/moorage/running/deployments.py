"""Deployments: the apps that run in this process, by name and environment.

Owns the tables that ``from_name`` and `lookup` read, and tells handles when what they have found
may be another app.  `AppRuns` writes the tables: each app with a name, when it is made, and the
names under which apps are deployed.

Begin at `find`, then `put`, then `of_app`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from ..exception import NotFoundError
from ..runtime import forking
from ..runtime.real import Real
from ..stores.home import MAIN, environment_of

T = TypeVar("T")


class Deployed(Protocol):
    """The deployed object: the runs of one app."""

    @property
    def app(self) -> Any: ...
    def stop(self) -> None: ...


class Running(Protocol):
    """An app with a name, which may run."""

    @property
    def app(self) -> Any: ...
    def runs_in(self, environment: str, /) -> int | None: ...
    def is_running(self) -> bool: ...


class Named(Protocol):
    """A handle that was looked up by name, and caches the function or class it found."""

    def _forget_found(self) -> None: ...


# Held by ``App.lookup(create_if_missing=True)``: without it two threads would each deploy an
# app, and each would stop the other's.
creating: Final = Real.Lock()
forking.in_child(lambda: forking.renew(creating))

_lock: Final = Real.Lock()
forking.in_child(lambda: forking.renew(_lock))
# By name and environment.  Guarded by the lock.
_deployed: Final[dict[tuple[str, str], Deployed]] = {}
# The apps that live, by name, and the handles that were looked up, by the name of their app.
# Guarded by the lock.  When a table has as many names as its entry in `_room`, names without a
# live object are removed.
_apps: Final[dict[str, weakref.WeakSet[Running]]] = {}
_named: Final[dict[str, weakref.WeakSet[Named]]] = {}
_room: Final[dict[str, int]] = {"apps": 64, "named": 64}


def find(name: str, environment_name: str | None = None) -> Any:
    """Return the app that is deployed under `name`, else the app of this name that runs.

    Of several apps that run, the one whose run began last.

    Raises:
        NotFoundError: if there is none.
    """
    environment = environment_of(environment_name)
    with _lock:
        deployed = _deployed.get((name, environment))
        apps = list(_apps.get(name, ()))
    if deployed is not None:
        return deployed.app
    # Without the lock: an app asks for its run with a lock of its own.
    runs = [(began, app) for app in apps if (began := app.runs_in(environment)) is not None]
    if runs:
        return max(runs, key=lambda each: each[0])[1].app
    there = ", ".join(_there()) or "none"
    raise NotFoundError(
        f"no app runs or is deployed as {name!r}{_in(environment)} in this process "
        f"(there: {there}); write App({name!r}) and app.deploy() first, "
        f'or app.deploy(name="{name}")'
    )


def of_app(
    kind: str,
    app_name: str,
    name: str,
    environment_name: str | None,
    things: Callable[[Any], Mapping[str, T]],
) -> T:
    """Return the function, class or server `name` of the app that is there as `app_name`.

    Args:
        kind: what is looked up: ``"Function"``, ``"Cls"`` or ``"Server"``.
        things: returns what of that kind an app has.

    Raises:
        NotFoundError: if there is none; says what there is.
    """
    failed = f"Lookup failed for {kind} {name!r} from the {app_name!r} app"
    environment = environment_of(environment_name)
    failed += f" (in the {environment!r} environment)"
    try:
        app = find(app_name, environment)
    except NotFoundError as error:
        raise NotFoundError(f"{failed}: {error}") from None
    found = things(app)
    if name in found:
        return found[name]
    for other, names in (
        ("Function", app._functions_by_name()),
        ("Cls", app._classes_by_name()),
        ("Server", app._servers_by_name()),
    ):
        if name in names:
            raise NotFoundError(
                f"{failed}: it is a {other}; write {other}.from_name({app_name!r}, {name!r})"
            )
    what = {"Function": "function", "Cls": "class", "Server": "server"}[kind]
    raise NotFoundError(
        f"{failed}: the app {app_name!r} has no {what} {name!r}; "
        f"write the name of one it has: {', '.join(found) or 'none'}"
    )


def shown(kind: str, app_name: str, name: str, environment_name: str | None) -> str:
    """Return the `repr` of what ``from_name`` returns, as in Modal."""
    where = "" if environment_name is None else f", environment_name={environment_name!r}"
    return f"{kind}.from_name({app_name!r}, {name!r}{where})"


def _in(environment: str) -> str:
    return "" if environment == MAIN else f" in the environment {environment!r}"


def _there() -> list[str]:
    """Return the names of the apps that run or are deployed."""
    with _lock:
        found = [f"{name}{_in(environment)}" for name, environment in _deployed]
        apps = [(name, app) for name, apps in _apps.items() for app in apps]
    running = {name for name, app in apps if app.is_running()}
    return [*found, *sorted(running - set(found))]


def names() -> list[str]:
    """Return the names of the deployed apps."""
    with _lock:
        return [name for name, _ in _deployed]


def put(name: str, environment: str, deployed: Deployed) -> Deployed | None:
    """Put `deployed` under `name`.  Return the app it replaces if that app has no other name."""
    with _lock:
        before = _deployed.get((name, environment))
        _deployed[name, environment] = deployed
        named = list(_deployed.values())
    forget([name])
    return None if before is None or any(before is one for one in named) else before


def remove(gone: Deployed) -> None:
    """Remove all names of `gone`."""
    with _lock:
        keys = [key for key, deployed in _deployed.items() if deployed is gone]
        for key in keys:
            del _deployed[key]
    forget([name for name, _ in keys])


def meet(name: str, app: Running) -> None:
    """Note an app that was made."""
    with _lock:
        _add("apps", _apps, name, app)


def remember(name: str, named: Named) -> None:
    """Call `named._forget_found` whenever `name` may be another app, or none any more."""
    with _lock:
        _add("named", _named, name, named)


def _add(table: str, sets: dict[str, weakref.WeakSet[T]], name: str, added: T) -> None:
    """Add to a table, under the lock."""
    if name not in sets and len(sets) >= _room[table]:
        for each in [each for each, there in sets.items() if not there]:
            del sets[each]
        _room[table] = max(64, 2 * len(sets))  # doubling: the cost per name stays constant
    sets.setdefault(name, weakref.WeakSet()).add(added)


def forget(names: Iterable[str | None]) -> None:
    """Make the handles of these names look up anew."""
    with _lock:
        affected = [named for name in names if name in _named for named in _named[name]]
    for named in affected:
        named._forget_found()
