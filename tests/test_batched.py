"""Batched functions: lists in the code, single values for its callers."""

import asyncio

import pytest

import moorage
from moorage import App, config
from moorage.exception import InvalidError


async def collect(results):
    return [result async for result in results]


def make_app():
    app = App()

    @app.function()
    @moorage.batched(max_batch_size=4, wait_ms=10)
    def add(lefts, rights):
        assert isinstance(lefts, list)
        assert len(lefts) == len(rights)
        return [left + right for left, right in zip(lefts, rights, strict=True)]

    @app.function()
    @moorage.batched(max_batch_size=4, wait_ms=10)
    async def double(values):
        await asyncio.sleep(0)
        return [2 * value for value in values]

    @app.cls()
    class Scale:
        factor: int = moorage.parameter(default=1)

        @moorage.batched(max_batch_size=4, wait_ms=10)
        def scale(self, values):
            return [self.factor * value for value in values]

    return app, add, double, Scale


def test_callers_give_and_get_single_values(run_async):
    app, add, double, scale = make_app()
    with app.run():
        assert add.remote(1, 2) == 3
        assert add.remote(1, rights=2) == 3
        assert add.remote(lefts="a", rights="b") == "ab"
        assert add.spawn(1, 2).get() == 3
        assert double.remote(4) == 8
        assert scale(factor=3).scale.remote(2) == 6
        assert run_async(lambda: double.remote.aio(5)) == 10
        assert run_async(lambda: scale(factor=3).scale.remote.aio(values=5)) == 15


def test_maps_of_all_kinds(run_async):
    app, add, double, scale = make_app()
    with app.run():
        assert list(double.map(range(10))) == list(range(0, 20, 2))
        assert list(add.map(range(5), range(5))) == [0, 2, 4, 6, 8]
        assert list(add.starmap([(1, 2), (3, 4)])) == [3, 7]
        assert list(add.map([1, 2], kwargs={"rights": 10})) == [11, 12]
        assert list(scale(factor=2).scale.map([1, 2])) == [2, 4]
        assert run_async(lambda: collect(double.map.aio([1, 2]))) == [2, 4]
        assert list(double.experimental_spawn_map([1, 2]).iter()) == [2, 4]
        assert double.for_each([1, 2]) is None


def test_a_value_that_is_a_list_stays_one():
    app, add, double, _ = make_app()
    with app.run():
        assert add.remote([1], [2]) == [1, 2]
        assert double.remote([1, 2]) == [1, 2, 1, 2]


def test_local_takes_whole_batches():
    _app, add, double, scale = make_app()
    assert add.local([1, 2], [3, 4]) == [4, 6]
    assert asyncio.run(double.local([1, 2])) == [2, 4]
    assert scale(factor=3).scale.local([1, 2]) == [3, 6]


def test_self_in_a_batched_method_may_be_called_locally():
    app = App()

    @app.cls()
    class Twice:
        def plain(self, value):
            return 2 * value

        @moorage.batched(max_batch_size=2, wait_ms=0)
        async def twice(self, values):
            return [self.plain(value) for value in values]

    with app.run():
        assert Twice().twice.remote(3) == 6


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ([], "a list of 0"),
        ([1, 2], "a list of 2"),
        (None, "NoneType"),
        ((1,), "tuple"),
        ("a", "str"),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_result_of_another_length_or_kind_is_refused(result, shown, kind):
    app = App()

    @app.function(name="wrong")
    @moorage.batched(max_batch_size=2, wait_ms=0)
    def sync(values):
        return result

    @app.function(name="wrong")
    @moorage.batched(max_batch_size=2, wait_ms=0)
    async def asynchronous(values):
        return result

    with app.run(), pytest.raises(InvalidError, match=f"list with one element.*got {shown} for 1"):
        (sync if kind == "sync" else asynchronous).remote(1)


# What the container of modal 1.6.4 makes of the same arguments, tried by hand.
@pytest.mark.parametrize(
    ("args", "kwargs", "fits"),
    [
        ((1, 2), {}, True),
        ((1,), {"y": 2}, True),
        ((), {"y": 2, "x": 1}, True),
        ((), {}, False),
        ((1,), {}, False),
        ((1, 2, 3), {}, False),
        ((1,), {"z": 2}, False),
        ((1,), {"x": 2}, False),
        ((1, 2), {"z": 2}, False),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "keyword only", "positional only", "method"])
