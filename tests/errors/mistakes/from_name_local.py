# .local() of a function that is looked up
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


app.deploy()
modal.Function.from_name("shop", "f").local(1)
