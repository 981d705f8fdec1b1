# app.function above an enter hook
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.enter()
def load():
    pass
