"""The graph of calls: it begins at the root, shows every kind of call, and stays small."""

import asyncio
import gc
import threading
import time
import weakref

import pytest

import moorage
from moorage import App, FunctionCall, config
from moorage.call_graph import InputStatus
from moorage.calling.registry import registry
from moorage.runtime.clocks.virtual_clock import VirtualClock
from placing.outside import wait_for


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch):
    yield
    monkeypatch.setattr(config, "findable_calls", 0)
    registry.sweep()


def tree(infos):
    """Return the names of a graph: ``{"parent": {"child": {}}}``, equal names numbered."""
    shown = {}
    for info in infos:
        name, number = info.function_name, 2
        while name in shown:
            name, number = f"{info.function_name} {number}", number + 1
        shown[name] = tree(info.children)
    return shown


class Job:
    """An app whose functions call each other; `graph` is that of the innermost spawned call."""

    def __init__(self):
        self.app = app = App("graph")

        @app.function(serialized=True)
        def child(x):
            return x

        @app.function(serialized=True)
        def parent(x):
            return child.spawn(x).object_id

        @app.function(serialized=True)
        async def parent_async(x):
            return (await child.spawn.aio(x)).object_id

        @app.function(serialized=True)
        def stream(x):
            yield child.spawn(x).object_id

        @app.function(serialized=True)
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def batch(xs):
            return [child.spawn(x).object_id for x in xs]

        @app.cls(serialized=True)
        class Model:
            @moorage.method()
            def parent(self, x):
                return child.spawn(x).object_id

        self.child, self.parent, self.parent_async = child, parent, parent_async
        self.stream, self.batch, self.model = stream, batch, Model


@pytest.fixture
def job():
    job = Job()
    with job.app.run():
        yield job


def graph_of(call_id):
    call = FunctionCall.from_id(call_id)
    call.get(timeout=30)
    return call.get_call_graph()


WAYS = {
    "remote": lambda f: f.remote(1),
    "remote.aio": lambda f: asyncio.run(f.remote.aio(1)),
    "spawn": lambda f: f.spawn(1).get(timeout=30),
    "map": lambda f: next(iter(f.map([1]))),
    "starmap": lambda f: next(iter(f.starmap([(1,)]))),
    "experimental_spawn_map": lambda f: f.experimental_spawn_map([1]).get(timeout=30),
}


@pytest.mark.parametrize("function", ["parent", "parent_async", "batch", "model"])
@pytest.mark.parametrize("way", WAYS)
def test_the_graph_begins_with_the_input_that_has_no_parent(way, function, job):
    f = job.model().parent if function == "model" else getattr(job, function)
    call_id = WAYS[way](f)
    (root,) = graph_of(call_id)
    assert root.function_name == ("Model.parent" if function == "model" else function)
    assert root.status is InputStatus.SUCCESS
    assert root.task_id.startswith("ta-")
    (info,) = root.children
    assert (info.function_name, info.function_call_id) == ("child", call_id)
    assert root.function_call_id != call_id
    assert root.input_id.startswith("in-")


def test_a_stream_is_a_root(job):
    (call_id,) = job.stream.remote_gen(1)
    assert tree(graph_of(call_id)) == {"stream": {"child": {}}}


@pytest.mark.parametrize("way", ["map", "experimental_spawn_map"])
def test_the_root_is_the_one_input_that_leads_to_the_call(way, job):
    if way == "map":
        ids = list(job.parent.map([1, 2, 3]))
    else:
        ids = list(job.parent.experimental_spawn_map([1, 2, 3]).iter())
    roots = [graph_of(call_id) for call_id in ids]
    for call_id, infos in zip(ids, roots, strict=True):
        assert [info.children[0].function_call_id for info in infos] == [call_id]
    assert len({infos[0].input_id for infos in roots}) == 3
    assert len({infos[0].function_call_id for infos in roots}) == 1


