# a map over one iterable of a function with two parameters
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x, y):
    return x + y


with app.run():
    list(f.map([1, 2]))
