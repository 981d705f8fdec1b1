# asgi_app on an async function
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.asgi_app()
async def web():
    return object()
