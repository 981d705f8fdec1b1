# an error in a generator
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    yield 1
    yield int(x)


with app.run():
    for y in f.remote_gen("three"):
        pass
