"""Groups of commands: how the process ends, and what an unknown command was meant to be.

Owns `Commands`, the class of all groups, and the exit codes: 0; 1 for what is wrong in the program,
or in what the command line asks for; 2 for wrong usage; 130 for Ctrl-C; and what the program itself
exits with.

Begin at `Commands.main`, then `Commands.resolve_command`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from ..exception import DeprecationError, Error
from .errors import INTERRUPTED, CommandError
from .suggestions import did_you_mean, nearest

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
