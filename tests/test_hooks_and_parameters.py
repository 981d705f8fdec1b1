"""Lifecycle hooks under ``.local()``, hooks of old names, ``super()``, and what parameters are."""

import asyncio
import threading

import anyio
import pytest

import moorage
from moorage import App, config
from moorage.exception import DeprecationError, ExecutionError, InvalidError

# -- parameters ---------------------------------------------------------------------------


def make_model(app, made=None):
    made = [] if made is None else made

    @app.cls()
    class Model:
        name: str = moorage.parameter()
        size: int = moorage.parameter(default=3)
        raw: bytes = moorage.parameter(default=b"")
        state: dict = moorage.parameter(init=False)  # set by enter, of any type

        @moorage.enter()
        def enter(self):
            made.append(self.name)
            self.state = {"entered": True}

        @moorage.method()
        def show(self):
            return self.name, self.size, self.raw, self.state

        @moorage.method()
        def early(self):
            return self.missing

    return Model


def test_parameters_may_be_given_by_position_in_their_order():
    app = App()
    model = make_model(app)
    with app.run():
        assert model("a").show.remote() == ("a", 3, b"", {"entered": True})
        assert model("a", 4, b"x").show.remote()[:3] == ("a", 4, b"x")
        model("a", 3).show.remote()
        model(name="a", size=3, raw=b"").show.remote()
        assert model("a").show.statistics().accepted == 3, "one pool, however they are given"
    assert model("b", raw=b"y").show.local()[:3] == ("b", 3, b"y")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing a required argument: 'name'"),
        (("a", 1, b"", 3), {}, "too many positional arguments"),
        (("a",), {"name": "b"}, "multiple values for argument 'name'"),
        (("a",), {"state": {}}, "unexpected keyword argument 'state'"),
        ((3,), {}, "name of Model is declared str, got 3"),
        (("a", "4"), {}, "size of Model is declared int, got '4'"),
        (("a", 4.0), {}, "size of Model is declared int, got 4.0"),
        (("a", 4, "x"), {}, "raw of Model is declared bytes, got 'x'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_with_what_to_write(args, kwargs, message):
    model = make_model(App())
    with pytest.raises((InvalidError, TypeError), match=message) as caught:
        model(*args, **kwargs)
    assert "write" in str(caught.value).splitlines()[-1]


def test_nothing_is_made_before_it_is_needed():
    app, made = App(), []
    model = make_model(app, made)
    obj = model("a")
    assert isinstance(obj.show, moorage.Function)
    assert obj.show.statistics() is None
    assert made == []
    assert obj.name == "a", "read from the local instance, which is not entered by that"
    assert made == []
    obj.show.local()
    obj.show.local()
    assert made == ["a"]
    with app.run():
        assert made == ["a"], "a run starts nothing that nobody asked for"


def test_a_parameter_without_a_value_is_missing_on_the_instance():
    app = App()

    @app.cls()
    class Model:
        state: int = moorage.parameter(init=False)

        @moorage.method()
        def read(self):
            return self.state

    with app.run(), pytest.raises(AttributeError, match="state"):
        Model().read.remote()
    with pytest.raises(AttributeError, match="state"):
        Model().read.local()


def test_the_parameters_of_a_plain_class_can_be_set_and_read():
    class Model:
        name: str = moorage.parameter(default="unset")
        size: int = moorage.parameter()

    model = Model()
    assert model.name == "unset"
    model.name = "mine"
    assert model.name == "mine"
    with pytest.raises(AttributeError, match="size"):
        model.size


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: {"k": moorage.parameter(default=1)}, "Model.k must be annotated"),
        (lambda: {"k": moorage.parameter(), "__annotations__": {"k": list}}, "str, int, bool"),
        (
            lambda: {"k": moorage.parameter(default="x"), "__annotations__": {"k": int}},
            "declared int, got the default 'x'",
        ),
        (
            lambda: {
                "a": moorage.parameter(default=1),
                "b": moorage.parameter(),
                "__annotations__": {"a": int, "b": int},
            },
            "write b first",
        ),
        (
            lambda: {
                "a": moorage.parameter(),
                "__annotations__": {"a": int},
                "__init__": lambda self: None,
            },
            "and a constructor",
        ),
    ],
)
def test_parameters_that_cannot_be_are_refused_when_decorating(declare, message):
    app = App()
    with pytest.raises((InvalidError, TypeError, ValueError), match=message):
        app.cls()(type("Model", (), declare()))


