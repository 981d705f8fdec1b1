# @asgi_app without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.asgi_app
def web():
    return object()
