"""The errors of the library, under Modal's names and in Modal's hierarchy.

Owns no state and imports nothing, so every layer may raise these.  The last
line of each message says what to write instead.  ``TimeoutError`` and
``ConnectionError`` are not the builtins of those names, as in Modal.

Many classes are about a service that is not here.  They are never raised by
this library; they exist so that a program which catches them still imports.
"""

from __future__ import annotations


class Error(Exception):
    """Base of the errors that this library raises."""


# What was written, or asked for at the wrong time.


class InvalidError(Error):
    """Something was written that cannot work; the message says what to write."""


class InvalidArgumentsError(InvalidError, TypeError):
    """A decorator was given what it does not take; both, as in Modal."""


class LocalFunctionError(InvalidError):
    """A function or class made inside of a function, without ``serialized=True``; strict only."""


class InvalidValueError(InvalidError, ValueError):
    """An argument has the right type and an impossible value; both, where Modal has the latter."""


class InvalidAttributeError(InvalidError, AttributeError):
    """An argument is of a type that lacks what is asked of it; both, as above."""


class InvalidUseError(InvalidError, RuntimeError):
    """A class was called that is made by its class methods; both, as above."""


class InvalidIndexError(InvalidError, IndexError):
    """A call has no input at that index."""


class InvalidLengthError(InvalidError, IndexError):
    """A tuple has too few parts; both, as above."""


class InvalidInfinityError(InvalidError, OverflowError):
    """A number has no end; both, as above."""


class InvalidDomainsError(InvalidError, AssertionError):
    """A single string where a list of domains was wanted; both, as above."""


class ConflictError(InvalidError):
    """What was asked does not fit the present state, e.g. a second run of a running app."""


class ExecutionError(Error):
    """The request came at a time when it cannot be served, e.g. after its run ended."""


class NotInContainerError(InvalidError, AssertionError):
    """Asked of the container that runs an input, where none runs; both, as above."""


class AlreadyExistsError(Error):
    """An object of that name exists already."""


class NotFoundError(Error):
    """Nothing of that name or id is known in this process."""


class UnimplementedError(Error):
    """The operation belongs to Modal's service and has no meaning in one process."""


class ResourceExhaustedError(Error):
    """A bound of this process was reached, e.g. a function's ``max_backlog``."""


# What became of an input.


class RemoteError(Error):
    """An input ended without a result that its caller could be given.

    Raised for what must not travel as itself: SystemExit, KeyboardInterrupt,
    GeneratorExit, StopIteration and CancelledError that leave user code arrive
    as a RemoteError with the original as its ``__cause__``.
    """


class InputCancelledError(RemoteError):
    """The input was cancelled before it had a result."""


class InputCancellation(BaseException):
    """Raised inside a synchronous input that was cancelled.

    A BaseException, like ``asyncio.CancelledError``, so that ``except Exception``
    does not swallow it.
    """


class SerializationError(Error):
    """A value could not be pickled (only where values are pickled at all)."""


class UnpicklableError(SerializationError, TypeError):
    """An argument or a result could not be pickled; both, as Modal mostly raises the latter."""


class DeserializationError(Error):
    """A pickled value could not be read back."""


class UserCodeException(Exception):
    """Wraps a user's exception in the results of a map; here for programs that look for it.

    Results here hold the exception itself.
    """

    def __init__(self, exc: BaseException) -> None:
        super().__init__(exc)
        self.exc: BaseException = exc


# Time that ran out.


class TimeoutError(Error):
    """Base of the errors about time that ran out."""


class FunctionTimeoutError(TimeoutError):
    """The input ran for longer than its function's ``timeout``.

    Or the container that it waited for took longer to start than ``startup_timeout``.
    """


class QueueTimeoutError(TimeoutError):
    """The input waited for a slot for its function's ``queue_timeout``; it did not run."""


class OutputExpiredError(TimeoutError):
    """The result was kept for its time and is gone."""


