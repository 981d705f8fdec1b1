# app.function on a class
import moorage as modal

app = modal.App("shop")


@app.function()
class Model:
    pass
