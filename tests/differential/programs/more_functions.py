"""Functions: what can be decorated, .local() of every kind, edge values of each argument."""
# %% local-partial-wrapped
import functools
import modal
app = modal.App("a")
def base(a, b):
    return a, b
@functools.wraps(base)
def f(b):
    return base(1, b)
g = app.function(serialized=True, name="g")(f)
print(g.local(2))
# %% local-callable-object
# differs: fault: a callable object has no name, a bare AttributeError of a private name
import modal
app = modal.App("a")
class Adder:
    def __call__(self, x):
        return x + 1
app.function(name="adder", serialized=True)(Adder())
# %% local-bound-method
import modal
app = modal.App("a")
class Adder:
    def add(self, value):
        return value + 1
f = app.function(name="adder", serialized=True)(Adder().add)
print(f.local(1))
# %% local-builtin-with-a-name
import modal
app = modal.App("a")
f = app.function(name="length", serialized=True)(len)
print(f.local([1, 2]))
# %% local-class-static
import modal
app = modal.App("a")
class K:
    @staticmethod
    def add(value):
        return value + 1
f = app.function(name="add", serialized=True)(K.add)
print(f.local(1))
# %% local-lru-cache
import functools
import modal
app = modal.App("a")
calls = []
@app.function()
@functools.lru_cache
def f(x):
    calls.append(x)
    return x
print(f.local(1), f.local(1), calls)
# %% local-contextmanager-function
import contextlib
import modal
app = modal.App("a")
@app.function()
@contextlib.contextmanager
def f(x):
    yield x
with f.local(3) as value:
    print(value)
# %% local-singledispatch
import functools
import modal
app = modal.App("a")
@app.function()
@functools.singledispatch
def f(x):
    return "other"
print(f.local(1))
# %% local-kwonly-and-defaults
import modal
app = modal.App("a")
@app.function()
def f(a, /, b=2, *args, c, d=4, **kwargs):
    return a, b, args, c, d, kwargs
print(f.local(1, c=3), f.local(1, 2, 3, c=5, z=6))
f.local(1)
# %% local-mutable-default
import modal
app = modal.App("a")
@app.function()
def f(x, seen=[]):
    seen.append(x)
    return list(seen)
print(f.local(1), f.local(2))
# %% local-returns-none
import modal
app = modal.App("a")
@app.function()
def f():
    pass
print(f.local())
# %% local-returns-a-coroutine
import asyncio
import modal
app = modal.App("a")
async def inner():
    return 3
@app.function()
def f():
    return inner()
print(asyncio.run(f.local()))
# %% local-returns-a-generator
import modal
app = modal.App("a")
@app.function()
def f():
    return (x for x in range(3))
print(list(f.local()))
print(f.is_generator)
# %% is-generator-of-kinds
import modal
app = modal.App("a")
@app.function()
def a():
    yield 1
@app.function()
async def b():
    yield 1
@app.function()
async def c():
    return 1
@app.function(is_generator=True)
def d():
    return iter([1])
@app.function(is_generator=False)
def e():
    yield 1
for f in (a, b, c, d, e):
    try:
        print(f.is_generator)
    except Exception as error:
        print(type(error).__mro__[-3].__name__)
# %% nonlocal-state
import modal
app = modal.App("a")
def make():
    n = 0
    @app.function(serialized=True)
    def f():
        nonlocal n
        n += 1
        return n
    return f
f = make()
print(f.local(), f.local())
# %% exec-defined
import modal
app = modal.App("a")
space = {"app": app, "__name__": __name__}
exec("@app.function()\ndef f(x):\n    return x + 1\n", space)
print(space["f"].local(1))
# %% exec-defined-serialized
import modal
app = modal.App("a")
space = {"app": app, "__name__": __name__}
exec("@app.function(serialized=True)\ndef f(x):\n    return x + 1\n", space)
print(space["f"].local(1))
# %% redefined-in-a-loop
import modal
app = modal.App("a")
made = []
for n in range(3):
    @app.function(name=f"f{n}", serialized=True)
    def f(x, n=n):
        return x + n
    made.append(f)
print([f.local(1) for f in made])
# %% mutual-recursion
import modal
app = modal.App("a")
@app.function()
def even(n):
    return True if n == 0 else odd.local(n - 1)
@app.function()
def odd(n):
    return False if n == 0 else even.local(n - 1)
print(even.local(10), odd.local(7))
# %% recursion-too-deep
import modal
app = modal.App("a")
@app.function()
def f(n):
    return f.local(n + 1)
