"""What in a program is run: an entrypoint, a function, or a method of a class.

Owns the candidates of a module and which of them a reference names.  Begin at `candidates_of`, then
`choose`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import click

from ..app import App, LocalEntrypoint
from ..cls import Cls
from ..functions import Function
from .errors import CommandError, shown_error
from .reference import Reference
from .suggestions import did_you_mean, nearest


@dataclass(frozen=True)
class Method:
    """A method of a class of an app."""

    cls: Cls
    name: str


Runnable = Function[Any, Any, Any] | Method | LocalEntrypoint[Any, Any]


class Priority(enum.IntEnum):
    """Which candidates are taken first, if a reference leaves several: the lowest."""

    ENTRYPOINT = 0  # in the module
    FUNCTION = 1  # in the module, or a method of a class in the module
    ENTRYPOINT_OF_APP = 2  # only in an app of the module
    FUNCTION_OF_APP = 3


@dataclass
class Candidate:
    """Something that a command can run, with all names by which it is reached."""

    runnable: Runnable
    priority: Priority
    # The name in the module first, then the names in the apps: ``main``, ``app.main``.
    names: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """The name to write behind ``::``."""
        return self.names[0]

    @property
    def app(self) -> App:
        """The app that runs it."""
        if isinstance(self.runnable, Method):
            app: App = self.runnable.cls._nameless_service().app
            return app
        return self.runnable.app

    def is_named(self, name: str) -> bool:
        """Whether `name` is one of the names, or what stands before a dot of one of them."""
        return not name or any(f"{one}.".startswith(f"{name}.") for one in self.names)


def apps_of(module: ModuleType) -> list[tuple[str, App]]:
    """Return the apps that a module has, by the names of its variables."""
    return [(name, found) for name, found in _members(module) if _is(found, App)]


def candidates_of(module: ModuleType, *, web: bool = False) -> list[Candidate]:
    """Return all that a module has to run: its own, and what its apps have.

    Args:
        module: the program.
        web: whether web functions are among them.
    """
    found: dict[object, Candidate] = {}

    def add(runnable: Runnable, priority: Priority, name: str, *, first: bool = False) -> None:
        key: object = id(runnable)
        if isinstance(runnable, Method):
            key = id(runnable.cls), runnable.name
        candidate = found.setdefault(key, Candidate(runnable, priority))
        candidate.priority = min(priority, candidate.priority)
        if name not in candidate.names:
            candidate.names.insert(0 if first else len(candidate.names), name)

    members = list(_members(module))
    for variable, app in apps_of(module):
        for name, entrypoint in app._entrypoints.items():
            add(entrypoint, Priority.ENTRYPOINT_OF_APP, f"{variable}.{name}")
        for name, function in app._functions_by_name().items():
            if web or function._web is None:
                add(function, Priority.FUNCTION_OF_APP, f"{variable}.{name}")
        for name, cls in app._classes_by_name().items():
            for method in _methods(cls, web):
                add(method, Priority.FUNCTION_OF_APP, f"{variable}.{name}.{method.name}")
    for name, value in members:
        if _is(value, LocalEntrypoint):
            add(value, Priority.ENTRYPOINT, name, first=True)
        # A handle that was looked up by name is not of this program.
        elif "_find" in getattr(value, "__dict__", ()):
            continue
        elif _is(value, Function) and (web or value._web is None):
            add(value, Priority.FUNCTION, name, first=True)
        elif _is(value, Cls):
            for method in _methods(value, web):
                add(method, Priority.FUNCTION, f"{name}.{method.name}", first=True)
    return list(found.values())


def _members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in dir(module):
        try:
            yield name, getattr(module, name)
        except AttributeError:
            continue  # as `inspect.getmembers` does
        except Exception as error:
            raise shown_error(error) from None


def _is(value: object, kind: type) -> bool:
    # Not `isinstance`, which asks a proxy object of the user's for its `__class__`.
    return issubclass(type(value), kind)


def _methods(cls: Cls, web: bool) -> list[Method]:
    declared = cls._found()._declared
    return [Method(cls, name) for name in declared.methods if web or name not in declared.web]


def matching(candidates: Sequence[Candidate], name: str) -> list[Candidate]:
    """Return the candidates of the best priority among those that `name` names."""
    named = [candidate for candidate in candidates if candidate.is_named(name)]
    best = min((candidate.priority for candidate in named), default=None)
    return [candidate for candidate in named if candidate.priority == best]


def choose(
    reference: Reference, candidates: Sequence[Candidate], *, has_arguments: bool
) -> Candidate:
    """Return the one candidate that the reference names.

    Args:
        reference: the program and the name.
        candidates: what the program has.
        has_arguments: whether arguments of the program follow: then the message does not repeat
            the whole command, because the arguments may be secret.

    Raises:
        CommandError: if the reference names none, or several.
    """
    found = matching(candidates, reference.name)
    if len(found) == 1:
        return found[0]
    where = f"the '{reference.program}' {reference.kind}"
    if not candidates:
        raise CommandError(
            f"The '{reference.program}' {reference.kind} has no entrypoints. "
            "Write @app.local_entrypoint() or @app.function() above a def."
        )
    if not found:
        raise CommandError(
            f"Could not find '{reference.name}' in {where}.\n{listing(reference, candidates)}",
            did_you_mean(_suggestions(reference, candidates, has_arguments=has_arguments)),
        )
    if reference.name:
        named = [candidate for candidate in candidates if candidate.is_named(reference.name)]
        message = f"'{reference.name}' matches multiple entrypoints in {where}."
    else:
        named = list(candidates)
        message = (
            f"{reference.command} invoked without a function reference, "
            "but App has multiple possible entrypoints."
        )
    example = f"    {reference.to(named[0].name).call} [..args]"
    raise CommandError(
        f"{message}\n{listing(reference, named)}\n\nSpecify the entrypoint, e.g.:\n{example}"
    )


def listing(reference: Reference, candidates: Sequence[Candidate]) -> str:
    """Return the lines that list what a program has to run."""
    lines = [f"- {' / '.join(candidate.names)}" for candidate in candidates]
    where = f"'{reference.program}' {reference.kind}"
    return "\n".join([f"The {where} has the following options:", *lines])


def show_listing(reference: Reference, candidates: Sequence[Candidate]) -> None:
    """Write what a program has to run to stdout, each with the first line of its docstring."""
    rows = [(candidate.name, _summary(candidate.runnable)) for candidate in candidates]
    width = max(len(name) for name, _ in rows)
    click.echo(f"Usage: {reference.call}::NAME [ARGS]...\n")
    click.echo(f"The '{reference.program}' {reference.kind} has the following options:")
    for name, summary in rows:
        click.echo(f"  {name:{width}}  {summary}".rstrip())
    click.echo(f"\nWrite `{reference.to(rows[0][0]).call} --help` for the options of one.")


def documentation_of(runnable: Runnable) -> str:
    """Return the first paragraph of the docstring; "" without one."""
    function: object
    if isinstance(runnable, Method):
        function = runnable.cls._found()._declared.raw_methods[runnable.name]
    elif isinstance(runnable, LocalEntrypoint):
        function = runnable.info.raw_f
    else:
        function = runnable._target.function
    text = getattr(function, "__doc__", None)
    if not isinstance(text, str):
        return ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _summary(runnable: Runnable) -> str:
    return documentation_of(runnable)[:80]


def _suggestions(
    reference: Reference, candidates: Sequence[Candidate], *, has_arguments: bool
) -> list[str]:
    names = [name for candidate in candidates for name in candidate.names]
    near = nearest(reference.name, names)
    if not near:  # ``paint`` for ``Painter.paint``
        last = {name.rpartition(".")[2]: name for name in reversed(names)}
        near = [
            last[name] for name in (reference.name, *nearest(reference.name, last)) if name in last
        ]
    # Each candidate once, by the name that is nearest.
    found: list[str] = []
    seen: list[Candidate] = []
    for name in near:
        candidate = next(one for one in candidates if name in one.names)
        if candidate not in seen:
            seen.append(candidate)
            found.append(name)
    if has_arguments:
        return [reference.to(name).shown for name in found]
    return [reference.to(name).call for name in found]
