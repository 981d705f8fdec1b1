# @fastapi_endpoint without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.fastapi_endpoint
def f():
    return "hello"
