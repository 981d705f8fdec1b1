# remote outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.remote(1)
