# with_concurrency without its argument
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.with_concurrency()
