"""``moorage shell`` and ``moorage mounts``: another program where a function's files are.

Owns both commands.  ``shell`` imports a program and starts a shell, or another command, with the
variables and the mounts of one of its functions.  ``mounts`` imports nothing: it becomes the
command, whose own containers find their paths.

Begin at `shell`, then `_variables`.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

import click

from ..app import LocalEntrypoint
from ..declaring.needs import Needs
from ..mounting import namespace
from ..running.environment import RunEnvironment
from ..runtime.real import Real
from .choosing import Candidate, Method, candidates_of, choose
from .errors import ENDED_BY_SIGNAL, CommandError, shown_error
from .loading import load, prepare
from .mounts import mount, mounts_option
from .options import complete_files, environment_option, module_option, profile_option
from .progress import Output
from .reference import STDIN, Reference

# What shells answer for a command that is not there, and for one that cannot be run.
NOT_FOUND: Final = 127
NOT_RUN: Final = 126

# Modal's options for a machine of its own, and why they are refused.
_OF_THE_CLOUD: Final = ("image", "add-local", "volume", "secret", "cpu", "memory", "gpu", "cloud")


def _refuse(ctx: click.Context, option: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        raise click.UsageError(
            f"{option.opts[0]} describes a machine of Modal's; here the shell runs on this "
            "machine. Write `moorage shell FILE::FUNCTION`, and it has what the function has.",
            ctx,
        )


def _options_of_the_cloud(command: click.Command) -> click.Command:
    for name in (*_OF_THE_CLOUD, "region"):
        command.params.append(
            click.Option(
                [f"--{name}"], multiple=True, hidden=True, expose_value=False, callback=_refuse
            )
        )
    return command


@_options_of_the_cloud
@click.command(short_help="Start a shell with what a function has.")
@click.option("-c", "--cmd", help="Run this command in the place of a shell.")
@module_option
@environment_option
@mounts_option
@click.option("--pty/--no-pty", default=None, help="Accepted for Modal's sake.")
@profile_option
@click.argument("reference", metavar="[FUNC_REF]", required=False, shell_complete=complete_files)
@click.pass_context
def shell(
    ctx: click.Context,
    /,
    cmd: str | None,
    is_module: bool,
    environment: str | None,
    mounts: str,
    pty: bool | None,
    profile: str | None,
    reference: str | None,
) -> None:
    """Start a shell with the variables, secrets and volumes of a function.

    \b
        moorage shell app.py::train
        moorage shell app.py::Model.predict -c "ls /models"

    Without FUNC_REF it is a plain shell. The exit code is that of the shell.
    """
    if reference is None:
        raise click.exceptions.Exit(_run(_command(cmd)))
    if reference.startswith(("ta-", "sb-")):
        raise CommandError(
            f"{reference} is the id of a container or sandbox of Modal's; here containers are "
            "within the process of their program. Write `moorage shell FILE::FUNCTION`."
        )
    if reference.partition("::")[0] == STDIN:
        raise CommandError("The shell reads the standard input; give the program as a file.")
    wanted = Reference.read(reference, is_module=is_module, command=ctx.command_path)
    prepare(environment=environment, mounts=mounts)
    module = load(wanted)
    runnable = [
        candidate
        for candidate in candidates_of(module, web=True)
        if not isinstance(candidate.runnable, LocalEntrypoint)
    ]
    chosen = choose(wanted, runnable, has_arguments=False)
    if mounted := mount(chosen.app):
        Output(quiet=False, timestamps=False).say(mounted)
    holder = RunEnvironment()
    try:
        needs = _needs(chosen)
        if needs is not None:
            holder.prepare(holder, chosen.name, needs)
        code = _run(_command(cmd))
    except Exception as error:
        raise shown_error(error) from None
    finally:
        holder.end()
    raise click.exceptions.Exit(code)


def _needs(chosen: Candidate) -> Needs | None:
    """Return what the function's containers need of their process."""
    runnable: Any = chosen.runnable
    if isinstance(runnable, Method):
        return runnable.cls._options.needs
    needs: Needs | None = runnable._service.options.needs
    return needs


def _command(given: str | None) -> list[str]:
    if given is None:
        return [os.environ.get("SHELL") or "/bin/sh"]
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise CommandError(f"The command {given!r} cannot be read: {error}.") from None
    if not words:
        raise CommandError("The command is empty; leave -c out for a shell.")
    return words


def _run(command: Sequence[str]) -> int:
    """Run a command in the terminal of this process; return its exit code."""

    def leave_it_to_the_command(number: int, frame: FrameType | None) -> None:
        """Ctrl-C is meant for the command, which the terminal tells too."""

    before = Real.set_signal(signal.SIGINT, leave_it_to_the_command)
    try:
        code = subprocess.run(list(command), check=False).returncode
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN
    finally:
        Real.set_signal(signal.SIGINT, before)
    return code if code >= 0 else ENDED_BY_SIGNAL - code


@click.command(
    short_help="Run another program with the mounts of its functions.",
    no_args_is_help=True,
    context_settings={"allow_interspersed_args": False},
)
@click.option("--link", is_flag=True, help="Make symlinks in the place of mounts.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def mounts(link: bool, command: tuple[str, ...]) -> None:
    """Run another program, whose containers find the paths of their volumes.

    For programs that open a run, or deploy, in their own code:

    \b
        moorage mounts -- python prog.py
    """
    namespace.run(command, links=link)
