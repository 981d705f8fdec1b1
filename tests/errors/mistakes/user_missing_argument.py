# a function is called without its argument
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    f.remote()
