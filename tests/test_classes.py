"""Classes: lifecycle hooks, parameters, instances, and how a container lives and ends."""

import asyncio
import gc
import logging
import sqlite3
import threading
import weakref

import pytest

import moorage
from moorage import App
from moorage.exception import DeprecationError, ExecutionError, InvalidError
from moorage.runtime.clocks.virtual_clock import VirtualClock


class Log(list):
    """What happened, in order; ``wait_for(event)`` returns once it did."""

    def __init__(self):
        super().__init__()
        self._changed = threading.Condition()

    def append(self, event):
        with self._changed:
            super().append(event)
            self._changed.notify_all()

    def wait_for(self, event):
        with self._changed:
            assert self._changed.wait_for(lambda: event in self, 10), f"no {event} in {self}"


def test_enter_hooks_run_snap_first_bases_first_then_in_order_of_definition():
    app = App()
    log = Log()

    class Base:
        @moorage.enter()
        def base_enter(self):
            log.append("base enter")

        @moorage.enter(snap=True)
        def base_snap(self):
            log.append("base snap")

        @moorage.exit()
        def base_exit(self):
            log.append("base exit")

    @app.cls(enable_memory_snapshot=True)
    class Derived(Base):
        @moorage.enter()
        async def second(self):
            log.append("enter 1")

        @moorage.enter()
        def third(self):
            log.append("enter 2")

        @moorage.enter(snap=True)
        def first(self):
            log.append("snap")

        @moorage.method()
        def work(self):
            log.append("work")

        @moorage.exit()
        async def last(self):
            log.append("exit")

    with app.run():
        Derived().work.remote()
        Derived().work.remote()
    assert log == [
        *["base snap", "snap", "base enter", "enter 1", "enter 2"],
        *["work", "work", "base exit", "exit"],
    ]


def test_an_overriding_hook_takes_the_place_of_what_it_overrides():
    app = App()
    log = Log()

    class Base:
        @moorage.enter()
        def load(self):
            log.append("base load")

        @moorage.enter()
        def warm(self):
            log.append("base warm")

    @app.cls()
    class Derived(Base):
        @moorage.enter()
        def load(self):
            log.append("derived load")

        @moorage.method()
        def work(self):
            return None

    with app.run():
        Derived().work.remote()
    assert log == ["derived load", "base warm"]


def test_a_hook_overridden_by_one_of_another_kind_runs_all_the_same():
    # As in Modal: only a hook of the same kind takes its place.
    app = App()
    log = Log()

    class Base:
        @moorage.enter(snap=True)
        def load(self):
            log.append("base load")

        @moorage.exit()
        def end(self):
            log.append("base end")

    @app.cls(enable_memory_snapshot=True)
    class Derived(Base):
        @moorage.enter()
        def load(self):
            log.append("derived load")

        @moorage.enter()
        def end(self):
            log.append("derived end")

        @moorage.method()
        def work(self):
            log.append("work")

    with app.run():
        Derived().work.remote()
    expected = ["base load", "derived load", "derived end", "work", "base end"]
    assert log == expected


def test_a_hook_overridden_by_a_plain_method_runs_all_the_same():
    # As in Modal: only a hook takes the place of a hook.
    app = App()
    log = Log()

    class Base:
        @moorage.enter()
        def load(self):
            log.append("base load")

    @app.cls()
    class Derived(Base):
        def load(self):
            log.append("derived load")

        @moorage.method()
        def work(self):
            return None

    with app.run():
        Derived().work.remote()
    assert log == ["base load"]


def test_an_overriding_hook_may_call_what_it_overrides():
    app = App()
    log = Log()

    class Base:
        @moorage.enter()
        def load(self):
            log.append("base load")

    @app.cls()
    class Derived(Base):
        @moorage.enter()
        def load(self):
            super().load()
            log.append("derived load")

        @moorage.method()
        def work(self):
            return None

    with app.run():
        Derived().work.remote()
    assert log == ["base load", "derived load"]


def test_exit_hooks_run_once_for_each_container():
    app = App()
    log = Log()

    @app.cls(max_containers=3, min_containers=3)
    class Work:
        @moorage.enter()
        def enter(self):
            log.append(("enter", id(self)))

        @moorage.method()
        def work(self):
            return id(self)

        @moorage.exit()
        def exit(self):
            log.append(("exit", id(self)))

    with app.run():
        for call in [Work().work.spawn() for _ in range(30)]:
            call.get()
    entered = sorted(number for event, number in log if event == "enter")
    exited = sorted(number for event, number in log if event == "exit")
    assert len(entered) == 3
    assert exited == entered


