"""Whole programs as people write them, entrypoints, lookups, imports and error classes."""
# %% scraper
import asyncio
import re
import modal
app = modal.App("webscraper")
image = modal.Image.debian_slim().pip_install("httpx").run_commands("playwright install")
PAGES = {"a": '<a href="b">', "b": '<a href="c"><a href="a">', "c": ""}
@app.function(image=image, retries=3, timeout=60)
async def links(url: str) -> list[str]:
    await asyncio.sleep(0)
    return re.findall('href="(.*?)"', PAGES[url])
@app.function(schedule=modal.Period(days=1), secrets=[modal.Secret.from_name("scraper")])
def daily():
    return sorted({link for page in PAGES for link in asyncio.run(links.local(page))})
@app.local_entrypoint()
def main(url: str = "b"):
    print(url, asyncio.run(links.local(url)))
main()
main(url="a")
print(daily.local())
# %% whisper
# differs: lenient
import modal
MODEL = "large-v3"
CACHE = "/cache"
volume = modal.Volume.from_name("models", create_if_missing=True)
image = modal.Image.from_registry("nvidia/cuda:12.4.0-devel-ubuntu22.04", add_python="3.11").apt_install("ffmpeg").pip_install("openai-whisper").env({"HF_HOME": CACHE})
app = modal.App("whisper", image=image, volumes={CACHE: volume})
with image.imports():
    import whisper_that_is_not_installed
@app.cls(gpu="A10G", scaledown_window=240, max_containers=10)
@modal.concurrent(max_inputs=15, target_inputs=10)
class Whisper:
    model: str = modal.parameter(default=MODEL)
    @modal.enter()
    def load(self):
        self.loaded = f"loaded {self.model}"
    @modal.method()
    def transcribe(self, audio: bytes, language: str | None = None) -> dict:
        return {"text": f"{self.loaded}: {len(audio)}", "language": language}
    @modal.exit()
    def bye(self):
        print("never here")
print(Whisper().transcribe.local(b"abc"))
print(Whisper(model="tiny").transcribe.local(b"abcd", language="de"))
# %% stable-diffusion
import io
import modal
app = modal.App()
image = modal.Image.debian_slim(python_version="3.12").pip_install("diffusers==0.31", "torch", extra_index_url="https://example.org/whl")
@app.cls(image=image, gpu=["H100", "A100-80GB"], timeout=600, enable_memory_snapshot=True)
class Inference:
    @modal.enter(snap=True)
    def load(self):
        self.steps = ["cpu"]
    @modal.enter()
    def move(self):
        self.steps.append("gpu")
    @modal.method()
    def run(self, prompt: str, batch_size: int = 2) -> list[bytes]:
        out = []
        for n in range(batch_size):
            with io.BytesIO() as buffer:
                buffer.write(f"{prompt} {n} {self.steps}".encode())
                out.append(buffer.getvalue())
        return out
    @modal.fastapi_endpoint(docs=True)
    def web(self, prompt: str):
        return self.run.local(prompt, batch_size=1)[0]
print(Inference().run.local("cat"))
# %% vllm-server
import modal
app = modal.App("vllm")
MINUTES = 60
@app.function(gpu="H100:2", scaledown_window=15 * MINUTES, timeout=10 * MINUTES, secrets=[modal.Secret.from_dict({"TOKEN": "x"})])
@modal.concurrent(max_inputs=32)
@modal.web_server(port=8000, startup_timeout=10 * MINUTES)
def serve():
    print("would start a server")
serve.local()
# %% fastapi-app
import modal
app = modal.App("api")
calls = modal.Dict.from_name("calls", create_if_missing=True)
@app.function(min_containers=1)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(label="api", custom_domains=["api.example.org"])
def web():
    async def asgi(scope, receive, send):
        return scope["type"]
    return asgi
import asyncio
print(asyncio.run(web.local()({"type": "http"}, None, None)))
# %% fine-tuning
import modal
from pathlib import PurePosixPath
app = modal.App("train")
volume = modal.Volume.from_name("runs")
VOLUME = PurePosixPath("/runs")
@app.function(gpu="A100", volumes={VOLUME: volume}, timeout=24 * 3600, retries=modal.Retries(initial_delay=0.0, max_retries=10), single_use_containers=True)
def train(run: str, resume: bool = False):
    return f"{VOLUME / run}{' again' if resume else ''}"
