"""What a fake container can run: whatever can be called, under a name that reads well."""

import functools
import operator
import types
from unittest import mock

import pytest

import moorage
from ids import stable
from moorage import Retries
from moorage.exception import InvalidError
from moorage.testing import FakeContainer, VirtualClock


def double(x):
    return 2 * x


async def double_async(x):
    return 2 * x


def count(n):
    yield from range(n)


async def count_async(n):
    for i in range(n):
        yield i


def double_all(xs):
    return [2 * x for x in xs]


class Service:
    @staticmethod
    def static(x):
        return 2 * x

    @staticmethod
    async def static_async(x):
        return 2 * x

    @classmethod
    def of_class(cls, x):
        return 2 * x

    def bound(self, x):
        return 2 * x

    async def bound_async(self, x):
        return 2 * x

    def items(self, n):
        yield from range(n)

    async def items_async(self, n):
        for i in range(n):
            yield i


class Slotted:
    __slots__ = ()

    def __call__(self, x):
        return 2 * x


class Asynchronous:
    async def __call__(self, x):
        return 2 * x


class Items:
    def __call__(self, n):
        yield from range(n)


class AsyncItems:
    async def __call__(self, n):
        for i in range(n):
            yield i


class OddlyNamed:
    __name__ = 3
    __signature__ = "none"

    def __call__(self, x):
        return 2 * x


class Unfriendly:
    def __getattr__(self, name):
        raise AttributeError(name)

    def __call__(self, x):
        return 2 * x


class Meta(type):
    def __call__(cls, x):
        return 2 * x


class OfMeta(metaclass=Meta): ...


def without_a_place(x):
    return 2 * x


without_a_place.__module__ = None
without_a_place.__qualname__ = "A.b.<locals>.C.d"


def with_attributes(a_mock, **attributes):
    for name, value in attributes.items():
        setattr(a_mock, name, value)
    return a_mock


def child(parent, name, effect):
    made = getattr(parent, name)
    made.side_effect = effect
    return made


# Each doubles its argument.  The name, and what makes it.
CALLABLES = {
    # mocks
    "Mock": lambda: mock.Mock(side_effect=double),
    "MagicMock": lambda: mock.MagicMock(side_effect=double),
    "Mock of a spec": lambda: mock.Mock(spec=double, side_effect=double),
    "MagicMock of an async spec": lambda: mock.MagicMock(spec=double_async, side_effect=double),
    "Mock of the class Function": lambda: mock.Mock(spec=moorage.Function, side_effect=double),
    "Mock that wraps": lambda: mock.Mock(wraps=double),
    "Mock that wraps an async function": lambda: mock.Mock(wraps=double_async),
    "Mock with an async effect": lambda: mock.Mock(side_effect=double_async),
    "Mock with a name": lambda: mock.Mock(name="named", side_effect=double),
    "Mock with a __name__": lambda: with_attributes(
        mock.Mock(side_effect=double), __name__="named"
    ),
    "attribute of a Mock": lambda: child(mock.Mock(), "named", double),
    "AsyncMock": lambda: mock.AsyncMock(side_effect=double),
    "AsyncMock with an async effect": lambda: mock.AsyncMock(side_effect=double_async),
    "AsyncMock of a spec": lambda: mock.AsyncMock(spec=double_async, side_effect=double_async),
    "AsyncMock of a sync spec": lambda: mock.AsyncMock(spec=double, side_effect=double),
    "attribute of an AsyncMock": lambda: child(mock.AsyncMock(), "named", double_async),
    "autospec": lambda: mock.create_autospec(double, side_effect=double),
    "autospec of an async def": lambda: with_attributes(
        mock.create_autospec(double_async), side_effect=double_async
    ),
    "autospec of a method": lambda: child(
        mock.create_autospec(Service, instance=True), "bound", double
    ),
    "autospec of an async method": lambda: child(
        mock.create_autospec(Service, instance=True), "bound_async", double_async
    ),
    # builtins
    "operator": lambda: functools.partial(operator.mul, 2),
    "builtin method": lambda: (2).__mul__,
    "object of a builtin class": lambda: operator.methodcaller("__mul__", 2),
    # methods
    "method": lambda: Service().bound,
    "async method": lambda: Service().bound_async,
    "function in a class": lambda: functools.partial(Service.bound, None),
    "static method": lambda: Service.static,
    "async static method": lambda: Service.static_async,
    "staticmethod object": lambda: Service.__dict__["static"],
    "async staticmethod object": lambda: Service.__dict__["static_async"],
    "class method": lambda: Service.of_class,
    "method of a partial": lambda: types.MethodType(functools.partial(lambda _, x: 2 * x), 1),
    "method of a mock": lambda: types.MethodType(mock.Mock(side_effect=lambda _, x: 2 * x), 1),
    "marked static method": lambda: moorage.concurrent(max_inputs=2)(Service.static),
    "marked mock": lambda: moorage.concurrent(max_inputs=2)(mock.Mock(side_effect=double)),
    # objects
    "instance": Slotted,
    "async instance": Asynchronous,
    "partial of an async instance": lambda: functools.partial(Asynchronous()),
    "class with a metaclass": lambda: OfMeta,
    "odd name and signature": OddlyNamed,
    "no attributes": Unfriendly,
    # functions
    "lambda": lambda: lambda x: 2 * x,
    "partial of a partial": lambda: functools.partial(functools.partial(double)),
    "partial of an async def": lambda: functools.partial(double_async),
    "cached": lambda: functools.lru_cache(double),
    "single dispatch": lambda: functools.singledispatch(double),
    "odd place": lambda: without_a_place,
}

