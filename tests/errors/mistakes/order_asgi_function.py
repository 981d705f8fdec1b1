# asgi_app above app.function
import moorage as modal

app = modal.App("shop")


@modal.asgi_app()
@app.function()
def web():
    return object()
