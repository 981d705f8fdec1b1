# a misspelt argument of with_options
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.with_options(max_container=4)
