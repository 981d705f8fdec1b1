# an error in a function that was raised from another
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    try:
        return int(x)
    except ValueError as error:
        raise LookupError(x) from error


with app.run():
    f.remote("three")
