"""The same functions in worker processes: a world of their own, and a crash that ends nothing."""

import logging
import os

import moorage
from moorage.exception import ContainerLostError

logging.getLogger("moorage").setLevel(logging.ERROR)  # no warning about each lost container
app = moorage.App("placement")
calls = 0


@app.function(env={"COLOR": "red"})
def count() -> tuple[int, str]:
    global calls
    calls += 1  # the container's own
    return calls, os.environ["COLOR"]


@app.function()
def crash() -> None:
    os._exit(3)  # as a crash in C code, or the system when memory runs out


with app.run(placement="process"):
    print(count.remote(), count.remote())
    print(calls, os.environ.get("COLOR"))
    try:
        crash.remote()
    except ContainerLostError as error:
        print(error.how)
    print(count.remote())
