"""Describing: the ways to ask a program that hangs what it does.

Owns `describe` and the signal that prints the same.  The text is made by
``text.py``.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from types import FrameType
from typing import Final, TextIO

from ..exception import InvalidArgumentsError, InvalidError
from ..frames import hide_our_frames
from ..runtime.real import Real
from . import text as description

# The environment variable that names a signal for `describe_on_signal`.
VARIABLE: Final = "MOORAGE_DESCRIBE_SIGNAL"


def describe(file: TextIO | None = None) -> None:
    """Print what every open run does: pools, containers, who holds each slot and waits for what.

    For people who ask why a program hangs; its form may change.  For programs
    there is ``statistics()``.  Of each pool it says how many inputs are queued,
    for how long, and why it starts no container; of each slot the function, the
    input's id, its age, its thread or task, the line of your code that it is at,
    and what it waits for.  Slots that differ in nothing else are one line.  Ages
    are in seconds of the run's clock.

    It may be called anywhere: in the program, in an input, in a signal handler.
    It calls none of your code and shows no values.

    Args:
        file: where to; ``sys.stderr`` if None.
    """
    print(description.text(sys._getframe(1)), end="", file=sys.stderr if file is None else file)


@hide_our_frames
def describe_on_signal(signum: int | str = "USR1") -> None:
    """Print what `describe` does, to standard error, whenever this signal comes.

    Also while the main thread waits in a call of this library; not while it sits
    in C code that does not return, for Python runs signal handlers between two
    steps of the main thread.  A signal that comes in the very moment in which the
    main thread begins to wait shows with the next one: send it again.

    Replaces the handler that the signal had.  The same without a line of code:
    ``MOORAGE_DESCRIBE_SIGNAL=USR1`` in the environment.

    Args:
        signum: a number, as ``signal.SIGUSR1``, or a name with or without ``SIG``.

    Raises:
        InvalidError: if this system has no such signal, or it cannot be caught; and
            outside of the main thread, where Python sets no handlers.
    """
    _install(_signal_of(signum, "describe_on_signal"))


def _signal_of(named: int | str, where: str) -> signal.Signals:
    """The signal by its number or name."""
    try:
        if isinstance(named, str) and not named.isdecimal():
            name = named.upper()
            return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        return signal.Signals(int(named))
    except (KeyError, ValueError, TypeError):
        usual = [s.name.removeprefix("SIG") for s in signal.Signals if "USR" in s.name]
        write = " or ".join(usual or ["BREAK"])
        raise InvalidArgumentsError(
            f"{where} takes a signal of this system, got {named!r}; write {write}"
        ) from None


def _install(signum: signal.Signals) -> None:
    if Real.current_thread() is not Real.main_thread():
        raise InvalidError(
            "a handler for a signal was set outside of the main thread, where Python takes "
            "none; call describe_on_signal() in the main thread, before others are started"
        )
    try:
        Real.set_signal(signum, _on_signal)
    except (OSError, ValueError):
        raise InvalidError(
            f"{signum.name} cannot be caught; write another signal, such as USR1"
        ) from None


def _on_signal(signum: int, frame: FrameType | None) -> None:
    try:
        said = description.text(frame)
    except Exception as error:  # it would be raised in whatever was interrupted
        said = f"moorage.describe failed: {type(error).__name__}\n"
    # Not by way of sys.stderr: the signal may have interrupted a write to it, and
    # what stands there may be the user's.
    rest = said.encode(errors="replace")
    try:
        while rest:
            rest = rest[Real.write(2, rest) :]
    except OSError:
        pass  # closed, or full and not to be waited for


def install_from_environment() -> None:
    """Do what `VARIABLE` says, if it is set.  When the package is imported."""
    named = os.environ.get(VARIABLE, "")
    if not named:
        return
    signum = _signal_of(named, VARIABLE)
    if Real.current_thread() is Real.main_thread():
        _install(signum)
    else:
        warnings.warn(
            f"{VARIABLE} has no effect, for moorage was first imported outside of the main "
            "thread; import it in the main thread first",
            stacklevel=2,
        )


install_from_environment()
