# an argument for the function given to map itself
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x, scale):
    return x * scale


with app.run():
    list(f.map([1, 2], scale=3))
