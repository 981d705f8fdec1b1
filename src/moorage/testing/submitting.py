"""Submitting: how a test gives inputs to a fake container without waiting for them.

Owns `Submit`, the attribute ``submit`` of a fake container and of its methods, and
`FakeMethod`, one method of a class in a fake container.  `FakeContainer`
(``fake_container.py``) makes both; ``submission.py`` owns the handle that `Submit` returns.

Begin at `Submit.__call__`.
"""

from __future__ import annotations

from typing import Any, Generic, ParamSpec, TypeVar

from ..calling.function_call import FunctionCall
from ..calling.waited import StreamReader
from ..calling.ways import Map, Remote, Starmap, WayOfFunction, takes_one_call
from ..frames import without_our_frames
from ..functions import Function
from ..runtime.labels import shown_call
from .submission import Submission

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@takes_one_call
class Submit(WayOfFunction, Generic[P, R_co]):
    """``submit`` of a fake container: ``submit(...)``, or ``await submit.aio(...)``."""

    __slots__ = ()
    _way = "submit"
    _returns = Submission

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Submission[R_co]:
        """Submit one input without waiting for it; return a handle to its state and result.

        ``submit`` waits only if the backlog is full and the container has ``on_full="wait"``.

        Raises:
            ResourceExhaustedError: if ``max_backlog`` inputs wait already, without
                ``on_full="wait"``.
        """
        function: Any = self._function
        try:
            return _handle(function, function.spawn(*args, **kwargs), args, kwargs)
        except Exception as error:
            raise without_our_frames(error)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> Submission[R_co]:
        """As ``submit(...)``, for asyncio and trio.

        The cancellation of a task that waits for room in the backlog cancels the input.
        """
        function: Any = self._function
        try:
            return _handle(function, await function.spawn.aio(*args, **kwargs), args, kwargs)
        except Exception as error:
            raise without_our_frames(error)


def submit_of(function: Function[P, R_co, Any]) -> Submit[P, R_co]:
    """Return the ``submit`` of `function`: the one that a test patched, or else a new one."""
    patched: Submit[P, R_co] | None = function.__dict__.get(Submit._way)
    return Submit(function) if patched is None else patched


def _handle(
    function: Function[Any, Any, Any],
    call: FunctionCall[Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Submission[Any]:
    return Submission(call, shown_call(function._name, args, kwargs))


class FakeMethod:
    """One method of a class in a `FakeContainer`; see `FakeContainer.method`."""

    def __init__(self, function: Function[..., Any, Any]) -> None:
        self._function = function

    @property
    def call(self) -> Remote[..., Any]:
        """Run one input and return its result: ``call(...)`` or ``await call.aio(...)``."""
        return self._function.remote

    @property
    def submit(self) -> Submit[..., Any]:
        """Submit one input without waiting for it; see `FakeContainer.submit`."""
        return submit_of(self._function)

    @property
    def map(self) -> Map[Any]:
        """Run many inputs and return their results: ``map([...])``; see `Function.map`."""
        return self._function.map

    @property
    def starmap(self) -> Starmap[Any]:
        """Run many inputs as `map` does, each with the arguments of one row."""
        return self._function.starmap

    def stream(self, *args: Any, **kwargs: Any) -> StreamReader[Any]:
        """Return the items of a generator; see `FakeContainer.stream`."""
        try:
            return self._function.remote_gen(*args, **kwargs)
        except Exception as error:
            raise without_our_frames(error)

    def __repr__(self) -> str:
        return f"<FakeMethod {self._function._name}>"
