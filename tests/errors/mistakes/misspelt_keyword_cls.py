# a misspelt argument of app.cls
import moorage as modal

app = modal.App("shop")


@app.cls(time_out=10)
class Model:
    pass
