"""Code of the program itself, which goes by value: what it finds of its module in a container."""

import sys

import pytest

from .outside import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

# Each function of the program is one thing that users write at the top of a file.
PROGRAM = """
import contextvars, dataclasses, functools, pickle, sys, typing
import concurrent.futures
import multiprocessing
from unittest.mock import patch

import moorage

app = moorage.App("program")
UserId = typing.NewType("UserId", int)
Names = typing.ParamSpec("Names")
depth = contextvars.ContextVar("depth", default=4)
counter = 0


class Only:
    def __init__(self):
        self.value = 1

    def __reduce__(self):
        return "ONLY"


ONLY = Only()


@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.singledispatch
def kind(x):
    return "something"


@kind.register
def _(x: int):
    return "a number"


@kind.register(list)
def _(x):
    return [kind(each) for each in x]


@dataclasses.dataclass
class Point:
    x: int = 1

    @functools.cached_property
    def twice(self):
        return 2 * self.x

    @functools.lru_cache(maxsize=3)
    def same(self, x: UserId):
        return x


Point.__hash__ = object.__hash__


@app.function()
def caches(x: UserId = UserId(1)):
    point = Point(4)
    return fib(30), fib.cache_info().hits > 20, point.twice, point.same(3)


@app.function()
def dispatches():
    return kind([1, "a"])


@app.function()
def varies():
    return depth.get(), depth.set(5).old_value is contextvars.Token.MISSING, depth.get()


@app.function()
def pickles():
    global counter
    counter += 1
    import __main__

    assert __main__.counter == counter
    assert __main__.__file__ == __file__
    assert pickle.loads(pickle.dumps(ONLY)) is ONLY
    return pickle.loads(pickle.dumps(Point(7))), counter


@app.function()
def calls(function, n):
    return function(n), function


def double(x):
    return 2 * x


@app.function()
def has_processes(how):
    context = multiprocessing.get_context(how)
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return list(pool.map(double, [1, 2]))


@app.cls()
class Model:
    size: int = moorage.parameter(default=3)

    @moorage.enter()
    def load(self):
        self.weights = "real"

    @moorage.method()
    def predict(self):
        return self.weights, self.size


class Base:
    @moorage.enter()
    def begin(self):
        self.begun = "really"


@app.cls()
class Derived(Base):
    @moorage.method()
    def look(self):
        return self.begun


def fake(self):
    self.weights = self.begun = "fake"


if __name__ == "__main__":
    with app.run(placement=moorage.Processes(start=sys.argv[1])):
        assert caches.remote() == (832040, True, 8, 3)
        assert dispatches.remote() == ["a number", "something"]
        assert varies.remote() == (4, True, 5)
        assert pickles.remote() == (Point(7), 1)
        assert pickles.remote() == (Point(7), 2)
        assert counter == 0
        value, function = calls.remote(fib, 10)
        assert value == 55 and function(11) == 89
        assert has_processes.remote("fork") == has_processes.remote("spawn") == [2, 4]
    for _ in range(2):
        with patch.object(Model, "load", fake), patch.object(Model, "size", 9):
            with patch.object(Base, "begin", fake), app.run(placement="process"):
                assert Model().predict.remote() == ("fake", 9)
                assert Derived().look.remote() == "fake"
        with app.run(placement="process"):
            assert Model().predict.remote() == ("real", 3)
            assert Derived().look.remote() == "really"
"""


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_code_of_the_program_finds_what_its_module_has(tmp_path, start):
    with Program(tmp_path, PROGRAM, arguments=[start]) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement `type` is new in 3.12")
def test_a_type_alias_goes_along(tmp_path):
    source = """
import moorage
app = moorage.App("aliases")
type Row = dict[str, int]
type Pair[T] = tuple[T, T]

@app.function()
def f(x: Row, y: Pair[int]):
    return f.__class__.__name__, x, str(Row)

if __name__ == "__main__":
    with app.run(placement="process"):
        assert f.remote({"a": 1}, (1, 2))[1:] == ({"a": 1}, "Row")
"""
    with Program(tmp_path, source) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err


def test_a_culprit_in_another_function_is_named_as_that_function(tmp_path):
    source = """
import threading
import moorage
from moorage.exception import InvalidError
app = moorage.App("culprits")
opened = threading.Event()

@app.function()
def other():
    return opened.is_set()

@app.function()
def f():
    return other.local()

if __name__ == "__main__":
    with app.run(placement="process"):
        try:
            f.remote()
        except InvalidError as error:
            assert "opened, used by other, used by f, is of the type threading.Event" in str(error)
        else:
            raise AssertionError
"""
    with Program(tmp_path, source) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err


def test_a_dict_is_the_programs_where_nothing_else_of_moorage_is_imported(tmp_path):
    source = """
import moorage
app = moorage.App("states")
states = moorage.Dict.from_name("states", create_if_missing=True)
lines = moorage.Queue.from_name("lines", create_if_missing=True)

@app.function()
def begin(job):
    return states.put(job, "running", skip_if_exists=True)

@app.function()
def note(queue, text):
    queue.put(text)

if __name__ == "__main__":
    with app.run(placement="process"):
        assert sum(begin.map(["a", "b", "a", "a"])) == 2
        note.remote(lines, "a line")
        assert lines.get(timeout=0) == "a line"
    assert dict(states.items()) == {"a": "running", "b": "running"}
"""
    with Program(tmp_path, source) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err