def test_without_concurrent_sync_inputs_run_on_the_thread_that_ran_enter():
    app = App()

    @app.cls(max_containers=1)
    class Database:
        @moorage.enter()
        def connect(self):
            # sqlite3 refuses its connection to any other thread.
            self.connection = sqlite3.connect(":memory:")
            self.connection.execute("create table numbers (n integer)")

        @moorage.method()
        def add(self, n):
            self.connection.execute("insert into numbers values (?)", (n,))

        @moorage.method()
        def total(self):
            return self.connection.execute("select sum(n) from numbers").fetchone()[0]

        @moorage.exit()
        def close(self):
            self.connection.close()

    with app.run():
        database = Database()
        list(database.add.map(range(10)))
        assert database.total.remote() == 45


def test_hooks_and_inputs_of_a_container_share_one_loop():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            self.loop = asyncio.get_running_loop()
            self.task = asyncio.create_task(asyncio.sleep(0, "made in enter"))

        @moorage.method()
        async def work(self):
            return asyncio.get_running_loop() is self.loop, await self.task

    with app.run():
        assert Work().work.remote() == (True, "made in enter")


def test_sync_enter_hooks_run_with_no_loop_running():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            self.made_in_enter = asyncio.run(asyncio.sleep(0, "ran"))

        @moorage.method()
        async def work(self):
            return self.made_in_enter

    with app.run():
        assert Work().work.remote() == "ran"


def test_a_failing_enter_fails_the_inputs_that_wait_for_it_with_the_users_error():
    app = App()
    waiting, entered = threading.Event(), threading.Event()
    log = Log()

    class LoadError(Exception):
        def __init__(self, *args, code):
            super().__init__(*args)
            self.code = code

        def __reduce__(self):  # so that it can be copied
            return (_make_load_error, (LoadError, self.args, self.code))

    @app.cls(max_containers=1)
    class Work:
        @moorage.enter()
        def enter(self):
            entered.set()
            assert waiting.wait(10)
            raise LoadError("no model", code=7)

        @moorage.method()
        def work(self):
            log.append("work")

        @moorage.exit()
        def exit(self):
            log.append("exit")

    with app.run():
        calls = [Work().work.spawn() for _ in range(3)]
        assert entered.wait(10)
        waiting.set()
        errors = []
        for call in calls:
            with pytest.raises(LoadError, match="no model") as caught:
                call.get()
            assert caught.value.code == 7
            errors.append(caught.value)
        assert len({id(error) for error in errors}) == 3, "each caller has its own"
    assert log == [], "no input and no exit hook ran"


def _make_load_error(kind, args, code):
    return kind(*args, code=code)


def test_a_container_starts_anew_after_an_enter_that_failed():
    app = App()
    fails = [True]

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            if fails:
                fails.pop()
                raise LookupError("once")

        @moorage.method()
        def work(self):
            return "works"

    with app.run():
        with pytest.raises(LookupError, match="once"):
            Work().work.remote()
        assert Work().work.remote() == "works"


def test_a_failing_constructor_fails_like_an_enter_hook():
    app = App()

    with pytest.warns(DeprecationError, match=r"__init__.*moorage\.enter"):

        @app.cls()
        class Work:
            def __init__(self):
                raise LookupError("in the constructor")

            @moorage.method()
            async def work(self):
                return None

    with app.run(), pytest.raises(LookupError, match="in the constructor"):
        Work().work.remote()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_enter_hook_that_wants_to_end_the_program_fails_its_inputs(kind):
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            raise kind

        @moorage.method()
        def work(self):
            return None

    with app.run():
        with pytest.raises(moorage.exception.RemoteError) as caught:
            Work().work.remote()
        assert type(caught.value.__cause__) is kind


@pytest.mark.parametrize("kind", [LookupError, SystemExit])
def test_a_failing_exit_hook_is_logged_and_the_others_run(kind, caplog):
    app = App()
    log = Log()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            return None

        @moorage.exit()
        def first(self):
            log.append("first")
            raise kind

        @moorage.exit()
        async def second(self):
            log.append("second")
            raise LookupError("async")

        @moorage.exit()
        def third(self):
            log.append("third")

    with caplog.at_level(logging.ERROR, "moorage"), app.run():
        Work().work.remote()
    assert log == ["first", "second", "third"]
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["exit hook Work.first failed", "exit hook Work.second failed"]
    assert caplog.records[0].exc_info[0] is kind


