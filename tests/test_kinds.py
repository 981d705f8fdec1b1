"""What user code gives back: the kind of a callable, and what a call of it really gave.

Warnings are errors in these tests, so a coroutine that is refused without being closed ("was
never awaited") fails its test too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import logging
import subprocess
import sys
import types
import unittest.mock

import pytest

import moorage
from moorage import App
from moorage.exception import InvalidArgumentsError, InvalidError
from moorage.runtime.kinds import Kind, inner_kind_of, kind_of
from moorage.testing import FakeContainer, Probe


def timed(function):
    """A decorator that knows nothing of async, and returns what the function gives."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


def ran(function):
    """A decorator that runs the coroutine of the function itself."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        return asyncio.run(function(*args, **kwargs))

    return call


class Noted:
    """A decorator that is a class."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)


class no_gradients(contextlib.ContextDecorator):
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def count(n):
    yield from range(n)


async def count_async(n):
    for number in range(n):
        yield number


class Fetch:
    async def __call__(self, x):
        await asyncio.sleep(0)
        return 2 * x

    async def method(self, x):
        return await self(x)

    @classmethod
    async def of_class(cls, x):
        return 2 * x

    @staticmethod
    async def static(x):
        return 2 * x


class Count:
    def __call__(self, n):
        yield from range(n)


class CountAsync:
    async def __call__(self, n):
        for number in range(n):
            yield number


class Later:
    """An object that can be awaited."""

    def __await__(self):
        yield
        return 1


class CalledObject:
    __call__ = Fetch()  # the class's `__call__` is an object with `__call__`


class Static:
    __call__ = staticmethod(double)


class Forwarding:
    def __call__(self, x):
        return double(x)


class Itself:
    pass


Itself.__call__ = Itself()


@types.coroutine
def old_coroutine(x):
    yield
    return 2 * x


ASYNC = {
    "def": double,
    "object": Fetch(),
    "partial": functools.partial(double),
    "nested partial": functools.partial(functools.partial(double)),
    "partial of an object": functools.partial(Fetch()),
    "partial of a method": functools.partial(Fetch().method),
    "method": Fetch().method,
    "class method": Fetch.of_class,
    "static method": Fetch.static,
    "static method object": staticmethod(double),
    "__call__ of an object": CalledObject(),
    "static __call__": Static(),
    "singledispatch": functools.singledispatch(double),
    "lru_cache": functools.lru_cache(double),
    "context decorator": no_gradients()(double),
    "context decorator of a partial": no_gradients()(functools.partial(double)),
    "types.coroutine": old_coroutine,
    "AsyncMock": unittest.mock.AsyncMock(side_effect=double),
}
GENERATORS = {
    "def": count,
    "object": Count(),
    "partial": functools.partial(count),
    "context decorator": no_gradients()(count),
    "lru_cache": functools.lru_cache(count),
    "async def": count_async,
    "async object": CountAsync(),
    "async partial": functools.partial(functools.partial(count_async)),
    "async context decorator": no_gradients()(count_async),
}
PLAIN = {
    "wraps": timed(double),
    "wraps of an object": Noted(double),
    "wraps that runs": ran(double),
    "class": Fetch,
    "builtin": len,
    "builtin method": "a".join,
    "lambda": lambda: double(1),
    "forwarding object": Forwarding(),
    "itself": Itself(),
    "mock": unittest.mock.MagicMock(),
    "nothing": None,
}


@pytest.fixture(autouse=True)
def every_coroutine_is_awaited_or_closed():
    yield
    gc.collect()  # warns of those that are not, and warnings are errors


@pytest.mark.parametrize("name", ASYNC)
def test_a_callable_counts_by_the_async_code_that_its_call_runs(name):
    assert kind_of(ASYNC[name]) is Kind.ASYNC


@pytest.mark.parametrize("name", GENERATORS)
def test_a_callable_counts_by_the_generator_that_its_call_makes(name):
    is_async = name.startswith("async")
    assert kind_of(GENERATORS[name]) is (Kind.ASYNC_GENERATOR if is_async else Kind.SYNC_GENERATOR)


@pytest.mark.parametrize("name", PLAIN)
def test_other_callables_are_plain(name):
    assert kind_of(PLAIN[name]) is Kind.SYNC


