# web_server with an impossible port
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.web_server(80000)
def web():
    pass
