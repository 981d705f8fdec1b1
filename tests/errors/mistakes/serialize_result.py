# a result that is not plain data, and a remote container
import sqlite3

import moorage as modal

app = modal.App("shop")


@app.function()
async def query(text):
    return {"rows": sqlite3.connect(":memory:").execute(text)}


with app.run(serialize=True):
    query.remote("select 1")
