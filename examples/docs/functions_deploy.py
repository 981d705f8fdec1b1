"""Deployed: it runs until it is stopped, and is found by name in this process."""

import moorage

app = moorage.App("shipping")


@app.function()
def quote(kilos: float) -> float:
    return 4 + 1.5 * kilos


app.deploy()

# Elsewhere in the same process, which need not import the module above:
found = moorage.Function.from_name("shipping", "quote")
print(found.remote(10))

app.stop()
try:
    found.remote(10)
except moorage.exception.NotFoundError as error:
    print(error)
