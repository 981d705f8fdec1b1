"""A web function with a URL: it serves until its standard input ends (Ctrl-D)."""

import asyncio
import sys

import moorage

app = moorage.App("shop")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=100)
@moorage.fastapi_endpoint()
async def greet(name: str = "you"):
    await asyncio.sleep(0.1)  # asks a model
    return {"hello": name}


with app.run():
    print(greet.get_web_url(), flush=True)
    sys.stdin.read()
