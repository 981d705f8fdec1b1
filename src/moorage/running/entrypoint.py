"""Local entrypoints: the function that starts a program's work from the command line.

Owns `LocalEntrypoint`, the object that ``app.local_entrypoint`` returns, and what its ``info`` is.
Users call it.

Begin at `LocalEntrypoint.__call__`, then `FunctionSourceInfo`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, cast

from ..exception import AsyncUsageWarning
from ..frames import warn, without_our_frames
from ..runtime.kinds import is_awaitable
from ..runtime.notebooks import runs_cells
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import run_to_end
from ..with_aio import PosesAsFunction

if TYPE_CHECKING:
    from ..app import App

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class FunctionSourceInfo(Generic[P, R_co]):
    """A user's function and where it is defined."""

    # Modal has these for a class, whose methods share one description.
    user_cls: type | None = None

    def __init__(self, function: Callable[P, R_co]) -> None:
        self.raw_f: Callable[P, R_co] = function
        self.implementation_name: str = getattr(function, "__qualname__", "main")
        self.function_name: str = self.implementation_name

    @property
    def module_name(self) -> str | None:
        """The module of the function, as a program imports it; None in a notebook."""
        module = sys.modules.get(getattr(self.raw_f, "__module__", None) or "")
        if getattr(module, "__package__", None):
            spec = getattr(module, "__spec__", None)
            return str(spec.name) if spec is not None else self.raw_f.__module__
        file: str | None = getattr(module, "__file__", None)
        return None if file is None else inspect.getmodulename(file)

    def is_service_class(self) -> bool:
        """False: this is one function."""
        return False

    def is_serialized(self) -> bool:
        """Whether the function is in no file, so that Modal would have to pickle it."""
        return self.module_name is None

    def get_globals(self) -> dict[str, object]:
        """Return the global variables that the function's code names, with their values."""
        function: object = self.raw_f
        while getattr(function, "__wrapped__", None) is not None:
            function = getattr(function, "__wrapped__")  # noqa: B009 - its type is not known
        code: CodeType | None = getattr(function, "__code__", None)
        names = set[str]()
        left = [] if code is None else [code]
        while left:
            each = left.pop()
            names.update(each.co_names)
            left += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
        known: dict[str, object] = getattr(function, "__globals__", {})
        return {name: known[name] for name in sorted(names) if name in known}

    def __repr__(self) -> str:
        return f"<FunctionSourceInfo {self.function_name} of {self.module_name}>"


class LocalEntrypoint(PosesAsFunction, Generic[P, R_co]):
    """A function that starts the program's work.

    Calling the entrypoint calls the function in the calling thread.
    """

    _moorage_registered = True
    _moorage_registered_by = "@app.local_entrypoint()"
    _moorage_is_entrypoint = True

    def __init__(self, app: App, function: Callable[P, R_co]) -> None:
        self._app = app
        self._function = function
        self.__name__: str = getattr(function, "__name__", "main")
        self.__module__ = getattr(function, "__module__", __name__)

    def _called(self) -> Callable[P, R_co]:
        return self._function

    def __deepcopy__(self, memo: object) -> Self:
        return self  # as of a function

    @property
    def app(self) -> App:
        """The app that the entrypoint belongs to."""
        return self._app

    @property
    def info(self) -> FunctionSourceInfo[P, R_co]:
        """The function itself, ``info.raw_f``, and where it is defined."""
        return FunctionSourceInfo(self._function)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function and return its result.

        An async function is run to its end, also behind a plain decorator: on a new event loop;
        or, if a loop runs in this thread, on a loop in another thread.  That blocks the running
        loop, so there is an `AsyncUsageWarning`, except in a notebook.
        """
        result: Any = self._function(*args, **kwargs)
        if is_awaitable(result):
            loop = Real._get_running_loop()
            if loop is not None and not runs_cells(loop):
                warn(
                    f"the local entrypoint {self.__name__} blocks the running event loop; "
                    "call it where no loop runs",
                    AsyncUsageWarning,
                )
            try:
                result = run_to_end(_finish(result))
            except Exception as error:
                raise without_our_frames(error)
        value: R_co = result
        return value

    def __repr__(self) -> str:
        return f"<LocalEntrypoint {self.__name__}>"


async def _finish(awaitable: Awaitable[object]) -> object:
    """Await `awaitable`, and then what that gave: see `lifecycle.finish_hook`."""
    result: object = await awaitable
    while is_awaitable(result) and result is not awaitable:
        awaitable = cast("Awaitable[object]", result)
        result = await awaitable
    return result
