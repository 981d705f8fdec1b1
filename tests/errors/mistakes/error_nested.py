# an error in a function that another one calls
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


@app.function()
def g(x):
    return f.remote(x)


with app.run():
    g.remote("three")
