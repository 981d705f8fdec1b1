# submit, as of an executor
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    f.submit(1)
