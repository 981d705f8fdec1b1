"""batched and the web decorators: arguments, stacking, what .local() does."""
# %% batched-local
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=100)
def f(xs: list[int]) -> list[int]:
    return [x + 1 for x in xs]
print(f.local([1, 2, 3]))
# %% batched-local-more-than-the-size
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=2, wait_ms=100)
def f(xs):
    return xs
print(f.local([1, 2, 3]))
# %% batched-no-parentheses
import modal
@modal.batched
def f(xs):
    return xs
# %% batched-positional
import modal
@modal.batched(4, 100)
def f(xs):
    return xs
# %% batched-no-wait
import modal
@modal.batched(max_batch_size=4)
def f(xs):
    return xs
# %% batched-no-size
import modal
@modal.batched(wait_ms=4)
def f(xs):
    return xs
# %% batched-size-zero
import modal
@modal.batched(max_batch_size=0, wait_ms=4)
def f(xs):
    return xs
# %% batched-size-negative
import modal
@modal.batched(max_batch_size=-1, wait_ms=4)
def f(xs):
    return xs
# %% batched-size-1000
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=1000, wait_ms=4)
def f(xs):
    return xs
print(f.local([1]))
# %% batched-size-too-large
import modal
@modal.batched(max_batch_size=1001, wait_ms=4)
def f(xs):
    return xs
# %% batched-wait-negative
import modal
@modal.batched(max_batch_size=4, wait_ms=-1)
def f(xs):
    return xs
# %% batched-wait-zero
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=0)
def f(xs):
    return xs
print(f.local([1]))
# %% batched-wait-ten-minutes
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=600_000)
def f(xs):
    return xs
print(f.local([1]))
# %% batched-wait-too-long
import modal
@modal.batched(max_batch_size=4, wait_ms=600_001)
def f(xs):
    return xs
# %% batched-size-str
import modal
@modal.batched(max_batch_size="4", wait_ms=1)
def f(xs):
    return xs
# %% batched-twice
import modal
@modal.batched(max_batch_size=4, wait_ms=1)
@modal.batched(max_batch_size=4, wait_ms=1)
def f(xs):
    return xs
# %% batched-on-a-generator
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1)
def f(xs):
    yield xs
# %% batched-on-a-class
import modal
app = modal.App("a")
@app.cls()
@modal.batched(max_batch_size=4, wait_ms=1)
class C:
    @modal.method()
    def f(self, x):
        return x
# %% batched-on-a-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=4, wait_ms=1)
    def f(self, xs):
        return xs
print(C().f.local([1]))
# %% batched-and-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.batched(max_batch_size=4, wait_ms=1)
    def f(self, xs):
        return xs
print(C().f.local([1]))
# %% method-below-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=4, wait_ms=1)
    @modal.method()
    def f(self, xs):
        return xs
print(C().f.local([1]))
# %% two-batched-methods
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=4, wait_ms=1)
    def f(self, xs):
        return xs
    @modal.batched(max_batch_size=4, wait_ms=1)
    def g(self, xs):
        return xs
# %% batched-and-another-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=4, wait_ms=1)
    def f(self, xs):
        return xs
    @modal.method()
    def g(self, x):
        return x
# %% batched-and-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.k = 2
    @modal.batched(max_batch_size=4, wait_ms=1)
    async def f(self, xs):
        return [x * self.k for x in xs]
import asyncio
print(type(C().f).__name__)
# %% batched-on-top-of-app-function
import modal
app = modal.App("a")
@modal.batched(max_batch_size=4, wait_ms=1)
@app.function()
def f(xs):
    return xs
# %% batched-on-top-of-app-cls
import modal
app = modal.App("a")
@modal.batched(max_batch_size=4, wait_ms=1)
@app.cls()
class C:
    @modal.method()
    def f(self, xs):
        return xs
# %% batched-async
import asyncio
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1)
async def f(xs):
    return [x + 1 for x in xs]
