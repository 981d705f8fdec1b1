"""What the type checkers see of the public names.  Checked by them, not run by pytest.

Where something must be refused, an ignore comment stands for the error: both
checkers are set to complain of an ignore that is not needed.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, assert_type

import moorage

app = moorage.App("typing")


def drop(value: object) -> None:
    """For coroutines, which must not be left lying about."""


# -- functions: every stack keeps the parameters and the result ----------------------


@app.function()
def plain(x: int, *, y: str = "") -> float:
    return x + len(y)


@app.function()
@moorage.concurrent(max_inputs=4)
def several(x: int, *, y: str = "") -> float:
    return x + len(y)


@app.function(name="awaited", timeout=1.0, max_containers=2)
async def awaited(x: int, *, y: str = "") -> float:
    return x + len(y)


@app.function()
@moorage.concurrent(max_inputs=4, target_inputs=2)
async def several_awaited(x: int, *, y: str = "") -> float:
    return x + len(y)


@app.function()
def nothing() -> None: ...


@app.function()
def optional(x: int, /, *rest: str, **named: bytes) -> str | None:
    return rest[x] if named else None


def remote() -> None:
    assert_type(plain.remote(1), float)
    assert_type(plain.remote(1, y="a"), float)
    assert_type(plain.remote(x=1), float)
    assert_type(several.remote(1, y="a"), float)
    assert_type(awaited.remote(1, y="a"), float)
    assert_type(several_awaited.remote(1, y="a"), float)
    assert_type(nothing.remote(), None)
    assert_type(optional.remote(1, "a", "b", c=b""), str | None)


async def remote_aio() -> None:
    assert_type(await plain.remote.aio(1), float)
    assert_type(await several.remote.aio(1, y="a"), float)
    assert_type(await awaited.remote.aio(1, y="a"), float)
    assert_type(await several_awaited.remote.aio(x=1), float)
    assert_type(await optional.remote.aio(1, "a", c=b""), str | None)


async def local() -> None:
    assert_type(plain.local(1), float)
    assert_type(several.local(1, y="a"), float)
    drop(assert_type(awaited.local(1), Coroutine[Any, Any, float]))
    drop(assert_type(several_awaited.local(1, y="a"), Coroutine[Any, Any, float]))
    assert_type(await several_awaited.local(1), float)
    assert_type(optional.local(1), str | None)


async def map_() -> None:
    assert_type(list(plain.map([1, 2])), list[float])
    for value in several.map([1], range(2), kwargs={"y": "a"}, order_outputs=False):
        assert_type(value, float)
    for value in several_awaited.map(x for x in range(3)):
        assert_type(value, float)
    for either in several.map([1], return_exceptions=True):
        assert_type(either, float | BaseException)
    for value in several.map([1], return_exceptions=False):
        assert_type(value, float)
    async for value in several.map.aio([1]):
        assert_type(value, float)
    async for value in several_awaited.map.aio(numbers(), [1]):
        assert_type(value, float)
    async for either in several_awaited.map.aio([1], return_exceptions=True):
        assert_type(either, float | BaseException)


def with_flag(flag: bool) -> None:
    for either in several.map([1], return_exceptions=flag):
        assert_type(either, float | BaseException)


async def numbers() -> AsyncIterator[int]:
    yield 1


async def spawn() -> None:
    call = several.spawn(1, y="a")
    assert_type(call, moorage.FunctionCall[float])
    assert_type(call.get(), float)
    assert_type(call.get(timeout=1.0), float)
    assert_type(await call.get.aio(), float)
    assert_type(await call.get.aio(timeout=1), float)
    assert_type(call.object_id, str)
    call.cancel()
    await call.cancel.aio()
    assert_type(await several.spawn.aio(1), moorage.FunctionCall[float])
    assert_type(several_awaited.spawn(1), moorage.FunctionCall[float])
    assert_type(several_awaited.spawn(1).get(), float)


def wants_anything(
    function: moorage.Function[[int], object, object], call: moorage.FunctionCall[object]
) -> None:
    assert_type(function.remote(1), object)
    assert_type(call.get(), object)


def covariant(function: moorage.Function[[int], int, int]) -> None:
    # What gives an int will do where anything is wanted.
    wants_anything(function, function.spawn(1))


def refused() -> None:
    several.remote("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    several.remote(1, y=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    several.remote()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    several.remote(1, z="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    drop(several.remote.aio("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    several.local("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    several.spawn("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    drop(several.spawn.aio("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    several_awaited.remote("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    several.map(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    several.map(numbers())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    several.spawn(1).get("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A function of an app is not called: it is run somewhere.
    several(1)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]


# -- generators ------------------------------------------------------------------


@app.function()
@moorage.concurrent(max_inputs=4)
def iterator(n: int) -> Iterator[int]:
    yield n


@app.function()
def generator(n: int) -> Generator[int, None, None]:
    yield n


@app.function()
def iterable(n: int) -> Iterable[int]:
    yield n


@app.function()
@moorage.concurrent(max_inputs=4)
async def async_iterator(n: int) -> AsyncIterator[int]:
    yield n


@app.function()
async def async_generator(n: int) -> AsyncGenerator[int, None]:
    yield n


@app.function()
async def async_iterable(n: int) -> AsyncIterable[int]:
    yield n


async def remote_gen() -> None:
    for item in iterator.remote_gen(3):
        assert_type(item, int)
    for item in generator.remote_gen(3):
        assert_type(item, int)
    for item in iterable.remote_gen(3):
        assert_type(item, int)
    for item in async_iterator.remote_gen(3):
        assert_type(item, int)
    for item in async_generator.remote_gen(n=3):
        assert_type(item, int)
    for item in async_iterable.remote_gen(3):
        assert_type(item, int)
    async for item in iterator.remote_gen.aio(3):
        assert_type(item, int)
    async for item in generator.remote_gen.aio(3):
        assert_type(item, int)
    async for item in async_iterator.remote_gen.aio(3):
        assert_type(item, int)
    async for item in async_generator.remote_gen.aio(n=3):
        assert_type(item, int)
    items = async_generator.remote_gen(3)
    items.close()
    await items.aclose()
    assert_type(iterator.local(3), Iterator[int])
    assert_type(async_generator.local(3), AsyncGenerator[int, None])


def refused_gen() -> None:
    iterator.remote_gen("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    iterator.remote_gen.aio("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain.remote_gen(1)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# -- classes ---------------------------------------------------------------------


@app.cls(max_containers=2)
@moorage.concurrent(max_inputs=5)
class Model:
    k: int = moorage.parameter()
    name: str = moorage.parameter(default="a")
    loaded: bytes = moorage.parameter(init=False)

    @moorage.enter(snap=True)
    def load(self) -> None:
        self.loaded = self.name.encode()

    @moorage.enter()
    async def connect(self) -> int:
        return self.k

    @moorage.exit()
    def unload(self) -> None:
        assert_type(self.other.remote(1), str)

    @moorage.method()
    def m(self, x: int, *, y: str = "") -> str:
        assert_type(self.other.local(x), str)
        assert_type(self.loaded, bytes)
        return self.other.remote(x) + y

    @moorage.method()
    def other(self, x: int) -> str:
        return self.name * x

    @moorage.method()
    async def awaited(self, x: int) -> str:
        return await self.m.remote.aio(x)

    @moorage.method()
    def stream(self, n: int) -> Iterator[int]:
        yield n

    @moorage.method(is_generator=True)
    async def async_stream(self, n: int) -> AsyncIterator[int]:
        yield n

    @moorage.method(is_generator=False)
    def warm(self) -> float:
        return 1.0

    def helper(self, x: int) -> int:
        return x


@app.cls()
class Own:
    """With a constructor of its own, and no parameters."""

    def __init__(self, path: str, *, depth: int = 1) -> None:
        self.path = path
        self.depth = depth

    @moorage.method()
    def m(self, x: int) -> str:
        return self.path * x


@app.cls()
class Parameterized:
    """With parameters, and without `concurrent`."""

    k: int = moorage.parameter()

    @moorage.method()
    def m(self, x: int) -> str:
        return str(x * self.k)


@app.cls()
class Bare:
    @moorage.method()
    def m(self, x: int) -> str:
        return str(x)


async def methods() -> None:
    model = Model(k=1, name="b")
    assert_type(model, Model)
    assert_type(model.k, int)
    assert_type(model.name, str)
    assert_type(model.m.remote(1, y="a"), str)
    assert_type(await model.m.remote.aio(1), str)
    assert_type(model.m.local(1), str)
    assert_type(model.m.spawn(1), moorage.FunctionCall[str])
    assert_type(list(model.m.map([1])), list[str])
    assert_type(model.awaited.remote(1), str)
    assert_type(await model.awaited.remote.aio(1), str)
    drop(assert_type(model.awaited.local(1), Coroutine[Any, Any, str]))
    assert_type(await model.awaited.spawn(1).get.aio(), str)
    async for value in model.awaited.map.aio([1]):
        assert_type(value, str)
    for item in model.stream.remote_gen(3):
        assert_type(item, int)
    async for item in model.async_stream.remote_gen.aio(3):
        assert_type(item, int)
    assert_type(model.warm.remote(), float)
    assert_type(model.helper(1), int)
    assert_type(Own("a", depth=2).m.remote(1), str)
    assert_type(Bare().m.remote(1), str)
    # mypy knows the constructor from moorage.mypy_plugin; of a class under `concurrent` without.
    assert_type(Parameterized(k=1).m.remote(1), str)


def hooks(model: Model) -> None:
    load: Callable[[], None] = model.load
    connect: Callable[[], Coroutine[Any, Any, int]] = model.connect
    unload: Callable[[Model], None] = Model.unload
    print(load, connect, unload)


def refused_methods(model: Model) -> None:
    model.m.remote("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.m.remote()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    model.awaited.remote("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.stream.remote_gen("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.m(1)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    Model(k="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Model()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Model(k=1, j=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Model(k=1, loaded=b"")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Own(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Parameterized(j=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Parameterized(k="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Bare(k=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# -- the decorators' own arguments -------------------------------------------------


def function(x: int) -> int:
    return x


def refused_decorators() -> None:
    moorage.concurrent()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    moorage.concurrent(max_inputs="a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    moorage.concurrent(function)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    moorage.method(function)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    moorage.enter(function)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    moorage.exit(function)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.function(function)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    app.cls(Bare)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    moorage.concurrent(max_inputs=2)(plain)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    app.function()(plain)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


# -- the rest --------------------------------------------------------------------


async def runs() -> None:
    with app.run(grace=1.0):
        pass
    async with app.run():
        pass
    assert_type(moorage.current_input_id(), str | None)
    assert_type(moorage.current_function_call_id(), str | None)
    assert_type(moorage.is_local(), bool)
    statistics = several.statistics()
    if statistics is not None:
        assert_type(statistics.queued, int)
