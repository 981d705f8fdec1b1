# an error in a function
import moorage as modal

app = modal.App("shop")


def parse(x):
    return int(x)


@app.function()
def f(x):
    return parse(x)


with app.run():
    f.remote("three")
