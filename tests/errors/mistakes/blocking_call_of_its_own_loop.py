# a blocking call, inside of an async method, of what needs the same event loop
import warnings

import moorage as modal

warnings.simplefilter("ignore")
app = modal.App("shop")


@app.cls(max_containers=1)
@modal.concurrent(max_inputs=2)
class C:
    @modal.method()
    async def outer(self):
        return self.inner.remote()

    @modal.method()
    async def inner(self):
        return 1


with app.run():
    C().outer.remote()
