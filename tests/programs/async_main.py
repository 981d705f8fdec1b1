"""Everything from an async entrypoint: maps side by side, streams, a task group.

    modal run async_main.py --count 8
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import modal

logger = logging.getLogger("async_main")
app = modal.App("example-async-entrypoint", image=modal.Image.debian_slim().pip_install("aiohttp"))


@app.function(max_containers=1)
@modal.concurrent(max_inputs=20)
async def square(x: int) -> int:
    await asyncio.sleep(0.01)
    return x * x


@app.function()
def power(base: int, exponent: int = 2) -> int:
    time.sleep(0.005)
    return base**exponent


@app.function()
async def ticks(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield f"tick {number}"
        await asyncio.sleep(0)


@app.cls(max_containers=1)
@modal.concurrent(max_inputs=10)
class Session:
    user: str = modal.parameter()

    @modal.enter()
    async def open(self):
        self.queue: asyncio.Queue = asyncio.Queue()
        self.worker = asyncio.create_task(self.work())

    async def work(self):
        while True:
            text, future = await self.queue.get()
            future.set_result(f"{self.user} says {text}")

    @modal.method()
    async def say(self, text: str) -> str:
        future = asyncio.get_running_loop().create_future()
        await self.queue.put((text, future))
        return await future

    @modal.exit()
    async def close(self):
        self.worker.cancel()
        try:
            await self.worker
        except asyncio.CancelledError:
            print(f"the session of {self.user} is closed")


async def numbers(count: int):
    for x in range(count):
        await asyncio.sleep(0)
        yield x


@app.local_entrypoint()
async def main(count: int = 5):
    squares = [result async for result in square.map.aio(numbers(count))]
    print("squares:", squares)

    powers = [result async for result in power.starmap.aio([(2, 3), (3, 2), (10, 0)])]
    print("powers:", powers)
    # The blocking form in a thread, for a library that knows nothing of async.
    print("blocking:", await asyncio.to_thread(lambda: list(power.starmap([(5, 2), (7, 1)]))))

    one, two = await asyncio.gather(square.remote.aio(11), power.remote.aio(2, exponent=10))
    print("gathered:", one, two)

    async for tick in ticks.remote_gen.aio(3):
        print(tick)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(Session(user="ann").say.remote.aio(t)) for t in ("hi", "bye")]
    print([task.result() for task in tasks])

    call = await power.spawn.aio(2, 5)
    print("spawned:", await call.get.aio(timeout=30))
    many = await modal.FunctionCall.gather.aio(*[await square.spawn.aio(n) for n in (1, 2, 3)])
    print("gathered calls:", many)

    async for first in square.map.aio(range(100)):
        print("first of a map:", first)
        break
    try:
        await power.remote.aio("a", exponent=2)
    except TypeError as error:
        print("TypeError:", error)
