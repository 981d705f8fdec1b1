"""An app whose functions pass handles on, and ask about them: in threads and in processes alike.

Each function of `CASES` is called in a container, and says what it sees.
"""

import asyncio
import os

import moorage
from moorage.exception import ResourceExhaustedError

app = moorage.App("handles")
kept = moorage.Dict.from_name("handles-kept", create_if_missing=True)
line = moorage.Queue.from_name("handles-line", create_if_missing=True)

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@app.function(timeout=60)
def square(x):
    return x * x


@app.function(timeout=60)
def count(n):
    yield from range(n)


@app.function()
async def never():
    await asyncio.Event().wait()


@app.function(max_containers=1, max_backlog=1)
def narrow(path):
    while not os.path.exists(path):
        pass


@app.function(max_containers=1, max_backlog=1, on_full="wait")
def patient(x):
    return x


@app.function()
def color():
    return os.environ.get("COLOR")


@app.cls()
class Model:
    size: int = moorage.parameter(default=1)

    @moorage.enter()
    def load(self):
        self.loaded = 10

    @moorage.method()
    def sized(self, x):
        return self.size * x + self.loaded

    @moorage.method()
    def up_to(self, n):
        yield from range(0, n * self.size, self.size)


@app.function()
@moorage.fastapi_endpoint()
def page():
    return {"a": 1}


second = app.function(name="second")(lambda x: x + 2)


# -- functions that are given handles ----------------------------------------------------------


@app.function()
def calls(function, x):
    return function.remote(x)


@app.function()
def calls_here(function, x):
    return function.local(x)


@app.function()
def makes(cls, obj):
    return cls(size=2).sized.remote(1), obj.sized.remote(1), list(obj.up_to.remote_gen(2))


@app.function()
def gets(call):
    return call.get(), call.num_inputs(), list(call.iter())


@app.function()
def knows(function, cls, given_app):
    return function is square, cls is Model, given_app is app


@app.function()
def looks_into(store):
    return store["x"].remote(3)


class Holder:
    def __init__(self, **held):
        self.held = held


@app.function()
def opens(holder):
    return holder.held["f"].remote(2), holder.held["o"][0].sized.remote(2)


@app.function()
def gives():
    return square, Model, Model(size=3), Model(size=3).sized, square.spawn(4), app, kept


@app.function()
def yields():
    yield square
    yield Model(size=2).sized


@app.function()
def raises():
    raise ValueError(square)


@app.function()
def runs(name):
    return CASES[name]()


# -- cases: handles ----------------------------------------------------------------------------


@case
def functions():
    variant = square.with_options(timeout=50)
    named = moorage.Function.from_name("handles", "square")
    handles = [square, variant, named, named.with_options(timeout=40), second]
    handles += [Model(size=4).sized, Model.with_options(timeout=30)(size=5).sized]
    handles += [moorage.Cls.from_name("handles", "Model")(size=6).sized]
    return [calls.remote(handle, 3) for handle in handles]


@case
def functions_in_maps():
    return list(calls.starmap([(square, 1), (Model().sized, 2)]))


@case
def code_of_handles():
    return calls_here.remote(square, 3), calls_here.remote(Model(size=2).sized, 3)


@case
def classes_and_instances():
    named = moorage.Cls.from_name("handles", "Model")
    variant = Model.with_options(timeout=30)
    return [makes.remote(cls, cls(size=3)) for cls in (Model, named, variant)]


@case
def the_same_objects():
    return knows.remote(square, Model, app)


@case
def spawned_calls():
    many = square.experimental_spawn_map([1, 2, 3])
    return gets.remote(square.spawn(2)), gets.remote(many)


@case
def values_of_stores():
    kept["x"] = square
    line.put(square.spawn(5))
    line.put(Model(size=2))
    return looks_into.remote(kept), line.get().get(), line.get().sized.remote(1)


@case
def parts_of_objects():
    return opens.remote(Holder(f=square, o=[Model(size=3)]))


@case
def results():
    function, cls, obj, method, call, its_app, store = gives.remote()
    same = function is square, cls is Model, its_app is app, store.name
    return same, obj.sized.remote(1), method.remote(1), call.get()


@case
def items():
    return [handle.remote(3) for handle in yields.remote_gen()]


@case
def errors():
    try:
        raises.remote()
    except ValueError as error:
        return error.args[0].remote(3)


@case
def ephemeral_objects():
    with moorage.Dict.ephemeral() as store:
        store["x"] = square
        return looks_into.remote(store)


@case
def secrets():
    secret = moorage.Secret.from_dict({"COLOR": "red"})
    return color.remote(), color.with_options(secrets=[secret]).remote()


# -- cases: what is asked for ------------------------------------------------------------------


@case
def generators_by_name():
    named = moorage.Function.from_name("handles", "count")
    of_class = moorage.Cls.from_name("handles", "Model")(size=2).up_to

    async def reads():
        return [each async for each in named.remote_gen.aio(3)]

    return list(named.remote_gen(3)), asyncio.run(reads()), list(of_class.remote_gen(2))


