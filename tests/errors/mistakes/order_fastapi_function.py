# fastapi_endpoint above app.function
import moorage as modal

app = modal.App("shop")


@modal.fastapi_endpoint()
@app.function()
def f():
    return "hello"
