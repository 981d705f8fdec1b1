"""serialize=True: copies through cloudpickle, and what does not pickle is named."""

import asyncio
import contextvars
import functools
import importlib
import queue
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import moorage
from moorage import App
from moorage.exception import (
    DeserializationError,
    ExecutionError,
    InvalidError,
    RemoteError,
    SerializationError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import FakeContainer

LOCK = threading.Lock()
TOOL = "make it in the container, in an @moorage.enter() hook"
LEFT_OUT = "leave it out, and return plain data"


class Client:
    def __init__(self):
        self.name = "client"
        self._lock = threading.Lock()


class Session:
    def __init__(self):
        self.client = Client()
        self.client.owner = self  # a cycle, met before the culprit


class Slotted:
    __slots__ = ("event",)

    def __init__(self):
        self.event = threading.Event()


class Stubborn:
    def __reduce__(self):
        raise RuntimeError("not this one")


class Unreadable:
    """Pickles, and cannot be read back."""

    def __reduce__(self):
        return (int, ("no number",))


class Reduced:
    def __init__(self, lock):
        self.lock = lock

    def __reduce__(self):
        return (Reduced, (self.lock,))


class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class Carrying(Exception):
    def __init__(self, value):
        super().__init__("carries")
        self.value = value


def add(items, more=None):
    items.append(len(items))
    if more is not None:
        more.append(len(more))
    return items


async def add_async(items):
    return add(items)


def batch(lists):
    return [add(items) for items in lists]


async def batch_async(lists):
    return batch(lists)


KINDS = {
    "sync": (lambda app: app.function(serialized=True)(add)),
    "async": (lambda app: app.function(serialized=True)(add_async)),
    "batched": (
        lambda app: app.function(serialized=True)(
            moorage.batched(max_batch_size=2, wait_ms=1)(batch)
        )
    ),
    "batched-async": (
        lambda app: app.function(serialized=True)(
            moorage.batched(max_batch_size=2, wait_ms=1)(batch_async)
        )
    ),
    "method": (lambda app: class_of(app, False)().add),
    "method-async": (lambda app: class_of(app, True)().add),
}


def class_of(app, is_async):
    if is_async:

        class Adder:
            @moorage.method()
            async def add(self, items):
                return add(items)
    else:

        class Adder:
            @moorage.method()
            def add(self, items):
                return add(items)

    return app.cls(serialized=True)(Adder)


EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
WAYS = {
    "remote": lambda f, value: f.remote(value),
    "remote.aio": lambda f, value: asyncio.run(f.remote.aio(value)),
    "spawn": lambda f, value: f.spawn(value).get(),
    "map": lambda f, value: next(f.map([value])),
    "map-iterator": lambda f, value: next(f.map(iter([value]))),
    "starmap": lambda f, value: next(f.starmap([(value,)])),
    "for_each": lambda f, value: f.for_each([value]),
    "spawn_map": lambda f, value: f.experimental_spawn_map([value]).get(),
}


@EVERY_KIND
@pytest.mark.parametrize("way", WAYS)
def test_each_side_has_its_own(kind, way):
    app = App()
    function = KINDS[kind](app)
    given = [7]
    with app.run(serialize=True):
        got = WAYS[way](function, given)
    assert given == [7]
    assert got in ([7, 1], None)
    assert got is not given


@EVERY_KIND
@pytest.mark.parametrize("way", WAYS)
def test_a_refused_call_raises_at_once_and_leaves_nothing(kind, way):
    app = App()
    function = KINDS[kind](app)
    with app.run(serialize=True):
        function.remote([])
        before = function.statistics()
        with pytest.raises(SerializationError, match=r"argument '(items|lists)' of ") as caught:
            WAYS[way](function, [LOCK])
        assert isinstance(caught.value, TypeError), "what Modal raises"
        after = function.statistics()
        assert (after.accepted, after.running, after.queued) == (before.accepted, 0, 0)
        assert function.remote([]) == [0]


@EVERY_KIND
def test_without_it_everything_is_passed_by_reference(kind):
    app = App()
    function = KINDS[kind](app)
    given = [LOCK]
    with app.run():
        assert function.remote(given) is given


def test_the_first_call_of_all_may_be_refused():
    app = App()
    function = KINDS["sync"](app)
    with app.run(serialize=True):
        with pytest.raises(SerializationError):
            function.remote(LOCK)
        assert function.statistics() is None, "no pool was made for it"


def test_the_caller_may_change_an_argument_once_the_call_is_made():
    app = App()
    function = app.function(serialized=True, name="add")(add)
    with app.run(serialize=True):
        given = [1]
        call = function.spawn(given)
        given.append(99)
        assert call.get() == [1, 1]


def test_arguments_of_one_call_are_pickled_together():
    app = App()

    @app.function(serialized=True)
    def same(a, b, *, c):
        return a is b and a is c

    items = []
    with app.run(serialize=True):
        assert same.remote(items, items, c=items)


def test_each_attempt_has_fresh_copies():
    app = App()

    def flaky(items):
        items.append(1)
        COUNTS.append(list(items))
        if len(COUNTS) < 3:
            raise LookupError
        return items

    COUNTS.clear()
    function = app.function(serialized=True, retries=2)(flaky)
    with VirtualClock() as clock, app.run(clock=clock, serialize=True):
        assert function.remote([]) == [1]
    assert COUNTS == [[1], [1], [1]]


COUNTS = []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_items_of_generators_are_copies(kind):
    app = App()
    made = []

    def items(start):
        start.append(1)
        for n in range(3):
            made.append([n])
            yield made[-1]

    async def items_async(start):
        for item in items(start):
            yield item

    function = app.function(serialized=True, name="items")(items if kind == "sync" else items_async)
    given = []
    with app.run(serialize=True):
        got = list(function.remote_gen(given))
    assert got == [[0], [1], [2]]
    assert given == []
    assert not any(mine is its for mine, its in zip(got, made, strict=True))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_item_that_does_not_pickle_ends_the_stream_after_those_before_it(kind):
    app = App()
    closed = threading.Event()

    def items():
        try:
            yield 1
            yield {"lock": LOCK}
        finally:
            closed.set()

    async def items_async():
        try:
            yield 1
            yield {"lock": LOCK}
        finally:
            closed.set()

    function = app.function(serialized=True, name="items")(items if kind == "sync" else items_async)
    with app.run(serialize=True):
        stream = function.remote_gen()
        assert next(stream) == 1
        with pytest.raises(SerializationError, match=r"^an item of items\(\) .*: item\['lock'\] "):
            next(stream)
        assert closed.is_set(), "the user's generator is closed before its slot is free"


def test_a_stream_that_is_dropped_closes_the_generator():
    app = App()
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    function = app.function(serialized=True)(items)
    with app.run(serialize=True):
        stream = function.remote_gen()
        assert next(stream) == 1
        stream.close()
        assert closed.wait(10)


def test_generator_arguments_are_refused_at_the_first_step():
    app = App()

    def items(start):
        yield start

    function = app.function(serialized=True)(items)
    with app.run(serialize=True), pytest.raises(SerializationError, match="argument 'start'"):
        next(function.remote_gen(LOCK))


def test_each_member_of_a_batch_gets_its_own_fate():
    app = App()

    @app.function(serialized=True)
    @moorage.batched(max_batch_size=4, wait_ms=1000)
    def work(values):
        return [
            {"lock": LOCK, "error": Carrying(LOCK), "bad": Unreadable()}.get(v, v) for v in values
        ]

    with VirtualClock() as clock, app.run(clock=clock, serialize=True):
        calls = [work.spawn(value) for value in ("fine", "lock", "error", "bad")]
        assert calls[0].get() == "fine"
        with pytest.raises(SerializationError, match=r"^the result of work\(\) .* it is a _thread"):
            calls[1].get()
        with pytest.raises(SerializationError, match=r"^the exception .*Carrying that left"):
            calls[2].get()
        with pytest.raises(DeserializationError, match=r"^the result of work\(\) cannot be read"):
            calls[3].get()


def test_handles_are_passed_as_they_are():
    app = App()

    @app.function(serialized=True)
    def same(value):
        return value

    with app.run(serialize=True):
        call = same.spawn(1)
        for handle in (app, same, call):
            assert same.remote(handle) is handle
            assert same.remote({"in": [handle]})["in"][0] is handle


def test_exceptions_arrive_as_copies_without_their_cause():
    app = App()
    raised = []

    def fails(value):
        try:
            raise KeyError("cause")
        except KeyError as cause:
            error = Carrying(value)
            error.add_note("noted")
            raised.append(error)
            raise error from cause

    function = app.function(serialized=True)(fails)
    with app.run(serialize=True), pytest.raises(Carrying) as caught:
        function.remote([1])
    error = caught.value
    assert error.value == [1]
    assert error.__notes__ == ["noted"]
    assert error.__cause__ is None
    assert error.__context__ is None
    assert [entry.name for entry in caught.traceback][-1] == "fails", "the user's frames are kept"
    assert error is not raised[0]


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async-generator"])
def test_exceptions_that_do_not_travel(kind):
    app = App()

    def raise_it(which):
        if which == "lock":
            raise Carrying(LOCK)
        raise TwoArguments("x", 2)

    async def raise_async(which):
        raise_it(which)

    def raise_generator(which):
        yield 1
        raise_it(which)

    async def raise_async_generator(which):
        yield 1
        raise_it(which)

    code = {
        "sync": raise_it,
        "async": raise_async,
        "generator": raise_generator,
        "async-generator": raise_async_generator,
    }[kind]
    function = app.function(serialized=True, name="work")(code)

    def call(which):
        if "generator" in kind:
            return list(function.remote_gen(which))
        return function.remote(which)

    with app.run(serialize=True):
        with pytest.raises(SerializationError) as caught:
            call("lock")
        assert str(caught.value) == (
            f"the exception {__name__}.Carrying that left work() cannot be serialized: "
            "error.value is a _thread.lock; keep plain data in the exception"
        )
        assert [entry.name for entry in caught.traceback][-1] == "raise_it"
        with pytest.raises(ExecutionError) as caught:
            call("two")
        assert str(caught.value).startswith(
            f"the exception {__name__}.TwoArguments that left work() cannot be read back at the "
            "caller: TypeError: TwoArguments.__init__() missing 1 required positional argument"
        )
        assert str(caught.value).endswith("or give it a __reduce__")


def test_control_flow_is_wrapped_as_ever():
    app = App()

    @app.function(serialized=True)
    def leave():
        sys.exit(3)

    with app.run(serialize=True), pytest.raises(RemoteError) as caught:
        leave.remote()
    assert isinstance(caught.value.__cause__, SystemExit)


def test_arguments_that_cannot_be_read_back():
    app = App()
    function = KINDS["sync"](app)
    with app.run(serialize=True):
        with pytest.raises(DeserializationError) as caught:
            function.remote(Unreadable())
        assert str(caught.value).startswith(
            "the arguments of add() cannot be read back in the container: ValueError: invalid"
        )
        assert function.statistics().failed == 1


def test_parameters_of_a_class_are_copies():
    app = App()

    with pytest.warns(moorage.exception.DeprecationError, match="__init__"):

        @app.cls(serialized=True)
        class Model:
            def __init__(self, weights):
                self.weights = weights

            @moorage.method()
            def change(self):
                self.weights.append(1)
                return self.weights

    weights = [0]
    with app.run(serialize=True):
        assert Model(weights).change.remote() == [0, 1]
        assert weights == [0]
        with pytest.raises(SerializationError) as caught:
            Model([LOCK]).change.remote()
        assert str(caught.value).startswith("the parameter 'weights' of Model(")
        assert str(caught.value).endswith(f"weights[0] is a _thread.lock; {TOOL}")
    with app.run():
        assert Model(weights).change.remote() is weights


@pytest.mark.parametrize("is_async", [False, True])
def test_what_enter_raises_travels(is_async):
    app = App()
    if is_async:

        @app.cls(serialized=True)
        class Model:
            @moorage.enter()
            async def load(self):
                raise Carrying(LOCK)

            @moorage.method()
            def work(self): ...
    else:

        @app.cls(serialized=True)
        class Model:
            @moorage.enter()
            def load(self):
                raise Carrying(LOCK)

            @moorage.method()
            def work(self): ...

    with app.run(serialize=True), pytest.raises(SerializationError, match=r"that left .*load"):
        Model().work.remote()


def test_the_fake_container_serializes_too():
    given = [1]
    with FakeContainer(add, serialize=True) as container:
        assert container.call(given) == [1, 1]
        assert given == [1]
        with pytest.raises(SerializationError, match="argument 'items' of add"):
            container.submit(LOCK)
        assert container.statistics().queued == 0
    with FakeContainer(add) as container:
        assert container.call(given) is given


def test_a_map_ends_where_an_input_does_not_pickle():
    app = App()
    function = KINDS["sync"](app)
    with app.run(serialize=True):
        # Read by a feeder: what was accepted before comes first.
        results = function.map(iter([[1], [2], [LOCK], [3]]))
        assert [next(results), next(results)] == [[1, 1], [2, 1]]
        with pytest.raises(SerializationError, match=r"of add\(\), input 2 of its call, cannot be"):
            next(results)
        with pytest.raises(SerializationError, match="input 1 of its call"):
            list(function.map([[1], [LOCK]], return_exceptions=True))
        with pytest.raises(SerializationError, match="input 1 of its call"):
            function.spawn_map([[1], [LOCK], [2]])
        statistics = function.statistics()
        assert (statistics.running, statistics.queued) == (0, 0)


def test_without_cloudpickle_the_extra_is_named(monkeypatch):
    serializing = importlib.import_module("moorage.serialize.serializing")
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    serializing._pickler_class.cache_clear()
    app = App()
    with (
        pytest.raises(InvalidError, match=r'write pip install "moorage\[serialize\]"$'),
        app.run(serialize=True),
    ):
        pass
    with app.run():
        pass


def test_without_serialize_cloudpickle_is_not_imported():
    code = (
        "import sys, moorage\n"
        "app = moorage.App()\n"
        "f = app.function(serialized=True)(lambda x: x)\n"
        "with app.run():\n"
        "    f.remote(1)\n"
        "assert 'cloudpickle' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# -- the culprits --------------------------------------------------------------------------


async def _items():
    yield 1


def culprits():
    lock = LOCK
    session = Session()
    yield "lock", LOCK, f"it is a _thread.lock; {TOOL}"
    yield "event", threading.Event(), f"it is a threading.Event; {TOOL}"
    yield "attribute", Session(), f"value.client._lock is a _thread.lock; {TOOL}"
    yield "slot", Slotted(), f"value.event is a threading.Event; {TOOL}"
    yield (
        "in-containers",
        [{"a": ({"b": LOCK},)}],
        f"value[0]['a'][0]['b'] is a _thread.lock; {TOOL}",
    )
    yield "in-a-set", {LOCK}, f"an element of value is a _thread.lock; {TOOL}"
    yield "key", {LOCK: 1}, f"a key of value is a _thread.lock; {TOOL}"
    yield (
        "closure",
        [1, {"callback": lambda: lock}],
        f"lock, used by value[1]['callback'], is a _thread.lock; {TOOL}",
    )
    yield (
        "closure-of-an-object",
        lambda: session,
        f"session.client._lock, used by value, is a _thread.lock; {TOOL}",
    )
    yield "partial", functools.partial(print, LOCK), f"value.args[0] is a _thread.lock; {TOOL}"
    yield "bound-method", Client().__init__, f"value.__self__._lock is a _thread.lock; {TOOL}"
    yield "namespace", types.SimpleNamespace(x=LOCK), f"value.x is a _thread.lock; {TOOL}"
    yield "error", ValueError(LOCK), f"value.args[0] is a _thread.lock; {TOOL}"
    yield "reduced", Reduced(LOCK), f"value.__reduce__()[1][0] is a _thread.lock; {TOOL}"
    yield "generator", (n for n in ()), "it is a generator; pass its items: list(...)"
    yield (
        "async-generator",
        _items(),
        "it is an async_generator; pass its items: [item async for item in ...]",
    )
    yield (
        "stubborn",
        {"x": Stubborn()},
        f"value['x'] is a {__name__}.Stubborn, and pickling it raised RuntimeError: not this one; "
        "pass plain data instead, and make it in the container, in an @moorage.enter() hook",
    )
    yield "queue", queue.Queue(), "it is a queue.Queue; pass a list of what is in it"
    yield (
        "future",
        Future(),
        "it is a concurrent.futures._base.Future; wait for it, and pass its result",
    )
    yield (
        "executor",
        ThreadPoolExecutor(),
        f"it is a concurrent.futures.thread.ThreadPoolExecutor; {TOOL}",
    )
    yield (
        "variable",
        contextvars.ContextVar("x"),
        "it is a _contextvars.ContextVar; pass its value: .get()",
    )
    yield "weakref", weakref.ref(Session), "it is a weakref.ReferenceType; pass the object itself"
    yield "local", threading.local(), f"it is a _thread._local; {TOOL}"


CULPRITS = {name: (value, text) for name, value, text in culprits()}


@pytest.fixture(scope="module")
def run():
    app = App()

    @app.function(serialized=True)
    def work(value): ...

    return app, work


@pytest.mark.parametrize("name", CULPRITS)
def test_the_culprit_is_named(run, name):
    app, work = run
    value, text = CULPRITS[name]
    with app.run(serialize=True):
        with pytest.raises(SerializationError) as caught:
            work.remote(value)
        assert str(caught.value) == f"the argument 'value' of work() cannot be serialized: {text}"


def test_what_has_to_be_closed_is_named(run, tmp_path):
    app, work = run
    what = "the argument 'value' of work() cannot be serialized"
    with (
        socket.socket() as connection,
        (tmp_path / "file").open("w") as file,
        app.run(serialize=True),
    ):
        database = sqlite3.connect(":memory:")
        loop = asyncio.new_event_loop()
        try:
            for value, text in (
                (connection, "it is a socket.socket; pass the address, and connect in an"),
                ({"f": file}, "value['f'] is an _io.TextIOWrapper; pass its path and open it in"),
                (database, "it is a sqlite3.Connection; pass the path or address of the"),
                ([loop], "value[0] is an asyncio.unix_events._UnixSelectorEventLoop; make it"),
            ):
                with pytest.raises(SerializationError) as caught:
                    work.remote(value)
                assert str(caught.value).startswith(f"{what}: {text}")
        finally:
            database.close()
            loop.close()


def test_the_name_is_that_of_the_parameter(run):
    app = App()

    @app.function(serialized=True)
    def work(a, /, b, *rest, c=None, **more): ...

    @app.cls(serialized=True)
    class Model:
        @moorage.method()
        def work(self, a): ...

    with app.run(serialize=True):
        for args, kwargs, name in (
            ((LOCK,), {}, "a"),
            ((1, LOCK), {}, "b"),
            ((1, 2, 3, LOCK), {}, r"rest\[1\]"),
            ((1,), {"b": LOCK}, "b"),
            ((1, 2), {"c": LOCK}, "c"),
            ((1, 2), {"d": LOCK}, "d"),
        ):
            with pytest.raises(SerializationError, match=rf"^the argument '{name}' of work\(\) "):
                work.remote(*args, **kwargs)
        with pytest.raises(SerializationError, match=r"^the argument 'a' of Model.work\(\) "):
            Model().work.remote(LOCK)


def test_results_are_named_too():
    app = App()

    @app.function(serialized=True)
    def work(which):
        return {"lock": LOCK, "deep": {"session": Session()}, "items": {"of": iter_of()}}[which]

    def iter_of():
        return (n for n in ())

    with app.run(serialize=True):
        for which, text in (
            ("lock", f"it is a _thread.lock; {LEFT_OUT}"),
            ("deep", f"result['session'].client._lock is a _thread.lock; {LEFT_OUT}"),
            ("items", "result['of'] is a generator; return its items: list(...)"),
        ):
            with pytest.raises(SerializationError) as caught:
                work.remote(which)
            assert str(caught.value) == f"the result of work() cannot be serialized: {text}"
            assert isinstance(caught.value, TypeError)


def test_a_users_error_in_pickling_is_the_cause(run):
    app, work = run
    with app.run(serialize=True), pytest.raises(SerializationError) as caught:
        work.remote(Stubborn())
    cause = caught.value.__cause__
    assert isinstance(cause, RuntimeError)
    assert cause.__traceback__.tb_frame.f_code.co_name == "__reduce__"


def test_the_walk_is_bounded(run, monkeypatch):
    culprits_file = importlib.import_module("moorage.serialize.culprits")
    monkeypatch.setattr(culprits_file, "MOST_DUMPS", 50)
    monkeypatch.setattr(culprits_file, "MOST_BYTES", 10_000)
    app, work = run
    deep = LOCK
    for _ in range(150):
        deep = [deep]
    with app.run(serialize=True):
        for value in ([*range(1000), LOCK], [b"x" * 20_000, LOCK], deep):
            with pytest.raises(SerializationError, match=r"^the argument 'value' of work\(\) "):
                work.remote(value)
