# a default without the name of its argument
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter(3)
