"""The three clocks of an input: in the queue, in its code, in the start of a container."""

import asyncio

import moorage
from moorage.exception import FunctionTimeoutError, QueueTimeoutError

app = moorage.App("limits")


@app.cls(max_containers=1, queue_timeout=0.5, timeout=1, startup_timeout=2)
class Model:
    @moorage.enter()
    async def load(self) -> None:
        await asyncio.sleep(0.05)  # in `startup_timeout`, or what waits for it fails

    @moorage.method()
    async def predict(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return f"predicted in {seconds} s"


with app.run():
    model = Model()
    print(model.predict.remote(0.01))
    slow = model.predict.spawn(60)
    try:
        model.predict.remote(0.01)  # the one slot is taken
    except QueueTimeoutError as error:
        print(error)
    try:
        slow.get()
    except FunctionTimeoutError as error:
        print(error)
    print(model.predict.remote(0.01))
