"""Calls outside of any run, in all their forms; strict mode refuses them as Modal does."""
# %% remote-aio
# differs: lenient
import asyncio
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(asyncio.run(f.remote.aio(1)))
# %% starmap
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x, y):
    return x + y
print(list(f.starmap([(1, 2), (3, 4)])))
# %% for-each
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.for_each([1, 2])
print("done")
# %% spawn-map
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.spawn_map([1, 2])
print("done")
# %% map-is-lazy
# differs: fault: one map whose results nobody reads is logged twice
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.map([1, 2])
print("nothing happened")
# %% map-of-nothing
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(list(f.map([])))
# %% map-without-iterators
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
print(list(f.map()))
# %% map-unknown-argument
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.map([1], ordered=True)
# %% map-several-iterators
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x, y):
    return x + y
print(list(f.map([1, 2], [3, 4], order_outputs=False)))
# %% map-aio
# differs: lenient
import asyncio
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
async def main():
    return [x async for x in f.map.aio([1, 2])]
print(asyncio.run(main()))
# %% remote-gen
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(n):
    yield from range(n)
print(list(f.remote_gen(3)))
# %% remote-gen-is-lazy
import modal
app = modal.App("a")
@app.function()
def f(n):
    yield from range(n)
f.remote_gen(3)
print("nothing happened")
# %% remote-of-an-async-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
async def f(x):
    return x
print(f.remote(1))
# %% remote-wrong-arguments
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.remote()
# %% remote-in-an-entrypoint
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
@app.local_entrypoint()
def main():
    print(f.remote(1))
main()
# %% remote-in-a-local-call
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x + 1
@app.function()
def g(x):
    return f.remote(x)
print(g.local(1))
# %% remote-on-a-running-loop
# differs: lenient
import asyncio
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
async def main():
    return f.remote(1)
print(asyncio.run(main()))
# %% spawn-of-a-generator
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(n):
    yield n
f.spawn(1)
# %% caught
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
try:
    print(f.remote(1))
except modal.exception.ExecutionError as error:
    print("not running")
# %% local-on-a-running-loop
import asyncio
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
async def main():
    return f.local(1)
print(asyncio.run(main()))
# %% local-in-a-thread
import threading
import modal
app = modal.App("a")
@app.function()
def f(x):
    print("in", x)
thread = threading.Thread(target=f.local, args=(1,))
thread.start()
thread.join()
# %% local-in-a-pool
from concurrent.futures import ThreadPoolExecutor
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x * x
with ThreadPoolExecutor(3) as pool:
    print(list(pool.map(f.local, range(5))))
# %% local-mapped
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x * x
print(list(map(f.local, range(4))))
# %% local-keywords
import modal
app = modal.App("a")
@app.function()
def f(*, a, b=2):
    return a, b
print(f.local(a=1))
# %% local-async-raises
import asyncio
import modal
app = modal.App("a")
@app.function()
async def f(x):
    raise LookupError(x)
asyncio.run(f.local("gone"))
# %% local-async-taskgroup
import asyncio
import modal
app = modal.App("a")
@app.function()
async def f(x):
    await asyncio.sleep(0)
    return x
async def main():
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(f.local(i)) for i in range(3)]
    return [task.result() for task in tasks]
print(asyncio.run(main()))
# %% local-keeps-context
import contextvars
import modal
app = modal.App("a")
name = contextvars.ContextVar("name", default="none")
@app.function()
def f():
    return name.get()
name.set("mine")
print(f.local())
# %% local-generator-closed
import modal
app = modal.App("a")
@app.function()
def f():
    try:
        yield 1
        yield 2
    finally:
        print("closed")
g = f.local()
print(next(g))
g.close()
# %% method-async-generator
# differs: fault: async generator methods are no async generators under .local()
import asyncio
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    async def f(self, n):
        for i in range(n):
            yield i
async def main():
    return [x async for x in C().f.local(3)]
print(asyncio.run(main()))
# %% map-of-a-method
# differs: network
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
print(list(C().f.map([1, 2])))
