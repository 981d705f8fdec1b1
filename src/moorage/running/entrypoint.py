"""Local entrypoints: the function that starts a program's work from the command line.

Owns `LocalEntrypoint`, the object that ``app.local_entrypoint`` returns.  Users call it.

Begin at `LocalEntrypoint.__call__`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ..exception import AsyncUsageWarning
from ..frames import warn, without_our_frames
from ..runtime.kinds import is_awaitable
from ..runtime.notebooks import runs_cells
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import run_to_end

if TYPE_CHECKING:
    from ..app import App

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class LocalEntrypoint(Generic[P, R_co]):
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
        self.__doc__: str | None = function.__doc__
        self.__wrapped__: Callable[P, R_co] = function

    @property
    def app(self) -> App:
        """The app that the entrypoint belongs to."""
        return self._app

    @property
    def info(self) -> inspect.Signature:
        """The function's signature, from which a command line can be built."""
        return Real.signature(self._function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
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
                result = run_to_end(result)
            except Exception as error:
                raise without_our_frames(error)
        value: R_co = result
        return value

    def __repr__(self) -> str:
        return f"<LocalEntrypoint {self.__name__}>"
