"""A web function, of which at most 100 requests run at once."""

import asyncio

import modal

app = modal.App("shop")


@app.function(max_containers=1)
@modal.concurrent(max_inputs=100)
@modal.fastapi_endpoint()
async def greet(name: str = "you"):
    await asyncio.sleep(0.1)  # asks a model
    return {"hello": name}
