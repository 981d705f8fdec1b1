"""Groups of commands: how the process ends, and what an unknown command was meant to be.

Owns `Commands`, the class of all groups, and the exit codes: 0; 1 for what is wrong in the program,
or in what the command line asks for; 2 for wrong usage; 130 for Ctrl-C; and what the program itself
exits with.

Begin at `Commands.main`, then `Commands.resolve_command`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from ..exception import DeprecationError, Error
from .errors import INTERRUPTED, CommandError, shown_error
from .suggestions import did_you_mean, nearest

# Commands of Modal that are about an account, or about what runs in the cloud.
OF_THE_SERVICE: Final = frozenset(
    (
        *("app", "billing", "changelog", "config", "container", "curl", "dashboard", "endpoint"),
        *("environment", "function", "image", "launch", "profile", "server", "setup"),
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
        # Also `moorage volume dashboard`.
        if (ctx.parent is None and name in OF_THE_SERVICE) or name == "dashboard":
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
            code = _show(error)
        except (Error, DeprecationError) as error:
            code = _show(CommandError(str(error)))
        except SystemExit:
            _flushed(0)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a fault of ours, or what no program should raise
            code = _show(shown_error(error))
        sys.exit(_flushed(code if isinstance(code, int) else 0))


def _show(error: click.ClickException) -> int:
    """Show an error, if there is a stderr to show it on; return the exit code."""
    try:
        error.show()
    except (OSError, ValueError):  # nobody reads stderr, or the program has closed it
        pass
    return error.exit_code


def _flushed(code: int) -> int:
    """Write what is left of the standard output; return the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # As `head -1` does.  The interpreter will flush once more, and must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    except (AttributeError, OSError, ValueError):  # the program has closed or replaced it
        pass
    return code