def test_the_inner_kind_is_that_behind_all_wrappers():
    assert inner_kind_of(timed(Noted(timed(double)))) is Kind.ASYNC
    assert inner_kind_of(functools.partial(timed(count_async))) is Kind.ASYNC_GENERATOR
    assert inner_kind_of(timed(Fetch())) is Kind.ASYNC
    assert inner_kind_of(timed(len)) is Kind.SYNC


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction is new")
def test_a_marked_function_is_async():
    for made in (timed(double), Noted(double), Forwarding()):
        assert kind_of(inspect.markcoroutinefunction(made)) is Kind.ASYNC
    with FakeContainer(inspect.markcoroutinefunction(timed(double))) as container:
        assert container.call(2) == 4


@pytest.mark.parametrize("max_inputs", [1, 3])
@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("name", [name for name in ASYNC if "lru" not in name])
def test_async_callables_are_awaited_in_all_ways(name, serialize, max_inputs):
    if serialize and name == "AsyncMock":
        pytest.skip("its result is the mock's, which is not pickled by name")
    app = App()
    function = app.function(name="double", serialized=True)(
        moorage.concurrent(max_inputs=max_inputs)(functools.partial(ASYNC[name]))
    )
    with app.run(serialize=serialize):
        results = [function.remote(2), function.spawn(2).get(), *function.map([2])]
        results += function.starmap([(2,)])

        async def collect():
            results.append(await function.remote.aio(2))
            results.append(await (await function.spawn.aio(2)).get.aio())
            results.extend([result async for result in function.map.aio([2])])

        asyncio.run(collect())
        assert results == [4] * 7
        function.for_each([2])


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_callables_are_iterated(name, serialize):
    if "lru" in name:
        pytest.skip("gives the same generator twice")
    app = App()
    function = app.function(name="count")(GENERATORS[name])
    with app.run(serialize=serialize):
        assert list(function.remote_gen(3)) == [0, 1, 2]

        async def collect():
            return [item async for item in function.remote_gen.aio(3)]

        assert asyncio.run(collect()) == [0, 1, 2]
        with pytest.raises(InvalidError, match="is a generator"):
            function.remote(3)


def test_implementations_of_singledispatch_may_be_of_both_kinds():
    convert = functools.singledispatch(double)
    convert.register(str, lambda text: text * 2)
    with FakeContainer(convert) as container:
        assert container.call(2) == 4
        assert container.call("a") == "aa"
    app = App()
    function = app.function()(convert)
    with app.run(serialize=True):
        assert [function.remote(2), function.remote("a")] == [4, "aa"]


# -- what is refused ------------------------------------------------------------------------


def gives_future(x):
    loop = asyncio.new_event_loop()
    try:
        return loop.create_future()
    finally:
        loop.close()


REFUSED = {
    "coroutine": timed(double),
    "coroutine of an object": Noted(double),
    "coroutine of a lambda": lambda x: double(x),
    "coroutine of a forwarding object": Forwarding(),
    "Later": lambda x: Later(),
    "Future": gives_future,
    "generator": timed(count),
    "generator of an object": Noted(count),
    "async_generator": timed(count_async),
}


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_a_def_that_gives_what_has_not_run_is_refused_in_all_ways(name, serialize):
    app = App()
    function = app.function(name="fetch")(REFUSED[name])
    kind = name.split()[0]
    advice = "is_generator=True" if "generator" in kind else "return await"

    async def collect():
        with pytest.raises(InvalidError, match=text):
            await function.remote.aio(3)
        return [result async for result in function.map.aio([3], return_exceptions=True)]

    with app.run(serialize=serialize):
        text = rf"the function fetch .*\b{kind}\b.*; write .*{advice}"
        with pytest.raises(InvalidError, match=text):
            function.remote(3)
        with pytest.raises(InvalidError, match=text):
            function.spawn(3).get()
        with pytest.raises(InvalidError, match=text):
            list(function.starmap([(3,)]))
        with pytest.raises(InvalidError, match=text):
            function.for_each([3])
        errors = [*function.map([3, 4], return_exceptions=True), *asyncio.run(collect())]
        assert [type(error) for error in errors] == [InvalidError] * 3


def test_the_refusal_shows_no_frames_of_ours_and_counts_as_a_failure():
    app = App()
    function = app.function()(timed(double))
    with app.run():
        with pytest.raises(InvalidError) as caught:
            function.remote(3)
        assert caught.value.__cause__ is caught.value.__context__ is None
        seen = function.statistics()
        assert (seen.failed, seen.succeeded, seen.running) == (1, 0, 0)
        assert seen.containers[0].state.value == "ready"


