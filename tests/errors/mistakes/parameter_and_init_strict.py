# parameters and a constructor
# strict
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter(default=3)

    def __init__(self):
        self.weights = []
