# @app.cls without its parentheses
import moorage as modal

app = modal.App("shop")


@app.cls
class Model:
    pass