def test_retries_and_timeouts_hold_for_what_is_refused():
    app, calls = App(), []

    @app.function(retries=moorage.Retries(max_retries=2, initial_delay=0.0))
    def fetch(x):
        calls.append(x)
        return double(x)

    with app.run(), pytest.raises(InvalidError, match="coroutine"):
        fetch.remote(1)
    assert calls == [1, 1, 1]


def test_a_decorator_that_runs_the_coroutine_itself_works():
    app = App()
    function = app.function()(moorage.concurrent(max_inputs=4)(ran(double)))

    @app.cls()
    class Model:
        @moorage.method()
        @ran
        async def double(self, x):
            return 2 * x

    with app.run():
        assert list(function.map([1, 2, 3])) == [2, 4, 6]
        assert Model().double.remote(2) == 4


def test_an_async_def_that_returns_a_coroutine_is_refused():
    async def fetch(x):
        return double(x)

    for serialize in (False, True):
        app = App()
        function = app.function(serialized=True)(fetch)
        with (
            app.run(serialize=serialize),
            pytest.raises(InvalidError, match=r"coroutine.*; write return await"),
        ):
            function.remote(3)


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("kind", ["generator", "async_generator"])
def test_an_async_def_that_returns_a_generator_is_refused_as_a_def_is(kind, serialize):
    async def pages():
        yield 1

    async def f(kind):
        return pages() if kind == "async_generator" else (i for i in range(3))

    app = App()
    registered = app.function(name="f", serialized=True)(f)
    text = f"the async function f returned an object of type {kind}, which nobody iterates"
    with app.run(serialize=serialize):
        with pytest.raises(InvalidError, match=text):
            registered.remote(kind)
        with pytest.raises(InvalidError, match=text):
            list(registered.map([kind]))
        with pytest.raises(InvalidError, match=text):
            registered.spawn(kind).get()


def forgetful(function):
    """An async decorator that forgets to await or to iterate."""

    @functools.wraps(function)
    async def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


async def gives_later(x):
    return Later()


FORGOTTEN = {
    "coroutine": (forgetful(double), "return await"),
    "Later": (gives_later, "return await"),
    "generator": (forgetful(count), r"is_generator=True .* return list\("),
    "async_generator": (forgetful(count_async), r"is_generator=True .* return \[item async for"),
}


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("kind", FORGOTTEN)
def test_an_async_def_that_gives_what_has_not_run_is_refused_in_all_ways(kind, serialize):
    app = App()
    code, advice = FORGOTTEN[kind]
    function = app.function(name="fetch")(code)
    text = rf"the async function fetch .*\b{kind}\b.*; write .*{advice}"
    with app.run(serialize=serialize):
        with pytest.raises(InvalidError, match=text):
            function.remote(3)
        with pytest.raises(InvalidError, match=text):
            function.spawn(3).get()
        with pytest.raises(InvalidError, match=text):
            function.for_each([3])
        with pytest.raises(InvalidError, match=text):
            asyncio.run(function.remote.aio(3))
        (error,) = function.map([3], return_exceptions=True)
        assert type(error) is InvalidError
    with FakeContainer(code) as container, pytest.raises(InvalidError, match=kind):
        container.call(3)


def test_a_future_of_an_async_callable_is_awaited():
    class Sent:
        def __call__(self, x):
            return asyncio.ensure_future(double(x))

        _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

    if Sent._is_coroutine is None:
        pytest.skip("this Python has no such mark")
    with FakeContainer(Sent()) as container:
        assert container.call(2) == 4


def test_results_of_odd_classes_pass():
    class Meta(type):
        def __eq__(cls, other):
            raise RuntimeError("compared")

        __hash__ = None

    class Odd(metaclass=Meta):
        pass

    class NotAwaitable(Later):
        __await__ = None

    for kind in (Odd, NotAwaitable):
        with FakeContainer(lambda kind=kind: kind()) as container:
            assert type(container.call()) is kind


def test_results_that_only_look_like_generators_pass():
    app = App()
    makers = [lambda: iter([1]), lambda: map(str, [1]), lambda: range(3), lambda: Fetch]
    for index, make in enumerate(makers):
        app.function(name=f"f{index}", serialized=True)(make)
    with app.run():
        for index, make in enumerate(makers):
            got = app._functions[f"f{index}"].remote()
            assert type(got) is type(make())


