# a generator below a decorator that knows nothing of generators
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
def pages(n):
    yield from range(n)


with app.run():
    pages.remote(1)
