# spawn of a generator
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    yield x


with app.run():
    f.spawn(1)
