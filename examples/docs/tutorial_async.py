"""The same calls from asyncio: each that waits has an .aio."""

import asyncio

import moorage

app = moorage.App("tutorial")


@app.function()
@moorage.concurrent(max_inputs=10)
async def double(x: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * x


async def main() -> None:
    async with app.run():
        print(await double.remote.aio(4))
        print([result async for result in double.map.aio(range(5))])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double.remote.aio(x)) for x in (10, 20)]
        print([task.result() for task in tasks])


asyncio.run(main())
