"""All methods of an instance share the slots of each container."""

import asyncio
import time

import moorage

app = moorage.App("classes")


@app.cls(max_containers=1)
@moorage.concurrent(max_inputs=3)
class Store:
    @moorage.enter()
    def prepare(self) -> None:
        self.inside = 0
        self.most = 0

    @moorage.method()
    async def read(self, key: int) -> int:
        self.begin()
        await asyncio.sleep(0.05)
        self.inside -= 1
        return key

    @moorage.method()
    def write(self, key: int) -> int:
        self.begin()
        time.sleep(0.05)
        self.inside -= 1
        return key

    @moorage.method()
    def report(self) -> int:
        return self.most

    def begin(self) -> None:  # a plain method
        self.inside += 1
        self.most = max(self.most, self.inside)


with app.run():
    store = Store()
    reads = store.read.experimental_spawn_map(range(4))
    writes = store.write.experimental_spawn_map(range(4))
    print(len(list(reads.iter())), len(list(writes.iter())))
    print("most inputs at once:", store.report.remote())
