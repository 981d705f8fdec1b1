# an old argument of with_options
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.with_options(concurrency_limit=4)
