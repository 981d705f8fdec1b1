# an error in a function, through map
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


with app.run():
    for y in f.map(["1", "three"]):
        pass
