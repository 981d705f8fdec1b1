# a misspelt argument of with_concurrency
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.with_concurrency(max_input=4)
