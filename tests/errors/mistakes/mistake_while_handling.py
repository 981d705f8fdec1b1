# a mistake in an except block of the program
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


try:
    {}["three"]
except KeyError:
    f.remote("three")
