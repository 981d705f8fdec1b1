"""Leaving a run with drain=True: what was accepted is finished."""

import asyncio

import moorage

app = moorage.App("letters")


@app.function(max_containers=1)
async def send(letter: str) -> str:
    await asyncio.sleep(0.01)
    return f"{letter}: {await stamp.remote.aio(letter)}"


@app.function()
async def stamp(letter: str) -> str:
    return f"{len(letter)} cents"


with app.run():
    lost = send.spawn("to nobody")

with app.run(drain=True):
    sent = [send.spawn(letter) for letter in ("to Ada", "to Grace")]

try:
    lost.get()
except moorage.exception.InputCancelledError as error:
    print(error)
print([call.get() for call in sent])
