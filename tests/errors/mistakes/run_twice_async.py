# async with app.run() inside app.run()
import asyncio

import moorage as modal

app = modal.App("shop")


async def main():
    async with app.run():
        async with app.run():
            pass


asyncio.run(main())
