"""An async function that blocks the event loop of its container is reported."""

import logging
import time

import moorage

logging.basicConfig(format="%(levelname)s: %(message)s")
moorage.config.slow_loop_seconds = 0.2  # off unless it is set
app = moorage.App("crawler")


def parse(page: int) -> int:
    time.sleep(0.5)  # should be `await asyncio.to_thread(parse, page)`
    return page


@app.function()
@moorage.concurrent(max_inputs=10)
async def crawl(page: int) -> int:
    return parse(page)


with app.run():
    print(sum(crawl.map(range(3))))
