# a parameter without its name, one too many
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter()


Model(3, 4)
