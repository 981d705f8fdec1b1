# map over an asynchronous iterator, without .aio
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def numbers():
    yield 1


with app.run():
    list(f.map(numbers()))