def test_arguments_fit_where_they_do_in_modal(args, kwargs, fits, kind):
    app = App()

    def plain(x, y):
        return list(zip(x, y, strict=True))

    def keyword_only(x, *, y):
        return plain(x, y)

    def positional_only(x, y, /):
        return plain(x, y)

    class Work:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self, x, y):
            return plain(x, y)

    if kind == "method":
        work = app.cls(serialized=True)(Work)().work
    else:
        function = {
            "plain": plain,
            "keyword only": keyword_only,
            "positional only": positional_only,
        }[kind]
        work = app.function(serialized=True)(moorage.batched(max_batch_size=2, wait_ms=0)(function))
    with app.run():
        if fits:
            assert work.remote(*args, **kwargs) == (1, 2)
        else:
            with pytest.raises(InvalidError, match=r"; write \S*\.remote\(x, y\)"):
                work.remote(*args, **kwargs)


def test_errors_of_the_code_reach_the_caller():
    app = App()

    @app.function()
    @moorage.batched(max_batch_size=2, wait_ms=0)
    def fail(values):
        raise ValueError(values)

    with app.run():
        with pytest.raises(ValueError, match=r"\[1\]"):
            fail.remote(1)
        first, second = fail.map([1, 2], return_exceptions=True)
        assert (type(first), type(second)) == (ValueError, ValueError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_batch_size": 0, "wait_ms": 1}, "max_batch_size"),
        ({"max_batch_size": 1001, "wait_ms": 1}, "max_batch_size"),
        ({"max_batch_size": 2, "wait_ms": -1}, "wait_ms"),
        ({"max_batch_size": 2, "wait_ms": 600_001}, "wait_ms"),
        ({"max_batch_size": 2}, "wait_ms"),
    ],
)
def test_sizes_and_waits_that_cannot_be(arguments, message):
    with pytest.raises((InvalidError, TypeError, ValueError), match=message):
        moorage.batched(**arguments)


def test_what_cannot_be_batched():
    app = App()

    @moorage.batched(max_batch_size=2, wait_ms=0)
    def items(values):
        yield 1

    @moorage.batched(max_batch_size=2, wait_ms=0)
    def with_default(values, other=1): ...

    with pytest.raises(InvalidError, match="is a generator; write one that returns a list"):
        app.function()(items)
    with pytest.raises(InvalidError, match="has defaults for other"):
        app.function()(with_default)
    with pytest.raises(TypeError, match=r"without its parentheses.*max_batch_size=\.\.\., wait_ms"):
        moorage.batched(with_default)


def test_what_is_said_to_be_a_generator_cannot_be_batched():
    @moorage.batched(max_batch_size=2, wait_ms=0)
    def work(values):
        return values

    assert App().function(is_generator=False)(work)
    generator = App().function(is_generator=True)(work.raw)
    with pytest.raises(InvalidError, match="is a generator"):
        generator.with_batching(max_batch_size=2, wait_ms=0)


@pytest.mark.parametrize("strict", [False, True])
def test_a_batched_function_without_parameters_is_an_error_when_it_is_called(monkeypatch, strict):
    monkeypatch.setattr(config, "strict", strict)
    app = App()

    @moorage.batched(max_batch_size=2, wait_ms=0)
    def nothing(): ...

    @app.cls(serialized=True)
    class Work:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self): ...

    function = app.function(serialized=True)(nothing)
    plain = app.function(serialized=True, name="plain")(lambda: None)
    made_batched = plain.with_batching(max_batch_size=2, wait_ms=0)
    with app.run():
        assert function.local() is None
        for called, name in ((function, "nothing"), (Work().work, "work"), (made_batched, "plain")):
            wanted = rf"no parameter.*; write def {name}\(inputs\)"
            with pytest.raises(InvalidError, match=wanted):
                called.remote(1)
            with pytest.raises(InvalidError, match=wanted):
                called.spawn(x=1).get()
            with pytest.raises(InvalidError, match=wanted):
                list(called.map([1, 2]))
            with pytest.raises(InvalidError, match="must return a list"):
                called.remote()


@pytest.mark.parametrize("strict", [False, True])
def test_a_batched_function_that_is_called_a_generator_is_an_error_when_it_is_called(
    monkeypatch, strict
):
    monkeypatch.setattr(config, "strict", strict)
    app = App()

    @app.function(is_generator=True, serialized=True)
    @moorage.batched(max_batch_size=2, wait_ms=0)
    def doubled(values):
        return values

    with app.run():
        for call in (
            lambda: doubled.remote(1),
            lambda: doubled.spawn(1),
            lambda: list(doubled.remote_gen(1)),
            lambda: list(doubled.map([1])),
        ):
            with pytest.raises(InvalidError, match=r"cannot be a generator.*take it away"):
                call()


def test_a_batched_method_below_staticmethod_is_told_so():
    app = App()

    @app.cls()
    class Work:
        @staticmethod
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(values):
            return values

    with pytest.raises(AttributeError, match="take @staticmethod away and give it self"):
        Work().work.remote(1)
    with pytest.raises(TypeError, match="take @staticmethod away and give it self"):
        Work().work(1)


