# the URL of a web function
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.fastapi_endpoint()
def f():
    return "hello"


with app.run():
    f.get_web_url()
