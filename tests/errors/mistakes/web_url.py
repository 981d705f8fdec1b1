# the URL of a web function in a run with a virtual clock
import moorage as modal
from moorage.testing import VirtualClock

app = modal.App("shop")


@app.function()
@modal.fastapi_endpoint()
def f():
    return "hello"


with app.run(clock=VirtualClock()):
    f.get_web_url()
