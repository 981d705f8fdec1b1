# a misspelt argument of batched
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_sm=50)
def f(xs):
    return xs
