# a container that takes longer to start than its startup_timeout
import asyncio

import moorage as modal

app = modal.App("shop")


@app.cls(startup_timeout=0.1)
class C:
    @modal.enter()
    async def load(self):
        await asyncio.Event().wait()

    @modal.method()
    def f(self, x):
        return x


with app.run():
    C().f.remote(1)
