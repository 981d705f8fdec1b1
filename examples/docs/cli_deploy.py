"""A second app, which finds the class of the first one by its name."""

import modal

app = modal.App("board")


@app.function()
@modal.fastapi_endpoint()
async def words():
    Model = modal.Cls.from_name("shop", "Model")
    return await Model().count.remote.aio()


@app.function(schedule=modal.Period(hours=1))
def every_hour():
    print("an hour has passed")