f.local(0)
# %% exception-chained
import modal
app = modal.App("a")
@app.function()
def f():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("wrapped") from error
try:
    f.local()
except ValueError as error:
    print(error, type(error.__cause__).__name__)
# %% exception-custom
import modal
app = modal.App("a")
class Broken(Exception):
    def __init__(self, code, *, detail):
        super().__init__(code)
        self.detail = detail
@app.function()
def f():
    raise Broken(3, detail="d")
try:
    f.local()
except Broken as error:
    print(error.args, error.detail)
# %% exception-notes
import modal
app = modal.App("a")
@app.function()
def f():
    error = ValueError("v")
    error.add_note("more")
    raise error
try:
    f.local()
except ValueError as error:
    print(error.__notes__)
# %% generator-throws-midway
import modal
app = modal.App("a")
@app.function()
def f():
    yield 1
    raise ValueError("midway")
seen = []
try:
    for x in f.local():
        seen.append(x)
except ValueError as error:
    print(seen, error)
# %% generator-throw-into
import modal
app = modal.App("a")
@app.function()
def f():
    try:
        yield 1
    except KeyError:
        yield "caught"
g = f.local()
print(next(g), g.throw(KeyError("x")))
# %% generator-return-value
import modal
app = modal.App("a")
@app.function()
def f():
    yield 1
    return 5
def outer():
    value = yield from f.local()
    print("returned", value)
print(list(outer()))
# %% async-gather-of-locals
import asyncio
import modal
app = modal.App("a")
@app.function()
async def f(x):
    await asyncio.sleep(0)
    return x * x
async def main():
    return await asyncio.gather(*[f.local(i) for i in range(4)])
print(asyncio.run(main()))
# %% async-timeout-around-local
import asyncio
import modal
app = modal.App("a")
@app.function()
async def f():
    await asyncio.sleep(5)
async def main():
    try:
        await asyncio.wait_for(f.local(), 0.01)
    except asyncio.TimeoutError:
        print("timed out")
asyncio.run(main())
# %% async-cancelled-local
import asyncio
import modal
app = modal.App("a")
@app.function()
async def f():
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        print("cancelled")
        raise
async def main():
    task = asyncio.create_task(f.local())
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("gone")
asyncio.run(main())
# %% context-variables
import contextvars
import modal
app = modal.App("a")
var = contextvars.ContextVar("var", default=0)
@app.function()
def f():
    var.set(var.get() + 1)
    return var.get()
print(f.local(), f.local(), var.get())
# %% thread-around-local
import threading
import modal
app = modal.App("a")
seen = []
@app.function()
def f(x):
    seen.append(x)
threads = [threading.Thread(target=f.local, args=(i,)) for i in range(3)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sorted(seen))
# %% partial-of-local
import functools
import modal
app = modal.App("a")
@app.function()
def f(a, b):
    return a - b
print(functools.partial(f.local, b=1)(5), list(map(f.local, [3, 2], [1, 1])))
# %% name-empty
import modal
app = modal.App("a")
@app.function(name="")
def f():
    return 1
print(f.local())
# %% name-with-a-space
# differs: lenient
import modal
app = modal.App("a")
@app.function(name="a b")
def f():
    return 1
print(f.local(), list(app.registered_functions))
# %% name-with-a-dot
import modal
app = modal.App("a")
@app.function(name="a.b")
def f():
    return 1
print(f.local())
# %% name-with-a-slash
import modal
app = modal.App("a")
@app.function(name="a/b")
def f():
    return 1
print(f.local())
# %% name-int
# differs: lenient
import modal
app = modal.App("a")
@app.function(name=3)
def f():
    return 1
print(f.local())
# %% name-long
import modal
app = modal.App("a")
@app.function(name="n" * 100)
def f():
    return 1
print(f.local())
# %% cpu-negative
# differs: lenient
import modal
app = modal.App("a")
@app.function(cpu=-1)
def f():
    return 1
print(f.local())
# %% memory-negative
# differs: lenient
import modal
app = modal.App("a")
@app.function(memory=-1)
def f():
    return 1
print(f.local())
# %% gpu-empty
import modal
app = modal.App("a")
@app.function(gpu="")
def f():
    return 1
print(f.local())
# %% gpu-list
import modal
app = modal.App("a")
@app.function(gpu=["A100", "any", "H100:2"])
def f():
    return 1
print(f.local())
# %% gpu-tuple
import modal
app = modal.App("a")
@app.function(gpu=("A100", 1))
def f():
    return 1
