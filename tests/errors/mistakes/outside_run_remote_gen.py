# remote_gen outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    yield x


for y in f.remote_gen(1):
    print(y)
