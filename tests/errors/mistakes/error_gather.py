# an error in a function, through FunctionCall.gather
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


with app.run():
    calls = [f.spawn("1"), f.spawn("three")]
    modal.FunctionCall.gather(*calls)
