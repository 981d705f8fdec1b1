"""Every ordered pair of decorators on methods, functions and classes."""
# %% method-concurrent-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-concurrent-over-static
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.concurrent(max_inputs=2)
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-batched-over-static
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.batched(max_batch_size=2, wait_ms=10)
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-method-over-static
# differs: fault: a static method with a mark is found by accident, on use
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-enter
# differs: fault: calling a hook is a bare KeyError
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-exit
# differs: fault: calling a hook is a bare KeyError
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-enter-over-static
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-enter
# differs: fault: calling a hook is a bare KeyError
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-exit
# differs: fault: calling a hook is a bare KeyError
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-exit-over-static
# differs: fault: a static method with a mark is found by accident, on use
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-fastapi-over-static
# differs: fault: a static method with a mark is found by accident, on use
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.fastapi_endpoint()
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-asgi-over-static
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.asgi_app()
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-web-server-over-static
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.web_server(8000)
    @staticmethod
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-concurrent
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.concurrent(max_inputs=2)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-batched
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.batched(max_batch_size=2, wait_ms=10)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.method()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.enter()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-exit
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.exit()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-fastapi
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.fastapi_endpoint()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-asgi
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.asgi_app()
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% method-static-over-web-server
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    @modal.web_server(8000)
    def f(self, x=1):
        return x
    @modal.method()
    def g(self):
        return 2
c = C()
print(c.g.local(), type(c.f).__name__)
print(c.f.local())
# %% function-over-function
import modal
app = modal.App("a")
@app.function()
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-function
import modal
app = modal.App("a")
@app.local_entrypoint()
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-cls
import modal
app = modal.App("a")
@app.function()
@app.cls()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% cls-over-function
import modal
app = modal.App("a")
@app.cls()
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-cls
import modal
app = modal.App("a")
@app.local_entrypoint()
@app.cls()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% cls-over-entrypoint
import modal
app = modal.App("a")
@app.cls()
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-entrypoint
import modal
app = modal.App("a")
@app.function()
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-entrypoint
import modal
app = modal.App("a")
@app.local_entrypoint()
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-concurrent
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=2)
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% concurrent-over-function
import modal
app = modal.App("a")
@modal.concurrent(max_inputs=2)
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-concurrent
import modal
app = modal.App("a")
@app.local_entrypoint()
@modal.concurrent(max_inputs=2)
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% concurrent-over-entrypoint
# differs: lenient
import modal
app = modal.App("a")
@modal.concurrent(max_inputs=2)
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-batched
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=2, wait_ms=10)
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% batched-over-function
import modal
app = modal.App("a")
@modal.batched(max_batch_size=2, wait_ms=10)
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-batched
import modal
app = modal.App("a")
@app.local_entrypoint()
@modal.batched(max_batch_size=2, wait_ms=10)
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% batched-over-entrypoint
# differs: lenient
import modal
app = modal.App("a")
@modal.batched(max_batch_size=2, wait_ms=10)
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-method
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.method()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% method-over-function
import modal
app = modal.App("a")
@modal.method()
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-method
import modal
app = modal.App("a")
@app.local_entrypoint()
@modal.method()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% method-over-entrypoint
# differs: lenient
import modal
app = modal.App("a")
@modal.method()
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-fastapi
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% fastapi-over-function
import modal
app = modal.App("a")
@modal.fastapi_endpoint()
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-fastapi
import modal
app = modal.App("a")
@app.local_entrypoint()
@modal.fastapi_endpoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% fastapi-over-entrypoint
# differs: lenient
import modal
app = modal.App("a")
@modal.fastapi_endpoint()
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% function-over-asgi
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% asgi-over-function
import modal
app = modal.App("a")
@modal.asgi_app()
@app.function()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% entrypoint-over-asgi
import modal
app = modal.App("a")
@app.local_entrypoint()
@modal.asgi_app()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% asgi-over-entrypoint
import modal
app = modal.App("a")
@modal.asgi_app()
@app.local_entrypoint()
def f(x=1):
    return x
print(type(f).__name__)
if hasattr(f, 'local'):
    print(f.local())