@app.local_entrypoint()
def main(run: str, resume: bool = False):
    print(train.local(run, resume=resume))
main("a")
main("b", resume=True)
# %% rag
import modal
app = modal.App("rag")
@app.cls()
class Embedder:
    @modal.enter()
    def load(self):
        self.size = 3
    @modal.batched(max_batch_size=8, wait_ms=100)
    async def embed(self, texts: list[str]) -> list[list[int]]:
        return [[len(text)] * self.size for text in texts]
@app.cls()
class Index:
    name: str = modal.parameter()
    @modal.enter()
    def open(self):
        self.rows = {}
    @modal.method()
    def add(self, key: str, vector):
        self.rows[key] = vector
        return len(self.rows)
    @modal.method()
    def nearest(self, vector):
        return min(self.rows, key=lambda k: abs(self.rows[k][0] - vector[0]))
index = Index(name="docs")
for key in ("a", "bbb", "ccccc"):
    index.add.local(key, [len(key)])
print(index.nearest.local([4]), index.nearest.local([1]))
# %% is-local-branches
import modal
app = modal.App("a")
if modal.is_local():
    secret = modal.Secret.from_dict({"A": "1"})
else:
    secret = modal.Secret.from_dict({})
@app.function(secrets=[secret])
def f():
    return modal.is_local()
print(f.local(), modal.is_local())
# %% main-guard
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
if __name__ == "__main__":
    print("not here")
    with app.run():
        f.remote(1)
else:
    print(f.local(2))
# %% entrypoints-several
# differs: lenient
import modal
app = modal.App("a")
@app.local_entrypoint()
def one(*args):
    print("one", args)
@app.local_entrypoint(name="second")
def two(x: int = 3):
    print("two", x)
one("a", "b")
two()
print(sorted(app.registered_entrypoints))
# %% entrypoint-returns
import modal
app = modal.App("a")
@app.local_entrypoint()
def main():
    return 3
print(main())
# %% entrypoint-async-returns
import modal
app = modal.App("a")
@app.local_entrypoint()
async def main(x: int):
    return x + 1
print(main(2))
# %% entrypoint-async-on-a-running-loop
import asyncio
import modal
app = modal.App("a")
@app.local_entrypoint()
async def main(x: int):
    return x + 1
async def outer():
    return await main(2)
print(asyncio.run(outer()))
# %% entrypoint-raises
import modal
app = modal.App("a")
@app.local_entrypoint()
def main():
    raise ValueError("from main")
main()
# %% entrypoint-wrong-arguments
import modal
app = modal.App("a")
@app.local_entrypoint()
def main(x: int):
    return x
main()
# %% entrypoint-attributes
import modal
app = modal.App("a")
@app.local_entrypoint()
def main(x: int):
    """Doc."""
    return x
for name in ("info", "app", "remote", "local", "map"):
    print(name, hasattr(main, name))
# %% entrypoint-generator
import modal
app = modal.App("a")
@app.local_entrypoint()
def main():
    yield 1
print(list(main()))
# %% entrypoint-of-a-class
import modal
app = modal.App("a")
@app.local_entrypoint()
class Main:
    pass
print(type(Main).__name__)
# %% entrypoint-lambda
import modal
app = modal.App("a")
main = app.local_entrypoint()(lambda: 3)
print(main())
# %% entrypoint-name-taken-by-a-function
import modal
app = modal.App("a")
@app.function()
def main():
    return 1
@app.local_entrypoint(name="main")
def other():
    return main.local()
print(other())
# %% job-queue
import modal
app = modal.App("jobs")
@app.function()
def work(job):
    return job * 2
@app.function()
@modal.fastapi_endpoint(method="POST")
async def submit(job: int):
    call = await work.spawn.aio(job)
    return {"id": call.object_id}
@app.function()
@modal.fastapi_endpoint()
async def result(id: str):
    call = modal.FunctionCall.from_id(id)
    return type(call).__name__
