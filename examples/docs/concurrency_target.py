"""What the soft limit buys: a service that gets slower the more it has in hand."""

import asyncio
import time

import moorage

app = moorage.App("target")


@app.cls(max_containers=8)
class Model:
    @moorage.enter()
    def load(self) -> None:
        self.inside = 0

    @moorage.method()
    async def predict(self) -> None:
        self.inside += 1
        try:
            await asyncio.sleep(0.005 * self.inside)  # 5 ms for each input in hand
        finally:
            self.inside -= 1


async def caller(model: Model, times: list[float], until: float) -> None:
    while time.perf_counter() < until:
        begin = time.perf_counter()
        await model.predict.remote.aio()
        times.append(time.perf_counter() - begin)


async def main() -> None:
    print("target_inputs  containers  inputs/s  median ms")
    for target in (16, 8, 4, 2):
        model = Model.with_concurrency(max_inputs=16, target_inputs=target)()
        async with app.run():
            times: list[float] = []
            until = time.perf_counter() + 0.4
            await asyncio.gather(*(caller(model, times, until) for _ in range(16)))
            containers = model.predict.statistics().peak_containers
        median = sorted(times)[len(times) // 2]
        rate = len(times) / 0.4
        print(f"{target:13}  {containers:10}  {rate:8.0f}  {median * 1000:9.0f}")


asyncio.run(main())
