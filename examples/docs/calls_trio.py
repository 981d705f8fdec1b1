"""Callers may be on trio, and async iterables can be mapped."""

import asyncio
from collections.abc import AsyncIterator

import trio

import moorage

app = moorage.App("calls")


@app.function()
@moorage.concurrent(max_inputs=10)
async def square(x: int) -> int:
    await asyncio.sleep(0.01)  # the containers' loops are asyncio's
    return x * x


async def numbers() -> AsyncIterator[int]:
    for x in range(4):
        await trio.sleep(0.01)
        yield x


async def main() -> None:
    async with app.run():
        print(await square.remote.aio(5))
        print([result async for result in square.map.aio(numbers())])


trio.run(main)
