"""The errors of the library, under Modal's names and in Modal's hierarchy.

Owns no state and imports nothing, so every layer may raise these errors.  The last line of each
message says what to write instead.  As in Modal, ``TimeoutError`` and ``ConnectionError`` are not
the builtins of the same names.

Many classes are about Modal's service, which is not in this process.  This library never raises
them; they exist so that a program which catches them can import them.

Begin at `InvalidError`, then `RemoteError`, then `TimeoutError`.
"""

from __future__ import annotations


class Error(Exception):
    """Base of the errors that this library raises."""


# Mistakes in what is written, and requests at the wrong time.


class InvalidError(Error):
    """A value or a use is wrong; the message says what to write instead."""


class InvalidArgumentsError(InvalidError, TypeError):
    """A function was given an argument that it does not take.  Also a TypeError, as in Modal."""


class LocalFunctionError(InvalidError):
    """A function or class is defined inside a function, without ``serialized=True``.

    Raised in strict mode only.
    """


class InvalidValueError(InvalidError, ValueError):
    """An argument has the right type and an impossible value.

    Also a ValueError, which Modal raises there.
    """


class InvalidAttributeError(InvalidError, AttributeError):
    """An argument has a type without a needed attribute.

    Also an AttributeError, which Modal raises there.
    """


class InvalidUseError(InvalidError, RuntimeError):
    """A class or function was used in a place where it cannot be used.

    Also a RuntimeError, which Modal raises there.
    """


class InvalidIndexError(InvalidError, IndexError):
    """A call has no input at the given index.  Also an IndexError."""


class InvalidLengthError(InvalidError, IndexError):
    """A tuple has too few parts.  Also an IndexError, which Modal raises there."""


class InvalidInfinityError(InvalidError, OverflowError):
    """A number is infinite.  Also an OverflowError, which Modal raises there."""


class InvalidDomainsError(InvalidError, AssertionError):
    """A single string was given instead of a list of domains.

    Also an AssertionError, which Modal raises there.
    """


class ConflictError(InvalidError):
    """A request does not fit the present state of its object; here for programs that catch it."""


class ExecutionError(Error):
    """A request came when it cannot be served, e.g. a call after its run ended."""


class NotInContainerError(InvalidError, AssertionError):
    """Code outside of any input used a function that belongs to an input's container.

    Also an AssertionError, which Modal raises there.
    """


class AlreadyExistsError(Error):
    """An object of the same name exists already."""


class NotFoundError(Error):
    """This process has no object of the given name or id."""


class UnimplementedError(Error):
    """The operation belongs to Modal's service and has no meaning in one process."""


class ResourceExhaustedError(Error):
    """A limit of this process was reached, e.g. the ``max_backlog`` of a function."""


# Outcomes of an input.


class RemoteError(Error):
    """An input ended without a result and without an exception that the caller can receive.

    SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration and CancelledError must not be
    raised in the caller themselves.  When one of them leaves user code, the caller gets a
    RemoteError with the original as its ``__cause__``.
    """


class InputCancelledError(RemoteError):
    """The input was cancelled before it had a result."""


class InputCancellation(BaseException):
    """Raised inside a sync input that was cancelled.

    A BaseException, like ``asyncio.CancelledError``, so that ``except Exception`` does not
    swallow it.
    """


class SerializationError(Error):
    """A value could not be pickled.  Raised only in a run with ``serialize=True``."""


class UnpicklableError(SerializationError, TypeError):
    """An argument or a result could not be pickled.

    Also a TypeError, which Modal mostly raises there.
    """


class DeserializationError(Error):
    """A pickled value could not be unpickled."""


class UserCodeException(Exception):
    """Modal's wrapper of a user's exception in the results of a map.

    Results of this library hold the exception itself; here for programs that catch it.
    """

    def __init__(self, exc: BaseException) -> None:
        super().__init__(exc)
        self.exc: BaseException = exc


# Timeouts.