def test_the_fake_container_and_the_probe_look_too():
    for function in (timed(double), timed(count)):
        with FakeContainer(function) as container, pytest.raises(InvalidError, match="write"):
            container.call(3)
        app = App()
        registered = app.function()(function)
        with app.run(probe=Probe()), pytest.raises(InvalidError, match="write"):
            registered.remote(3)
    with FakeContainer(Fetch()) as container:
        assert container.call(2) == 4
        assert list(container.map([1, 2])) == [2, 4]
    with FakeContainer(Count()) as container:
        assert list(container.stream(3)) == [0, 1, 2]


def test_held_inputs_of_async_callables_go_on():
    for function in (Fetch(), old_coroutine, functools.singledispatch(double)):
        with FakeContainer(function) as container:
            with container.hold("await") as gate:
                submitted = container.submit(2)
                gate.wait_held()
            assert submitted.result() == 4


# -- generators -----------------------------------------------------------------------------


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("function", [count, count_async, Count(), CountAsync()])
def test_a_wrapper_that_is_said_to_be_a_generator_is_iterated(function, serialize):
    app = App()
    registered = app.function(name="count", is_generator=True)(timed(Noted(function)))
    with app.run(serialize=serialize):
        assert list(registered.remote_gen(3)) == [0, 1, 2]


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize(
    "function",
    [timed(double), lambda x: 3, lambda x: count_async(x), double, timed(Noted(count_async))],
)
def test_what_is_said_to_be_a_generator_and_is_none_is_refused(function, serialize):
    if isinstance(function, types.FunctionType) and inner_kind_of(function).is_generator:
        function = functools.partial(lambda inner, x: double(x), function)
    app = App()
    registered = app.function(name="count", is_generator=True, serialized=True)(function)
    with app.run(serialize=serialize):
        with pytest.raises(InvalidError, match=r"must give an? .*got an object of type .*; write"):
            list(registered.remote_gen(3))
        assert registered.statistics().running == 0


@pytest.mark.parametrize("serialize", [False, True])
def test_an_item_that_is_a_coroutine_is_refused(serialize):
    def items():
        yield 1
        yield double(2)

    async def items_async():
        yield 1
        yield double(2)

    for function in (items, items_async):
        app = App()
        registered = app.function(serialized=True)(function)
        with app.run(serialize=serialize):
            items = registered.remote_gen()
            assert next(items) == 1
            with pytest.raises(InvalidError, match=r"coroutine.*; write yield await"):
                next(items)


@pytest.mark.parametrize("serialize", [False, True])
def test_an_item_that_is_a_generator_is_refused(serialize):
    def items():
        yield 1
        yield count(2)

    async def items_async():
        yield 1
        yield count(2)

    async def items_of_async():
        yield 1
        yield count_async(2)

    for function, instead in (
        (items, "yield from"),
        (items_async, "for item in"),
        (items_of_async, "async for item in"),
    ):
        app = App()
        registered = app.function(serialized=True)(function)
        with app.run(serialize=serialize):
            got = registered.remote_gen()
            assert next(got) == 1
            with pytest.raises(InvalidError, match=rf"generator, which nobody.*; write {instead}"):
                next(got)


# -- batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("serialize", [False, True])
def test_an_element_that_is_a_generator_fails_its_input_alone(serialize):
    app = App()

    @app.function(serialized=True)
    @moorage.batched(max_batch_size=3, wait_ms=50)
    def counted(xs):
        return [count(x) if x == 2 else x for x in xs]

    with app.run(serialize=serialize):
        first, second, third = counted.map([1, 2, 3], return_exceptions=True)
    assert (first, third) == (1, 3)
    assert isinstance(second, InvalidError)
    assert "is a generator, which nobody iterates; write [list(each)" in str(second)


def test_an_element_is_an_error_only_by_its_own_class():
    """`isinstance` believes a mock's ``__class__``."""
    app = App()

    @app.function()
    @moorage.batched(max_batch_size=1, wait_ms=1)
    def mocked(xs):
        return [unittest.mock.NonCallableMock(spec=ValueError) for _ in xs]

    with app.run():
        assert issubclass(type(mocked.remote(1)), unittest.mock.NonCallableMock)