print(asyncio.run(f.local([1])))
# %% batched-several-arguments
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1)
def f(xs, ys):
    return [x + y for x, y in zip(xs, ys)]
print(f.local([1, 2], [3, 4]))
# %% batched-default-argument
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=4, wait_ms=1)
def f(xs, k=3):
    return [x + k for x in xs]
print(f.local([1, 2]))
# %% batched-with-batch-size-old
import modal
@modal.batched(max_batch_size=4, max_wait_ms=1)
def f(xs):
    return xs
# %% fastapi-endpoint-local
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
def f(x: int):
    return {"x": x}
print(f.local(3))
# %% fastapi-endpoint-no-parentheses
import modal
@modal.fastapi_endpoint
def f(x: int):
    return {"x": x}
# %% fastapi-endpoint-positional
import modal
@modal.fastapi_endpoint("POST")
def f(x: int):
    return {"x": x}
# %% fastapi-endpoint-arguments
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint(method="POST", label="l", docs=True, requires_proxy_auth=True)
def f(x: int):
    return {"x": x}
print(f.local(3))
# %% fastapi-endpoint-twice
import modal
@modal.fastapi_endpoint()
@modal.fastapi_endpoint()
def f(x: int):
    return {"x": x}
# %% web-endpoint
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.web_endpoint(method="POST")
def f(x: int):
    return {"x": x}
print(f.local(3))
# %% asgi-app
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f():
    return "app"
print(f.local())
# %% asgi-app-with-arguments
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f(x):
    return "app"
# %% asgi-app-with-defaults
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f(x=1):
    return "app"
# %% asgi-app-async
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
async def f():
    return "app"
# %% asgi-app-no-parentheses
import modal
@modal.asgi_app
def f():
    return "app"
# %% wsgi-app
import modal
app = modal.App("a")
@app.function()
@modal.wsgi_app()
def f():
    return "app"
print(f.local())
# %% wsgi-app-with-arguments
import modal
app = modal.App("a")
@app.function()
@modal.wsgi_app()
def f(x):
    return "app"
# %% wsgi-app-async
import modal
app = modal.App("a")
@app.function()
@modal.wsgi_app()
async def f():
    return "app"
# %% web-server
import modal
app = modal.App("a")
@app.function()
@modal.web_server(8000)
def f():
    print("started")
f.local()
# %% web-server-no-parentheses
import modal
@modal.web_server
def f():
    pass
# %% web-server-bad-port
import modal
@modal.web_server(0)
def f():
    pass
# %% web-server-port-too-large
import modal
@modal.web_server(70000)
def f():
    pass
# %% web-server-startup-timeout
import modal
@modal.web_server(8000, startup_timeout=0)
def f():
    pass
# %% two-web-decorators
import modal
@modal.asgi_app()
@modal.wsgi_app()
def f():
    return "app"
# %% web-and-batched
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
@modal.batched(max_batch_size=2, wait_ms=1)
def f():
    return "app"
# %% web-and-concurrent
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=4)
@modal.asgi_app()
def f():
    return "app"
print(f.local())
# %% concurrent-below-web
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
@modal.concurrent(max_inputs=4)
def f():
    return "app"
print(f.local())
# %% web-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    def f(self):
        return "app"
print(type(C().f).__name__)
# %% web-and-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.asgi_app()
    def f(self):
        return "app"
# %% web-on-a-class
import modal
app = modal.App("a")
@app.cls()
@modal.asgi_app()
class C:
    @modal.method()
    def f(self):
        return "app"
# %% web-on-top-of-app-function
import modal
app = modal.App("a")
@modal.asgi_app()
@app.function()
def f():
    return "app"
# %% web-with-a-generator
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
def f():
    yield 1
print(list(f.local()))
# %% web-enter-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.k = 4
    @modal.fastapi_endpoint()
    def f(self):
        return self.k
print(C().f.local())
# %% registered-web
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f():
    return "app"
@app.function()
def g():
    return "app"
print(app.registered_web_endpoints)
