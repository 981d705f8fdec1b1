# map outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


for y in f.map([1, 2]):
    print(y)