def test_annotations_may_be_text():
    app = App()

    @app.cls()
    class Model:
        name: "str" = moorage.parameter()
        size: "int" = moorage.parameter(default=1)

        @moorage.method()
        def show(self):
            return self.name, self.size

    with app.run():
        assert Model("a", size=2).show.remote() == ("a", 2)
    with pytest.raises((InvalidError, TypeError), match="declared str"):
        Model(1)


def test_an_overridden_parameter_counts_once_with_its_new_default():
    app = App()

    class Base:
        name: str = moorage.parameter(default="base")
        size: int = moorage.parameter(default=1)

    @app.cls()
    class Model(Base):
        name: str = moorage.parameter(default="model")

        @moorage.method()
        def show(self):
            return self.name, self.size

    with app.run():
        assert Model().show.remote() == ("model", 1)
        assert Model("x", 5).show.remote() == ("x", 5)


# -- hooks under .local() -----------------------------------------------------------------


def make_local(kinds):
    """A class with one enter hook of each kind, which fail as long as they are told to."""
    app, log, fail = App(), [], set()

    def make_hook(index, kind):
        def enter(self):
            log.append(f"{kind} {index}")
            if index in fail:
                raise ValueError(f"hook {index}")

        async def enter_async(self):
            await anyio.sleep(0)
            enter(self)

        return moorage.enter()(enter if kind == "sync" else enter_async)

    @moorage.method()
    def work(self):
        log.append("work")
        return "worked"

    @moorage.method()
    async def work_async(self):
        return work.raw(self) if hasattr(work, "raw") else None

    @moorage.exit()
    def leave(self):
        log.append("exit")

    hooks = {f"enter{index}": make_hook(index, kind) for index, kind in enumerate(kinds)}
    made = type("Work", (), {**hooks, "work": work, "work_async": work_async, "leave": leave})
    return app.cls()(made), log, fail


def call_async(obj):
    return asyncio.run(obj.work_async.local())


def call_on_a_loop(obj):
    async def main():
        return obj.work.local()

    return asyncio.run(main())


CALLS = [lambda obj: obj.work.local(), call_async, call_on_a_loop]


@pytest.mark.parametrize("call", CALLS, ids=["sync", "async", "sync on a loop"])
@pytest.mark.parametrize("kinds", [["sync", "async", "sync"], ["async", "sync"], ["sync"], []])
def test_enter_hooks_run_in_order_once_and_exit_hooks_never(call, kinds):
    cls, log, _ = make_local(kinds)
    obj = cls()
    assert log == []
    assert call(obj) == "worked"
    entered = [f"{kind} {index}" for index, kind in enumerate(kinds)]
    assert log == [*entered, "work"]
    for again in CALLS:
        assert again(obj) == "worked"
    assert log == [*entered, *["work"] * 4]
    cls().work.local()
    assert log[-len(entered) - 1 :] == [*entered, "work"], "each handle has its own"


@pytest.mark.parametrize("call", CALLS, ids=["sync", "async", "sync on a loop"])
@pytest.mark.parametrize("kinds", [["sync", "async", "sync"], ["async", "sync", "async"]])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failed_enter_is_tried_again_as_a_whole_by_the_next_call(call, kinds, failing):
    cls, log, fail = make_local(kinds)
    obj = cls()
    fail.add(failing)
    entered = [f"{kind} {index}" for index, kind in enumerate(kinds)]
    for _ in range(2):
        with pytest.raises(ValueError, match=f"hook {failing}"):
            call(obj)
        assert log == entered[: failing + 1]
        log.clear()
    fail.clear()
    assert call(obj) == "worked"
    assert log == [*entered, "work"]


