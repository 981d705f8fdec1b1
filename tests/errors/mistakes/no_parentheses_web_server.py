# @web_server without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.web_server
def web():
    pass
