# an async function of the app calls another, blocking
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


@app.function()
async def g(x):
    return f.remote(x)


with app.run():
    g.remote(1)