@pytest.mark.parametrize("serialize", [False, True])
def test_batched_callables_of_all_kinds(serialize):
    class Doubling:
        async def __call__(self, xs):
            return [2 * x for x in xs]

    async def doubling(xs):
        return [2 * x for x in xs]

    for function in (Doubling(), functools.partial(doubling), no_gradients()(doubling)):
        app = App()
        registered = app.function(name="f", serialized=True)(
            moorage.batched(max_batch_size=2, wait_ms=1)(function)
        )
        with app.run(serialize=serialize):
            assert list(registered.map([1, 2, 3])) == [2, 4, 6]


@pytest.mark.parametrize("serialize", [False, True])
def test_a_batched_def_that_gives_a_coroutine_is_refused(serialize):
    async def doubling(xs):
        return [2 * x for x in xs]

    async def returning(xs):
        return doubling(xs)

    for function in (timed(doubling), returning):
        app = App()
        registered = app.function(name="f", serialized=True)(
            moorage.batched(max_batch_size=2, wait_ms=1)(function)
        )
        with (
            app.run(serialize=serialize),
            pytest.raises(InvalidError, match=r"coroutine.*; write .*return await"),
        ):
            registered.remote(1)


@pytest.mark.parametrize("serialize", [False, True])
def test_an_element_that_is_a_coroutine_fails_its_input_alone(serialize):
    def doubling(xs):
        return [double(x) if x == 2 else 2 * x for x in xs]

    async def doubling_async(xs):
        return doubling(xs)

    for function in (doubling, doubling_async):
        app = App()
        registered = app.function(serialized=True)(
            moorage.batched(max_batch_size=3, wait_ms=50)(function)
        )
        with app.run(serialize=serialize):
            first, second, third = registered.map([1, 2, 3], return_exceptions=True)
        assert (first, third) == (2, 6)
        assert isinstance(second, InvalidError)
        assert "coroutine" in str(second)


def test_a_batched_list_of_another_length_leaves_no_coroutine_behind():
    app = App()

    @app.function()
    @moorage.batched(max_batch_size=3, wait_ms=1)
    def doubling(xs):
        return [double(1), double(2), double(3), double(4)]

    with app.run(), pytest.raises(InvalidError, match="a list of 4"):
        doubling.remote(1)


# -- methods and hooks ----------------------------------------------------------------------


def test_methods_count_as_functions_do():
    app = App()

    @app.cls()
    class Model:
        @moorage.method()
        @timed
        async def wrapped(self, x):
            return 2 * x

        @moorage.method()
        @no_gradients()
        async def passed_on(self, x):
            return 2 * x

        @moorage.method(is_generator=True)
        @timed
        async def pages(self, n):
            for number in range(n):
                yield number

        @moorage.method()
        @timed
        def items(self, n):
            yield from range(n)

    with app.run():
        model = Model()
        with pytest.raises(InvalidError, match=r"Model\.wrapped.*coroutine"):
            model.wrapped.remote(2)
        assert model.passed_on.remote(2) == 4
        assert list(model.pages.remote_gen(3)) == [0, 1, 2]
        with pytest.raises(InvalidError, match=r"Model\.items.*generator"):
            model.items.remote(2)
        assert asyncio.run(model.wrapped.local(2)) == 4
        assert asyncio.run(model.passed_on.local(2)) == 4


def hidden(function):
    """As `timed`, but without any trace of what is inside."""
    return lambda *args: function(*args)


def later(function):
    """Gives an object that can be awaited, and is no coroutine."""

    class Awaited:
        def __init__(self, coroutine):
            self.coroutine = coroutine

        def __await__(self):
            return self.coroutine.__await__()

    return lambda *args: Awaited(function(*args))


WRAPPERS = {"context": no_gradients(), "timed": timed, "object": Noted, "hidden": hidden}
WRAPPERS["awaitable"] = later


