"""A FunctionCall: wait, give up waiting, find again, cancel."""

import asyncio

import moorage

app = moorage.App("calls")


@app.function()
@moorage.concurrent(max_inputs=10)
async def sail(hours: float) -> str:
    await asyncio.sleep(hours)
    return f"{hours} h at sea"


with app.run():
    call = sail.spawn(0.1)
    try:
        call.get(timeout=0)
    except TimeoutError:
        print("not yet")
    print(moorage.FunctionCall.from_id(call.object_id).get())
    print(moorage.FunctionCall.gather(sail.spawn(0.02), sail.spawn(0.01)))

    lost = sail.spawn(60)
    lost.cancel()
    try:
        lost.get()
    except moorage.exception.InputCancelledError as error:
        print(error)

    many = sail.experimental_spawn_map([0.01, 0.02, 0.03])
    print(many.num_inputs(), many.get(index=2), list(many.iter(end=2)))
