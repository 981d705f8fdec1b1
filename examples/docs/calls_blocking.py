"""A blocking call on a running loop works, blocks the loop, and warns."""

import asyncio

import moorage

app = moorage.App("calls")


@app.function()
def double(x: int) -> int:
    return 2 * x


async def main() -> None:
    async with app.run():
        print(double.remote(4))


asyncio.run(main())
