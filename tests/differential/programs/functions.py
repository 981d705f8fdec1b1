"""app.function: what it takes and refuses, and what a Function is before any run."""
# %% local
import modal
app = modal.App("a")
@app.function()
def add(a, b=2, *rest, c=3):
    return (a, b, rest, c)
print(add.local(1), add.local(1, 5, 6, c=7))
# %% local-async
import asyncio
import inspect
import modal
app = modal.App("a")
@app.function()
async def f(x):
    return x + 1
coro = f.local(1)
print(inspect.iscoroutine(coro), asyncio.run(coro))
# %% local-generator
import inspect
import modal
app = modal.App("a")
@app.function()
def f(n):
    for i in range(n):
        yield i
g = f.local(3)
print(inspect.isgenerator(g), list(g))
# %% local-async-generator
import asyncio
import inspect
import modal
app = modal.App("a")
@app.function()
async def f(n):
    for i in range(n):
        yield i
async def collect():
    return [x async for x in f.local(3)]
print(inspect.isasyncgen(f.local(1)), asyncio.run(collect()))
# %% local-raises
import modal
app = modal.App("a")
class Mine(ValueError):
    pass
@app.function()
def f(x):
    raise Mine(f"no {x}")
f.local(1)
# %% local-wrong-arguments
import modal
app = modal.App("a")
@app.function()
def add(a, b):
    return a + b
add.local(1)
# %% local-calls-local
import modal
app = modal.App("a")
@app.function()
def fib(n):
    return n if n < 2 else fib.local(n - 1) + fib.local(n - 2)
print(fib.local(10))
# %% not-callable
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f(1)
# %% no-parentheses
import modal
app = modal.App("a")
@app.function
def f(x):
    return x
# %% positional-name
import modal
app = modal.App("a")
@app.function("f")
def f(x):
    return x
# %% unknown-argument
import modal
app = modal.App("a")
@app.function(gpus="A10G")
def f(x):
    return x
# %% twice
import modal
app = modal.App("a")
@app.function()
@app.function()
def f(x):
    return x
# %% on-a-class
import modal
app = modal.App("a")
@app.function()
class C:
    def f(self):
        return 1
# %% on-a-method
import modal
app = modal.App("a")
class C:
    @app.function()
    def f(self):
        return 1
# %% nested
# differs: lenient
import modal
app = modal.App("a")
def make():
    @app.function()
    def f(x):
        return x
    return f
print(make().local(1))
# %% nested-serialized
import modal
app = modal.App("a")
def make(k):
    @app.function(serialized=True)
    def f(x):
        return x + k
    return f
print(make(3).local(1))
# %% lambda
import modal
app = modal.App("a")
f = app.function()(lambda x: x + 1)
print(f.local(1))
# %% lambda-serialized
import modal
app = modal.App("a")
f = app.function(serialized=True, name="f")(lambda x: x + 1)
print(f.local(1))
# %% lambda-serialized-no-name
# differs: lenient
import modal
app = modal.App("a")
f = app.function(serialized=True)(lambda x: x + 1)
print(f.local(1), list(app.registered_functions))
# %% not-a-function
import modal
app = modal.App("a")
app.function()(3)
# %% builtin
import modal
app = modal.App("a")
app.function()(print)
# %% same-name-twice
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return 1
@app.function()
def f(x):
    return 2
print(f.local(0), list(app.registered_functions))
# %% given-name
# differs: lenient
import modal
app = modal.App("a")
@app.function(name="other")
def f(x):
    return 2
print(list(app.registered_functions))
# %% given-names-collide
# differs: lenient
import modal
app = modal.App("a")
@app.function(name="other")
def f(x):
    return 1
@app.function(name="other")
def g(x):
    return 2
print(list(app.registered_functions), app.registered_functions["other"].local(0))
# %% timeout-none
# differs: lenient
import modal
app = modal.App("a")
@app.function(timeout=None)
def f(x):
    return x
print(f.local(1))
# %% timeout-zero
# differs: lenient
import modal
app = modal.App("a")
@app.function(timeout=0)
def f(x):
    return x
print(f.local(1))
# %% timeout-negative
# differs: lenient
import modal
app = modal.App("a")
@app.function(timeout=-1)
def f(x):
    return x
print(f.local(1))
# %% timeout-str
# differs: lenient
import modal
app = modal.App("a")
@app.function(timeout="60")
def f(x):
    return x
print(f.local(1))
# %% timeout-float
import modal
app = modal.App("a")
@app.function(timeout=1.5)
def f(x):
    return x
print(f.local(1))
# %% scaledown-window-one
import modal
app = modal.App("a")
@app.function(scaledown_window=1)
def f(x):
    return x
print(f.local(1))
# %% scaledown-window-two
import modal
app = modal.App("a")
@app.function(scaledown_window=2)
def f(x):
    return x
