# done, as of a future
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    f.spawn(1).done()