TOO_SHORT = r"got queue_timeout=0\.1 with wait_ms=100; write queue_timeout=0\.2"


def test_a_queue_timeout_within_the_wait_of_a_batch_is_refused_wherever_it_comes_from():
    app = App()
    batched = moorage.batched(max_batch_size=2, wait_ms=100)

    def work(values):
        return values

    def make_class():
        class Work:
            @batched
            def work(self, values):
                return values

        return Work

    plain, quick = app.function()(batched(work)), app.function(queue_timeout=0.1, name="b")(work)
    Plain = app.cls()(make_class())

    class One:
        @moorage.method()
        def work(self, values): ...

    Quick = app.cls(queue_timeout=0.1)(One)
    for refused in (
        lambda: app.function(queue_timeout=0.1)(batched(work)),
        lambda: app.cls(queue_timeout=0.1)(make_class()),
        lambda: plain.with_options(queue_timeout=0.1),
        lambda: Plain.with_options(queue_timeout=0.1),
        lambda: quick.with_batching(max_batch_size=2, wait_ms=100),
        lambda: Quick.with_batching(max_batch_size=2, wait_ms=100),
    ):
        with pytest.raises(InvalidError, match=TOO_SHORT):
            refused()
    with app.run():
        patient = plain.with_options(queue_timeout=0.5).with_batching(max_batch_size=2, wait_ms=0)
        assert patient.remote(1) == 1


def test_a_class_that_is_looked_up_has_its_queue_timeout_checked_on_use():
    app = App("queue-timeouts")

    @app.cls()
    class Work:
        @moorage.batched(max_batch_size=2, wait_ms=100)
        def work(self, values):
            return values

    app.deploy()
    try:
        found = moorage.Cls.from_name("queue-timeouts", "Work").with_options(queue_timeout=0.1)
        with pytest.raises(InvalidError, match=TOO_SHORT):
            found().work.remote(1)
    finally:
        app.stop()


def test_a_class_with_a_batched_method_has_no_other():
    app = App()

    with pytest.raises(InvalidError, match=r"has the batched method two.*got one"):

        @app.cls()
        class Both:
            @moorage.method()
            def one(self): ...

            @moorage.batched(max_batch_size=2, wait_ms=0)
            def two(self, values): ...

    with pytest.raises(InvalidError, match="Twins"):

        @app.cls()
        class Twins:
            @moorage.batched(max_batch_size=2, wait_ms=0)
            def one(self, values): ...

            @moorage.batched(max_batch_size=2, wait_ms=0)
            def two(self, values): ...


def test_a_class_may_have_hooks_and_plain_methods_beside_it():
    app = App()

    @app.cls()
    @moorage.concurrent(max_inputs=2)
    class Model:
        @moorage.enter()
        def load(self):
            self.factor = 5

        def plain(self, value):
            return self.factor * value

        @moorage.batched(max_batch_size=2, wait_ms=0)
        def infer(self, values):
            return [self.plain(value) for value in values]

        @moorage.exit()
        def unload(self):
            del self.factor

    with app.run():
        assert list(Model().infer.map([1, 2])) == [5, 10]
        assert Model().infer.statistics().max_inputs == 2


def test_an_override_that_is_no_batched_method_is_none():
    app = App()

    class Base:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self, values):
            return values

    @app.cls()
    class Derived(Base):
        @moorage.method()
        def work(self, value):
            return ("one", value)

        @moorage.method()
        def other(self):
            return "other"

    with app.run():
        assert Derived().work.remote(1) == ("one", 1)
        assert Derived().other.remote() == "other"


def test_an_inherited_batched_method_works():
    app = App()

    class Base:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self, values):
            return [self.which for _ in values]

    @app.cls()
    class Derived(Base):
        which = "derived"

    with app.run():
        assert Derived().work.remote(1) == "derived"


def test_super_reaches_the_batched_method_of_a_base():
    app = App()

    class Base:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self, values):
            return [2 * value for value in values]

    @app.cls()
    class Derived(Base):
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self, values):
            return [value + 1 for value in super().work.local(values)]

    with app.run():
        assert Derived().work.remote(3) == 7
    assert Derived().work.local([1, 2]) == [3, 5]


def test_in_strict_mode_wrong_batched_methods_are_found_when_called(monkeypatch):
    monkeypatch.setattr(config, "strict", True)
    app = App()

    @app.cls(serialized=True)
    class Work:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        def work(self, values, other=1):
            return values

    with app.run():
        assert Work().work.remote(1) == 1