def make_model(app, wrap, ended, *, is_async=False, **options):
    @app.cls(**options)
    class Model:
        loaded = ()

        @moorage.enter(snap=True)
        @wrap
        async def first(self):
            self.note("first", asyncio.get_running_loop())

        @moorage.enter()
        @wrap
        async def second(self):
            await asyncio.sleep(0)
            self.note("second", asyncio.get_running_loop())

        @moorage.exit()
        @wrap
        async def last(self):
            await asyncio.sleep(0)
            ended.append("last")

        @moorage.exit()
        @wrap
        async def failing(self):
            raise ValueError("from the exit hook")

        def note(self, name, loop):
            self.loaded = (*self.loaded, name)
            self.loops = {*getattr(self, "loops", ()), loop}

        @moorage.method()
        def predict(self):
            return self.loaded, len(self.loops)

        if is_async:

            @moorage.method()
            async def predict_async(self):
                return self.loaded, self.loops == {asyncio.get_running_loop()}

    return Model


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("max_inputs", [1, 2])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("wrapper", [name for name in WRAPPERS if name != "object"])
def test_hooks_that_give_an_awaitable_are_awaited(wrapper, is_async, max_inputs, serialize, caplog):
    app, ended = App(), []
    model = make_model(
        app,
        WRAPPERS[wrapper],
        ended,
        is_async=is_async,
        enable_memory_snapshot=True,
        serialized=True,
    )
    model = model.with_concurrency(max_inputs=max_inputs)
    with caplog.at_level(logging.ERROR), app.run(serialize=serialize):
        assert model().predict.remote() == (("first", "second"), 1)
        if is_async:
            assert model().predict_async.remote() == (("first", "second"), True)
    assert ended == ["last"]
    assert "from the exit hook" in caplog.text


@pytest.mark.parametrize("inside_a_loop", [False, True])
@pytest.mark.parametrize("wrapper", ["context", "timed", "hidden", "awaitable"])
def test_local_hooks_that_give_an_awaitable_are_awaited(wrapper, inside_a_loop):
    app = App()
    model = make_model(app, WRAPPERS[wrapper], [], is_async=True, enable_memory_snapshot=True)

    async def main():
        return (
            model().predict.local()[0],
            (await model().predict_async.local())[0],
        )

    if inside_a_loop:
        assert asyncio.run(main()) == (("first", "second"),) * 2
    else:
        assert model().predict.local()[0] == ("first", "second")


@pytest.mark.parametrize("wrapper", ["timed", "hidden"])
def test_hooks_by_their_old_names_too(wrapper):
    app, seen = App(), []

    @app.cls()
    class Model:
        @WRAPPERS[wrapper]
        async def __aenter__(self):
            seen.append("enter")

        @WRAPPERS[wrapper]
        async def __aexit__(self, *error):
            seen.append("exit")

        @moorage.method()
        def run(self):
            return list(seen)

    with app.run():
        assert Model().run.remote() == ["enter"]
    assert seen == ["enter", "exit"]


@pytest.mark.parametrize("wrapper", ["timed", "hidden"])
def test_a_hidden_async_hook_fails_and_times_out_as_others(wrapper):
    app = App()

    @app.cls(startup_timeout=30)
    class Failing:
        @moorage.enter()
        @WRAPPERS[wrapper]
        async def load(self):
            await asyncio.sleep(0)
            raise ValueError("no weights")

        @moorage.method()
        def run(self):
            pass

    cancelled = []

    @app.cls(startup_timeout=1)
    class Slow:
        @moorage.enter()
        @WRAPPERS[wrapper]
        async def load(self):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        @moorage.method()
        def run(self):
            pass

    with app.run():
        with pytest.raises(ValueError, match="no weights"):
            Failing().run.remote()
        with pytest.raises(moorage.exception.FunctionTimeoutError):
            Slow().run.remote()
    assert cancelled


def test_a_hidden_async_exit_hook_in_virtual_time(virtual_clock):
    app, ended = App(), []

    @app.cls()
    class Model:
        @moorage.exit()
        @hidden
        async def close(self):
            await asyncio.sleep(2)
            ended.append(virtual_clock.now())

        @moorage.method()
        def run(self):
            return 1

    with app.run(clock=virtual_clock):
        assert Model().run.remote() == 1
    assert ended == [2]


def test_a_hook_that_runs_its_coroutine_itself_works():
    app = App()

    @app.cls()
    class Model:
        @moorage.enter()
        @ran
        async def load(self):
            self.weights = "loaded"

        @moorage.method()
        def predict(self):
            return self.weights

        @moorage.method()
        async def predict_async(self):
            return self.weights

    with app.run():
        assert Model().predict.remote() == "loaded"
    assert asyncio.run(Model().predict_async.local()) == "loaded"


def test_a_hook_that_returns_its_instance_is_not_awaited():
    app = App()

    @app.cls()
    class Model:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return self

        def __await__(self):
            raise AssertionError("awaited")

        @moorage.method()
        def predict(self):
            return 1

    with app.run():
        assert Model().predict.remote() == 1
    assert Model().predict.local() == 1


