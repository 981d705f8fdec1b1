"""``moorage dict``: the named dicts on the disk, and what is in them.

Owns the commands.  Begin at `dict_`.
"""

from __future__ import annotations

import click

from ..dict import Dict
from .errors import CommandError
from .objects import (
    ObjectCommands,
    add_management,
    confirm,
    environment_option,
    json_option,
    named,
    show_table,
    yes_option,
)

# The most characters of a key or value in a table.
LONGEST = 80

_MISSING = object()


@click.group(cls=ObjectCommands, name="dict", no_args_is_help=True)
def dict_() -> None:
    """Look into named dicts, and change them."""


add_management(dict_, "Dict", Dict.objects)


@dict_.command(no_args_is_help=True)
@click.argument("name")
@yes_option
@environment_option
def clear(name: str, yes: bool, environment: str | None) -> None:
    """Delete all entries of a dict."""
    confirm(f"Delete all entries of the Dict '{name}'?", yes)
    named(Dict, name, environment).clear()


@dict_.command(no_args_is_help=True)
@click.argument("name")
@click.argument("key")
@environment_option
def get(name: str, key: str, environment: str | None) -> None:
    """Print the value of a key, which is always a str here."""
    value = named(Dict, name, environment).get(key, _MISSING)
    if value is _MISSING:
        raise CommandError(f"The Dict '{name}' has no key {key!r}.")
    click.echo(str(value))


@dict_.command(no_args_is_help=True)
@click.argument("name")
@click.argument("n", type=int, default=20, metavar="[N]")
@click.option("-a", "--all", "shows_all", is_flag=True, help="All entries, however many.")
@click.option("-r", "--repr", "uses_repr", is_flag=True, help="Show what repr() gives.")
@json_option
@environment_option
def items(
    name: str, n: int, shows_all: bool, uses_repr: bool, as_json: bool, environment: str | None
) -> None:
    """Print the first N entries of a dict, 20 if not given."""
    rows: list[tuple[object, object]] = []
    for key, value in named(Dict, name, environment).items():
        if as_json:
            rows.append((key, value))
            continue
        if not shows_all and len(rows) >= n:
            rows.append(("...", "..."))
            break
        rows.append((_shown(key, uses_repr), _shown(value, uses_repr)))
    show_table(["Key", "Value"], rows, as_json=as_json)


def _shown(value: object, uses_repr: bool) -> str:
    text = repr(value) if uses_repr else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
