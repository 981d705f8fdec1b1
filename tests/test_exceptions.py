"""The errors: Modal's names with Modal's bases, as a table recorded from modal 1.6.4."""

import builtins
import inspect

import pytest

import moorage
from moorage import exception

# Class name: its bases along the MRO without BaseException, object and gRPC's.
HIERARCHY = {
    "AlreadyExistsError": "Error Exception",
    "AsyncUsageWarning": "UserWarning Warning Exception",
    "AuthError": "Error Exception",
    "ClientClosed": "Error Exception",
    "ConflictError": "InvalidError Error Exception",
    "ConnectionError": "Error Exception",
    "DataLossError": "Error Exception",
    "DeprecationError": "UserWarning Warning Exception",
    "DeserializationError": "Error Exception",
    "Error": "Exception",
    "ExecTimeoutError": "TimeoutError Error Exception",
    "ExecutionError": "Error Exception",
    "FunctionTimeoutError": "TimeoutError Error Exception",
    "ImageBuildError": "RemoteError Error Exception",
    "InputCancellation": "",
    "InteractiveTimeoutError": "TimeoutError Error Exception",
    "InternalAPIWarning": "UserWarning Warning Exception",
    "InternalError": "Error Exception",
    "InternalFailure": "Error Exception",
    "InvalidError": "Error Exception",
    "LogsFetchError": "Error Exception",
    "ModuleNotMountable": "Exception",
    "MountUploadTimeoutError": "TimeoutError Error Exception",
    "NotFoundError": "Error Exception",
    "OutputExpiredError": "TimeoutError Error Exception",
    "PermissionDeniedError": "Error Exception",
    "RemoteError": "Error Exception",
    "RequestSizeError": "Error Exception",
    "ResourceExhaustedError": "Error Exception",
    "SandboxFilesystemDirectoryNotEmptyError": "SandboxFilesystemError Error Exception",
    "SandboxFilesystemError": "Error Exception",
    "SandboxFilesystemFileTooLargeError": "SandboxFilesystemError Error Exception",
    "SandboxFilesystemIsADirectoryError": "SandboxFilesystemError Error Exception",
    "SandboxFilesystemNotADirectoryError": "SandboxFilesystemError Error Exception",
    "SandboxFilesystemNotFoundError": "SandboxFilesystemError Error Exception",
    "SandboxFilesystemPathAlreadyExistsError": "SandboxFilesystemError Error Exception",
    "SandboxFilesystemPermissionError": "SandboxFilesystemError Error Exception",
    "SandboxTerminatedError": "Error Exception",
    "SandboxTimeoutError": "TimeoutError Error Exception",
    "SerializationError": "Error Exception",
    "ServerWarning": "UserWarning Warning Exception",
    "ServiceError": "Error Exception",
    "SnapshotCreationError": "Error Exception",
    "TimeoutError": "Error Exception",
    "UnimplementedError": "Error Exception",
    "UserCodeException": "Exception",
    "VersionError": "Error Exception",
    "VolumeUploadTimeoutError": "TimeoutError Error Exception",
    "WorkspaceManagementError": "Error Exception",
}

# Names that are not in Modal's module; it keeps LocalFunctionError in a private one.
# Those that are a builtin error too, and what belongs to this library alone.
OURS = {
    "ClockStuckError",
    "ContainerLostError",
    "DeadlockError",
    "QueueTimeoutError",
    "InputCancelledError",
    "InvalidArgumentsError",
    "InvalidAttributeError",
    "InvalidDomainsError",
    "InvalidIndexError",
    "InvalidInfinityError",
    "InvalidLengthError",
    "InvalidUseError",
    "InvalidValueError",
    "LocalFunctionError",
    "NotInContainerError",
    "SequenceError",
    "UnpicklableError",
}


def classes():
    return {name: found for name, found in vars(exception).items() if inspect.isclass(found)}


@pytest.mark.parametrize("name", HIERARCHY)
def test_bases_are_modals(name):
    mro = [base.__name__ for base in classes()[name].__mro__[1:]]
    assert mro == [*HIERARCHY[name].split(), "BaseException", "object"]


def test_other_names_are_few():
    assert set(classes()) - set(HIERARCHY) == OURS


def test_both_an_invalid_error_and_a_type_error():
    assert issubclass(exception.InvalidArgumentsError, TypeError)
    assert issubclass(exception.InvalidArgumentsError, moorage.Error)


@pytest.mark.parametrize("name", ["TimeoutError", "ConnectionError"])
def test_two_names_are_not_the_builtins(name):
    assert not issubclass(getattr(exception, name), getattr(builtins, name))


def test_each_says_what_it_means():
    assert [name for name, found in classes().items() if not found.__doc__] == []


def test_a_wrapped_exception_of_user_code_can_be_read():
    error = exception.UserCodeException(ValueError("x"))
    assert str(error) == "x"
    assert isinstance(error.exc, ValueError)
