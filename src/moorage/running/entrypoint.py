"""Local entrypoints: the function that starts a program's work from the command line.

Owns `LocalEntrypoint`, the object that ``app.local_entrypoint`` returns.  Users call it.

Begin at `LocalEntrypoint.__call__`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ..exception import AsyncUsageWarning
from ..frames import warn
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import run_coroutine_in_thread
from ..with_aio import PosesAsFunction

if TYPE_CHECKING:
    from ..app import App

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


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

        An async function is run to its end: on a new event loop, or, if a loop runs in this
        thread, on a loop in another thread, with an `AsyncUsageWarning`, because this blocks
        the running loop.
        """
        result: Any = self._function(*args, **kwargs)
        if Real.iscoroutine(result):
            if Real._get_running_loop() is None:
                result = Real.run(result)
            else:  # asyncio allows one running loop per thread
                warn(
                    f"the local entrypoint {self.__name__} blocks the running event loop; "
                    "call it where no loop runs",
                    AsyncUsageWarning,
                )
                result = run_coroutine_in_thread(result)
        value: R_co = result
        return value

    def __repr__(self) -> str:
        return f"<LocalEntrypoint {self.__name__}>"
