# the old decorator web_endpoint
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.web_endpoint()
def f():
    return "hello"
