# sys.exit() in a function
import sys

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    sys.exit(3)


with app.run():
    f.remote(1)
