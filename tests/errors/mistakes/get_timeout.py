# get(timeout=0) of a call that still runs
import time

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    time.sleep(0.1)


with app.run():
    f.spawn(1).get(timeout=0)
