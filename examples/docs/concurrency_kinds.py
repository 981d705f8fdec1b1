"""How long 10 inputs take in one container, by kind and by max_inputs."""

import asyncio
import time

import moorage

app = moorage.App("kinds")


@app.function(max_containers=1)
async def wait_async(_: int) -> None:
    await asyncio.sleep(0.02)


@app.function(max_containers=1)
def wait_sync(_: int) -> None:
    time.sleep(0.02)


@app.function(max_containers=1)
def compute(_: int) -> None:
    end = time.thread_time() + 0.02  # 20 ms of one core, in Python code
    while time.thread_time() < end:
        pass


@app.function(max_containers=1)
async def block_the_loop(_: int) -> None:
    time.sleep(0.02)  # wrong: nothing else runs on this container's loop meanwhile


print("seconds at max_inputs=       1      4     10")
with app.run():
    for function in (wait_async, wait_sync, compute, block_the_loop):
        line = f"{function.__name__:22}"
        for most in (1, 4, 10):
            limited = function.with_concurrency(max_inputs=most)
            limited.for_each([0])  # the container is there
            begin = time.perf_counter()
            limited.for_each(range(10))
            line += f"  {time.perf_counter() - begin:5.2f}"
        print(line)
