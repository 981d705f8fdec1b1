"""A container changes its own limit while it runs."""

import asyncio

import moorage
from moorage.experimental import get_local_input_concurrency, set_local_input_concurrency

app = moorage.App("local")


@app.cls(max_containers=1)
@moorage.concurrent(max_inputs=8)
class Careful:
    @moorage.enter()
    def prepare(self) -> None:
        self.inside = self.most = 0

    @moorage.method()
    def limit(self, to: int) -> int:
        self.most = 0
        set_local_input_concurrency(to)
        return get_local_input_concurrency()

    @moorage.method()
    async def work(self, _: int) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.02)
        self.inside -= 1
        return self.most


with app.run():
    careful = Careful()
    print("most at once:", max(careful.work.map(range(16))))
    print("limit:", careful.limit.remote(2))
    print("most at once:", max(careful.work.map(range(6))))
