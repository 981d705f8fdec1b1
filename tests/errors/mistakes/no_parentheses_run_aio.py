# async with app.run without its parentheses
import asyncio

import moorage as modal

app = modal.App("shop")


async def main():
    async with app.run:
        pass


asyncio.run(main())
