# a default of another type
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter(default="3")
