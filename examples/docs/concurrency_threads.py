"""Where inputs run: asynchronous ones on one loop, synchronous ones on threads."""

import asyncio
import threading
import time

import moorage

app = moorage.App("threads")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=5)
async def on_the_loop(_: int) -> int:
    await asyncio.sleep(0.05)
    return threading.get_ident()


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=5)
def on_threads(_: int) -> int:
    time.sleep(0.05)
    return threading.get_ident()


with app.run():
    print("async def:", len(set(on_the_loop.map(range(10)))), "thread for 10 inputs, 5 at once")
    print("def:      ", len(set(on_threads.map(range(10)))), "threads for 10 inputs, 5 at once")
