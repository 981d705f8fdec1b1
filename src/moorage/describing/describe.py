"""Describing: two ways to ask a program that hangs what it does.

Owns `describe`, and the signal handler that prints the same text.  ``text.py`` makes the text.
Users call both; ``moorage/__init__.py`` imports this file, which then reads the environment
variable.  Begin at `describe`, then `describe_on_signal` and `_on_signal`.
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
    """Print what every open run does: its pools, containers and slots, and who waits for what.

    The text is for people who ask why a program hangs, and its form may change;
    programs call ``statistics()``.  For each pool, the text says how many inputs are
    queued, for how long, and why the pool starts no container.  For each slot, it
    says the function, the input's id and age, its thread or task, the line of your
    code that runs, and what the input waits for.  Slots that differ only in id and
    age share one line.  Ages are in seconds of the run's clock.

    You may call it anywhere: in the program, in an input, in a signal handler.
    It calls none of your code and shows no values.

    Args:
        file: the file to print to; ``sys.stderr`` if None.
    """
    print(description.text(sys._getframe(1)), end="", file=sys.stderr if file is None else file)


@hide_our_frames
def describe_on_signal(signum: int | str = "USR1") -> None:
    """Print the text of `describe` to standard error whenever the process gets this signal.

    This works also while the main thread waits in a call of this library.  It does not
    work while the main thread is in C code that does not return, because Python runs
    signal handlers between two steps of the main thread.  If a signal comes exactly when
    the main thread begins to wait, its text comes with the next signal: send it again.

    Replaces the handler that the signal had.  To get the same without a line of code,
    set ``MOORAGE_DESCRIBE_SIGNAL=USR1`` in the environment.

    Args:
        signum: a number, such as ``signal.SIGUSR1``, or a name with or without ``SIG``.

    Raises:
        InvalidError: if this system does not have the signal; if the signal cannot be
            caught; or outside of the main thread, where Python sets no handlers.
    """
    _install(_signal_of(signum, "describe_on_signal"))


def _signal_of(named: int | str, where: str) -> signal.Signals:
    """Return the signal with this number or name; `where` names the caller in the error."""
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
            "a signal handler was set outside of the main thread, which Python does not allow; "
            "call describe_on_signal() in the main thread, before other threads are started"
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
    except Exception as error:  # an error here would be raised in the interrupted user code
        said = f"moorage.describe failed: {type(error).__name__}\n"
    # Do not write through sys.stderr: the signal may have interrupted a write to it, and
    # sys.stderr may be an object of the user's.
    rest = said.encode(errors="replace")
    try:
        while rest:
            rest = rest[Real.write(2, rest) :]
    except OSError:
        pass  # standard error is closed, or is full and non-blocking


def install_from_environment() -> None:
    """Install the handler for the signal named by `VARIABLE`, if set.  Runs at import."""
    named = os.environ.get(VARIABLE, "")
    if not named:
        return
    signum = _signal_of(named, VARIABLE)
    if Real.current_thread() is Real.main_thread():
        _install(signum)
    else:
        warnings.warn(
            f"{VARIABLE} has no effect, because moorage was first imported outside of the main "
            "thread; import it in the main thread first",
            stacklevel=2,
        )


install_from_environment()
