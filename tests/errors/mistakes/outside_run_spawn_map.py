# spawn_map outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.spawn_map([1, 2])
