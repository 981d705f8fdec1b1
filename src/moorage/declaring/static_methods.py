"""Static methods: how a container calls a function that takes no instance.

Owns `taking_instance`.  The engine calls every method with the container's instance, so a
function under ``@staticmethod`` gets a wrapper that drops the instance.  ``partial.py`` calls
`taking_instance` when a decorator stands above ``@staticmethod``; ``registering.py`` calls
`without_wrapper` for ``app.function``, which calls no instance.

Begin at `taking_instance`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from ..runtime.real import Real


def taking_instance(static: staticmethod[..., Any]) -> Callable[..., Any]:
    """Return a function that takes an instance, drops it, and runs the static function.

    The returned function is of the same kind: async, a generator, both or neither.
    """
    function: Callable[..., Any] = static.__func__
    wrapper: Callable[..., Any]
    if Real.isasyncgenfunction(function):

        async def call_async_generator(
            _: object, /, *args: Any, **kwargs: Any
        ) -> AsyncIterator[Any]:
            items = function(*args, **kwargs)
            try:
                async for item in items:
                    yield item
            finally:
                await items.aclose()

        wrapper = call_async_generator
    elif Real.iscoroutinefunction(function):

        async def call_async(_: object, /, *args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        wrapper = call_async
    elif Real.isgeneratorfunction(function):

        def call_generator(_: object, /, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            items: Generator[Any, Any, Any] = function(*args, **kwargs)
            return (yield from items)

        wrapper = call_generator
    else:

        def call(_: object, /, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        wrapper = call
    made: Any = functools.update_wrapper(wrapper, function)
    made._moorage_static = function
    # The signature of a method, whose first parameter is the instance.
    try:
        plain = Real.signature(function)
    except (TypeError, ValueError):
        return wrapper
    instance = inspect.Parameter("self_", inspect.Parameter.POSITIONAL_ONLY)
    made.__signature__ = plain.replace(parameters=[instance, *plain.parameters.values()])
    return wrapper


def without_wrapper(function: Any) -> Any:
    """Return the function below ``@staticmethod``; any other object is returned as it is."""
    if isinstance(function, staticmethod):
        found: Any = function.__func__
        return found
    attributes: dict[str, Any] = getattr(function, "__dict__", {})  # a mock has any attribute
    return attributes.get("_moorage_static", function)
