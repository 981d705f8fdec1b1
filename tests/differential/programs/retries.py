"""Retries: what the policy takes, and where it is refused."""
# %% policy
import modal
r = modal.Retries(max_retries=3, backoff_coefficient=1.5, initial_delay=2.0, max_delay=30.0)
print(r.max_retries, r.backoff_coefficient, r.initial_delay, r.max_delay)
# %% defaults
import modal
r = modal.Retries(max_retries=3)
print(r.max_retries, r.backoff_coefficient, r.initial_delay, r.max_delay)
# %% positional
import modal
modal.Retries(3)
# %% no-max
import modal
modal.Retries()
# %% negative
import modal
modal.Retries(max_retries=-1)
# %% str
import modal
modal.Retries(max_retries="3")
# %% none
import modal
modal.Retries(max_retries=None)
# %% float
# differs: lenient
import modal
print(modal.Retries(max_retries=2.5).max_retries)
# %% initial-half
import modal
print(modal.Retries(max_retries=1, initial_delay=0.5).initial_delay)
# %% initial-zero
import modal
print(modal.Retries(max_retries=1, initial_delay=0).initial_delay)
# %% initial-too-large
import modal
modal.Retries(max_retries=1, initial_delay=61)
# %% initial-negative
import modal
modal.Retries(max_retries=1, initial_delay=-0.1)
# %% max-delay-half
import modal
modal.Retries(max_retries=1, max_delay=0.5)
# %% max-delay-too-large
import modal
modal.Retries(max_retries=1, max_delay=120)
# %% coefficient-small
import modal
modal.Retries(max_retries=1, backoff_coefficient=0.9)
# %% coefficient-large
import modal
modal.Retries(max_retries=1, backoff_coefficient=10.1)
# %% initial-above-max
import modal
r = modal.Retries(max_retries=1, initial_delay=10, max_delay=5)
print(r.initial_delay, r.max_delay)
# %% on-a-function
import modal
app = modal.App("a")
@app.function(retries=modal.Retries(max_retries=2))
def f(x):
    return x
print(f.local(1))
# %% int-on-a-function
import modal
app = modal.App("a")
@app.function(retries=3)
def f(x):
    return x
print(f.local(1))
# %% zero-on-a-function
import modal
app = modal.App("a")
@app.function(retries=0)
def f(x):
    return x
print(f.local(1))
# %% negative-on-a-function
import modal
app = modal.App("a")
@app.function(retries=-1)
def f(x):
    return x
# %% str-on-a-function
import modal
app = modal.App("a")
@app.function(retries="3")
def f(x):
    return x
# %% true-on-a-function
import modal
app = modal.App("a")
@app.function(retries=True)
def f(x):
    return x
# %% on-a-generator
import modal
app = modal.App("a")
@app.function(retries=3)
def f(x):
    yield x
# %% zero-on-a-generator
import modal
app = modal.App("a")
@app.function(retries=0)
def f(x):
    yield x
print(list(f.local(1)))
# %% on-a-class
import modal
app = modal.App("a")
@app.cls(retries=3)
class C:
    @modal.method()
    def f(self, x):
        return x
print(C().f.local(1))
# %% on-a-class-with-a-generator
import modal
app = modal.App("a")
@app.cls(retries=3)
class C:
    @modal.method()
    def f(self, x):
        yield x
print(list(C().f.local(1)))
# %% on-a-web-function
import modal
app = modal.App("a")
@app.function(retries=3)
@modal.asgi_app()
def f():
    return None
# %% on-a-class-with-a-web-method
import modal
app = modal.App("a")
@app.cls(retries=3)
class C:
    @modal.asgi_app()
    def serve(self):
        return None
# %% on-a-batched-function
import modal
app = modal.App("a")
@app.function(retries=3)
@modal.batched(max_batch_size=2, wait_ms=10)
def f(xs):
    return xs
print(f.local([1]))
# %% local-does-not-retry
import modal
app = modal.App("a")
tries = []
@app.function(retries=3)
def f(x):
    tries.append(x)
    raise ValueError("no")
try:
    f.local(1)
except ValueError as error:
    print(len(tries), error)
# %% of-the-module
from modal.retries import Retries
import modal
print(Retries is modal.Retries)