class TimeoutError(Error):
    """Base of the errors about timeouts."""


class FunctionTimeoutError(TimeoutError):
    """The input ran longer than the ``timeout`` of its function.

    Also raised if the container for the input took longer than ``startup_timeout`` to start.
    """


class QueueTimeoutError(TimeoutError):
    """The input waited for a slot longer than the ``queue_timeout`` of its function.

    This attempt did not run.
    """


class OutputExpiredError(TimeoutError):
    """The result is not kept any more: too much time, or too many other calls, have passed."""


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


# About Modal's service, which is not in this process.


class AuthError(Error):
    """Credentials were missing or wrong; here for programs that catch it."""


class PermissionDeniedError(Error):
    """The account may not do this; here for programs that catch it."""


class ConnectionError(Error):
    """The service could not be reached; here for programs that catch it."""


class ServiceError(Error):
    """The service failed to answer; here for programs that catch it."""


class InternalError(Error):
    """The service had an internal failure; here for programs that catch it."""


class InternalFailure(Error):
    """The service had an internal failure; a retry may work; here for programs that catch it."""


class DataLossError(Error):
    """The service lost data; here for programs that catch it."""


class ClientClosed(Error):
    """A client was used after it was closed; here for programs that catch it."""


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
    """A sandbox was terminated from outside; here for programs that catch it."""


class SandboxFilesystemError(Error):
    """Base of the errors about a sandbox's files; here for programs that catch it."""


class SandboxFilesystemNotFoundError(SandboxFilesystemError):
    """A file does not exist in a sandbox; here for programs that catch it."""


class SandboxFilesystemPathAlreadyExistsError(SandboxFilesystemError):
    """The path in a sandbox exists already; here for programs that catch it."""


class SandboxFilesystemIsADirectoryError(SandboxFilesystemError):
    """A path in a sandbox is a directory, not a file; here for programs that catch it."""


class SandboxFilesystemNotADirectoryError(SandboxFilesystemError):
    """A path in a sandbox is not a directory; here for programs that catch it."""


class SandboxFilesystemDirectoryNotEmptyError(SandboxFilesystemError):
    """A directory in a sandbox is not empty; here for programs that catch it."""


class SandboxFilesystemPermissionError(SandboxFilesystemError):
    """A sandbox refused access to a file; here for programs that catch it."""


class SandboxFilesystemFileTooLargeError(SandboxFilesystemError):
    """A file of a sandbox is too large to read at once; here for programs that catch it."""


# Warnings.


class DeprecationError(UserWarning):
    """An old name or use that Modal replaced: raised in strict mode, otherwise a warning.

    A UserWarning, so that Python's default filters show the warning in every module.
    """


class AsyncUsageWarning(UserWarning):
    """A blocking call was made on a thread whose event loop is running."""


class ServerWarning(UserWarning):
    """The service sent a warning; here for programs that filter it."""


class InternalAPIWarning(UserWarning):
    """A private interface of the service was used; here for programs that filter it."""


# Errors that Modal does not have.


class DeadlockError(RemoteError):
    """The input could never get a slot, because the inputs in all slots wait for the input.

    Also raised when running inputs wait for each other and none of them is queued.  The message
    names the cycle.
    """


class ContainerLostError(InternalFailure, RemoteError):
    """The container in which the input ran is gone: its process was killed, or has crashed.

    An input that is lost for the first time is run again.  It gets this error if it is lost a
    second time and ran alone in its container; if the function is ``nonpreemptible``; or if it
    is a generator that has yielded items already.
    """

    how: str  # how the container ended
    losses: int  # how often the input was lost with its container

    def __init__(self, *args: object, how: str = "", losses: int = 0) -> None:
        super().__init__(*args)
        self.how = how
        self.losses = losses


class ClockStuckError(Error):
    """Virtual time could not advance; the message names the participants that held it up."""


class SequenceError(Error):
    """A step of a `testing.Sequencer` can never have its turn, or had its turn before."""
