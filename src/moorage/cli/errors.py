"""The errors of the command line, and how each is shown.

Owns `CommandError`: one line on stderr, exit code 1.  `UserError` is an exception of the user's
program, shown as a traceback of the user's frames.  `NobodyReads` is a broken pipe, of which
nothing is shown.  Wrong usage is click's `UsageError`, exit code 2.

Begin at `CommandError`, then `UserError`.
"""

from __future__ import annotations

import select
import signal
import sys
from typing import IO, Any, Final

import click

from ..exception import DeprecationError, Error
from ..runtime.error_copies import traceback_of
from .tracebacks import keep_users_frames, print_traceback

# What a shell expects of a program that a signal has ended: 128 and the signal's number.
ENDED_BY_SIGNAL: Final = 128
INTERRUPTED: Final = ENDED_BY_SIGNAL + signal.SIGINT


class CommandError(click.ClickException):
    """Something is wrong with what the user wrote: ``Error: ...`` on stderr, exit code 1.

    Args:
        message: what is wrong and what to write instead.
        hint: lines that follow the message after an empty line, such as "Did you mean: ...".
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint: str = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message and the hint."""
        text = f"Error: {self.format_message()}"
        if self.hint:
            text += f"\n\n{self.hint}"
        click.echo(text, file=file, err=file is None)


class UserError(click.ClickException):
    """An exception left the user's program: its traceback on stderr, exit code 1."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error: BaseException = error

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the traceback, cut to the user's frames."""
        print_traceback(self.error, file)


class NobodyReads(click.ClickException):
    """The program writes, and nobody reads: ``moorage run app.py | head -1``.  Nothing is shown."""

    def __init__(self) -> None:
        super().__init__("nobody reads the standard output")

    def show(self, file: IO[Any] | None = None) -> None:
        """Show nothing."""


def is_unread() -> bool:
    """Whether the standard output is a pipe that nobody reads."""
    stdout: Any = sys.__stdout__
    try:
        poll = select.poll()
        poll.register(stdout.fileno(), 0)  # it tells of errors in any case
        return any(events & select.POLLERR for _, events in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows; closed; or not there
        return False


def shown_error(error: BaseException) -> click.ClickException:
    """Return how `error` is shown, which left the user's program or a call of this library.

    An error of this library that was raised outside of the user's code is one line, unless an
    exception of the user's code is its cause.  All others have a traceback.
    """
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, BrokenPipeError) and is_unread():
        return NobodyReads()
    keep_users_frames(error)
    is_ours = isinstance(error, Error | DeprecationError)
    if is_ours and traceback_of(error) is None and error.__cause__ is None:
        return CommandError(str(error))
    return UserError(error)
