"""With asyncio: a semaphore, and a task for each item."""

import asyncio

limit = asyncio.Semaphore(10)


async def fetch(number: int) -> int:
    async with limit:
        await asyncio.sleep(0.01)
        return number * 2


async def main() -> None:
    print(sum(await asyncio.gather(*(fetch(number) for number in range(100)))))


asyncio.run(main())