print(f.local())
# %% gpu-zero-count
# differs: lenient
import modal
app = modal.App("a")
@app.function(gpu="A100:0")
def f():
    return 1
print(f.local())
# %% timeout-huge
import modal
app = modal.App("a")
@app.function(timeout=10**9)
def f():
    return 1
print(f.local())
# %% timeout-bool
# differs: lenient
import modal
app = modal.App("a")
@app.function(timeout=True)
def f():
    return 1
print(f.local())
# %% retries-object-on-many
import modal
app = modal.App("a")
policy = modal.Retries(max_retries=3, backoff_coefficient=1.0, initial_delay=1.0, max_delay=2.0)
@app.function(retries=policy)
def f():
    return 1
@app.function(retries=policy)
def g():
    return 2
print(f.local(), g.local())
# %% retries-float
import modal
app = modal.App("a")
@app.function(retries=2.5)
def f():
    return 1
# %% retries-dict
import modal
app = modal.App("a")
@app.function(retries={"max_retries": 3})
def f():
    return 1
# %% retries-huge
import modal
app = modal.App("a")
@app.function(retries=100)
def f():
    return 1
print(f.local())
# %% min-containers-str
import modal
app = modal.App("a")
@app.function(min_containers="2")
def f():
    return 1
print(f.local())
# %% max-containers-negative
import modal
app = modal.App("a")
@app.function(max_containers=-1)
def f():
    return 1
print(f.local())
# %% buffer-negative
import modal
app = modal.App("a")
@app.function(buffer_containers=-1)
def f():
    return 1
print(f.local())
# %% scaledown-float
# differs: lenient
import modal
app = modal.App("a")
@app.function(scaledown_window=30.5)
def f():
    return 1
print(f.local())
# %% scaledown-str
import modal
app = modal.App("a")
@app.function(scaledown_window="30")
def f():
    return 1
print(f.local())
# %% scaledown-negative
import modal
app = modal.App("a")
@app.function(scaledown_window=-5)
def f():
    return 1
# %% min-equal-max
import modal
app = modal.App("a")
@app.function(min_containers=2, max_containers=2)
def f():
    return 1
print(f.local())
# %% min-above-max-by-class
import modal
app = modal.App("a")
@app.cls(min_containers=3, max_containers=2)
class C:
    @modal.method()
    def f(self):
        return 1
# %% schedule-on-a-class
import modal
app = modal.App("a")
@app.cls(schedule=modal.Period(days=1))
class C:
    @modal.method()
    def f(self):
        return 1
# %% schedule-and-web
import modal
app = modal.App("a")
@app.function(schedule=modal.Period(days=1))
@modal.fastapi_endpoint()
def f():
    return 1
print(f.local())
# %% schedule-and-batched
import modal
app = modal.App("a")
@app.function(schedule=modal.Period(days=1))
@modal.batched(max_batch_size=2, wait_ms=1)
def f(xs):
    return xs
# %% schedule-with-kwargs-only
import modal
app = modal.App("a")
@app.function(schedule=modal.Cron("* * * * *"))
def f(*args, **kwargs):
    return args
print(f.local())
# %% batched-async-generator
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=2, wait_ms=1)
async def f(xs):
    yield xs
# %% batched-no-arguments
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=2, wait_ms=1)
def f():
    return []
print(f.local())
# %% batched-varargs
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=2, wait_ms=1)
def f(*xs):
    return list(xs)
print(f.local([1], [2]))
# %% batched-local-wrong-length
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1)
def f(xs):
    return [1]
print(f.local([1, 2, 3]))
# %% batched-local-not-a-list
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1)
def f(xs):
    return xs
print(f.local(3), f.local("abc"))
# %% batched-size-none
import modal
try:
    modal.batched(max_batch_size=None, wait_ms=1)
except TypeError:
    print("no")
# %% batched-wait-none
import modal
try:
    modal.batched(max_batch_size=1, wait_ms=None)
except TypeError:
    print("no")
# %% batched-wait-float
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1.5)
def f(xs):
    return xs
print(f.local([3]))
# %% batched-size-true
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=True, wait_ms=1)
def f(xs):
    return xs
print(f.local([3]))
# %% concurrent-huge
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=10**6)
def f(x):
    return x
print(f.local(3))
# %% concurrent-none
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=None)
def f(x):
    return x
# %% concurrent-none-and-target
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=None, target_inputs=3)
def f(x):
    return x
# %% concurrent-list
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=[3])
def f(x):
    return x
print(f.local(3))
# %% concurrent-target-list
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=3, target_inputs=[1])
def f(x):
    return x