print(f.local(1))
# %% scaledown-window-largest
import modal
app = modal.App("a")
@app.function(scaledown_window=3600)
def f(x):
    return x
print(f.local(1))
# %% scaledown-window-too-large
import modal
app = modal.App("a")
@app.function(scaledown_window=3601)
def f(x):
    return x
print(f.local(1))
# %% min-above-max
import modal
app = modal.App("a")
@app.function(min_containers=5, max_containers=2)
def f(x):
    return x
print(f.local(1))
# %% max-containers-zero
# differs: lenient
import modal
app = modal.App("a")
@app.function(max_containers=0)
def f(x):
    return x
print(f.local(1))
# %% min-containers-negative
import modal
app = modal.App("a")
@app.function(min_containers=-1)
def f(x):
    return x
print(f.local(1))
# %% buffer-containers
import modal
app = modal.App("a")
@app.function(min_containers=1, max_containers=4, buffer_containers=2, scaledown_window=60)
def f(x):
    return x
print(f.local(1))
# %% keep-warm
# differs: lenient
import modal
app = modal.App("a")
@app.function(keep_warm=1)
def f(x):
    return x
# %% concurrency-limit
# differs: lenient
import modal
app = modal.App("a")
@app.function(concurrency_limit=1)
def f(x):
    return x
# %% container-idle-timeout
# differs: lenient
import modal
app = modal.App("a")
@app.function(container_idle_timeout=60)
def f(x):
    return x
# %% max-inputs-one
import modal
app = modal.App("a")
@app.function(max_inputs=1)
def f(x):
    return x
print(f.local(1))
# %% max-inputs-many
import modal
app = modal.App("a")
@app.function(max_inputs=5)
def f(x):
    return x
print(f.local(1))
# %% single-use
import modal
app = modal.App("a")
@app.function(single_use_containers=True)
def f(x):
    return x
print(f.local(1))
# %% cloud-arguments
import modal
app = modal.App("a")
@app.function(cpu=2.0, memory=1024, gpu="A10G", region="us-east", timeout=600, retries=2)
def f(x):
    return x
print(f.local(1))
# %% remote-outside-a-run
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(f.remote(1))
# %% map-outside-a-run
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(list(f.map([1, 2])))
# %% spawn-outside-a-run
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.spawn(1)
print("spawned")
# %% remote-of-a-generator
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(n):
    yield n
f.remote(1)
# %% remote-gen-of-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(n):
    return n
list(f.remote_gen(1))
# %% is-generator
import modal
app = modal.App("a")
@app.function()
def f(n):
    return n
@app.function()
def g(n):
    yield n
print(f.is_generator, g.is_generator)
# %% is-generator-said
import modal
app = modal.App("a")
@app.function(is_generator=True)
def f(n):
    return iter(range(n))
print(f.is_generator, list(f.local(2)))
# %% attributes
import modal
app = modal.App("a")
@app.function()
def f(n):
    """Says n."""
    return n
print(f.app is app, f.get_raw_f()(3), f.info.function_name if hasattr(f, "info") else None)
# %% doc
# differs: fault: a function has no name, and the docstring of Function
import modal
app = modal.App("a")
@app.function()
def f(n):
    """Says n."""
    return n
print(f.__doc__ == "Says n.", f.__name__ if hasattr(f, "__name__") else "no name")
# %% object-id-outside-a-run
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(n):
    return n
print(f.object_id)
# %% same-decorator-object-twice
# differs: lenient
import modal
app = modal.App("a")
register = app.function(timeout=20)
@register
def f(x):
    return x
@register
def g(x):
    return -x
print(f.local(1), g.local(1), list(app.registered_functions))
# %% user-decorator-below
import functools
import modal
app = modal.App("a")
def loud(fn):
    @functools.wraps(fn)
    def inner(*args):
        print("calling", args)
        return fn(*args)
    return inner
@app.function()
@loud
def f(x):
    return x
print(f.local(1))
# %% user-decorator-above
import functools
import modal
app = modal.App("a")
def loud(fn):
    print(type(fn).__name__)
    return fn
@loud
@app.function()
def f(x):
    return x
print(f.local(1))
# %% after-the-fact
import modal
app = modal.App("a")
def f(x):
    return x
g = app.function()(f)
print(f(1), g.local(1))
# %% two-apps-one-function
import modal
one, two = modal.App("one"), modal.App("two")
def f(x):
    return x
g, h = one.function()(f), two.function()(f)
print(g.local(1), h.local(2), g.app.name, h.app.name)
# %% partial-functools
# differs: fault: a bare AttributeError of a private name
import functools
import modal
app = modal.App("a")
def f(x, y):
    return x + y
app.function(serialized=True, name="p")(functools.partial(f, 1))
