"""Twelve waits of 0.1 s: one container that does four at a time."""

import asyncio
import time

import moorage

app = moorage.App("tutorial")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
async def answer(question: int) -> int:
    await asyncio.sleep(0.1)  # a request to a slow service
    return question * question


with app.run():
    begin = time.perf_counter()
    print(sum(answer.map(range(12))))
    print(f"{time.perf_counter() - begin:.1f} s")
    seen = answer.statistics()
    assert seen is not None
    print(f"at most {seen.peak_inputs} at once, in {seen.peak_containers} container")
