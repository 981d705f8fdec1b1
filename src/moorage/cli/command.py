"""The command ``moorage``: its subcommands, and how the process ends.

Owns the group of all commands and the exit codes: 0; 1 for what is wrong in the program or its
command line's meaning; 2 for wrong usage; 130 for Ctrl-C; and what the program itself exits with.

Begin at `Commands.main`, then `moorage`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final

import click

from ..exception import DeprecationError, Error
from .deploy import deploy
from .errors import INTERRUPTED, CommandError
from .options import profile_option
from .run import run
from .serve import serve
from .suggestions import did_you_mean, nearest

# The release of Modal whose commands and names this version follows.
MODAL: Final = "1.6.4"

# Commands of Modal that are about an account, or about what runs in the cloud.
OF_THE_SERVICE: Final = frozenset(
    (
        *("app", "billing", "changelog", "config", "container", "curl", "dashboard", "endpoint"),
        *("environment", "function", "image", "launch", "nfs", "profile", "server", "setup"),
        *("skills", "token", "workspace"),
    )
)


class Commands(click.Group):
    """A group of commands, with the exit codes of this command line."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; say what was meant, or why it is not there."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            if name.startswith("-"):
                return super().resolve_command(ctx, args)
            raise self._unknown(ctx, name)
        return super().resolve_command(ctx, args)

    def _unknown(self, ctx: click.Context, name: str) -> click.UsageError:
        if ctx.parent is None and name in OF_THE_SERVICE:
            more = ""
            if name == "app":
                more = (
                    " Apps live in the process that runs them; `kill -USR1 PID` shows what such a "
                    "process does."
                )
            return click.UsageError(f"'{name}' needs Modal's service.{more}", ctx)
        if ctx.parent is None and name.partition("::")[0].endswith(".py"):
            return click.UsageError(
                f"No such command '{name}'.\n\n{did_you_mean([f'{ctx.command_path} run {name}'])}",
                ctx,
            )
        near = [f"{ctx.command_path} {each}" for each in nearest(name, self.list_commands(ctx))]
        hint = f"\n\n{did_you_mean(near)}" if near else ""
        return click.UsageError(f"No such command '{name}'.{hint}", ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; unless `standalone_mode` is false, end with SystemExit."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        try:
            code: object = super().main(args, prog_name, complete_var, False, **extra)
        except click.exceptions.Abort as error:
            interrupted = isinstance(error.__cause__, KeyboardInterrupt)
            click.echo("Aborted!", err=True)
            code = INTERRUPTED if interrupted else 1
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (Error, DeprecationError) as error:
            CommandError(str(error)).show()
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


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


for _command in (run, serve, deploy):
    moorage.add_command(_command)
