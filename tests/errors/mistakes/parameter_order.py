# a parameter without a default after one with
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter(default=3)
    name: str = modal.parameter()
