# retries of a generator
import moorage as modal

app = modal.App("shop")


@app.function(retries=3)
def f(x):
    yield x
