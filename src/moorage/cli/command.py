"""The command ``moorage``: what it has.

Owns the group of all commands.  Begin at `moorage`.
"""

from __future__ import annotations

from importlib import metadata
from typing import Final

import click

from .commands import Commands
from .deploy import deploy
from .dicts import dict_
from .options import profile_option
from .queues import queue
from .requirements import requirements
from .run import run
from .secrets import secret
from .serve import serve
from .shell import mounts, shell
from .volumes import volume

# The release of Modal whose commands and names this version follows.
MODAL: Final = "1.6.4"


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"moorage {metadata.version('moorage')}")
        click.echo(f"with the commands and names of modal {MODAL}")
        ctx.exit()


@click.group(
    cls=Commands,
    name="moorage",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@profile_option
def moorage(profile: str | None) -> None:
    """Run Modal programs on this machine, as they stand.

    See `moorage COMMAND --help` for the options of a command.
    """


for _command in (run, serve, deploy, shell, mounts, requirements, volume, dict_, queue, secret):
    moorage.add_command(_command)
