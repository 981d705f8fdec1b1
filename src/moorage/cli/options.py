"""Options that several commands have.

Owns `-m`, `-e` and `--profile`, which mean the same everywhere, and how the shell
completes programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Have the shell complete the names of files, for an argument that is a program."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def module_option(function: F) -> F:
    """``-m``: the reference is the path of a module."""
    return click.option(
        "-m", "is_module", is_flag=True, help="The program is the path of a module, not a file."
    )(function)


def environment_option(function: F) -> F:
    """``-e``: the namespace of named objects."""
    return click.option(
        "-e",
        "--env",
        "environment",
        metavar="NAME",
        help="Environment: the namespace of named volumes, dicts, queues and secrets.",
    )(function)


def profile_option(function: F) -> F:
    """``--profile``: for Modal's sake."""
    return click.option(
        "--profile", metavar="NAME", help="Accepted for Modal's sake: there are no accounts."
    )(function)
