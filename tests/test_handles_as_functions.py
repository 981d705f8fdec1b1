"""Handles have what functions have, and tools that expect functions work with them."""

import asyncio
import collections.abc
import copy
import dataclasses
import functools
import inspect
import pydoc
import sys
import typing
import weakref
from unittest.mock import AsyncMock, create_autospec, patch

import pytest

import moorage
from moorage import App, Cls, Dict, Function, FunctionCall, Image, Queue, Volume
from moorage.exception import InvalidArgumentsError

app = moorage.App("handles")


@app.function()
def area(width: int, height: int = 1) -> int:
    """The area."""
    return width * height


@app.function()
async def area_async(width: int, height: int = 1) -> int:
    return width * height


@app.function()
def count(n: int):
    yield from range(n)


@app.function()
async def count_async(n: int):
    for each in range(n):
        yield each


@app.cls()
class Model:
    """A model."""

    size: int = moorage.parameter(default=1)

    @moorage.enter()
    def load(self, path: str = "") -> None:
        """Load it."""

    @moorage.method()
    def run(self, x: int) -> str:
        """Run it."""
        return str(x)

    @moorage.method()
    def items(self, n: int):
        yield from range(n)


@app.local_entrypoint()
def main(number: int = 5) -> None:
    """The beginning."""


@moorage.concurrent(max_inputs=2)
def partial(x: int, *, y: int = 2) -> int:
    """A partial."""
    return x


WAYS = ["remote", "remote_gen", "spawn", "map", "starmap", "for_each", "spawn_map"]
WAYS += ["experimental_spawn_map", "local"]
HINTS = {"width": int, "height": int, "return": int}


