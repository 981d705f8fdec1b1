"""The concurrent decorator: its arguments, when they are refused, and how it stacks."""
# %% both-limits
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=8, target_inputs=4)
def f(x):
    return x * 2
print(f.local(3))
# %% max-only
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=8)
def f(x):
    return x * 2
print(f.local(3), type(f).__name__)
# %% equal-limits
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=8, target_inputs=8)
def f(x):
    return x * 2
print(f.local(3))
# %% below-other-decorators-async
import asyncio
import modal
app = modal.App("a")
@app.function(timeout=60)
@modal.concurrent(max_inputs=100)
async def f(x):
    return x * 2
print(asyncio.run(f.local(3)))
# %% no-parentheses
import modal
app = modal.App("a")
@app.function()
@modal.concurrent
def f(x):
    return x
# %% positional
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(10)
def f(x):
    return x
# %% unknown-argument
import modal
@modal.concurrent(max_inputs=10, max_concurrency=3)
def f(x):
    return x
# %% target-above-max
import modal
print("before")
modal.concurrent(max_inputs=4, target_inputs=8)
print("not reached")
# %% no-max
import modal
app = modal.App("a")
partial = modal.concurrent()(lambda x: x)
print(type(partial).__name__)
app.function()(partial)
# %% target-only
import modal
app = modal.App("a")
decorate = modal.concurrent(target_inputs=4)
print("made")
@app.function()
@decorate
def f(x):
    return x
# %% target-only-on-a-class
import modal
app = modal.App("a")
@app.cls()
@modal.concurrent(target_inputs=4)
class C:
    @modal.method()
    def f(self, x):
        return x
# %% no-max-on-a-class
import modal
app = modal.App("a")
@app.cls()
@modal.concurrent()
class C:
    @modal.method()
    def f(self, x):
        return x
# %% target-negative
# differs: lenient
import modal
app = modal.App("a")
decorate = modal.concurrent(max_inputs=4, target_inputs=-1)
print("made")
@app.function()
@decorate
def f(x):
    return x
# %% target-zero
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4, target_inputs=0)
def f(x):
    return x
print(f.local(1))
# %% target-float
# differs: lenient
import modal
app = modal.App("a")
decorate = modal.concurrent(max_inputs=4, target_inputs=2.5)
print("made")
@app.function()
@decorate
def f(x):
    return x
# %% target-true
# differs: lenient
import modal
app = modal.App("a")
decorate = modal.concurrent(max_inputs=4, target_inputs=True)
print("made")
@app.function()
@decorate
def f(x):
    return x
# %% target-str
# differs: lenient
import modal
print("before")
modal.concurrent(max_inputs=4, target_inputs="2")
# %% target-none
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4, target_inputs=None)
def f(x):
    return x
print(f.local(1))
# %% max-one
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=1)
def f(x):
    return x
print(f.local(1))
# %% max-zero
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=0)
def f(x):
    return x
print(f.local(1))
# %% max-negative
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=-3)
def f(x):
    return x
print(f.local(1))
# %% max-float
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=2.5)
def f(x):
    return x
print(f.local(1))
# %% max-str
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs="4")
def f(x):
    return x
print(f.local(1))
# %% max-true
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=True)
def f(x):
    return x
print(f.local(1))
# %% twice-the-same
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4)
@modal.concurrent(max_inputs=8)
def f(x):
    return x
# %% twice-different-settings
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4)
@modal.concurrent(target_inputs=2)
def f(x):
    return x
print(f.local(1))
# %% twice-target-first
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(target_inputs=2)
@modal.concurrent(max_inputs=4)
def f(x):
    return x
print(f.local(1))
# %% twice-merges-to-nonsense
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4)
@modal.concurrent(target_inputs=9)
def f(x):
    return x
print(f.local(1))
# %% on-a-class
import modal
app = modal.App("a")
@app.cls()
@modal.concurrent(max_inputs=4, target_inputs=2)
class C:
    @modal.method()
    def f(self, x):
        return x + 1
