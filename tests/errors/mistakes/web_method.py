# a web function with an unknown HTTP method
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.fastapi_endpoint(method="FETCH")
def f():
    return "hello"
