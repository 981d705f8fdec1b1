"""asyncio.to_thread with a bound: a blocking function, awaited."""

import asyncio
import time

import moorage

app = moorage.App("blocking")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def slow_library(x: int) -> int:
    time.sleep(0.01)
    return -x


async def main() -> None:
    async with app.run():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(slow_library.remote.aio(x)) for x in range(3)]
        print([task.result() for task in tasks])


asyncio.run(main())
