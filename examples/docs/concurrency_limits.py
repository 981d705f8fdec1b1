"""The two limits: how many containers there are, and how many inputs run."""

import asyncio
import threading

import moorage

app = moorage.App("limits")
inside = threading.Semaphore(0)


@app.function(max_containers=3)
@moorage.concurrent(max_inputs=8, target_inputs=4)
async def hold(_: int) -> None:
    inside.release()
    await asyncio.sleep(60)


print("inputs  containers  running  waiting")
for inputs in (1, 4, 5, 12, 13, 24, 30):
    with app.run():
        hold.spawn_map(range(inputs))
        for _ in range(min(inputs, 24)):
            inside.acquire()
        seen = hold.statistics()
        assert seen is not None
        print(f"{inputs:6}  {len(seen.containers):10}  {seen.running:7}  {seen.queued:7}")
        assert all(container.peak <= 8 for container in seen.containers)
