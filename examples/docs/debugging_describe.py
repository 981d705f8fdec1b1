"""What `describe` says of a program in which everything waits for one slow function."""

import sys
import threading

import moorage

app = moorage.App("shop")
answered = threading.Event()


@app.function(max_containers=1)
def price(item: int) -> float:
    answered.wait()  # a server that does not answer
    return 1.5 * item


@app.function()
@moorage.concurrent(max_inputs=100)
async def order(item: int) -> float:
    return await price.remote.aio(item)


with app.run():
    orders = [order.spawn(item) for item in range(50)]
    for call in orders:
        try:
            call.get(timeout=0.5)
        except TimeoutError:
            break  # nothing moves
    moorage.describe(sys.stdout)
    answered.set()