NAMES = {
    "Mock": "Mock",
    "Mock of a spec": "Mock",
    "Mock with a name": "named",
    "Mock with a __name__": "named",
    "attribute of a Mock": "named",
    "attribute of an AsyncMock": "named",
    "autospec": "double",
    "autospec of a method": "bound",
    "operator": "mul",
    "builtin method": "__mul__",
    "object of a builtin class": "methodcaller",
    "method": "bound",
    "staticmethod object": "static",
    "method of a partial": "partial",
    "method of a mock": "Mock",
    "instance": "Slotted",
    "partial of an async instance": "Asynchronous",
    "class with a metaclass": "OfMeta",
    "odd name and signature": "OddlyNamed",
    "no attributes": "Unfriendly",
    "partial of a partial": "double",
    "cached": "double",
    "odd place": "without_a_place",
}


@pytest.mark.parametrize("options", [{}, {"serialize": True}, {"max_inputs": 3, "retries": 2}])
@pytest.mark.parametrize("kind", CALLABLES)
def test_it_runs_what_can_be_called(kind, options, fake_container, virtual_clock):
    container = fake_container(CALLABLES[kind](), **options)
    assert container.call(4) == 8
    assert container.submit(5).result() == 10
    assert list(container.map([1, 2])) == [2, 4]
    if kind in NAMES:
        assert container.events.of("settled")[0].input == f"{NAMES[kind]}(4)"
        assert repr(container).startswith(f"<FakeContainer {NAMES[kind]}:")


@pytest.mark.parametrize(
    "function",
    [
        *(count, count_async, Service().items, Service().items_async, Items(), AsyncItems()),
        *(functools.partial(count), functools.partial(AsyncItems())),
        *(mock.Mock(side_effect=count), mock.Mock(wraps=count_async)),
    ],
    ids=stable,
)
def test_what_yields_is_streamed(function, fake_container):
    for options in ({}, {"serialize": True}):
        assert list(fake_container(function, **options).stream(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (len, ("abc",), 3),
        (str.upper, ("abc",), "ABC"),
        (operator.add, (1, 2), 3),
        ("abc".count, ("a",), 1),
        (min, ((3, 2),), 2),
        (type, (3,), int),
        (int, ("3",), 3),
        (dict, (), {}),
        (operator.itemgetter(0), ("abc",), "a"),
    ],
    ids=stable,
)
def test_functions_and_classes_in_c_are_run(function, args, result, fake_container):
    for options in ({}, {"serialize": True}, {"max_inputs": 2}):
        assert fake_container(function, **options).call(*args) == result


