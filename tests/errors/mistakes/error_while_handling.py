# a call that fails in an except block of the program
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


with app.run():
    try:
        {}["three"]
    except KeyError:
        f.remote("three")
