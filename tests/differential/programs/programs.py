"""Programs as people write them, small but whole; all local."""
# %% hello
import modal
app = modal.App("hello")
@app.function()
def hello(name: str = "world") -> str:
    return f"hello {name}"
@app.local_entrypoint()
def main(name: str = "modal"):
    print(hello.local(name))
main()
main("you")
# %% model-server
import modal
image = modal.Image.debian_slim().pip_install("torch")
app = modal.App("serve", image=image)
@app.cls(gpu="A100", scaledown_window=300, min_containers=1)
@modal.concurrent(max_inputs=32, target_inputs=16)
class Model:
    name: str = modal.parameter(default="small")
    @modal.enter()
    def load(self):
        print("loading", self.name)
        self.weights = {"small": 1, "large": 10}[self.name]
    @modal.method()
    def predict(self, x: float) -> float:
        return x * self.weights
    @modal.exit()
    def unload(self):
        print("unloading")
print(Model().predict.local(2.0), Model(name="large").predict.local(2.0))
# %% async-fan-out
import asyncio
import modal
app = modal.App("fan")
@app.function()
@modal.concurrent(max_inputs=100)
async def fetch(i: int) -> int:
    await asyncio.sleep(0)
    return i * i
async def main():
    return await asyncio.gather(*(fetch.local(i) for i in range(5)))
print(asyncio.run(main()))
# %% pipeline
import modal
app = modal.App("pipe")
@app.function()
def split(text):
    yield from text.split()
@app.function()
def count(word):
    return len(word)
print([count.local(word) for word in split.local("one three four")])
# %% scheduled
import modal
app = modal.App("cron")
@app.function(schedule=modal.Period(days=1))
def daily():
    return "daily"
@app.function(schedule=modal.Cron("0 9 * * *"))
def morning():
    return "morning"
print(daily.local(), morning.local())
# %% schedule-with-arguments
import modal
app = modal.App("cron")
@app.function(schedule=modal.Period(days=1))
def daily(x):
    return "daily"
# %% schedule-with-defaults
import modal
app = modal.App("cron")
@app.function(schedule=modal.Period(hours=5))
def often(x=3):
    return x
print(often.local())
# %% schedule-wrong
import modal
app = modal.App("cron")
@app.function(schedule="0 9 * * *")
def morning():
    return "morning"
# %% batch-inference
import modal
app = modal.App("batch")
@app.cls()
class Embed:
    @modal.enter()
    def load(self):
        self.table = {"a": 1, "b": 2}
    @modal.batched(max_batch_size=8, wait_ms=50)
    def embed(self, words: list[str]) -> list[int]:
        return [self.table.get(word, 0) for word in words]
print(Embed().embed.local(["a", "b", "c"]))
# %% two-files-in-one
import modal
common = modal.App("common")
@common.function()
def double(x):
    return 2 * x
app = modal.App("main").include(common)
@app.function()
def quadruple(x):
    return double.local(double.local(x))
print(quadruple.local(3))
# %% image-imports
import modal
image = modal.Image.debian_slim(python_version="3.11").apt_install("git").env({"A": "b"})
app = modal.App("img")
with image.imports():
    import json
@app.function(image=image)
def f(x):
    return json.dumps({"x": x})
print(f.local(1))
# %% image-imports-missing
# differs: lenient
import modal
image = modal.Image.debian_slim()
with image.imports():
    import no_such_module_here
print("after")
# %% secrets
import modal
app = modal.App("sec")
@app.function(secrets=[modal.Secret.from_name("s"), modal.Secret.from_dict({"A": "b"})])
def f(x):
    return x
print(f.local(1))
# %% volume
import modal
app = modal.App("vol")
volume = modal.Volume.from_name("v", create_if_missing=True)
@app.function(volumes={"/data": volume})
def f(x):
    return x
print(f.local(1))
# %% gpu-spellings
import modal
app = modal.App("gpu")
@app.function(gpu="H100:2")
def f(x):
    return x
@app.function(gpu=["H100", "A100-80GB", "any"])
def g(x):
    return x
print(f.local(1), g.local(2))
# %% gpu-bad-count
import modal
app = modal.App("gpu")
@app.function(gpu="H100:many")
def f(x):
    return x
# %% gpu-int
import modal
app = modal.App("gpu")
@app.function(gpu=1)
def f(x):
    return x
# %% cpu-and-memory-limits
import modal
app = modal.App("res")
@app.function(cpu=(1.0, 2.0), memory=(512, 1024))
def f(x):
    return x
print(f.local(1))
# %% cpu-small
import modal
app = modal.App("res")
@app.function(cpu=0.05)
def f(x):
    return x
print(f.local(1))
# %% cpu-str
# differs: lenient
import modal
app = modal.App("res")
@app.function(cpu="2")
def f(x):
    return x
