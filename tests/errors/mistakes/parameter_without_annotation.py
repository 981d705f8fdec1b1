# a parameter without annotation
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size = modal.parameter(default=3)
