# a Function is called like the function it was
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    f(1)
