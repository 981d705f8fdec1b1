"""Cancelling the task that awaits cancels the input."""

import asyncio

import moorage

app = moorage.App("calls")


@app.function()
@moorage.concurrent(max_inputs=10)
async def listen() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        print("the input was cancelled")


async def main() -> None:
    async with app.run(), asyncio.timeout(0.1):
        await listen.remote.aio()


try:
    asyncio.run(main())
except TimeoutError:
    print("the caller gave up")
