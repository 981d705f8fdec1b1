"""An app whose functions, in processes, call each other: this module is imported anew in each."""

import asyncio
import os
import threading

import moorage

app = moorage.App("calling")


@app.function()
def pid(x):
    return x, os.getpid()


@app.function()
@moorage.concurrent(max_inputs=20)
async def twice(x):
    await asyncio.sleep(0)
    return 2 * x


class OddError(Exception):
    def __init__(self, text, *, code):
        super().__init__(text)
        self.code = code


@app.function()
def fail(text):
    raise OddError(text, code=7)


@app.function()
async def wait_for_ever(path):
    with open(path, "w"):
        pass
    try:
        await asyncio.Event().wait()
    finally:
        os.remove(path)


@app.function()
def calls(x):
    return os.getpid(), pid.remote(x), twice.remote(x)


@app.function()
@moorage.concurrent(max_inputs=20)
async def awaits(x):
    return os.getpid(), await pid.remote.aio(x), await twice.remote.aio(x)


@app.function()
def catches():
    try:
        fail.remote("what")
    except OddError as error:
        return type(error).__name__, str(error), error.code


@app.function()
def passes_on():
    fail.remote("what")


@app.function()
def calls_and_waits(path):
    wait_for_ever.remote(path)


@app.function()
@moorage.concurrent(max_inputs=20)
async def awaits_and_waits(path):
    await wait_for_ever.remote.aio(path)


@app.function()
def dies_while_it_waits(path):
    call = threading.Thread(target=wait_for_ever.remote, args=(path,))
    call.start()
    while not os.path.exists(path):
        pass
    os._exit(3)


@app.cls()
class Scaled:
    factor: int = moorage.parameter(default=1)

    @moorage.method()
    def times(self, x):
        return self.factor * x, os.getpid()

    @moorage.method()
    def through(self, x):
        return self.times.remote(x), Scaled(factor=5).times.remote(x), os.getpid()


@app.function()
def calls_class(x):
    return Scaled(factor=3).times.remote(x)[0], Scaled().times.remote(x)[0]


@app.function()
def calls_variant(x):
    return twice.with_options(timeout=60).remote(x), twice.with_concurrency(max_inputs=3).remote(x)
