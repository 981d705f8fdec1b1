# map(3)
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    list(f.map(3))
