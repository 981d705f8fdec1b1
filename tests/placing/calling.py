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


@app.function()
def spawns(x):
    call = pid.spawn(x)
    calls = [twice.spawn(each) for each in range(x)]
    found = moorage.FunctionCall.from_id(call.object_id)
    gathered = moorage.FunctionCall.gather(*calls)
    return call.get()[0], found.get()[0], gathered, call.object_id


@app.function()
@moorage.concurrent(max_inputs=20)
async def spawns_and_awaits(x):
    call = await pid.spawn.aio(x)
    calls = [await twice.spawn.aio(each) for each in range(x)]
    found = moorage.FunctionCall.from_id(call.object_id)
    gathered = await moorage.FunctionCall.gather.aio(*calls)
    return (await call.get.aio())[0], (await found.get.aio())[0], gathered, call.object_id


@app.function()
def leaves(x):
    return twice.spawn(x)


@app.function()
def reads(call):
    return call.get()


@app.function()
def spawns_and_cancels(path):
    call = wait_for_ever.spawn(path)
    try:
        call.get(timeout=0)
    except TimeoutError:
        call.cancel()
    try:
        call.get()
    except moorage.exception.InputCancellation:
        return "interrupted"
    except moorage.exception.InputCancelledError:
        return "cancelled"


@app.function()
def maps(n):
    doubled = list(twice.map(range(n)))
    pairs = list(pid.starmap([(1,), (2,)]))
    twice.for_each(range(3))
    kept = list(fail.map(["a", "b"], return_exceptions=True))
    some = next(iter(twice.map(iter(range(100)))))
    return doubled, [x for x, _ in pairs], [error.code for error in kept], some


@app.function()
@moorage.concurrent(max_inputs=20)
async def maps_and_awaits(n):
    return [each async for each in twice.map.aio(range(n))]


@app.function()
def looks_for(function_call_id):
    try:
        moorage.FunctionCall.from_id(function_call_id).get()
    except moorage.exception.NotFoundError as error:
        return str(error)


@app.function()
def calls_by_name(x):
    return moorage.Function.from_name("calling", "twice").remote(x)


@app.function()
def numbers(n):
    yield from range(n)
    if n == 7:
        raise OddError("seven", code=n)


@app.function()
@moorage.concurrent(max_inputs=20)
async def endless(path):
    with open(path, "w"):
        pass
    try:
        x = 0
        while True:
            yield x
            x += 1
    finally:
        os.remove(path)


@app.function()
def streams(n, path):
    items = list(numbers.remote_gen(n))
    try:
        list(numbers.remote_gen(7))
    except OddError as error:
        items.append(error.code)
    steps = endless.remote_gen(path)
    items += [next(steps) for _ in range(40)]
    steps.close()
    return items


@app.function()
@moorage.concurrent(max_inputs=20)
async def streams_and_awaits(n, path):
    return [each async for each in numbers.remote_gen.aio(n)]


@app.function()
def passes_items_on(n):
    yield from numbers.remote_gen(n)


shared = moorage.Dict.from_name("calling-shared", create_if_missing=True)
tasks = moorage.Queue.from_name("calling-tasks", create_if_missing=True)


@app.function()
def keeps(key, value):
    shared[key] = value
    shared.put("other", [value])
    assert key in shared
    return shared[key], shared.get("nothing", 7), sorted(shared.keys()), shared.len()


@app.function()
def takes(key):
    try:
        shared["nothing"]
    except KeyError:
        return shared.pop(key), os.getpid()


@app.function()
def gets(timeout):
    return tasks.get(timeout=timeout)


@app.function()
@moorage.concurrent(max_inputs=20)
async def awaits_items(timeout):
    return await tasks.get.aio(timeout=timeout)


@app.function()
def puts(items):
    tasks.put_many(items)
    return tasks.len()


@app.function()
def iterates():
    return list(tasks.iterate())


@app.function()
async def iterates_and_awaits():
    return [each async for each in tasks.iterate.aio()]


@app.function(max_containers=1)
def calls_itself(depth):
    return 0 if depth == 0 else 1 + calls_itself.remote(depth - 1)


@app.function(max_containers=1)
def ping(depth):
    return pong.spawn(depth).get()


@app.function(max_containers=1)
def pong(depth):
    return ping.remote(depth)