# %% memory-float
import modal
app = modal.App("res")
@app.function(memory=10.5)
def f(x):
    return x
# %% memory-limit-below
# differs: lenient
import modal
app = modal.App("res")
@app.function(memory=(1024, 512))
def f(x):
    return x
# %% region-list
import modal
app = modal.App("res")
@app.function(region=["us", "eu"], cloud="aws")
def f(x):
    return x
print(f.local(1))
# %% region-int
import modal
app = modal.App("res")
@app.function(region=3)
def f(x):
    return x
# %% cloud-unknown
import modal
app = modal.App("res")
@app.function(cloud="mycloud")
def f(x):
    return x
print(f.local(1))
# %% ephemeral-disk
import modal
app = modal.App("res")
@app.function(ephemeral_disk=1_000_000)
def f(x):
    return x
print(f.local(1))
# %% env-argument
import modal
app = modal.App("res")
@app.function(env={"A": "b"})
def f(x):
    return x
print(f.local(1))
# %% env-not-str
import modal
app = modal.App("res")
@app.function(env={"A": 3})
def f(x):
    return x
# %% startup-timeout
import modal
app = modal.App("res")
@app.function(startup_timeout=30)
def f(x):
    return x
print(f.local(1))
# %% startup-timeout-zero
# differs: lenient
import modal
app = modal.App("res")
@app.function(startup_timeout=0)
def f(x):
    return x
print(f.local(1))
# %% snapshot-function
import modal
app = modal.App("res")
@app.function(enable_memory_snapshot=True)
def f(x):
    return x
print(f.local(1))
# %% experimental-options
import modal
app = modal.App("res")
@app.function(experimental_options={"x": True})
def f(x):
    return x
print(f.local(1))
# %% mounts-argument
# differs: lenient
import modal
app = modal.App("res")
@app.function(mounts=[])
def f(x):
    return x
# %% secret-argument-old
# differs: lenient
import modal
app = modal.App("res")
@app.function(secret=modal.Secret.from_name("s"))
def f(x):
    return x
# %% interactive-argument-old
# differs: lenient
import modal
app = modal.App("res")
@app.function(interactive=True)
def f(x):
    return x
# %% build-decorator
# differs: lenient
import modal
class C:
    @modal.build()
    def f(self):
        pass
# %% enter-old-name
import modal
app = modal.App("a")
@app.cls()
class C:
    def __enter__(self):
        print("enter")
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% aenter-old-name
# differs: fault: async enter hooks are skipped under .local()
import modal
app = modal.App("a")
@app.cls()
class C:
    async def __aenter__(self):
        print("enter")
    def __aexit__(self, *args):
        print("exit")
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% counters-in-globals
import modal
app = modal.App("a")
seen = []
@app.function()
def f(x):
    seen.append(x)
    return len(seen)
print([f.local(x) for x in "abc"], seen)
# %% by-reference-locally
import modal
app = modal.App("a")
@app.function()
def f(xs):
    xs.append(1)
    return xs
mine = []
print(f.local(mine) is mine, mine)
# %% recursion-between-functions
import modal
app = modal.App("a")
@app.function()
def even(n):
    return True if n == 0 else odd.local(n - 1)
@app.function()
def odd(n):
    return False if n == 0 else even.local(n - 1)
print(even.local(6), odd.local(6))
# %% type-hints
from collections.abc import Iterator
import modal
app = modal.App("a")
@app.function()
def f(n: int) -> Iterator[int]:
    yield from range(n)
print(sum(f.local(4)))
# %% generator-sends
import modal
app = modal.App("a")
@app.function()
def f():
    got = yield 1
    yield got
g = f.local()
print(next(g), g.send(5))
# %% contextmanager-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def open(self):
        self.log = ["open"]
    @modal.method()
    def write(self, x):
        self.log.append(x)
        return list(self.log)
    @modal.exit()
    def close(self):
        print("never locally")
c = C()
print(c.write.local(1))
print(c.write.local(2))
# %% abstract-base
import abc
import modal
app = modal.App("a")
class Base(abc.ABC):
    @abc.abstractmethod
    def run(self, x): ...
    @modal.method()
    def call(self, x):
        return self.run(x)
@app.cls()
class C(Base):
    def run(self, x):
        return x + 1
print(C().call.local(1))
# %% generic-class
from typing import Generic, TypeVar
import modal
T = TypeVar("T")
app = modal.App("a")
@app.cls()
class C(Generic[T]):
    @modal.method()
    def f(self, x: T) -> T:
        return x
print(C().f.local(1))
# %% method-calls-app-function
import modal
app = modal.App("a")
@app.function()
def helper(x):
    return x + 1
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return helper.local(x) * 10
print(C().f.local(1))
# %% function-makes-an-instance
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(default=1)
    @modal.method()
    def f(self, x):
        return x + self.k
@app.function()
def use(x):
    return C(k=5).f.local(x)
print(use.local(1))
