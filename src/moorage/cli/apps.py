"""The app that ``serve`` and ``deploy`` are about.

Begin at `app_of`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

import click

from .. import config
from ..app import App
from .errors import CommandError
from .reference import Reference

# The name of the variable, if the reference gives none.
DEFAULT: Final = "app"


def check_reference(wanted: Reference) -> None:
    """Refuse a reference that cannot be to the app of a module.

    Raises:
        click.UsageError: if it has a dot behind "::".
    """
    if "." in wanted.name:
        raise click.UsageError(
            f"{wanted.name!r} is no name of an app; write the name of one variable, as in "
            f"{wanted.to(DEFAULT).shown}"
        )


def app_of(module: ModuleType, wanted: Reference) -> App:
    """Return the app that a reference names in its module.

    Raises:
        CommandError: if the module has no such name.
        click.UsageError: if the name is that of something else.
    """
    name = wanted.name or DEFAULT
    apps = {key: value for key, value in vars(module).items() if isinstance(value, App)}
    if name not in vars(module):
        if not wanted.name and not config.strict and len({id(app) for app in apps.values()}) == 1:
            return next(iter(apps.values()))
        hint = "\n".join(f"    {wanted.to(each).call}" for each in apps)
        raise CommandError(
            f"module {module.__name__!r} has no attribute {name!r}",
            f"The {wanted.kind} has these apps:\n{hint}"
            if apps
            else f"The {wanted.kind} has no modal.App.",
        )
    found = getattr(module, name)
    if not isinstance(found, App):
        raise click.UsageError(
            f"{name!r} of {wanted.program} is no modal.App, but of the type {type(found).__name__}"
        )
    return found
