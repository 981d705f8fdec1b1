# remote after the run has ended
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    f.remote(1)

f.remote(2)
