# an error in what map reads
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


def numbers():
    yield 1
    raise OSError("disk full")


with app.run():
    for y in f.map(numbers()):
        pass
