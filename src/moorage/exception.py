"""The errors of the library, under Modal's names and in Modal's hierarchy.

Owns no state and imports nothing, so every layer may raise these.  The last
line of each message says what to write instead.
"""

from __future__ import annotations


class Error(Exception):
    """Base of the errors that this library raises."""


class RemoteError(Error):
    """An input ended without a result that its caller could be given.

    Raised for what must not travel as itself: SystemExit, KeyboardInterrupt,
    GeneratorExit, StopIteration and CancelledError that leave user code arrive
    as a RemoteError with the original as its ``__cause__``.
    """


class InputCancelledError(RemoteError):
    """The input was cancelled before it had a result."""


class TimeoutError(Error):
    """Base of the errors about time that ran out."""


class FunctionTimeoutError(TimeoutError):
    """The input ran for longer than its function's ``timeout``."""


class InvalidError(Error):
    """Something was written that cannot work; the message says what to write."""


class InvalidArgumentsError(InvalidError, TypeError):
    """A decorator was given what it does not take; both, as in Modal."""


class ExecutionError(Error):
    """The request came at a time when it cannot be served, e.g. after its run ended."""


class InputCancellation(BaseException):
    """Raised inside a synchronous input that was cancelled.

    A BaseException, like ``asyncio.CancelledError``, so that ``except Exception``
    does not swallow it.
    """


class AsyncUsageWarning(UserWarning):
    """A blocking call was made on a thread whose event loop is running."""


class ClockStuckError(Error):
    """Virtual time could not move on; the message names who held it up."""
