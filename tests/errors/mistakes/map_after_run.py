# items of a map are read after the run has ended
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    results = f.map([1, 2])
    next(results)

next(results)
