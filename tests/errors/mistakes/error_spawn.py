# an error in a function, through spawn().get()
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


with app.run():
    call = f.spawn("three")
    call.get()
