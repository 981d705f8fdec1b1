# remote of a generator
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    yield x


with app.run():
    f.remote(1)
