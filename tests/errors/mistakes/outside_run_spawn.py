# spawn outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.spawn(1)