# %% class-cls-over-function
import modal
app = modal.App("a")
@app.cls()
@app.function()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-cls
# differs: fault: what is no function is found by accident, on use
import modal
app = modal.App("a")
@app.function()
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-function
import modal
app = modal.App("a")
@app.function()
@app.function()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-cls
import modal
app = modal.App("a")
@app.cls()
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-entrypoint
import modal
app = modal.App("a")
@app.cls()
@app.local_entrypoint()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-entrypoint-over-cls
# differs: lenient
import modal
app = modal.App("a")
@app.local_entrypoint()
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-entrypoint
import modal
app = modal.App("a")
@app.function()
@app.local_entrypoint()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-concurrent
import modal
app = modal.App("a")
@app.cls()
@modal.concurrent(max_inputs=2)
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-concurrent-over-cls
import modal
app = modal.App("a")
@modal.concurrent(max_inputs=2)
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-concurrent
# differs: fault: a bare AttributeError of a private name
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=2)
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-batched
import modal
app = modal.App("a")
@app.cls()
@modal.batched(max_batch_size=2, wait_ms=10)
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-batched-over-cls
import modal
app = modal.App("a")
@modal.batched(max_batch_size=2, wait_ms=10)
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-batched
import modal
app = modal.App("a")
@app.function()
@modal.batched(max_batch_size=2, wait_ms=10)
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-method
import modal
app = modal.App("a")
@app.cls()
@modal.method()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-method-over-cls
import modal
app = modal.App("a")
@modal.method()
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-method
import modal
app = modal.App("a")
@app.function()
@modal.method()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-fastapi
import modal
app = modal.App("a")
@app.cls()
@modal.fastapi_endpoint()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-fastapi-over-cls
import modal
app = modal.App("a")
@modal.fastapi_endpoint()
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-fastapi
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-cls-over-asgi
import modal
app = modal.App("a")
@app.cls()
@modal.asgi_app()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-asgi-over-cls
import modal
app = modal.App("a")
@modal.asgi_app()
@app.cls()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-function-over-asgi
import modal
app = modal.App("a")
@app.function()
@modal.asgi_app()
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% class-fastapi-over-concurrent
import modal
app = modal.App("a")
@modal.fastapi_endpoint()
@modal.concurrent(max_inputs=2)
class C:
    @modal.method()
    def f(self, x=1):
        return x
print(type(C).__name__)
print(C().f.local())
# %% async-function-over-concurrent
import asyncio
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=2)
async def f(x=1):
    return x
print(type(f).__name__)
print(asyncio.run(f.local()))
# %% generator-function-over-concurrent
import modal
app = modal.App("a")
@app.function()
@modal.concurrent(max_inputs=2)
def f(x=1):
    yield x
print(type(f).__name__)
print(list(f.local()))
# %% async-function-over-method
# differs: lenient
import asyncio
import modal
app = modal.App("a")
@app.function()
@modal.method()
async def f(x=1):
    return x
print(type(f).__name__)
print(asyncio.run(f.local()))
# %% generator-function-over-method
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.method()
def f(x=1):
    yield x
print(type(f).__name__)
print(list(f.local()))
# %% async-function-over-enter
# differs: lenient
import asyncio
import modal
app = modal.App("a")
@app.function()
@modal.enter()
async def f(x=1):
    return x
print(type(f).__name__)
print(asyncio.run(f.local()))
# %% generator-function-over-enter
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.enter()
def f(x=1):
    yield x
print(type(f).__name__)
print(list(f.local()))
# %% async-function-over-fastapi
import asyncio
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
async def f(x=1):
    return x
print(type(f).__name__)
print(asyncio.run(f.local()))
# %% generator-function-over-fastapi
import modal
app = modal.App("a")
@app.function()
@modal.fastapi_endpoint()
def f(x=1):
    yield x
print(type(f).__name__)
print(list(f.local()))
# %% function-of-none
import modal
app = modal.App("a")
f = app.function()(None)
print(type(f).__name__)
# %% function-of-an-int
import modal
app = modal.App("a")
f = app.function()(3)
print(type(f).__name__)
# %% entrypoint-of-none
import modal
app = modal.App("a")
f = app.local_entrypoint()(None)
print(type(f).__name__)
# %% entrypoint-of-an-int
import modal
app = modal.App("a")
f = app.local_entrypoint()(3)
print(type(f).__name__)
# %% concurrent-of-none
# differs: lenient
import modal
app = modal.App("a")
f = modal.concurrent(max_inputs=2)(None)
print(type(f).__name__)
# %% concurrent-of-an-int
import modal
app = modal.App("a")
f = modal.concurrent(max_inputs=2)(3)
print(type(f).__name__)
# %% method-of-none
# differs: lenient
import modal
app = modal.App("a")
f = modal.method()(None)
print(type(f).__name__)
# %% method-of-an-int
import modal
app = modal.App("a")
f = modal.method()(3)
print(type(f).__name__)
# %% fastapi-of-none
# differs: lenient
import modal
app = modal.App("a")
f = modal.fastapi_endpoint()(None)
print(type(f).__name__)
# %% fastapi-of-an-int
import modal
app = modal.App("a")
f = modal.fastapi_endpoint()(3)
print(type(f).__name__)
