"""An app whose functions wait for one another: each process imports this module anew."""

import asyncio
import time

import moorage

app = moorage.App("waiting")

# The functions of which a call can never end.  Each is called without arguments, or with [1].
STUCK = []


def stuck(function):
    STUCK.append(function._name)
    return function


@app.function()
async def quick():
    return 1


@stuck
@app.function(max_containers=1)
def calls_itself():
    return calls_itself.remote()


@stuck
@app.function(max_containers=1)
def spawns_itself_and_gets():
    call = spawns_itself_and_gets.spawn()
    assert quick.remote() == 1
    return call.get()


@stuck
@app.function(max_containers=1)
def gathers_itself():
    return moorage.FunctionCall.gather(quick.spawn(), gathers_itself.spawn())


@app.function()
async def slow():
    await asyncio.sleep(0.4)
    return 1


@stuck
@app.function(max_containers=1)
def gathers_itself_after_another():
    return moorage.FunctionCall.gather(slow.spawn(), gathers_itself_after_another.spawn())


@stuck
@app.function(max_containers=1)
async def awaits_itself_after_another():
    calls = [await each.spawn.aio() for each in (slow, awaits_itself_after_another)]
    return await moorage.FunctionCall.gather.aio(*calls)


@stuck
@app.function(max_containers=1)
async def awaits_itself():
    return await awaits_itself.remote.aio()


@stuck
@app.function(max_containers=1)
async def awaits_a_spawned_call():
    call = await awaits_a_spawned_call.spawn.aio()
    return await call.get.aio()


@stuck
@app.function(max_containers=1)
async def awaits_many():
    return await asyncio.gather(awaits_many.remote.aio(), awaits_many.remote.aio())


@stuck
@app.function(max_containers=1)
async def awaits_a_gathering():
    calls = [await each.spawn.aio() for each in (quick, awaits_a_gathering)]
    return await moorage.FunctionCall.gather.aio(*calls)


@stuck
@app.function(max_containers=1)
async def awaits_a_task():
    task = asyncio.create_task(awaits_a_task.remote.aio())
    await quick.remote.aio()
    return await task


@stuck
@app.function(max_containers=1)
def maps_itself(_=1):
    return list(maps_itself.map([1, 2]))


@stuck
@app.function(max_containers=1)
def maps_rows(_=1):
    return list(maps_rows.starmap([(1,), (2,)], order_outputs=False))


@stuck
@app.function(max_containers=1)
def works_through(_=1):
    works_through.for_each([1, 2])


@stuck
@app.function(max_containers=1)
async def awaits_a_map(_=1):
    return [each async for each in awaits_a_map.map.aio([1, 2])]


@stuck
@app.function(max_containers=1)
async def blocks_its_loop():
    return blocks_its_loop.remote()


@stuck
@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
async def blocks_the_loop_of_others():
    return blocks_the_loop_of_others.remote()


@stuck
@app.function(max_containers=1)
async def blocks_for_two():
    return awaits_the_first.remote()


@app.function(max_containers=1)
async def awaits_the_first():
    return await blocks_for_two.remote.aio()


@stuck
@app.function(max_containers=1)
async def awaits_a_cycle():
    return await maps_a_cycle.remote.aio()


@app.function(max_containers=1)
def maps_a_cycle(_=1):
    return list(closes_a_cycle.map([1]))


@app.function(max_containers=1)
async def closes_a_cycle(_):
    return await awaits_a_cycle.remote.aio()


@app.function(max_containers=1)
def reads_itself():
    yield from reads_itself.remote_gen()


@stuck
@app.function()
def reads():
    return list(reads_itself.remote_gen())


@app.function(max_containers=1)
def many():
    yield from range(1000)


@stuck
@app.function()
def leaves_items_unread():
    items = many.remote_gen()
    return next(items), list(many.remote_gen())


@stuck
@app.function()
async def leaves_items_unread_and_awaits():
    items = many.remote_gen.aio()
    return await anext(items), [each async for each in many.remote_gen.aio()]


@app.function(max_containers=1)
def many_late():
    yield 0
    time.sleep(0.5)
    yield from range(1000)


@stuck
@app.function()
def leaves_items_unread_that_come_late():
    """Its wait has been looked at when the generator is full and begins to wait, too."""
    items = many_late.remote_gen()
    return next(items), list(many_late.remote_gen())


@stuck
@app.function(max_containers=1)
def runs_a_loop():
    async def main():
        return await runs_a_loop.remote.aio()

    return asyncio.run(main())


@app.cls(max_containers=1)
class Hooked:
    @moorage.enter()
    def load(self):
        self.loaded = Hooked().load_more.remote()

    @moorage.method()
    def load_more(self):
        return 1


@stuck
@app.function()
def needs_a_hook():
    return Hooked().load_more.remote()


@stuck
@app.function(max_containers=1)
@moorage.concurrent(max_inputs=2)
async def fills_its_slots():
    return await fills_its_slots.remote.aio()


@stuck
@app.function(max_containers=1)
@moorage.batched(max_batch_size=2, wait_ms=1)
def batches(xs):
    return [batches.remote(x) for x in xs]


# -- waits that end ----------------------------------------------------------------------------


@app.function(max_containers=1)
async def waits_at_most(depth):
    if not depth:
        return 0
    task = asyncio.create_task(waits_at_most.remote.aio(depth - 1))
    try:
        return await asyncio.wait_for(task, 0.5)
    except TimeoutError:
        return "gave up"


@app.function(max_containers=1)
def gets_for_a_while(depth):
    if not depth:
        return 0
    call = gets_for_a_while.spawn(depth - 1)
    try:
        return call.get(timeout=0.5)
    except TimeoutError:
        return "gave up"


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=2)
async def is_helped(depth):
    # The inner input waits for what the outer one does later.
    global event
    if not depth:
        await event.wait()
        return 1
    event = asyncio.Event()
    inner = asyncio.create_task(is_helped.remote.aio(depth - 1))
    await quick.remote.aio()
    await asyncio.sleep(0.5)
    event.set()
    return 1 + await inner
