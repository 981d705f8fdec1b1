# a function is called with an argument too many
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    f.remote(1, 2)
