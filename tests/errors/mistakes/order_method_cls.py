# method above app.cls
import moorage as modal

app = modal.App("shop")


@modal.method()
@app.cls()
class Model:
    pass
