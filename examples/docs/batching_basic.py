"""Callers give one element each, and the function gets lists of them."""

import asyncio

import moorage

app = moorage.App("batching")


@app.function(max_containers=1)
@moorage.batched(max_batch_size=4, wait_ms=100)
async def area(widths: list[int], heights: list[int]) -> list[int]:
    print(f"a batch of {len(widths)}: {widths} x {heights}")
    return [width * height for width, height in zip(widths, heights, strict=True)]


async def main() -> None:
    async with app.run():
        print(await asyncio.gather(*(area.remote.aio(n, heights=10) for n in range(6))))


with app.run():
    print(list(area.map([1, 2, 3], [4, 5, 6])))

asyncio.run(main())
