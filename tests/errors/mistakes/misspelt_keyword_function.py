# a misspelt argument of app.function
import moorage as modal

app = modal.App("shop")


@app.function(max_container=10)
def f(x):
    return x