@pytest.mark.parametrize(
    ("handle", "name", "qualname", "doc", "signature", "hints"),
    [
        (area, "area", "area", "The area.", "(width: int, height: int = 1) -> int", HINTS),
        (
            area.with_options(timeout=3),
            "area",
            "area",
            "The area.",
            "(width: int, height: int = 1) -> int",
            HINTS,
        ),
        (Model().run, "run", "Model.run", "Run it.", "(x: int) -> str", {"x": int, "return": str}),
        (Model.run, "run", "Model.run", "Run it.", "(x: int) -> str", {"x": int, "return": str}),
        (
            Model.load,
            "load",
            "Model.load",
            "Load it.",
            "(self, path: str = '') -> None",
            {"path": str, "return": type(None)},
        ),
        (
            main,
            "main",
            "main",
            "The beginning.",
            "(number: int = 5) -> None",
            {"number": int, "return": type(None)},
        ),
        (
            partial,
            "partial",
            "partial",
            "A partial.",
            "(x: int, *, y: int = 2) -> int",
            {"x": int, "y": int, "return": int},
        ),
    ],
    ids=str,
)
def test_what_a_function_has(handle, name, qualname, doc, signature, hints):
    assert handle.__name__ == name
    assert handle.__qualname__ == qualname
    assert handle.__module__ == __name__
    assert handle.__doc__ == doc
    assert inspect.isfunction(handle.__wrapped__)
    assert str(inspect.signature(handle)) == signature
    assert typing.get_type_hints(handle) == hints
    assert handle.__defaults__ == handle.__wrapped__.__defaults__
    assert handle.__kwdefaults__ == handle.__wrapped__.__kwdefaults__

    @functools.wraps(handle)
    def wrapper(*args):
        return handle(*args)

    def updated(*args):
        return handle(*args)

    functools.update_wrapper(updated, handle)
    for each in (wrapper, updated):
        assert (each.__name__, each.__qualname__, each.__doc__) == (name, qualname, doc)
        assert (each.__module__, each.__annotations__) == (__name__, handle.__annotations__)
        assert str(inspect.signature(each)) == signature


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are of Python 3.12")
def test_type_parameters():
    scope: dict = {}
    exec("def first[T](x: list[T]) -> T:\n    return x[0]", scope)
    assert app.function(serialized=True)(scope["first"]).__type_params__ == (
        scope["first"].__type_params__
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", [area, Model().run, Model.run], ids=str)
def test_ways_have_what_a_method_has(function, way):
    found = getattr(function, way)
    assert found.__name__ == way
    assert found.__qualname__.endswith(f".{way}")
    assert isinstance(found.__doc__, str)
    assert isinstance(found.__annotations__, collections.abc.Mapping)
    assert typing.get_type_hints(found) is not None
    assert "self" not in inspect.signature(found).parameters
    functools.wraps(found)(lambda *args: None)
    if way != "local":
        assert found.aio.__name__ == "aio"
        assert "self" not in inspect.signature(found.aio).parameters


def test_the_class_keeps_its_own():
    assert Function.__doc__.startswith("A function of an app")
    assert Function.__module__ == "moorage.functions"
    assert "_shown" in Function.__annotations__
    assert typing.get_type_hints(moorage.calling.ways.Remote) is not None
    assert type(area.remote).__doc__.startswith("``Function.remote``")


def test_the_class_of_an_app():
    assert str(inspect.signature(Model)) == "(size: int = 1)"
    assert Model.__doc__ == "A model."
    assert typing.get_type_hints(Model) == {"size": int}
    assert (Model.__name__, Model.__qualname__, Model.__module__) == ("Model", "Model", __name__)
    assert inspect.signature(Cls)


ON_CLASSES = [
    (FunctionCall, "get"),
    (FunctionCall, "iter"),
    (FunctionCall, "gather"),
    (FunctionCall, "cancel"),
    (FunctionCall, "from_id"),
    (Function, "hydrate"),
    (Function, "remote"),
    (Function, "map"),
    (Function, "remote_gen"),
    (Function, "update_autoscaler"),
    (App, "deploy"),
    (App, "run"),
    (App, "lookup"),
    (Dict, "put"),
    (Dict, "keys"),
    (Dict, "ephemeral"),
    (Queue, "get_many"),
    (Volume, "listdir"),
    (Image, "build"),
]


@pytest.mark.parametrize(("owner", "name"), ON_CLASSES, ids=str)
def test_on_the_class_a_method_is_a_plain_function(owner, name):
    found = getattr(owner, name)
    assert inspect.isfunction(found)
    assert found is getattr(owner, name)
    assert found.__name__ == name
    assert found.__qualname__.endswith(f".{name}")
    assert inspect.signature(found)
    assert inspect.signature(found.aio)
    assert f"{name}(" in pydoc.plain(pydoc.render_doc(found))
    kinds = {each.name: each.kind for each in inspect.classify_class_attrs(owner)}
    assert kinds[name] in ("method", "static method")


def test_on_the_class_they_are_called_with_the_instance():
    with app.run():
        call = Function.spawn(area, 2, 3)
        assert FunctionCall.get(call, timeout=10) == 6
        assert list(FunctionCall.iter(call)) == [6]
        assert FunctionCall.gather(call) == [6]
        assert Function.remote(area, 4) == 4
        assert list(Function.map(area, [1, 2])) == [1, 2]
        assert list(Function.remote_gen(count, 2)) == [0, 1]
        assert FunctionCall.num_inputs(call) == 1
        with pytest.raises(InvalidArgumentsError, match="cancel got an unexpected keyword"):
            FunctionCall.cancel(call, x=1)

    async def asynchronously():
        async with app.run():
            call = await Function.spawn.aio(area, 2, 3)
            assert await FunctionCall.get.aio(call) == 6
            assert await FunctionCall.gather.aio(call) == [6]
            assert await FunctionCall.num_inputs.aio(call) == 1
            assert [x async for x in Function.map.aio(area, [1, 2])] == [1, 2]
            assert await call.get.aio() == 6

    asyncio.run(asynchronously())
    with App.run(app) as running:
        assert running is app


@pytest.mark.parametrize("cls", [App, Cls, Dict, Function, FunctionCall, Image, Queue, Volume])
def test_documentation_tools_read_the_classes(cls):
    text = pydoc.plain(pydoc.render_doc(cls))
    assert "WithAio object" not in text
    for name, value in inspect.getmembers(cls):
        if not name.startswith("_") and callable(value):
            assert inspect.isroutine(value) or inspect.isclass(value), name


def test_autospec_of_a_call():
    call = create_autospec(FunctionCall, instance=True)
    call.get.return_value = 3
    assert call.get(timeout=1) == 3
    call.get.assert_called_once_with(timeout=1)
    with pytest.raises(TypeError, match="wrong"):
        call.get(wrong=1)
    with pytest.raises(TypeError):
        call.cancel(wrong=1)
    with pytest.raises(AttributeError):
        call.missing
    assert isinstance(call, FunctionCall)
    call.get.aio.return_value = 4
    assert asyncio.run(call.get.aio()) == 4


def test_autospec_of_functions_and_others():
    function = create_autospec(area)
    function.remote.return_value = 7
    assert function.remote(1) == 7
    assert isinstance(function.remote.aio, AsyncMock)
    function.remote.aio.return_value = 8
    assert asyncio.run(function.remote.aio(1)) == 8
    spec = create_autospec(Dict, instance=True)
    spec.put("key", value=1)
    with pytest.raises(TypeError):
        spec.put()
    assert create_autospec(app).deploy(name="x") is not None
    assert create_autospec(Model().run).remote(1) is not None


class Thing:
    def __init__(self, result):
        self.result = result

    def __call__(self, *args, **kwargs):
        return self.result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", [area, Model().run, area.with_options(timeout=4)], ids=str)
def test_a_way_is_patched_and_restored(function, way):
    before = type(getattr(function, way))
    with patch.object(function, way) as fake:
        fake.return_value = 9
        assert getattr(function, way)(1) == 9
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(function, way, Thing(9))
        assert getattr(function, way)(1) == 9
    with patch.object(function, way, autospec=True) as fake:
        fake.return_value = 9
        assert getattr(function, way)([1]) == 9
    assert type(getattr(function, way)) is before


@pytest.mark.parametrize("function", [area, Model().run, area.with_options(timeout=4)], ids=str)
def test_aio_of_a_way_is_patched_and_restored(function):
    with patch.object(function.remote, "aio") as fake:
        assert isinstance(fake, AsyncMock)
        fake.return_value = 9
        assert asyncio.run(function.remote.aio(1)) == 9
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(function.remote, "aio", AsyncMock(return_value=9))
        assert asyncio.run(function.remote.aio(1)) == 9

    async def really():
        async with app.run():
            return await function.remote.aio(4)

    assert asyncio.run(really()) in (4, "4")


def test_by_the_name_of_the_module():
    with patch(f"{__name__}.area.remote", return_value=9), app.run():
        assert area.remote(1) == 9
    with patch(f"{__name__}.area.remote.aio", return_value=9):
        assert asyncio.run(area.remote.aio(1)) == 9
    with app.run():
        assert area.remote(2) == 2


def test_methods_of_classes_of_ours_are_patched():
    data = Dict.from_name("patched", create_if_missing=True)
    with patch.object(Dict, "put") as fake:
        data.put("key", 1)
        fake.assert_called_once_with("key", 1)
    with patch.object(data, "put") as fake:
        data.put("key", 1)
        fake.assert_called_once_with("key", 1)
    with app.run(), patch.object(FunctionCall, "get", autospec=True, return_value=9):
        assert area.spawn(1).get(timeout=3) == 9
    with app.run():
        call = area.spawn(3)
        assert call.get() == 3
        for thing, name, written in (
            (data.put, "aio", r"patch.object\(Dict, 'put', ...\)"),
            (call.get, "aio", r"patch.object\(FunctionCall, 'get', ...\)"),
            (call.iter, "aio", r"patch.object\(FunctionCall, 'iter', ...\)"),
            (app.run, "aio", r"patch.object\(App, 'run', ...\)"),
        ):
            with pytest.raises(AttributeError, match=written):
                setattr(thing, name, None)


def test_streams_are_generators():
    with app.run():
        reader = count.remote_gen(3)
        assert isinstance(reader, collections.abc.Generator)
        assert next(reader) == 0
        assert reader.send(None) == 1
        with pytest.raises(KeyError, match="thrown"):
            reader.throw(KeyError("thrown"))
        with pytest.raises(StopIteration):
            next(reader)
        assert isinstance(Model().items.remote_gen(2), collections.abc.Generator)

    async def asynchronously():
        async with app.run():
            reader = count_async.remote_gen.aio(3)
            assert isinstance(reader, collections.abc.AsyncGenerator)
            assert await anext(reader) == 0
            assert await reader.asend(None) == 1
            with pytest.raises(KeyError, match="thrown"):
                await reader.athrow(KeyError("thrown"))
            with pytest.raises(StopAsyncIteration):
                await anext(reader)

    asyncio.run(asynchronously())


DECORATORS = [moorage.concurrent, moorage.batched, moorage.method, moorage.enter, moorage.exit]
DECORATORS += [moorage.asgi_app, moorage.wsgi_app, moorage.web_server, moorage.fastapi_endpoint]
DECORATORS += [moorage.clustered, app.function, app.cls, app.local_entrypoint]
DECORATORS += [App.function, App.cls, App.local_entrypoint, app.deploy, area.with_options]


@pytest.mark.parametrize("decorator", DECORATORS, ids=lambda each: each.__qualname__)
def test_decorators_show_no_arguments_that_are_there_for_a_message(decorator):
    kinds = {each.kind for each in inspect.signature(decorator).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    assert "Never" not in pydoc.plain(pydoc.render_doc(decorator))
    assert "old_names" not in pydoc.plain(pydoc.render_doc(decorator))


SHOP = """
import moorage as modal

app = modal.App("shop")

@app.function()
def test_connection(host):
    return host

@app.cls()
class TestModel:
    @modal.method()
    def test_run(self):
        return 1

@app.cls()
class test_model:
    pass

@app.local_entrypoint()
def test_main(): ...

@modal.concurrent(max_inputs=2)
def test_partial(): ...

@modal.concurrent(max_inputs=2)
class TestPartial: ...

test_named = modal.Function.from_name("shop", "test_connection")
test_named_class = modal.Cls.from_name("shop", "TestModel")
test_method = TestModel().test_run
test_instance = TestModel()
test_remote = test_connection.remote
test_app = app
test_run = app.run
test_call = modal.FunctionCall.from_id("fc-nothing")
test_get = test_call.get
"""


def test_pytest_collects_no_handle(pytester):
    pytester.makepyfile(
        shop=SHOP,
        test_shop="from shop import *\n\ndef test_it(run_app):\n    run_app(app)\n"
        "    assert test_connection.remote('a') == 'a'\n",
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    # pytest warns that it does not collect what is no function, as test_remote.
    assert result.parseoutcomes().keys() == {"passed", "warnings"}
    assert result.parseoutcomes()["passed"] == 1
    for name in ("test_connection", "test_main", "test_partial", "test_method"):
        assert f"cannot collect {name!r}" not in "\n".join(result.outlines)


def test_patching_a_way_on_the_class_reaches_all_functions():
    functions = [area, area.with_options(timeout=4), Model().run]
    with patch.object(Function, "remote", return_value=9):
        assert [each.remote(1) for each in functions] == [9, 9, 9]
    with patch("moorage.Function.spawn", autospec=True) as spawn:
        area.spawn(1, height=2)
        spawn.assert_called_once_with(area, 1, height=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Function, "map", lambda self, rows: [self, *rows])
        assert area.map([1]) == [area, 1]
        with patch.object(area, "map", return_value=[]):
            assert area.map([1]) == []
        assert area.map([1]) == [area, 1]
    with app.run():
        assert [each.remote(1) for each in functions] == [1, 1, "1"]
        assert list(area.map([1])) == [1]
    assert area.remote is area.remote


@pytest.mark.parametrize("way", ["remote", "spawn", "_experimental_spawn", "remote_gen"])
@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (area, "(width: int, height: int = 1)"),
        (area_async, "(width: int, height: int = 1)"),
        (Model().run, "(x: int)"),
    ],
    ids=str,
)
def test_a_way_has_the_parameters_of_a_call(function, parameters, way):
    found = getattr(function, way)
    signature = inspect.signature(found)
    assert str(signature.replace(return_annotation=signature.empty)) == parameters
    hints = typing.get_type_hints(found)
    expected = typing.get_type_hints(function)
    if "spawn" in way:
        expected["return"] = FunctionCall
    assert hints == expected
    assert inspect.signature(functools.wraps(found)(lambda *args: None)) == signature


def test_a_dispatcher_reads_the_annotations_of_a_way():
    @functools.singledispatch
    def of(thing):
        return "anything"

    of.register(area.remote)
    with app.run():
        assert (of(4), of("4")) == (4, "anything")


def test_a_way_whose_parameters_are_not_known_has_its_own():
    postponed = app.function(name="postponed")(_postponed)

    @app.function()
    @moorage.batched(max_batch_size=2, wait_ms=1)
    def doubled(numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]

    nowhere = Function.from_name("nowhere", "nothing")
    for function in (postponed, doubled, nowhere):
        assert "args" in inspect.signature(function.remote).parameters
        assert "args" in function.remote.__annotations__


def _postponed(x: "Nowhere") -> None:  # noqa: F821
    pass


def test_copies_of_handles_as_of_functions():
    handles = [area, area.remote, area.map, Model, Model(), Model().run, main]
    assert all(copy.deepcopy(each) is each for each in handles)

    @dataclasses.dataclass
    class Job:
        function: Function
        model: Cls

    assert dataclasses.asdict(Job(area, Model)) == {"function": area, "model": Model}


def test_weak_references_to_handles():
    for handle in (area, area.remote, Model, Model().run, main):
        assert weakref.ref(handle)() in (handle, None)


def test_the_undecorated_class():
    assert inspect.isclass(Model._get_user_cls())
    assert isinstance(Model._get_user_cls()(), Model._get_user_cls())