def test_an_idle_container_stops_after_exactly_its_window():
    app = App()
    exited = []

    @app.cls(scaledown_window=30)
    class Work:
        @moorage.method()
        async def work(self):
            await asyncio.sleep(5)

        @moorage.exit()
        def exit(self):
            exited.append(clock.now())

    with VirtualClock() as clock, app.run(clock=clock):
        obj = Work()
        obj.work.remote()
        clock.sleep(29)
        assert exited == []
        assert len(obj.work.statistics().containers) == 1
        clock.sleep(2)
        assert exited == [35], "5 s of work and 30 s of idling"
        assert obj.work.statistics().containers == (), "a pool with nothing in it is dropped"
        obj.work.remote()
        assert clock.now() == 41, "and made anew"


def test_work_within_the_window_keeps_the_container():
    app = App()
    exited = []

    @app.cls(scaledown_window=30)
    class Work:
        @moorage.method()
        def work(self):
            return id(self)

        @moorage.exit()
        def exit(self):
            exited.append(clock.now())

    with VirtualClock() as clock, app.run(clock=clock):
        obj = Work()
        first = obj.work.remote()
        clock.sleep(20)
        assert obj.work.remote() == first
        clock.sleep(20)
        assert exited == []
        clock.sleep(11)
        assert exited == [50]


def test_min_containers_start_with_the_run_and_are_kept():
    app = App()
    log = Log()

    @app.cls(min_containers=2, scaledown_window=10)
    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")

        @moorage.method()
        def work(self):
            clock.sleep(1)

        @moorage.exit()
        def exit(self):
            log.append("exit")

    obj = Work()
    with VirtualClock() as clock, app.run(clock=clock):
        clock.sleep(1)
        assert log == ["enter", "enter"]
        assert len(obj.work.statistics().containers) == 2
        for call in [obj.work.spawn() for _ in range(4)]:
            call.get()
        assert len(obj.work.statistics().containers) == 4
        clock.sleep(1000)
        assert len(obj.work.statistics().containers) == 2
        assert log.count("exit") == 2
    assert log.count("exit") == 4


def test_min_containers_of_a_function_start_with_the_run():
    app = App()

    @app.function(min_containers=2)
    async def work():
        return None

    with VirtualClock() as clock, app.run(clock=clock):
        clock.sleep(1)
        assert work.statistics().containers_started == 2


def test_buffer_containers_are_started_while_there_is_demand():
    app = App()

    @app.function(buffer_containers=2)
    def work():
        clock.sleep(1)

    with VirtualClock() as clock, app.run(clock=clock):
        work.remote()
        assert len(work.statistics().containers) == 3


# -- capacity -------------------------------------------------------------------------


def test_at_capacity_the_longest_idle_container_makes_room(monkeypatch):
    monkeypatch.setattr(moorage.config, "max_containers", 2)
    app = App()
    log = Log()

    def make(name):
        @app.cls()
        class Work:
            @moorage.method()
            def work(self):
                clock.sleep(1)

            @moorage.exit()
            def exit(self):
                log.append((name, clock.now()))

        return Work()

    first, second = make("first"), make("second")
    with VirtualClock() as clock, app.run(clock=clock):
        first.work.remote()
        second.work.remote()
        # Both containers there may be are idle; a second one of `second` is wanted.
        calls = [second.work.spawn(), second.work.spawn()]
        for call in calls:
            call.get()
        assert clock.now() == 3, "the two ran side by side"
        assert log == [("first", 2)]


def test_pools_at_capacity_are_served_in_turn(monkeypatch):
    monkeypatch.setattr(moorage.config, "max_containers", 3)
    app = App()

    def make():
        @app.function()
        def work():
            clock.sleep(1)
            return clock.now()

        return work

    functions = [make(), make()]
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [function.spawn() for _ in range(6) for function in functions]
        ends = [call.get() for call in calls]
        assert len(ends) == 12
        assert max(ends) <= 7, "each has one container at least, so 6 s and what starting takes"
        # One that is done gives its containers up for the other.
        peaks = [f.statistics().peak_containers for f in functions]
        assert 3 <= sum(peaks) <= 5
        assert max(peaks) <= 3


