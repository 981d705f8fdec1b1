"""A decorator that knows of async, and so keeps the function an `async def`."""

import functools
import time
from collections.abc import Awaitable, Callable

import moorage

app = moorage.App("functions")


def timed(function: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
    @functools.wraps(function)
    async def call(x: int) -> int:  # a `def` with `return function(x)` would be refused
        began = time.monotonic()
        try:
            return await function(x)
        finally:
            assert time.monotonic() - began < 60

    return call


@app.function()
@timed
async def double(x: int) -> int:
    return 2 * x


with app.run():
    print(double.remote(3))
