# max_batch_size of with_options
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.with_options(max_batch_size=8, wait_ms=50)
