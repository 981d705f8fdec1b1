"""App: names, registration, include, local entrypoints, tags, and what needs a run."""
# %% name
import modal
print(modal.App("a").name, modal.App().name, modal.App(name="b").name)
# %% description
import modal
print(modal.App("a").description, modal.App().description)
# %% app-id
import modal
print(modal.App("a").app_id)
# %% bad-name
import modal
modal.App("has spaces")
# %% empty-name
import modal
print(repr(modal.App("").name))
# %% name-int
import modal
modal.App(3)
# %% name-not-str-keyword
import modal
modal.App(name=["x"])
# %% name-long
import modal
modal.App("x" * 100)
# %% name-dots-and-dashes
import modal
print(modal.App("my-app.v1_2").name)
# %% name-slash
import modal
modal.App("a/b")
# %% two-positional
import modal
modal.App("a", "b")
# %% unknown-argument
import modal
modal.App("a", stub=True)
# %% app-arguments
import modal
app = modal.App("a", image=modal.Image.debian_slim(), secrets=[], volumes={}, include_source=True)
print(app.name)
# %% secrets-wrong
import modal
modal.App("a", secrets=["x"])
# %% volumes-wrong
import modal
modal.App("a", volumes={"/x": "y"})
# %% image-wrong
import modal
modal.App("a", image="debian")
# %% tags
import modal
print(modal.App("a", tags={"k": "v"}).name)
# %% tags-wrong
import modal
modal.App("a", tags={"k": 3})
# %% stub
# differs: lenient
import modal
modal.Stub("a")
# %% registered-functions
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
@app.function()
def g():
    return 2
print(sorted(app.registered_functions), app.registered_functions["f"] is f)
# %% registered-classes
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
print(list(app.registered_classes), app.registered_classes["C"] is C)
# %% registered-functions-with-a-class
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
print(list(app.registered_functions))
# %% registered-entrypoints
# differs: lenient
import modal
app = modal.App("a")
@app.local_entrypoint()
def main():
    pass
print(list(app.registered_entrypoints), type(main).__name__)
# %% entrypoint-called
import modal
app = modal.App("a")
@app.local_entrypoint()
def main(x: int = 3):
    print("main", x)
    return x
print(main(4))
# %% entrypoint-async
import modal
app = modal.App("a")
@app.local_entrypoint()
async def main(x: int = 3):
    print("main", x)
print(type(main).__name__)
# %% entrypoint-no-parentheses
import modal
app = modal.App("a")
@app.local_entrypoint
def main():
    pass
# %% entrypoint-name
# differs: lenient
import modal
app = modal.App("a")
@app.local_entrypoint(name="other")
def main():
    pass
print(list(app.registered_entrypoints))
# %% entrypoint-twice
import modal
app = modal.App("a")
@app.local_entrypoint()
def main():
    pass
@app.local_entrypoint()
def main():
    pass
# %% entrypoint-and-function
import modal
app = modal.App("a")
@app.local_entrypoint()
@app.function()
def main():
    pass
# %% function-above-entrypoint
import modal
app = modal.App("a")
@app.function()
@app.local_entrypoint()
def main():
    pass
# %% entrypoint-calls-local
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x + 1
@app.local_entrypoint()
def main():
    print(f.local(1))
main()
# %% entrypoint-nested
# differs: lenient
import modal
app = modal.App("a")
def make():
    @app.local_entrypoint()
    def main():
        print("in main")
    return main
make()()
# %% include
# differs: lenient
import modal
one, two = modal.App("one"), modal.App("two")
@two.function()
def f(x):
    return x
print(one.include(two) is one, list(one.registered_functions), f.app.name)
# %% include-collision
# differs: lenient
import modal
one, two = modal.App("one"), modal.App("two")
@one.function()
def f(x):
    return 1
first = f
@two.function()
def f(x):
    return 2
one.include(two)
print(list(one.registered_functions), one.registered_functions["f"] is first)
# %% include-class
# differs: lenient
import modal
one, two = modal.App("one"), modal.App("two")
@two.cls()
class C:
    @modal.method()
    def f(self):
        return 1
one.include(two)
print(list(one.registered_classes), list(one.registered_functions))
# %% include-itself
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f(x):
    return x
app.include(app)
print(list(app.registered_functions))
# %% include-nonsense
import modal
modal.App("a").include(3)
# %% include-entrypoints
# differs: lenient
import modal
one, two = modal.App("one"), modal.App("two")
@two.local_entrypoint()
def main():
    pass
one.include(two)
print(list(one.registered_entrypoints))
# %% run
# differs: network
import modal
app = modal.App("a")
with app.run():
    print("inside")
# %% run-async
# differs: network
import asyncio
import modal
app = modal.App("a")
async def main():
    async with app.run():
        print("inside")
asyncio.run(main())
# %% deploy
# differs: network
import modal
app = modal.App("a")
app.deploy()
print("deployed")
# %% deploy-without-a-name
import modal
app = modal.App()
app.deploy()
# %% deploy-with-a-bad-name
import modal
app = modal.App("a")
app.deploy(name="has spaces")
# %% lookup
# differs: network
import modal
app = modal.App.lookup("a", create_if_missing=True)
print(app.name)
# %% setitem
import modal
app = modal.App("a")
app["x"] = 3
# %% getattr
import modal
app = modal.App("a")
app.nothing
# %% repr
import modal
app = modal.App("a")
print(type(app).__name__, type(app).__module__ in ("modal.app", "moorage.app"))
# %% equality
import modal
a, b = modal.App("a"), modal.App("a")
print(a == b, len({a, b}))
# %% image-property
import modal
app = modal.App("a")
print(app.image)
# %% is-interactive
import modal
app = modal.App("a")
print(app.is_interactive)
# %% function-decorator-names
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
print(repr(f))
# %% app-called
import modal
modal.App("a")()
# %% app-subclass
import modal
class Mine(modal.App):
    pass
app = Mine("a")
@app.function()
def f(x):
    return x
print(f.local(1))
# %% is-local
import modal
app = modal.App("a")
@app.function()
def f():
    return modal.is_local()
print(modal.is_local(), f.local())
# %% current-ids
import modal
app = modal.App("a")
@app.function()
def f():
    return modal.current_input_id(), modal.current_function_call_id()
print(f.local())
# %% enable-output
import modal
with modal.enable_output():
    print("in")
# %% interact
import modal
modal.interact()
# %% all-names
import modal
wanted = ["App", "Cls", "Cron", "Dict", "Error", "Function", "FunctionCall", "Image", "Period",
          "Queue", "Retries", "Secret", "Volume", "batched", "concurrent", "enter", "exit",
          "fastapi_endpoint", "is_local", "method", "parameter"]
print([name for name in wanted if name not in modal.__all__ or not hasattr(modal, name)])
# %% submodules
import importlib
for name in ("app", "cls", "functions", "partial_function", "exception", "retries", "image",
             "secret", "volume", "dict", "queue", "schedule", "experimental", "call_graph", "types"):
    importlib.import_module(f"modal.{name}")
print("all there")
# %% star
from modal import *
print(App.__name__, concurrent.__name__ != "")
