"""What the commands for named objects share: their groups, options, tables and questions.

Owns `ObjectCommands`, whose commands show an error of the library as one line; `named`, which finds
an object; and `add_management`, which gives a group the commands that all kinds have.

Begin at `ObjectCommands`, then `named`, then `add_management`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from .. import config
from ..exception import Error, NotFoundError
from ..named_objects import NamedObjects
from ..object import Stored
from ..stores.home import environment_of
from . import rich_output
from .commands import Commands
from .errors import CommandError
from .suggestions import did_you_mean, nearest

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=Stored)


class ObjectCommands(Commands):
    """The commands for one kind of named objects, whose contents are on disk."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command of the group."""
        before, config.persist = config.persist, True
        try:
            return super().invoke(ctx)
        except (Error, OSError, ValueError) as error:
            raise CommandError(_text(error)) from None
        finally:
            config.persist = before


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def named(kind: type[S], name: str, environment: str | None) -> S:
    """Return the object of this name.

    Raises:
        CommandError: if there is none.
    """
    where = environment_of(environment)
    catalogue = kind._catalogue()
    if catalogue.find(where, name) is None:
        names = [record.name for record in catalogue.named(where) if record.name is not None]
        near = did_you_mean(nearest(name, names))
        command = f"`moorage {kind.__name__.lower()} create {name}`"
        raise CommandError(_missing(kind.__name__, name, where) + f"; write {command}.", near)
    return kind._from_name(name, environment)


def _missing(kind: str, name: str, environment: str) -> str:
    return f"There is no {kind} '{name}' in the environment '{environment}'"


def taken(kind: str, name: str, environment: str | None, advice: str) -> CommandError:
    """Return the error for an object that is there already."""
    return CommandError(
        f"There is a {kind} '{name}' in the environment '{environment_of(environment)}' already; "
        f"{advice}."
    )


def environment_option(function: F) -> F:
    """``-e``: the environment of the object."""
    return click.option(
        "-e",
        "--env",
        "environment",
        metavar="NAME",
        help="The environment of the object; that of the configuration if not given.",
    )(function)


def yes_option(function: F) -> F:
    """``--yes``: no question."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)


def json_option(function: F) -> F:
    """``--json``: the table as JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def confirm(question: str, yes: bool) -> None:
    """Ask whether to go on, unless `yes`.

    Raises:
        CommandError: if there is no terminal to ask on.
        Abort: if the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(
            f"{question} There is no terminal to ask on; write --yes (-y) to go on without."
        )
    click.confirm(question, default=False, abort=True)


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    as_json: bool = False,
    title: str = "",
) -> None:
    """Write a table to stdout: by rich on a terminal, if it is there; in columns; or as JSON."""
    if as_json:
        keys = [re.sub(r"[^a-zA-Z0-9]+", "_", column).lower().strip("_") for column in columns]
        found = [dict(zip(keys, row, strict=True)) for row in rows]
        click.echo(json.dumps(found, indent=2, default=repr))
        return
    cells = [[_one_line(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty() and rich_output.show_table(columns, cells, title):
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [columns, *cells]:
        line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _one_line(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


def moment(when: datetime, *, as_json: bool = False) -> str:
    """Return a time for people, or as ISO 8601."""
    local = when.astimezone()
    return local.isoformat() if as_json else local.strftime("%Y-%m-%d %H:%M:%S %Z")


def add_management(
    group: click.Group,
    kind: str,
    objects: NamedObjects[Any],
    *,
    creates: bool = True,
    more: Mapping[str, Callable[[Any], object]] = {},
) -> None:
    """Add the commands `list` and `delete`, and `create` unless the kind has one of its own.

    Args:
        group: the group.
        kind: the class, as users write it.
        objects: its ``objects``.
        creates: whether to add `create`.
        more: columns of `list` behind the name and the time, and what is in them.
    """

    @group.command("list", help=f"List all named {kind}s.")
    @json_option
    @environment_option
    def list_(as_json: bool, environment: str | None) -> None:
        rows = [
            (
                each.name,
                moment(each.info().created_at, as_json=as_json),
                *(read(each) for read in more.values()),
            )
            for each in objects.list(environment_name=environment or "")
        ]
        show_table(["Name", "Created at", *more], rows, as_json=as_json)

    @group.command(
        "delete", help=f"Delete a named {kind} and all that it has.", no_args_is_help=True
    )
    @click.argument("name")
    @click.option("--allow-missing", is_flag=True, help="It need not be there.")
    @yes_option
    @environment_option
    def delete(name: str, allow_missing: bool, yes: bool, environment: str | None) -> None:
        confirm(f"Delete the {kind} '{name}' and all that it has?", yes)
        try:
            objects.delete(name, allow_missing=allow_missing, environment_name=environment)
        except NotFoundError:
            where = environment_of(environment)
            raise CommandError(f"{_missing(kind, name, where)}; see --allow-missing.") from None

    if creates:

        @group.command(
            "create",
            help=f"Create a named {kind}; nothing happens if it is there.",
            no_args_is_help=True,
        )
        @click.argument("name")
        @environment_option
        def create(name: str, environment: str | None) -> None:
            objects.create(name, allow_existing=True, environment_name=environment)

        del create
    del list_, delete