print(f.local(3))
# %% concurrent-str-and-target
# differs: lenient
import modal
modal.concurrent(max_inputs="3", target_inputs=1)
# %% fastapi-method-lower
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(method="post")
def f(x: int):
    return x
print(f.local(3))
# %% fastapi-method-nonsense
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(method="FETCH")
def f(x: int):
    return x
print(f.local(3))
# %% fastapi-method-none
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(method=None)
def f(x: int):
    return x
print(f.local(3))
# %% fastapi-method-int
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(method=3)
def f(x: int):
    return x
# %% fastapi-label-int
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(label=3)
def f(x: int):
    return x
print(f.local(1))
# %% fastapi-label-bad
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(label="Not A Label!")
def f(x: int):
    return x
print(f.local(1))
# %% fastapi-domains-empty
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(custom_domains=[])
def f(x: int):
    return x
print(f.local(1))
# %% fastapi-domains-str
import modal
modal.fastapi_endpoint(custom_domains="a.b")
# %% fastapi-domains-int
import modal
modal.fastapi_endpoint(custom_domains=[1])
modal.fastapi_endpoint(custom_domains=3)
# %% fastapi-async-generator
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
async def f():
    yield 1
# %% asgi-generator
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f():
    yield 1
print(next(f.local()))
# %% asgi-kwonly
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f(*, x):
    return x
# %% asgi-varargs
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f(*args):
    return args
print(f.local())
# %% web-server-zero
import modal
modal.web_server(0)
# %% web-server-negative
import modal
modal.web_server(-1)
# %% web-server-str
import modal
modal.web_server("8000")
# %% web-server-float
import modal
modal.web_server(8000.5)
# %% web-server-true
import modal
app = modal.App("a")
@app.function()
@modal.web_server(True)
def f():
    return 1
print(f.local())
# %% web-server-none
import modal
modal.web_server(None)
# %% web-server-keyword
import modal
app = modal.App("a")
@app.function()
@modal.web_server(port=8000, startup_timeout=20)
def f():
    return 1
print(f.local())
# %% web-server-timeout-negative
import modal
app = modal.App("a")
@app.function()
@modal.web_server(8000, startup_timeout=-1)
def f():
    return 1
print(f.local())
# %% web-server-with-arguments
import modal
app = modal.App("a")
@app.function()
@modal.web_server(8000)
def f(x):
    return 1
# %% web-server-async
import modal
app = modal.App("a")
@app.function()
@modal.web_server(8000)
async def f():
    return 1
# %% web-server-twice
import modal
app = modal.App("a")
@app.function()
@modal.web_server(8000)
@modal.web_server(8001)
def f():
    return 1
# %% method-is-generator-wrong
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method(is_generator=True)
    def f(self):
        return [1]
print(C().f.local())
# %% enter-snap-int
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter(snap=0)
    def f(self):
        self.x = 1
    @modal.method()
    def g(self):
        return self.x
print(C().g.local())
# %% clustered-in-the-new-place
import modal
app = modal.App("a")
@app.function()
@modal.clustered(size=2)
def f(x):
    return x
print(f.local(1))
# %% clustered-in-the-old-place
import modal.experimental
modal.experimental.clustered(size=2)
# %% clustered-zero
import modal
modal.clustered(size=0)
# %% clustered-on-a-class
import modal
app = modal.App("a")
@app.cls()
@modal.clustered(size=2)
class C:
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% retries-of-no-arguments
import modal
try:
    modal.Retries()
except TypeError:
    print("no")
# %% retries-attributes
import modal
r = modal.Retries(max_retries=3)
for name in ("max_retries", "backoff_coefficient", "initial_delay", "max_delay"):
    value = getattr(r, name)
    print(name, value)
# %% retries-equality
# differs: other: a policy is a value, and equal to one that says the same
import modal
print(modal.Retries(max_retries=3) == modal.Retries(max_retries=3))
# %% retries-nan
import modal
modal.Retries(max_retries=3, backoff_coefficient=float("nan"))
# %% retries-inf
import modal
modal.Retries(max_retries=3, max_delay=float("inf"))
# %% retries-coefficient-str
import modal
try:
    modal.Retries(max_retries=3, backoff_coefficient="2")
except TypeError:
    print("no")
# %% retries-bool-values
# differs: lenient
import modal
r = modal.Retries(max_retries=True, initial_delay=True, max_delay=True + True, backoff_coefficient=True)
print(r.max_retries)
# %% retries-unknown
import modal
modal.Retries(max_retries=1, jitter=True)