def test_nested_levels_of_all_ways_and_the_calls_beside_them(job):
    app, child, parent = job.app, job.child, job.parent

    @app.function(serialized=True)
    def middle(x):
        child.remote(x)
        list(child.map([1, 2]))
        return parent.remote(x)

    @app.function(serialized=True)
    async def outer(x):
        await child.remote.aio(x)
        found = None
        async for each in job.stream.remote_gen.aio(x):
            found = each
        assert found
        return await middle.remote.aio(x)

    call = outer.spawn(1)
    call_id = call.get(timeout=30)
    expected = {
        "outer": {
            "child": {},
            "stream": {"child": {}},
            "middle": {
                "child": {},
                "child 2": {},
                "child 3": {},
                "parent": {"child": {}},
            },
        }
    }
    assert tree(call.get_call_graph()) == expected
    assert tree(graph_of(call_id)) == expected, "the same from every call of the graph"


def test_a_root_that_still_runs_and_one_that_failed(job):
    app, ids, go_on = job.app, [], threading.Event()

    @app.function(serialized=True)
    def root(_):
        ids.append(job.child.spawn(1).object_id)
        go_on.wait(30)
        raise ValueError("root")

    waiting = threading.Thread(target=lambda: list(root.map([()], return_exceptions=True)))
    waiting.start()
    while not ids:
        time.sleep(0.001)
    (info,) = graph_of(ids[0])
    assert (info.function_name, info.status) == ("root", InputStatus.PENDING)
    go_on.set()
    waiting.join(30)
    (info,) = graph_of(ids[0])
    assert (info.function_name, info.status) == ("root", InputStatus.FAILURE)


def test_ends_of_children_that_were_not_spawned():
    app = App("ends")

    @app.function(serialized=True, timeout=5)
    @moorage.concurrent(max_inputs=10)
    async def child(x):
        if x == "fail":
            raise ValueError(x)
        await asyncio.sleep(60 if x == "long" else 0)

    @app.function(serialized=True)
    async def root():
        names = ["fail", "long", "good", "cancelled"]
        tasks = [asyncio.ensure_future(child.remote.aio(x)) for x in names]
        await asyncio.sleep(1)
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with VirtualClock() as clock, app.run(clock=clock):
        call = root.spawn()
        call.get()
    (info,) = call.get_call_graph()
    assert [each.status.name for each in info.children] == [
        "FAILURE",
        "TIMEOUT",
        "SUCCESS",
        "SUCCESS",
    ]


def test_a_parent_that_settled_long_ago_or_has_expired_is_shown(job, monkeypatch):
    spawned = job.parent.spawn(1)
    child = FunctionCall.from_id(spawned.get(timeout=30))
    child.get(timeout=30)
    del spawned
    monkeypatch.setattr(config, "findable_seconds", 0.0)
    registry.sweep()
    gc.collect()
    assert tree(child.get_call_graph()) == {"parent": {"child": {}}}


def test_a_call_of_a_task_that_outlived_its_input_begins_there(job):
    tasks = []

    @job.app.function(serialized=True)
    async def root():
        async def later():
            await asyncio.sleep(0.1)
            return job.child.spawn(1)

        tasks.append((asyncio.get_running_loop(), asyncio.ensure_future(later())))

    root.spawn().get(timeout=30)
    loop, task = tasks[0]
    call = asyncio.run_coroutine_threadsafe(asyncio.wait_for(task, 30), loop).result(30)
    call.get(timeout=30)
    assert tree(call.get_call_graph()) == {"root": {"child": {}}}


def test_a_call_without_parents_begins_with_itself(job):
    call = job.child.spawn(1)
    call.get(timeout=30)
    assert tree(call.get_call_graph()) == {"child": {}}
    many = job.child.experimental_spawn_map([1, 2])
    assert tree(many.get_call_graph()) == {"child": {}, "child 2": {}}


def test_a_call_that_was_refused_is_not_in_the_graph():
    app, go_on = App("refused"), threading.Event()

    @app.function(serialized=True, max_containers=1, max_backlog=1)
    def child(x):
        go_on.wait(30)

    @app.function(serialized=True)
    def root():
        child.spawn(0)
        child.spawn(1)
        with pytest.raises(moorage.exception.ResourceExhaustedError):
            child.remote(2)
        with pytest.raises(moorage.exception.ResourceExhaustedError):
            list(child.map([3]))
        go_on.set()

    with app.run():
        call = root.spawn()
        call.get(timeout=30)
        assert tree(call.get_call_graph()) == {"root": {"child": {}, "child 2": {}}}


# -- what a graph keeps --------------------------------------------------------------------------


class Big:
    pass