import asyncio
print(asyncio.run(result.local("fc-123")))
# %% include-shared
import modal
common = modal.App("common")
app = modal.App("main")
@common.function()
def helper(x):
    return x + 1
@app.function()
def f(x):
    return helper.local(x) * 2
print(app.include(common) is app)
print(f.local(1))
# %% include-positional-tags
import modal
app = modal.App("main", tags={"a": "1"})
app.include(modal.App("other", tags={"b": "2"}), inherit_tags=False)
print("fine")
# %% include-none
import modal
modal.App("a").include(None)
# %% two-apps-one-module
import modal
one, two = modal.App("one"), modal.App("two")
@one.function()
def f():
    return 1
@two.function()
def g():
    return f.local() + 1
print(g.local(), f.app is one, g.app is two)
# %% lookups-at-module-level
import modal
f = modal.Function.from_name("other", "f")
C = modal.Cls.from_name("other", "C")
v = modal.Volume.from_name("v")
d = modal.Dict.from_name("d", create_if_missing=True)
q = modal.Queue.from_name("q", environment_name="main")
s = modal.Secret.from_name("s", required_keys=["A"])
print(type(f).__name__, type(C).__name__, type(v).__name__, type(d).__name__, type(q).__name__, type(s).__name__)
obj = C(size=3)
print(type(obj.method).__name__)
# %% looked-up-class-with-options
import modal
C = modal.Cls.from_name("other", "C").with_options(gpu="T4", max_containers=3).with_concurrency(max_inputs=4)
print(type(C).__name__, type(C(n=1).go).__name__)
# %% image-branches
import modal
base = modal.Image.debian_slim()
cpu = base.pip_install("numpy")
gpu = base.pip_install("torch").env({"CUDA": "1"}).workdir("/root").run_commands("echo 1")
app = modal.App("a")
@app.function(image=cpu)
def f():
    return "cpu"
@app.function(image=gpu, gpu="T4")
def g():
    return "gpu"
print(f.local(), g.local())
# %% image-is-immutable
import modal
base = modal.Image.debian_slim()
more = base.pip_install("x")
print(base is more, base == more, type(more).__name__)
# %% typed-dict-results
import dataclasses
import typing
import modal
app = modal.App("a")
class Row(typing.TypedDict):
    a: int
@dataclasses.dataclass
class Out:
    rows: list[Row]
@app.function()
def f(n: int) -> Out:
    return Out([{"a": i} for i in range(n)])
print(f.local(2) == Out([{"a": 0}, {"a": 1}]))
# %% logging-in-functions
import logging
import modal
app = modal.App("a")
log = logging.getLogger("mine")
@app.function()
def f():
    log.warning("careful")
    log.info("quiet")
    return 1
print(f.local())
# %% warnings-in-functions
import warnings
import modal
app = modal.App("a")
@app.function()
def f():
    warnings.warn("old", DeprecationWarning)
    return 1
print(f.local())
# %% decorator-factory-of-the-user
import functools
import modal
app = modal.App("a")
def gpu_function(**options):
    return functools.partial(app.function, gpu="T4", **options)()
@gpu_function(timeout=10)
def f():
    return 1
print(f.local())
# %% subclassed-app
import modal
class MyApp(modal.App):
    def gpu(self, **options):
        return self.function(gpu="T4", **options)
app = MyApp("a")
@app.gpu()
def f():
    return 1
print(f.local(), isinstance(app, modal.App))
# %% function-as-argument
import modal
app = modal.App("a")
@app.function()
def square(x):
    return x * x
@app.function()
def apply(f, xs):
    return [f.local(x) for x in xs]
print(apply.local(square, [1, 2]))
# %% function-in-a-dict
import modal
app = modal.App("a")
@app.function()
def a():
    return "a"
@app.function()
def b():
    return "b"
table = {f: f.local() for f in (a, b)}
print(table[a], table[b], len(table))
# %% object-in-a-class-attribute
import modal
app = modal.App("a")
@app.function()
def helper(x):
    return x + 1
@app.cls()
class C:
    helper = helper
    @modal.method()
    def get(self):
        return self.helper.local(1)
print(C().get.local())
# %% class-uses-another-class
import modal
app = modal.App("a")
@app.cls()
class Model:
    size: int = modal.parameter(default=1)
    @modal.method()
    def run(self, x):
        return x * self.size