class ExecTimeoutError(TimeoutError):
    """A process in a sandbox ran for too long; here for programs that catch it."""


class SandboxTimeoutError(TimeoutError):
    """A sandbox lived for too long; here for programs that catch it."""


class MountUploadTimeoutError(TimeoutError):
    """An upload of local files took too long; here for programs that catch it."""


class VolumeUploadTimeoutError(TimeoutError):
    """An upload to a volume took too long; here for programs that catch it."""


class InteractiveTimeoutError(TimeoutError):
    """An interactive session did not begin in time; here for programs that catch it."""


# The service, which is not here.


class AuthError(Error):
    """Credentials were missing or wrong; here for programs that catch it."""


class PermissionDeniedError(Error):
    """The account may not do this; here for programs that catch it."""


class ConnectionError(Error):
    """The service could not be reached; here for programs that catch it."""


class ServiceError(Error):
    """The service failed to answer; here for programs that catch it."""


class InternalError(Error):
    """The service failed inside; here for programs that catch it."""


class InternalFailure(Error):
    """The service failed inside and may be asked again; here for programs that catch it."""


class DataLossError(Error):
    """The service lost data; here for programs that catch it."""


class ClientClosed(Error):
    """A client was used after its end; here for programs that catch it."""


class RequestSizeError(Error):
    """A request was too large to send; here for programs that catch it."""


class VersionError(Error):
    """The client is too old for the service; here for programs that catch it."""


class LogsFetchError(Error):
    """Too many log lines were asked for; here for programs that catch it."""


class WorkspaceManagementError(Error):
    """A workspace could not be managed; here for programs that catch it."""


class ImageBuildError(RemoteError):
    """An image could not be built; here for programs that catch it."""


class ModuleNotMountable(Exception):
    """A module has no files to upload; here for programs that catch it."""


class SnapshotCreationError(Error):
    """A snapshot could not be taken; here for programs that catch it."""


class SandboxTerminatedError(Error):
    """A sandbox was ended from outside; here for programs that catch it."""


class SandboxFilesystemError(Error):
    """Base of the errors about a sandbox's files; here for programs that catch it."""


class SandboxFilesystemNotFoundError(SandboxFilesystemError):
    """No such file in a sandbox; here for programs that catch it."""


class SandboxFilesystemPathAlreadyExistsError(SandboxFilesystemError):
    """The path in a sandbox is taken; here for programs that catch it."""


class SandboxFilesystemIsADirectoryError(SandboxFilesystemError):
    """A file was wanted in a sandbox; here for programs that catch it."""


class SandboxFilesystemNotADirectoryError(SandboxFilesystemError):
    """A directory was wanted in a sandbox; here for programs that catch it."""


class SandboxFilesystemDirectoryNotEmptyError(SandboxFilesystemError):
    """A directory in a sandbox still holds files; here for programs that catch it."""


class SandboxFilesystemPermissionError(SandboxFilesystemError):
    """A sandbox refused the access to a file; here for programs that catch it."""


class SandboxFilesystemFileTooLargeError(SandboxFilesystemError):
    """A file of a sandbox is too large to read at once; here for programs that catch it."""


# Warnings.


class DeprecationError(UserWarning):
    """A spelling that Modal renamed: raised in strict mode, otherwise a warning.

    A UserWarning, so that Python's default filters show it wherever it happens.
    """


class AsyncUsageWarning(UserWarning):
    """A blocking call was made on a thread whose event loop is running."""


class ServerWarning(UserWarning):
    """The service had something to say; here for programs that filter it."""


class InternalAPIWarning(UserWarning):
    """A private interface of the service was used; here for programs that filter it."""


# Ours alone.


class DeadlockError(RemoteError):
    """The input could never get a slot: all were held by inputs that wait for it.

    Also raised where inputs wait for one another with none of them queued.
    """


class ClockStuckError(Error):
    """Virtual time could not move on; the message names who held it up."""


class SequenceError(Error):
    """A step of a `testing.Sequencer` cannot have its turn, or had it before."""