def test_a_hidden_async_exit_hook_runs_as_the_interpreter_exits(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        """
import asyncio
import moorage

app = moorage.App()

@app.cls()
class Model:
    @moorage.exit()
    @(lambda function: lambda self: function(self))
    async def close(self):
        await asyncio.sleep(0)
        print("closed")

    @moorage.method()
    def predict(self):
        return 1

print(Model().predict.remote())
"""
    )
    ended = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout.split(), ended.stderr) == (["1", "closed"], "")


def test_a_hook_that_is_a_generator_is_refused():
    app = App()
    for wrap in (lambda function: function, no_gradients()):
        with pytest.raises(InvalidError, match=r"hook Model\.load is a generator.*; write it"):

            @app.cls()
            class Model:
                @moorage.enter()
                @wrap
                def load(self):
                    yield

                @moorage.method()
                def run(self):
                    pass

    @app.cls()
    class Hidden:
        @moorage.enter()
        @timed
        def load(self):
            yield

        @moorage.method()
        def run(self):
            pass

    with app.run(), pytest.raises(InvalidError, match=r"hook Hidden\.load gave .*generator.*; wr"):
        Hidden().run.remote()
    with pytest.raises(InvalidError, match=r"hook Hidden\.load gave .*generator.*; write it"):
        Hidden().run.local()


@pytest.mark.parametrize("local", [False, True])
def test_a_hook_behind_an_async_decorator_that_forgets_to_await_runs(local):
    app, seen = App(), []

    @app.cls()
    class Model:
        @moorage.enter()
        @forgetful
        async def load(self):
            await asyncio.sleep(0)
            self.weights = "loaded"

        @moorage.exit()
        @forgetful
        async def close(self):
            await asyncio.sleep(0)
            seen.append("closed")

        @moorage.method()
        def run(self):
            return self.weights

        @moorage.method()
        async def run_async(self):
            return self.weights

    with app.run():
        if local:
            assert Model().run.local() == "loaded"
            assert asyncio.run(Model().run_async.local()) == "loaded"
        else:
            assert Model().run.remote() == "loaded"
    assert seen == ([] if local else ["closed"])


def test_an_async_hook_that_gives_a_generator_is_refused():
    app = App()

    @app.cls()
    class Hidden:
        @moorage.enter()
        @forgetful
        def load(self):
            yield

        @moorage.method()
        def run(self):
            pass

    with app.run(), pytest.raises(InvalidError, match=r"hook Hidden\.load gave .*generator.*; wr"):
        Hidden().run.remote()
    with pytest.raises(InvalidError, match=r"hook Hidden\.load gave .*generator.*; write it"):
        Hidden().run.local()


# -- others that ask for the kind -----------------------------------------------------------


def test_a_local_entrypoint_behind_an_async_decorator_that_forgets_to_await_runs():
    entrypoint = App().local_entrypoint(name="main")(forgetful(double))
    assert entrypoint(2) == 4


@pytest.mark.parametrize("wrapper", ["context", "timed", "hidden", "awaitable"])
def test_a_local_entrypoint_that_gives_an_awaitable_runs_to_its_end(wrapper):
    app, seen = App(), []

    async def main(x):
        await asyncio.sleep(0)
        seen.append(x)
        return 2 * x

    entrypoint = app.local_entrypoint(name="main")(WRAPPERS[wrapper](main))
    assert entrypoint(2) == 4

    async def inside():
        with pytest.warns(moorage.exception.AsyncUsageWarning):
            return entrypoint(3)

    assert asyncio.run(inside()) == 6
    assert seen == [2, 3]


def test_cooperative_looks_inside():
    class Cooperative:
        @moorage.cooperative
        def __call__(self):
            pass

    @moorage.cooperative
    def work():
        pass

    for callable_ in (Cooperative(), functools.partial(work), timed(work), no_gradients()(work)):
        app = App()
        registered = app.function(name="work")(callable_)
        assert registered._target.is_cooperative
    for callable_ in (Fetch(), functools.partial(double), no_gradients()(double)):
        with pytest.raises(InvalidArgumentsError, match="async def"):
            moorage.cooperative(callable_)


def test_web_decorators_look_inside():
    class Site:
        async def __call__(self):
            pass

    with pytest.raises(InvalidError, match="got the async function"):
        moorage.asgi_app()(Site())
    app = App()
    with pytest.raises(InvalidError, match="is a generator"):
        app.function(name="site", serialized=True)(moorage.fastapi_endpoint()(Count()))