print(C().f.local(1))
# %% on-a-class-and-a-method
import modal
app = modal.App("a")
@app.cls()
@modal.concurrent(max_inputs=4)
class C:
    @modal.method()
    @modal.concurrent(max_inputs=4)
    def f(self, x):
        return x
# %% on-a-method-below
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.concurrent(max_inputs=4)
    def f(self, x):
        return x
# %% on-a-method-above
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=4)
    @modal.method()
    def f(self, x):
        return x
# %% on-a-bare-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=4)
    def f(self, x):
        return x
# %% on-an-inherited-method
import modal
app = modal.App("a")
class Base:
    @modal.concurrent(max_inputs=4)
    @modal.method()
    def f(self, x):
        return x
print("base is made")
@app.cls()
class C(Base):
    pass
# %% on-a-web-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=4)
    @modal.asgi_app()
    def serve(self):
        return None
# %% on-a-batched-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=4)
    @modal.batched(max_batch_size=4, wait_ms=10)
    def f(self, x):
        return x
# %% on-an-enter-hook
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=4)
    @modal.enter()
    def load(self):
        pass
    @modal.method()
    def f(self, x):
        return x
# %% on-top-of-app-function
import modal
app = modal.App("a")
@modal.concurrent(max_inputs=4)
@app.function()
def f(x):
    return x
# %% on-top-of-app-cls
import modal
app = modal.App("a")
@modal.concurrent(max_inputs=4)
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
# %% with-batched-above
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=100)
@modal.concurrent(max_inputs=4)
def f(xs: list[int]) -> list[int]:
    return [x + 1 for x in xs]
print(f.local([1, 2]))
# %% with-batched-below
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4)
@modal.batched(max_batch_size=4, wait_ms=100)
def f(xs: list[int]) -> list[int]:
    return [x + 1 for x in xs]
print(f.local([1, 2]))
# %% not-callable
import modal
modal.concurrent(max_inputs=4)(3)
# %% on-a-staticmethod-object
# differs: lenient
import modal
modal.concurrent(max_inputs=4)(None)
# %% a-partial-is-not-callable
import modal
@modal.concurrent(max_inputs=4)
def f(x):
    return x
print(type(f).__name__)
f(1)
# %% one-decorator-two-functions
import modal
app = modal.App("a")
many = modal.concurrent(max_inputs=4)
@app.function()
@many
def f(x):
    return x
@app.function()
@many
def g(x):
    return -x
print(f.local(1), g.local(1))
# %% never-registered
import modal
@modal.concurrent(max_inputs=4)
def f(x):
    return x
print("no warning")
# %% class-never-registered
import modal
@modal.concurrent(max_inputs=4)
class C:
    def f(self):
        return 1
print(type(C).__name__)
# %% instance-of-a-class-never-registered
import modal
@modal.concurrent(max_inputs=4)
class C:
    def f(self):
        return 1
C().f()
# %% on-a-generator
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4)
def f(n):
    yield from range(n)
print(list(f.local(3)))
# %% with-the-old-name
# differs: lenient
import modal
app = modal.App("a")
@app.function(allow_concurrent_inputs=4)
@modal.concurrent(max_inputs=4)
def f(x):
    return x
# %% old-name-on-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function(allow_concurrent_inputs=4)
def f(x):
    return x
# %% old-name-on-a-class
# differs: lenient
import modal
app = modal.App("a")
@app.cls(allow_concurrent_inputs=4)
class C:
    @modal.method()
    def f(self, x):
        return x
# %% signature
import inspect
import modal
parameters = inspect.signature(modal.concurrent).parameters.values()
print([p.name for p in parameters if p.kind is p.KEYWORD_ONLY])
# %% local-ignores-it
import modal
app = modal.App("a")
@app.function(max_containers=1)
@modal.concurrent(max_inputs=1)
def f(n):
    return n if n == 0 else f.local(n - 1)
print(f.local(5))