@case
def errors_of_names():
    found = []
    for call in (
        lambda: moorage.Function.from_name("handles", "nothing").remote(1),
        lambda: moorage.Function.from_name("nothing", "square").remote(1),
        lambda: moorage.Cls.from_name("handles", "Nothing")().sized.remote(1),
        lambda: moorage.Cls.from_name("handles", "Model")().nothing.remote(1),
        lambda: moorage.Function.from_name("handles", "count").remote(1),
        lambda: moorage.Function.from_name("handles", "square").local(1),
        lambda: moorage.FunctionCall.from_id("fc-nothing").get(),
        lambda: moorage.App.lookup("nothing"),
    ):
        try:
            call()
        except moorage.exception.Error as error:
            # What a process asks for has the environment of its run with it.
            text = str(error).replace(", environment_name='main'", "")
            found.append((type(error).__name__, text[:60]))
    return found


@case
def counts():
    square.remote(1)
    Model(size=2).sized.remote(1)
    stats = square.get_current_stats()
    names = square.statistics().name, Model.statistics().name, Model(size=2).sized.statistics().name
    return names, stats.num_total_runners >= 1


@case
def bounds():
    given = second.update_autoscaler(max_containers=5, buffer_containers=0)
    of_class = Model(size=7).update_autoscaler(max_containers=4)
    second.autoscaler.update(buffer_containers=1)
    return given, of_class, second.autoscaler.settings(), Model(size=7).sized.autoscaler.settings()


@case
def ids():
    function_id = square.object_id
    found = moorage.Function.from_id(function_id)
    return found.remote(3), found is square, app.app_id is not None, app.app_id == app_id.remote()


@app.function()
def app_id():
    return app.app_id


@case
def apps():
    objects = moorage.experimental.get_app_objects("handles")
    return moorage.App.lookup("handles") is app, objects["square"] is square, objects["Model"]


@case
def graphs():
    call = square.spawn(3)
    call.get()

    def shape(node):
        return node.function_name, [shape(each) for each in node.children]

    return [shape(each) for each in call.get_call_graph()]


@case
def many_inputs():
    call = square.experimental_spawn_map([1, 2, 3])
    found = moorage.FunctionCall.from_id(call.object_id)
    return found.num_inputs(), list(found.iter()), found.get(index=1), list(call.iter(start=1))


@case
def cancelled_calls():
    call = never.spawn()
    found = moorage.FunctionCall.from_id(call.object_id)
    found.cancel(terminate_containers=True)
    try:
        call.get()
    except moorage.exception.InputCancelledError:
        return "cancelled"


@case
def names_of_stores():
    moorage.Dict.objects.create("handles-new", allow_existing=True)
    there = "handles-new" in [each.name for each in moorage.Dict.objects.list()]
    moorage.Dict.objects.delete("handles-new")
    left = "handles-new" in [each.name for each in moorage.Dict.objects.list()]
    return there, left, kept.hydrate().object_id == id_of_kept.remote()


@app.function()
def id_of_kept():
    return kept.hydrate().object_id


@case
def items_of_queues():
    with moorage.Queue.ephemeral() as queue:
        queue.put_many([1, 2])
        queue.put(3, partition="other")
        return list(queue.iterate()), list(queue.iterate(partition="other")), queue.len()


@case
def refusals_of_a_full_backlog():
    path = f"/tmp/handles-{moorage.current_input_id()}"
    accepted, refused = [narrow.spawn(path)], 0
    while not refused:
        try:
            accepted.append(narrow.spawn(path))
        except ResourceExhaustedError:
            refused += 1
    with open(path, "w"):
        pass
    for call in accepted:
        call.get()
    os.remove(path)
    return refused


@case
def waits_for_room():
    return [call.get() for call in [patient.spawn(x) for x in range(5)]], list(
        patient.map(range(5))
    )


@case
def urls():
    named = moorage.Function.from_name("handles", "page")
    return page.get_web_url().startswith("http://127.0.0.1:"), named.get_web_url() is not None


@case
def calls_of_a_web_function():
    named = moorage.Function.from_name("handles", "page")
    found = []
    for call in (lambda: page.remote(), lambda: named.remote(), lambda: named.spawn()):
        try:
            call()
        except moorage.exception.InvalidError as error:
            found.append(str(error)[:40])
    return found


# -- what is refused ---------------------------------------------------------------------------


@app.function()
def calls_what_it_makes():
    made = moorage.App("made").function()(lambda x: x)
    return made.remote(1)


@app.function()
def forks():
    child = os.fork()
    if not child:
        try:
            square.remote(1)
        except moorage.exception.ExecutionError:
            os._exit(7)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@app.function()
def deploys():
    app.deploy()


@app.server(port=8000)
class Site:
    """A server that nobody asks for a page, so it never starts."""

    @moorage.enter()
    def start(self):
        raise AssertionError


@app.function()
def asks_server(server):
    bounds = server.autoscaler.update(buffer_containers=2)
    assert server.update_autoscaler() == bounds
    return server, server.get_url(), server.statistics(), bounds.buffer_containers


@app.function()
async def asks_server_of_module():
    return Site, await Site.get_url.aio(), Site.statistics(), Site.autoscaler.settings()
