# an error in a function that is called here
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


f.local("three")
