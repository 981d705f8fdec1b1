# a function that the deployed app does not have
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


app.deploy()
modal.Function.from_name("shop", "g").remote(1)