@app.cls()
class Pipeline:
    @modal.enter()
    def load(self):
        self.models = [Model(size=n) for n in (1, 2, 3)]
    @modal.method()
    def run(self, x):
        return [m.run.local(x) for m in self.models]
print(Pipeline().run.local(2))
# %% exceptions-all-pairs
import itertools
import modal.exception
names = [n for n in ("Error", "AlreadyExistsError", "AuthError", "ClientClosed", "ConflictError", "ConnectionError", "DataLossError", "DeserializationError", "ExecTimeoutError", "ExecutionError", "FunctionTimeoutError", "InputCancellation", "InteractiveTimeoutError", "InternalError", "InternalFailure", "InvalidError", "ModuleNotMountable", "MountUploadTimeoutError", "NotFoundError", "OutputExpiredError", "PermissionDeniedError", "RemoteError", "RequestSizeError", "ResourceExhaustedError", "SandboxTerminatedError", "SandboxTimeoutError", "SerializationError", "ServiceError", "TimeoutError", "UnimplementedError", "VersionError", "VolumeUploadTimeoutError", "DeprecationError", "ServerWarning", "AsyncUsageWarning") if hasattr(modal.exception, n)]
print(len(names))
for a, b in itertools.permutations(names, 2):
    if issubclass(getattr(modal.exception, a), getattr(modal.exception, b)):
        print(a, "is", b)
# %% exceptions-and-builtins
import builtins
import modal.exception
for name in sorted(dir(modal.exception)):
    found = getattr(modal.exception, name)
    if isinstance(found, type) and issubclass(found, modal.exception.Error) and name in ("TimeoutError", "ConnectionError", "NotFoundError", "AuthError"):
        for other in (OSError, ValueError, RuntimeError, KeyError, builtins.TimeoutError, builtins.ConnectionError, Warning):
            if issubclass(found, other):
                print(name, other.__name__)
# %% imports-from-modules
from modal import App, Cls, Cron, Dict, Error, Function, FunctionCall, Image, Period, Queue, Retries, Sandbox, Secret, Volume
from modal.app import App as App2
from modal.cls import Cls as Cls2, Obj, parameter
from modal.dict import Dict as Dict2
from modal.exception import ExecutionError, InvalidError, NotFoundError
from modal.functions import Function as Function2, FunctionCall as FunctionCall2
from modal.image import Image as Image2
from modal.partial_function import PartialFunction, asgi_app, batched, concurrent, enter, exit, fastapi_endpoint, method, web_endpoint, web_server, wsgi_app
from modal.queue import Queue as Queue2
from modal.retries import Retries as Retries2
from modal.sandbox import Sandbox as Sandbox2
from modal.schedule import Cron as Cron2, Period as Period2, Schedule
from modal.secret import Secret as Secret2
from modal.volume import Volume as Volume2
print(all(a is b for a, b in [(App, App2), (Cls, Cls2), (Dict, Dict2), (Function, Function2), (FunctionCall, FunctionCall2), (Image, Image2), (Queue, Queue2), (Retries, Retries2), (Sandbox, Sandbox2), (Cron, Cron2), (Period, Period2), (Secret, Secret2), (Volume, Volume2)]))
# %% imports-of-modules
# differs: lenient
import importlib
for name in ("app", "billing", "client", "cloud_bucket_mount", "cls", "config", "container_process", "dict", "environments", "exception", "experimental", "file_io", "file_pattern_matcher", "functions", "gpu", "image", "io_streams", "mount", "network_file_system", "object", "output", "partial_function", "proxy", "queue", "retries", "runner", "sandbox", "schedule", "scheduler_placement", "secret", "snapshot", "stream_type", "types", "volume"):
    try:
        importlib.import_module(f"modal.{name}")
    except ImportError:
        print("no", name)
# %% missing-names
# differs: lenient
import modal
for name in ("Stub", "build", "Mount", "gpu", "asgi", "Tunnel", "forward", "container_app", "nothing", "SharedVolume", "create_package_mounts", "web_endpoint", "enable_remote_debugging"):
    print(name, hasattr(modal, name))
