"""``moorage secret``: the named secrets of this user.

Owns the commands.  No command shows a value.

Begin at `create`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..arguments import check_name
from ..exception import AlreadyExistsError
from ..secret import Secret
from ..stores.home import environment_of
from ..variables import Variables
from .objects import ObjectCommands, add_management, environment_option, taken


@click.group(cls=ObjectCommands, no_args_is_help=True)
def secret() -> None:
    """Write and delete secrets, which are files that only you can read."""


add_management(secret, "Secret", Secret.objects, creates=False)


@secret.command(no_args_is_help=True)
@click.argument("name")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--from-dotenv", type=click.Path(path_type=Path), help="Read a .env file.")
@click.option("--from-json", type=click.Path(path_type=Path), help="Read a JSON file.")
@click.option("--force", is_flag=True, help="Replace a secret that is there.")
@environment_option
def create(
    name: str,
    pairs: tuple[str, ...],
    from_dotenv: Path | None,
    from_json: Path | None,
    force: bool,
    environment: str | None,
) -> None:
    """Write a secret.

    The value "-" is asked for, and not shown: `moorage secret create my-keys TOKEN=-`.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            # The text is not repeated: it may be a value.
            raise click.UsageError('Each item is KEY=VALUE, such as TOKEN="$TOKEN", or TOKEN=-.')
        values[key] = click.prompt(key, hide_input=True) if value == "-" else value
    if from_dotenv is not None:
        values.update(_read_dotenv(from_dotenv))
    if from_json is not None:
        values.update(_read_json(from_json))
    if not values:
        raise click.UsageError("A secret needs at least one KEY=VALUE.")
    for key, value in values.items():
        if not key:
            raise click.UsageError("A key is empty; write KEY=VALUE.")
        if not isinstance(value, str):
            raise click.UsageError(f"The value of '{key}' is no string.")
    if force:
        check_name(name, "Secret", "moorage secret create my-secret KEY=VALUE")
        place = environment_of(environment)
        given = Variables(values)
        Secret._catalogue().put(place, name, given, allow_existing=True, replaces=True)
    else:
        try:
            Secret.objects.create(name, values, environment_name=environment)
        except AlreadyExistsError:
            raise taken("Secret", name, environment, "write --force to replace it") from None
    plural = "" if len(values) == 1 else "s"
    keys = ", ".join(repr(key) for key in values)
    click.echo(f"Created the Secret '{name}' with the key{plural} {keys}")


def _read_dotenv(path: Path) -> dict[str, str | None]:
    if not path.is_file():
        raise click.UsageError(f"There is no file {str(path)!r}.")
    found = Secret.from_dotenv(path, filename=path.name)

    def nothing(*_: object) -> None:
        return None

    return dict(found._resolved(nothing, nothing))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise click.UsageError(f"There is no file {str(path)!r}.")
    found: dict[str, Any] | None
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.UsageError(f"The file {str(path)!r} is no JSON with names and values.")
    return found
