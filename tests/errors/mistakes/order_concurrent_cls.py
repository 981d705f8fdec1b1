# concurrent above app.cls
import moorage as modal

app = modal.App("shop")


@modal.concurrent(max_inputs=4)
@app.cls()
class Model:
    pass
