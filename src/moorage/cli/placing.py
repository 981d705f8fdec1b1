"""Where the containers of a command run: in processes of their own, if nothing says otherwise.

Owns the option ``--placement``, and what a command takes without it.  ``placing/placements.py`` has
the order in which the option, the program, the environment and the command's own choice count.

Begin at `placement_note`, then `place_containers`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import click

from ..placing.placements import VARIABLE, Placement, command
from ..placing.processes import can_fork
from .errors import CommandError

F = TypeVar("F", bound=Callable[..., Any])

_EXTRA: Final = 'pip install "moorage[process]"'


def placement_option(function: F) -> F:
    """``--placement``: where containers run."""
    return click.option(
        "--placement",
        type=click.Choice(["thread", "process"]),
        help="Where containers run: in processes of their own, as in Modal, or as threads of this "
        "process.  Processes by default, where the system can fork them cheaply (Linux).",
    )(function)


def placement_note(given: str | None) -> str:
    """Return a line to show about where containers run, or nothing.

    Args:
        given: the value of ``--placement``.

    Raises:
        CommandError: if processes are asked for, and what they need is not installed.
    """
    if _has_cloudpickle():
        return ""
    if given == "process":
        raise CommandError(
            "--placement process needs cloudpickle, which is not installed; "
            f"write {_EXTRA}, or --placement thread."
        )
    if given is not None or not can_fork() or os.environ.get(VARIABLE):
        return ""
    return f"Note: containers are threads, because cloudpickle is not installed: {_EXTRA}"


def place_containers(given: str | None) -> None:
    """Have the runs of this process place their containers as the command says."""
    command.given = cast("Placement | None", given)  # one of the choices of the option
    command.default = "process" if can_fork() and _has_cloudpickle() else None


def _has_cloudpickle() -> bool:
    return importlib.util.find_spec("cloudpickle") is not None
