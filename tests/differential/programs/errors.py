"""What a program that catches errors sees: the classes, and through which names."""
# %% error-is-the-base
import modal
import modal.exception
print(modal.Error is modal.exception.Error)
# %% catch-invalid
import modal
try:
    modal.concurrent(max_inputs=1, target_inputs=2)
except modal.exception.InvalidError as error:
    print("invalid", "target_inputs" in str(error))
# %% catch-error
import modal
try:
    modal.concurrent(max_inputs=1, target_inputs=2)
except modal.Error as error:
    print("error")
# %% invalid-is-no-value-error
import modal.exception
print(issubclass(modal.exception.InvalidError, ValueError))
# %% timeouts
import modal.exception as e
print(issubclass(e.FunctionTimeoutError, e.TimeoutError), issubclass(e.TimeoutError, TimeoutError),
      issubclass(e.OutputExpiredError, e.TimeoutError))
# %% deprecation-is-a-warning
import modal.exception as e
print(issubclass(e.DeprecationError, Warning), issubclass(e.DeprecationError, e.Error))
# %% input-cancellation
import modal.exception as e
print(issubclass(e.InputCancellation, Exception), e.InputCancellation("x").args)
# %% not-found
import modal.exception as e
print(repr(e.NotFoundError("x")), str(e.NotFoundError("x")), issubclass(e.NotFoundError, e.Error))
# %% reprs
import modal.exception as e
print(repr(e.InvalidError("x")), repr(e.ExecutionError("x")), repr(e.RemoteError("x")))
# %% no-message
import modal.exception as e
print(str(e.InvalidError()) == "", repr(e.ExecutionError()))
# %% raise-it-yourself
import modal
raise modal.exception.ExecutionError("mine")
# %% subclass-it
import modal
class Mine(modal.exception.InvalidError):
    pass
raise Mine("mine")
# %% pickle
import pickle
import modal.exception as e
print(repr(pickle.loads(pickle.dumps(e.InvalidError("x")))))
# %% all-classes
import inspect
import modal.exception as e
names = ["AlreadyExistsError", "AuthError", "ClientClosed", "ConflictError", "ConnectionError",
         "DataLossError", "DeprecationError", "DeserializationError", "ExecutionError",
         "FunctionTimeoutError", "InputCancellation", "InternalError", "InternalFailure",
         "InteractiveTimeoutError", "NotFoundError", "OutputExpiredError", "RemoteError",
         "ResourceExhaustedError", "SerializationError", "ServerWarning", "ServiceError",
         "TimeoutError", "UnimplementedError", "VersionError"]
print([name for name in names if not inspect.isclass(getattr(e, name, None))])
# %% unknown-name
import modal.exception
modal.exception.NoSuchError
# %% from-import
from modal.exception import InvalidError, ExecutionError, DeprecationError
print(InvalidError.__mro__[1].__name__, ExecutionError.__mro__[1].__name__)
# %% module-attribute
import modal
modal.nothing
# %% user-error-through-local
import modal
app = modal.App("a")
@app.function()
def f():
    try:
        raise ValueError("inner")
    except ValueError as error:
        raise RuntimeError("outer") from error
try:
    f.local()
except RuntimeError as error:
    print(error, repr(error.__cause__))
# %% exit-through-local
import modal
app = modal.App("a")
@app.function()
def f():
    raise SystemExit(3)
f.local()
# %% interrupt-through-local
import modal
app = modal.App("a")
@app.function()
def f():
    raise KeyboardInterrupt
f.local()
# %% stop-iteration-through-local
import modal
app = modal.App("a")
@app.function()
def f():
    return next(iter([]))
f.local()
# %% group-through-local
import modal
app = modal.App("a")
@app.function()
def f():
    raise ExceptionGroup("two", [ValueError(1), KeyError(2)])
try:
    f.local()
except* ValueError as group:
    print("values", len(group.exceptions))
except* KeyError as group:
    print("keys", len(group.exceptions))
# %% input-info
from modal.call_graph import InputInfo, InputStatus
print(list(InputStatus), InputInfo("in", "fc", "ta", InputStatus.SUCCESS, "f", "m", []))
# %% stats-type
from modal.types import FunctionCurrentStats
print(FunctionCurrentStats(backlog=1, num_total_runners=2, num_running_inputs=3, input_headroom=4))
# %% stats-are-frozen
from modal.types import FunctionCurrentStats
stats = FunctionCurrentStats(backlog=1, num_total_runners=2, num_running_inputs=3, input_headroom=4)
stats.backlog = 2
