# a blocking remote_gen on a running event loop
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    yield x


async def main():
    for y in f.remote_gen(1):
        print(y, end="")


with app.run():
    asyncio.run(main())