def test_async_enter_hooks_run_on_the_loop_of_the_caller(run_async):
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            await anyio.sleep(0)
            self.event = anyio.Event()  # bound to the backend

        @moorage.method()
        async def work(self):
            self.event.set()
            await self.event.wait()
            return "worked"

    obj = Work()

    async def main():
        return [await obj.work.local() for _ in range(2)]

    assert run_async(main) == ["worked", "worked"]


def test_tasks_that_call_at_once_wait_for_the_hooks_which_run_once(run_async):
    app, log = App(), []

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            log.append("begin")
            for _ in range(5):
                await anyio.sleep(0)
            log.append("end")

        @moorage.method()
        async def work(self):
            log.append("work")

    obj = Work()

    async def main():
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(obj.work.local)

    run_async(main)
    assert log == ["begin", "end", "work", "work", "work"]


def test_a_waiting_task_tries_when_the_first_ones_hook_failed(run_async):
    app, log = App(), []

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            log.append("enter")
            await anyio.sleep(0)
            if len(log) == 1:
                raise ValueError("first")

        @moorage.method()
        async def work(self):
            return "worked"

    obj = Work()
    results = []

    async def main():
        async def one():
            try:
                results.append(await obj.work.local())
            except ValueError as error:
                results.append(str(error))

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)

    run_async(main)
    assert sorted(results) == ["first", "worked"]


def test_a_task_that_is_cancelled_while_entering_leaves_it_to_the_next(run_async):
    app, log = App(), []

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            log.append("enter")
            if len(log) == 1:
                await anyio.sleep_forever()

        @moorage.method()
        async def work(self):
            return "worked"

    obj = Work()

    async def main():
        with anyio.move_on_after(0):
            await obj.work.local()
        return await obj.work.local()

    assert run_async(main) == "worked"


def test_a_blocking_local_on_the_loop_that_enters_is_refused_rather_than_stuck():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        @moorage.method()
        async def work(self):
            return "worked"

        @moorage.method()
        def sync(self):
            return "sync"

    obj = Work()

    async def main():
        first = asyncio.ensure_future(obj.work.local())
        await asyncio.sleep(0)
        with pytest.raises(ExecutionError, match=r"await a \.local\(\) before"):
            obj.sync.local()
        assert await first == "worked"
        return obj.sync.local()

    assert asyncio.run(main()) == "sync"


def test_threads_that_call_at_once_enter_once(in_threads, often_switching):
    app = App()
    entered = []
    gate = threading.Event()

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            gate.wait(30)
            entered.append(self)

        @moorage.method()
        def work(self):
            assert entered == [self]
            return id(self)

    obj = Work()
    callers = [in_threads(obj.work.local) for _ in range(6)]
    gate.set()
    assert len({caller.result() for caller in callers}) == 1


def test_hooks_may_use_local_of_their_own_instance_and_handle():
    app, handle = App(), []

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            self.base = 1
            self.seen = [self.value.local()]
            if handle:
                self.seen.append(handle[0].value.local())

        @moorage.enter()
        async def enter_async(self):
            if handle:
                self.seen.append(await handle[0].value_async.local())
            self.seen.append(await self.value_async.local())

        @moorage.method()
        def value(self):
            return self.base

        @moorage.method()
        async def value_async(self):
            return self.base + 1

        @moorage.method()
        def show(self):
            return self.seen

        @moorage.method()
        async def show_async(self):
            return self.seen

    with app.run():
        assert Work().show.remote() == [1, 2]
    for call in (lambda obj: obj.show.local(), lambda obj: asyncio.run(obj.show_async.local())):
        handle[:] = [Work()]
        assert call(handle[0]) == [1, 1, 2, 2]


