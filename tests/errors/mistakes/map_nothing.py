# map without an iterable
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    list(f.map())
