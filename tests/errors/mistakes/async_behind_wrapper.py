# an async def below a decorator that knows nothing of async
import functools

import moorage as modal

app = modal.App("shop")


def timed(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)

    return call


@app.function()
@timed
async def fetch(x):
    return x


with app.run():
    fetch.remote(1)