def test_a_dict_in_a_file_is_the_same_in_a_container(tmp_path):
    source = """
import moorage
moorage.config.persist = True
app = moorage.App("kept")
states = moorage.Dict.from_name("states", create_if_missing=True)
lines = moorage.Queue.from_name("lines", create_if_missing=True)

@app.function()
def begin(job):
    lines.put(job)
    states[job] = "running"

@app.function()
async def look(job):
    return await states.get.aio(job)

if __name__ == "__main__":
    with app.run(placement="process"):
        begin.remote("a")
        assert look.remote("a") == states["a"] == "running"
        states["b"] = "done"
        assert look.remote("b") == "done"
        assert lines.get(timeout=0) == "a"
        with moorage.Dict.ephemeral() as short:
            short["c"] = 1
            assert app.function(name="of_a_block")(lambda given: given["c"]).remote(short) == 1
"""
    with Program(tmp_path, source, env={"MOORAGE_HOME": str(tmp_path / "home")}) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err


def test_names_are_looked_up_in_the_environment_of_the_run(tmp_path):
    source = """
import os
import moorage
shop, office = moorage.App("shop"), moorage.App("office")

@shop.function()
def price(item):
    return len(item)

@shop.cls()
class Till:
    @moorage.method()
    def open(self):
        return os.environ["MODAL_ENVIRONMENT"]

@office.function()
def total(items):
    price = moorage.Function.from_name("shop", "price")
    moorage.Dict.from_name("totals", create_if_missing=True)["last"] = items
    return sum(price.map(items)), moorage.Cls.from_name("shop", "Till")().open.remote(), price

if __name__ == "__main__":
    with shop.run(environment_name="dev", placement="process"):
        with office.run(environment_name="dev", placement="process"):
            value, name, found = total.remote(["pen", "book"])
            assert (value, name, found.remote("ink")) == (7, "dev", 3)
            assert moorage.Dict.from_name("totals", environment_name="dev")["last"]
"""
    with Program(tmp_path, source) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err


ANNOTATED = """
from __future__ import annotations

import dataclasses, json, sys, threading, typing, urllib.request
import xml.dom.minidom

import fastapi
import pydantic

import moorage

app = moorage.App("annotated")


class Item(pydantic.BaseModel):
    name: str
    parts: list[Part] = []


class Part(pydantic.BaseModel):
    size: int


@dataclasses.dataclass
class Row:
    x: int
    next: Cell | None = None


@dataclasses.dataclass
class Cell:
    z: int


class Locked:
    lock = threading.Lock()


def kept(document: xml.dom.minidom.Document, rows: list["Row"], cell: "Cell" = None):
    pass


def free(lock: Locked | None = None, cell: Cell | None = None):
    return typing.get_type_hints(free, localns={"Locked": int})["cell"] == typing.Optional[Cell]


@app.function()
@moorage.fastapi_endpoint(method="POST")
def endpoint(request: fastapi.Request, item: Item):
    return {"path": request.url.path, "size": item.parts[0].size}


@app.function()
@moorage.asgi_app()
def web():
    api = fastapi.FastAPI()

    @api.post("/row")
    def row(request: fastapi.Request, row: Row):
        return row.next.z

    @api.post("/item")
    async def item(item: Item):
        class Inner(pydantic.BaseModel):
            part: Part

        return Inner(part=item.parts[0]).part.size

    return api


@app.cls()
class Model:
    size: int = moorage.parameter(default=3)

    @moorage.fastapi_endpoint(method="POST")
    def of_method(self, request: fastapi.Request, item: Item):
        return item.parts[0].size + self.size


@app.function()
def hints():
    of_kept = typing.get_type_hints(kept)
    assert of_kept["document"] is xml.dom.minidom.Document
    assert of_kept["rows"] == list[Row]
    assert typing.get_type_hints(Row)["next"] == typing.Optional[Cell]
    assert free()
    fields = {each.name: each.default for each in dataclasses.fields(Row)}
    assert fields["x"] is dataclasses.MISSING
    return Row(1, Cell(2))


@app.function(serialized=True)
def of_argument(function):
    return typing.get_type_hints(function)["later"].__name__


def given(later: Later):
    pass


class Later:
    pass


def post(url, value):
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(value).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


if __name__ == "__main__":
    item = {"name": "one", "parts": [{"size": 4}]}
    with app.run(placement=moorage.Processes(start=sys.argv[1])):
        assert post(endpoint.get_web_url(), item) == {"path": "/", "size": 4}
        assert post(web.get_web_url() + "/row", {"x": 1, "next": {"z": 2}}) == 2
        assert post(web.get_web_url() + "/item", item) == 4
        assert post(Model().of_method.get_web_url(), item) == 7
        assert hints.remote() == Row(1, Cell(2))
        assert of_argument.remote(given) == "Later"
"""


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_annotations_that_are_strings_find_what_they_name(tmp_path, start):
    with Program(tmp_path, ANNOTATED, arguments=[start]) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err
