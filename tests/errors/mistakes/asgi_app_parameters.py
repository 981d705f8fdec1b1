# asgi_app on a function with parameters
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.asgi_app()
def web(name):
    return object()
