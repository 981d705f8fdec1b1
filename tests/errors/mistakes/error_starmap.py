# an error in a function, through starmap
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x, y):
    return x / y


with app.run():
    list(f.starmap([(1, 1), (1, 0)]))