def test_a_class_is_called(fake_container):
    container = fake_container(Service)
    assert isinstance(container.call(), Service)
    assert container.events.of("started")[0].input == "Service()"


@pytest.mark.parametrize(
    "function",
    [
        double_all,
        mock.Mock(side_effect=double_all),
        mock.Mock(spec=double_all, side_effect=double_all),
        mock.create_autospec(double_all, side_effect=double_all),
        mock.AsyncMock(spec=double_all, side_effect=double_all),
        functools.partial(double_all),
    ],
    ids=["function", "Mock", "spec", "autospec", "AsyncMock", "partial"],
)
@pytest.mark.parametrize("serialize", [False, True])
def test_what_can_be_called_is_batched(function, serialize, fake_container, virtual_clock):
    container = fake_container(function, max_batch_size=2, wait_ms=1000, serialize=serialize)
    assert list(container.map([1, 2, 3])) == [2, 4, 6]
    assert virtual_clock.now() == 1


def test_a_function_in_c_without_a_signature_is_batched(fake_container, virtual_clock):
    # ``max`` does not say its parameters; of two lists it returns the larger.
    container = fake_container(max, max_batch_size=2, wait_ms=1000)
    assert list(container.starmap([(1, 3), (2, 4)])) == [3, 4]


def test_a_marked_mock_is_batched():
    marked = moorage.batched(max_batch_size=2, wait_ms=10)(mock.Mock(side_effect=double_all))
    with VirtualClock(), FakeContainer(marked) as container:
        assert list(container.map([1, 2])) == [2, 4]


def test_a_mock_that_fails_is_tried_again(fake_container, virtual_clock):
    for kind in (mock.Mock, mock.MagicMock, mock.AsyncMock):
        began = virtual_clock.now()
        flaky = kind(side_effect=[ConnectionError("503"), "ok"])
        retries = Retries(max_retries=2, initial_delay=10.0)
        container = fake_container(flaky, retries=retries)
        assert container.call("/") == "ok"
        assert virtual_clock.now() == began + 10
        assert flaky.call_args_list == [mock.call("/"), mock.call("/")]


def test_a_mock_can_be_registered_with_an_app():
    app = moorage.App()
    f = app.function(name="double")(mock.Mock(spec=double, side_effect=double))
    with app.run():
        assert f.remote(2) == 4


def test_what_cannot_be_called_is_refused():
    class Undecorated:
        @moorage.method()
        def run(self): ...

        @moorage.enter()
        def load(self): ...

    for wrong, said in (
        (None, r"can be called, got None; write FakeContainer\(function\)$"),
        ([], r"can be called, got \[\]; write FakeContainer\(function\)$"),
        (Service(), r"Service object at .*; write FakeContainer\(function\)$"),
        (property(double), r"got <property object .*; write FakeContainer\(function\)$"),
        (
            Service.__dict__["of_class"],
            r"got the classmethod object of_class, which cannot be called; get it from its "
            r"class, and write FakeContainer\(TheClass.of_class\)$",
        ),
        (mock.NonCallableMock(), r"got <NonCallableMock .*; write FakeContainer\(function\)$"),
        (
            Undecorated(),
            r"write @app.cls\(\) above the class Undecorated, and "
            r"FakeContainer\(Undecorated\(...\)\)$",
        ),
        (Undecorated.run, r"got the method run of a class; write @app.cls\(\) above the class"),
        (Undecorated.load, r"got the hook load of a class; write @app.cls\(\) above the class"),
        (
            moorage.concurrent(max_inputs=2)(Service),
            r"got the class Service; write with @app.cls\(\) above it",
        ),
    ):
        with pytest.raises(InvalidError, match=said):
            FakeContainer(wrong)
