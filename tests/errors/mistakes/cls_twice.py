# app.cls twice
import moorage as modal

app = modal.App("shop")


@app.cls()
@app.cls()
class Model:
    pass