def test_a_graph_keeps_no_argument_and_no_result(job):
    refs = []

    @job.app.function(serialized=True)
    def make(x):
        refs.append(weakref.ref(x))
        result = Big()
        refs.append(weakref.ref(result))
        return result

    @job.app.function(serialized=True)
    def root(x):
        refs.append(weakref.ref(x))
        make.remote(Big())
        list(make.map([Big(), Big()]))
        make.spawn(Big()).get()
        return job.child.spawn(1).object_id

    child = FunctionCall.from_id(root.remote(Big()))
    child.get(timeout=30)
    job.child.remote(1)
    registry.sweep()
    until = time.monotonic() + 30
    while alive := [ref() for ref in refs if ref() is not None]:
        del alive
        gc.collect()
        assert time.monotonic() < until
        time.sleep(0.01)
    assert tree(child.get_call_graph())["root"]


def test_a_graph_goes_with_its_calls(job, monkeypatch, no_collections):
    call = FunctionCall.from_id(job.parent.remote(1))
    call.get(timeout=30)
    nodes = call._record.graph._nodes.values()
    gone = weakref.ref(call)
    assert len(nodes) == 2
    del call, nodes
    monkeypatch.setattr(config, "findable_seconds", 0.0)
    registry.sweep()
    wait_for(lambda: gone() is None)  # without a collection; the thread that woke us has it still


@pytest.mark.parametrize("way", ["spawn", "remote", "map", "experimental_spawn_map"])
def test_a_graph_is_bounded(way, job, monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 40)

    @job.app.function(serialized=True)
    def root():
        for _ in range(50):
            if way == "spawn":
                job.child.spawn(1).get()
            elif way == "remote":
                job.child.remote(1)
            elif way == "map":
                list(job.child.map(range(10)))
            else:
                list(job.child.experimental_spawn_map(range(10)).iter())

    call = root.spawn()
    call.get(timeout=30)
    (info,) = call.get_call_graph()
    assert info.function_name == "root"
    assert 10 <= len(info.children) <= 50
    assert call._record.graph._size <= 50


def test_a_wide_map_shows_its_first_inputs(job):
    @job.app.function(serialized=True)
    def root():
        return sum(job.child.map(range(3000)))

    call = root.spawn()
    call.get(timeout=60)
    (info,) = call.get_call_graph()
    assert len(info.children) == 1000


def test_a_chain_that_is_longer_than_the_bound_begins_at_the_eldest_known(monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 100)
    app, calls, last = App("chain"), [], threading.Event()

    @app.function(serialized=True, max_containers=1)
    def job(left):
        if left:
            calls[:] = [job.spawn(left - 1)]
        else:
            last.set()

    with app.run(drain=True):
        job.spawn(400)
        assert last.wait(60)
    depth, infos = 0, calls[0].get_call_graph()
    while infos:
        depth, infos = depth + 1, infos[0].children
    assert 80 <= depth <= 110


def test_a_call_in_no_graph_stays_what_it_was(job):
    from moorage.calling import graph

    made = []
    original = graph.Graph.__init__

    def note(self, clock):
        made.append(self)
        original(self, clock)

    @job.app.function(serialized=True)
    def root():
        job.child.remote(1)
        return list(job.child.map([1, 2]))

    graph.Graph.__init__ = note
    try:
        root.remote()
        job.child.spawn(1).get()
        job.child.spawn_map([1])
    finally:
        graph.Graph.__init__ = original
    assert made == []


# -- ids are lazy ------------------------------------------------------------------------------


ODD = ["", "x", "fc-", "fc-zz", "fc-0", "in-1", "fc-" + "f" * 500, "ü\0", 7, None, b"fc-1", ("fc",)]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_from_id_never_fails_and_get_does(odd, strict, monkeypatch):
    monkeypatch.setattr(config, "strict", strict)
    call = FunctionCall.from_id(odd)
    repr(call)
    for use in (call.get, call.cancel, call.num_inputs, call.get_call_graph, call.hydrate):
        with pytest.raises((moorage.exception.NotFoundError, moorage.exception.OutputExpiredError)):
            use()
    with pytest.raises((moorage.exception.NotFoundError, moorage.exception.OutputExpiredError)):
        list(call.iter())
    with pytest.raises((moorage.exception.NotFoundError, moorage.exception.OutputExpiredError)):
        FunctionCall.gather(call)
