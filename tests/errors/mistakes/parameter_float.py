# a parameter that is a float
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: float = modal.parameter(default=0.5)
