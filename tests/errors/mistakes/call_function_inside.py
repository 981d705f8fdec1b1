# a function calls another one like a plain one
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


@app.function()
async def g(x):
    return f(x)


with app.run():
    g.remote(1)