def test_a_constructor_that_fails_is_tried_again_under_local():
    app, tries = App(), []

    with pytest.warns(moorage.exception.DeprecationError, match="constructor"):

        @app.cls()
        class Work:
            def __init__(self, name):
                tries.append(name)
                if len(tries) == 1:
                    raise ValueError(name)
                self.name = name

            @moorage.method()
            def show(self):
                return self.name

    obj = Work("a")
    with pytest.raises(ValueError, match="a"):
        obj.show.local()
    assert obj.show.local() == "a"
    assert tries == ["a", "a"]


def test_generator_methods_under_local():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            self.base = 10

        @moorage.method()
        def count(self, n):
            yield from range(self.base, self.base + n)

        @moorage.method()
        async def count_async(self, n):
            for i in range(n):
                yield self.base + i

    assert list(Work().count.local(2)) == [10, 11]

    async def main():
        return [i async for i in Work().count_async.local(2)]

    assert asyncio.run(main()) == [10, 11]


# -- hooks of old names -------------------------------------------------------------------


@pytest.mark.parametrize("strict", [False, True])
def test_the_old_names_of_hooks_are_hooks(strict, monkeypatch):
    monkeypatch.setattr(config, "strict", strict)
    app, log = App(), []

    @app.cls(serialized=True)
    class Work:
        def __enter__(self):
            log.append("enter")

        def __exit__(self, kind, error, traceback):
            log.append(f"exit {kind} {error} {traceback}")

        @moorage.method()
        def work(self):
            return list(log)

    with app.run():
        assert Work().work.remote() == ["enter"]
    assert log == ["enter", "exit None None None"]
    log.clear()
    assert Work().work.local() == ["enter"]


def test_the_old_names_of_async_hooks_are_hooks():
    app, log = App(), []

    @app.cls()
    class Work:
        async def __aenter__(self):
            log.append("enter")

        async def __aexit__(self, *error):
            log.append(f"exit {error}")

        @moorage.method()
        async def work(self):
            return list(log)

    with app.run():
        assert Work().work.remote() == ["enter"]
    assert log == ["enter", "exit (None, None, None)"]


# -- super --------------------------------------------------------------------------------


def test_super_reaches_the_methods_of_a_base_here_and_in_a_container():
    app = App()

    class Base:
        def __init_subclass__(cls):
            cls.inherits = True

        @moorage.enter()
        def enter(self):
            self.base = 10

        @moorage.method()
        def value(self, n):
            return self.base + n

        @moorage.method()
        async def value_async(self, n):
            return self.base + n

    class Middle(Base):
        @moorage.method()
        def value(self, n):
            return 2 * super().value.local(n)

    @app.cls()
    class Derived(Middle):
        @moorage.method()
        def value(self, n):
            return -super().value.local(n)

        @moorage.method()
        async def value_async(self, n):
            return -(await super().value_async.local(n))

    with app.run():
        assert Derived().value.remote(1) == -22
        assert Derived().value_async.remote(1) == -11
    assert Derived().value.local(1) == -22
    assert asyncio.run(Derived().value_async.local(1)) == -11


def test_super_from_a_plain_method():
    app = App()

    class Base:
        @moorage.method()
        def value(self):
            return 1

        def plain(self):
            return self.value.local()

    @app.cls()
    class Derived(Base):
        @moorage.method()
        def value(self):
            return 10

        @moorage.method()
        def both(self):
            return super().plain(), super().value.local(), self.value.local()

    with app.run():
        assert Derived().both.remote() == (10, 1, 10)
    assert Derived().both.local() == (10, 1, 10)


def test_a_class_of_an_app_is_no_base():
    app = App()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self): ...

    with pytest.raises(InvalidError, match="inherit from a plain class"):

        class Derived(Work): ...


def test_a_method_of_the_class_itself_is_local_to_no_instance():
    app = App()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            return "worked"

    with pytest.raises(ExecutionError, match=r"write Work\(\.\.\.\)\.work\.local\(\.\.\.\)"):
        Work.work.local()
    with app.run(), pytest.warns(DeprecationError, match=r"write Work\(\)\.work\.remote"):
        assert Work.work.remote() == "worked"
