# app.function above method, outside of a class
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.method()
def predict(x):
    return x
