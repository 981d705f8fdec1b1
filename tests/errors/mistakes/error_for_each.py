# an error in a function, through for_each
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


with app.run():
    f.for_each(["1", "three"])
