"""with_options, with_concurrency, with_batching, and other changes after the decorator."""
# %% function-with-options
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
g = f.with_options(timeout=10, max_containers=2)
print(type(g).__name__, g is f)
print(g.local(1))
# %% function-with-options-made
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
g = f.with_options(timeout=10, max_containers=2)
print(type(g).__name__, g is f)
# %% function-with-options-unknown
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_options(min_containers=2)
# %% function-with-options-positional
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_options(4)
# %% function-with-options-retries
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
g = f.with_options(retries=3)
h = f.with_options(retries=modal.Retries(max_retries=2))
print(type(g).__name__, type(h).__name__)
# %% function-with-options-retries-str
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_options(retries="3")
# %% function-with-options-scaledown
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_options(scaledown_window=1)
print("accepted")
# %% function-with-options-twice
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(type(f.with_options(timeout=10).with_options(max_containers=3)).__name__)
# %% function-with-concurrency
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
g = f.with_concurrency(max_inputs=10, target_inputs=5)
print(type(g).__name__, g is f)
# %% function-with-concurrency-no-max
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_concurrency(target_inputs=5)
# %% function-with-concurrency-target-above
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_concurrency(max_inputs=5, target_inputs=9)
# %% function-with-batching
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(type(f.with_batching(max_batch_size=5, wait_ms=9)).__name__)
# %% function-with-batching-no-wait
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_batching(max_batch_size=5)
# %% function-with-batching-too-large
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.with_batching(max_batch_size=5000, wait_ms=3)
# %% class-with-options
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
D = C.with_options(timeout=10, max_containers=2)
print(type(D).__name__, D is C)
# %% class-with-options-local
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
print(C.with_options(max_containers=2)().f.local(3))
# %% class-with-options-unknown
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C.with_options(concurrent=3)
# %% class-with-options-old-names
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C.with_options(concurrency_limit=3)
# %% class-with-options-allow-concurrent
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C.with_options(allow_concurrent_inputs=3)
# %% class-with-concurrency
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
D = C.with_concurrency(max_inputs=10)
print(type(D).__name__, D is C, D().f.local(2))
# %% class-with-concurrency-target-above
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C.with_concurrency(max_inputs=1, target_inputs=10)
# %% class-with-batching
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
print(type(C.with_batching(max_batch_size=10, wait_ms=3)).__name__)
# %% class-with-all
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(default=2)
    @modal.method()
    def f(self, x):
        return x * self.k
D = C.with_options(timeout=5).with_concurrency(max_inputs=4)
print(D(k=5).f.local(2), D().f.local(2))
# %% with-options-on-an-instance
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C().with_options(timeout=4)
# %% method-with-options
# differs: fault: a bare AttributeError of a private name
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C().f.with_options(timeout=4)
# %% method-with-concurrency
# differs: fault: a bare AttributeError of a private name
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C().f.with_concurrency(max_inputs=4)
# %% update-autoscaler
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.update_autoscaler(min_containers=2)
# %% update-autoscaler-unknown
# differs: fault: an argument that there is not is found only while the app runs
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.update_autoscaler(timeout=2)
# %% keep-warm-method
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.keep_warm(2)
# %% current-stats
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.get_current_stats()
# %% get-web-url-of-a-plain-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(f.get_web_url())
# %% web-url-property
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(f.web_url)
# %% hydrate
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
f.hydrate()
# %% function-call-directly
import modal
modal.Function()
# %% cls-directly
import modal
modal.Cls()
# %% function-from-name
import modal
f = modal.Function.from_name("app", "f")
print(type(f).__name__, repr(f))
# %% function-from-name-local
import modal
f = modal.Function.from_name("app", "f")
f.local(1)
# %% function-from-name-remote
# differs: network
import modal
f = modal.Function.from_name("app", "f")
f.remote(1)
# %% function-from-name-one-argument
import modal
modal.Function.from_name("app")
# %% function-from-name-of-a-method
import modal
modal.Function.from_name("app", "C.f")
print("made")
# %% function-lookup
# differs: lenient
import modal
modal.Function.lookup("app", "f")
# %% cls-from-name
import modal
C = modal.Cls.from_name("app", "C")
print(type(C).__name__, repr(C))
print(type(C()).__name__)
# %% cls-from-name-parameters
import modal
C = modal.Cls.from_name("app", "C")
print(type(C(k=3)).__name__)
# %% cls-from-name-options
import modal
C = modal.Cls.from_name("app", "C").with_options(max_containers=3)
print(type(C).__name__)
# %% cls-lookup
# differs: lenient
import modal
modal.Cls.lookup("app", "C")
# %% function-call-from-id
# differs: lenient
import modal
call = modal.FunctionCall.from_id("fc-123")
print(type(call).__name__, call.object_id)
# %% function-call-get
# differs: network
import modal
call = modal.FunctionCall.from_id("fc-123")
call.get(timeout=0)
# %% function-call-gather-nothing
import modal
print(modal.FunctionCall.gather())
# %% functions-gather
# differs: lenient
import modal.functions
print(hasattr(modal.functions, "gather"))
# %% function-call-directly-made
import modal
modal.FunctionCall()
# %% dict-keys
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
@app.function()
def g(x):
    return x
print({f: 1, g: 2}[f], f == f, f == g)
# %% local-of-aio
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(hasattr(f.remote, "aio"), hasattr(f.map, "aio"), hasattr(f.spawn, "aio"))
# %% local-has-no-aio
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
print(hasattr(f.local, "aio"))
# %% get-concurrency-outside
import modal.experimental
modal.experimental.get_local_input_concurrency()
# %% set-concurrency-outside
import modal.experimental
modal.experimental.set_local_input_concurrency(3)
# %% stop-fetching-outside
import modal.experimental
modal.experimental.stop_fetching_inputs()
