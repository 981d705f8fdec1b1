# for_each outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.for_each([1, 2])