def test_the_first_container_of_a_pool_is_granted_beyond_capacity(monkeypatch):
    monkeypatch.setattr(moorage.config, "max_containers", 1)
    app = App()

    @app.function()
    def inner():
        return 1

    @app.function()
    def middle():
        return inner.remote() + 1

    @app.function()
    def outer():
        return middle.remote() + 1

    with app.run():
        assert outer.remote() == 3, "chains through distinct pools always get on"


# -- parameters -----------------------------------------------------------------------


def make_parametrized(app):
    @app.cls()
    class Model:
        name: str = moorage.parameter()
        size: int = moorage.parameter(default=3)
        loud: bool = moorage.parameter(default=False)

        @moorage.enter()
        def enter(self):
            self.loaded = f"{self.name}/{self.size}"

        @moorage.method()
        def show(self):
            return self.loaded, self.loud, id(self)

    return Model


def test_parameters_reach_the_enter_hooks():
    app = App()
    model = make_parametrized(app)
    with app.run():
        assert model(name="a").show.remote()[:2] == ("a/3", False)
        assert model(name="b", size=5, loud=True).show.remote()[:2] == ("b/5", True)


def test_the_same_values_share_a_pool_and_others_do_not():
    app = App()
    model = make_parametrized(app)
    with app.run():
        a, same, other = model(name="a"), model(name="a", size=3), model(name="b")
        assert a.show.remote()[2] == same.show.remote()[2]
        assert a.show.remote()[2] != other.show.remote()[2]
        assert a.show.statistics() == same.show.statistics()
        assert a.show.statistics().accepted == 3
        assert other.show.statistics().accepted == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing a required argument: 'name'; write Model\\(name=..., size=..."),
        (("a", 1, True, 3), {}, "too many positional arguments; write Model\\(name=..."),
        ((), {"name": "a", "colour": 1}, "unexpected keyword argument 'colour'; write Model"),
        ((), {"name": 3}, "name of Model is declared str, got 3"),
        ((), {"name": "a", "size": "big"}, "size of Model is declared int, got 'big'"),
        ((), {"name": "a", "size": True}, "size of Model is declared int, got True"),
        ((), {"name": "a", "loud": 1}, "loud of Model is declared bool, got 1"),
        ((), {"name": "a", "size": None}, "size of Model is declared int, got None"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(args, kwargs, message):
    model = make_parametrized(App())
    with pytest.raises(InvalidError, match=message):
        model(*args, **kwargs)


def test_a_parameter_of_another_type_is_refused_when_decorating():
    app = App()
    with pytest.raises(InvalidError, match=r"Model\.size must be annotated with str, int, bool"):

        @app.cls()
        class Model:
            size: float = moorage.parameter(default=1.0)


def test_a_parameter_without_annotation_is_refused_when_decorating():
    app = App()
    with pytest.raises(InvalidError, match=r"Model\.size must be annotated"):

        @app.cls()
        class Model:
            size = moorage.parameter(default=1)


def test_a_parameter_kept_out_of_the_constructor_is_set_by_enter():
    app = App()

    @app.cls()
    class Model:
        name: str = moorage.parameter()
        state: int = moorage.parameter(init=False, default=4)

        @moorage.method()
        def show(self):
            return self.name, self.state

    with app.run():
        assert Model(name="a").show.remote() == ("a", 4)
    with pytest.raises(InvalidError, match="unexpected keyword argument 'state'"):
        Model(name="a", state=5)


def test_inherited_parameters_count():
    app = App()

    class Base:
        name: str = moorage.parameter()

    @app.cls()
    class Model(Base):
        size: int = moorage.parameter(default=1)

        @moorage.method()
        def show(self):
            return self.name, self.size

    with app.run():
        assert Model(name="a").show.remote() == ("a", 1)


def test_a_class_with_a_constructor_has_a_pool_for_each_set_of_arguments():
    app = App()

    with pytest.warns(DeprecationError, match=r"__init__.*moorage\.enter"):

        @app.cls()
        class Model:
            def __init__(self, name, size=1):
                self.shown = f"{name}/{size}"

            @moorage.method()
            def show(self):
                return self.shown, id(self)

    with app.run():
        assert Model("a").show.remote() == Model("a").show.remote()
        assert Model("b", size=2).show.remote()[0] == "b/2"
        with pytest.raises(TypeError):
            Model()


# -- instances ------------------------------------------------------------------------


def test_self_method_in_user_code_is_a_function():
    app = App()

    @app.cls()
    @moorage.concurrent(max_inputs=2)
    class Work:
        @moorage.method()
        def one(self):
            return moorage.current_input_id()

        @moorage.method()
        def all(self):
            return [self.one.local(), self.one.remote(), moorage.current_input_id()]

        def plain(self):
            return "plain"

        @moorage.method()
        def by_plain(self):
            return self.plain()

    with app.run():
        local, remote, own = Work().all.remote()
        assert local == own
        assert remote != own
        assert Work().by_plain.remote() == "plain"


def test_calling_a_method_directly_is_refused_with_advice():
    app = App()

    @app.cls()
    class Work:
        @moorage.method()
        def one(self):
            return 1

    with pytest.raises(InvalidError, match=r"Work\(\.\.\.\)\.one\.remote"):
        Work().one()


def test_local_makes_one_instance_here_and_enters_it_once():
    app = App()
    log = Log()

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            log.append(threading.current_thread())
            self.state = "entered"

        @moorage.method()
        def show(self):
            return self.state, id(self), moorage.is_local()

        @moorage.method()
        async def show_async(self):
            return self.state, id(self), moorage.is_local()

        @moorage.exit()
        def exit(self):
            log.append("exit")

    obj = Work()
    first = obj.show.local()
    assert first[0] == "entered"
    assert first[2] is True
    assert obj.show.local() == first
    assert asyncio.run(obj.show_async.local()) == first
    assert log == [threading.current_thread()]
    assert obj.state == "entered", "any other attribute is the local instance's"


def test_local_runs_async_enter_hooks():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            self.state = "entered"

        @moorage.method()
        def show(self):
            return self.state

        @moorage.method()
        async def show_async(self):
            return self.state

    assert Work().show.local() == "entered"
    assert asyncio.run(Work().show_async.local()) == "entered"


def test_a_decorated_class_made_by_hand_is_a_plain_class():
    class Work:
        @moorage.enter()
        def enter(self):
            return "hook"

        @moorage.method()
        def one(self):
            return 1

    work = Work()
    assert (work.one(), work.enter()) == (1, "hook")


def test_class_attributes_and_the_docstring_stay():
    app = App()

    @app.cls()
    class Work:
        """Does work."""

        COLOUR = "red"

        @staticmethod
        def double(value):
            return 2 * value

        @moorage.method()
        def one(self):
            """Gives one."""
            return 1

    assert Work.__doc__ == "Does work."
    assert (Work.COLOUR, Work.double(2)) == ("red", 4)
    assert Work().one.__doc__ == "Gives one."


def test_generator_methods_stream():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            self.base = 10

        @moorage.method()
        def count(self, n):
            yield from range(self.base, self.base + n)

        @moorage.method()
        async def count_async(self, n):
            for i in range(n):
                yield self.base + i

    with app.run():
        assert list(Work().count.remote_gen(3)) == [10, 11, 12]
        assert list(Work().count_async.remote_gen(3)) == [10, 11, 12]


def test_an_instance_dies_with_its_container_though_its_code_called_its_methods():
    app, alive = App("test"), []

    @app.cls()
    class Model:
        @moorage.enter()
        def enter(self):
            alive.append(weakref.ref(self))

        @moorage.method()
        def outer(self):
            return self.inner.local(), self.inner

        @moorage.method()
        def inner(self):
            return 1

    gc.collect()
    gc.disable()
    try:
        with app.run():
            value, inner = Model().outer.remote()
            assert (value, inner.local()) == (1, 1)
        assert alive[0]() is None
    finally:
        gc.enable()
    with pytest.raises(ExecutionError, match="write Model"):
        inner.local()


def test_hydrate_in_strict_mode_needs_a_run(monkeypatch):
    monkeypatch.setattr(moorage.config, "strict", True)
    app = App("hydrated")

    @app.cls(serialized=True)
    class Model:
        size: int = moorage.parameter()

        @moorage.method()
        def show(self):
            return self.size

    with pytest.raises(moorage.exception.ExecutionError, match="does not run"):
        Model.hydrate()
    with app.run():
        assert Model.hydrate() is Model
        assert Model(size=3).show.remote() == 3
