"""Mounts: where the paths of volumes lead while a command runs a program.

Owns the options ``--mounts`` and ``--no-mounts``, the step before a program is imported (`enter`),
and the one after it (`mount`).  ``mounting/`` owns how; ``running/mounts.py`` knows what.

Begin at `enter`, then `mount`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..app import App
from ..mounting import links, namespace
from ..mounting.place import line, state
from ..running.mounts import lacks_volumes, mount_all, mounts_of

F = TypeVar("F", bound=Callable[..., Any])

OFF = "off"


def mounts_option(function: F) -> F:
    """``--mounts`` and ``--no-mounts``; the parameter is `mounts`."""
    function = click.option("--no-mounts", "mounts", flag_value=OFF, help="Mount nothing.")(
        function
    )
    return click.option(
        "--mounts",
        type=click.Choice(["namespace", "link", OFF]),
        default="namespace",
        show_default=True,
        help="How the paths of volumes lead to their files: mounted, for this program alone; or "
        "by symlinks.",
    )(function)


def enter(mounts: str) -> None:
    """Prepare this process for mounts.  Before a program is imported, with one thread."""
    if mounts == OFF:
        namespace.stay_out()
    elif mounts == "link":
        links.link()
    else:
        namespace.enter()  # if that is impossible, `mount` says why


def mount(app: App) -> str:
    """Mount what an app mounts; return a line to show, or nothing."""
    shown = line(mount_all(app))
    if state.place is None and state.why_not is not None:
        wanted = (mount for mounts in mounts_of(app).values() for mount in mounts)
        if lacks_volumes(wanted):
            return str(state.why_not)
    return shown
