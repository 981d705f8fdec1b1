"""Types of the test kit: a fake container has the types of what it runs."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import moorage
from moorage.calling.waited import StreamReader
from moorage.pytest_plugin import FakeContainerFactory, RunApp
from moorage.testing import (
    Events,
    FakeContainer,
    FakeMethod,
    FakeStatistics,
    Gate,
    Probe,
    Sequencer,
    Submission,
    Timeline,
    VirtualClock,
)

app = moorage.App()


@app.function()
def size(text: str, *, twice: bool = False) -> int:
    return len(text)


@app.function()
async def size_async(text: str) -> int:
    return len(text)


@app.function()
@moorage.concurrent(max_inputs=2)
async def concurrently(text: str) -> int:
    return len(text)


@moorage.concurrent(max_inputs=2)
def marked(text: str) -> int:
    return len(text)


@moorage.concurrent(max_inputs=2)
async def marked_async(text: str) -> int:
    return len(text)


def plain(text: str) -> int:
    return len(text)


async def plain_async(text: str) -> int:
    return len(text)


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def count_async(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@app.cls()
class Model:
    @moorage.method()
    def size(self, text: str) -> int:
        return len(text)


@app.function()
@moorage.concurrent(max_inputs=2)
@moorage.batched(max_batch_size=4, wait_ms=100)
async def sizes(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


@moorage.batched(max_batch_size=4, wait_ms=100)
def sizes_marked(texts: list[str], factors: list[int]) -> list[int]:
    return [len(text) for text in texts]


@app.cls()
class Several:
    @moorage.method()
    async def size(self, text: str) -> int:
        return len(text)

    @moorage.method()
    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    @moorage.batched(max_batch_size=4, wait_ms=100)
    def sizes(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]


class Plain:
    async def size(self, text: str) -> int:
        return len(text)

    @staticmethod
    def size_static(text: str) -> int:
        return len(text)

    def __call__(self, text: str) -> int:
        return len(text)


def containers() -> None:
    for container in (
        FakeContainer(size, max_inputs=2),
        FakeContainer(marked),
        FakeContainer(plain),
        FakeContainer(plain_async),
        FakeContainer(Model().size),
    ):
        assert_type(container.call("x"), int)
        assert_type(container.submit("x"), Submission[int])
        assert_type(container.submit("x").result(), int)
        assert_type(container.statistics(), FakeStatistics)
        assert_type(list(container.map(["x"])), list[int])
    for asynchronous in (
        FakeContainer(size_async, clock=VirtualClock()),
        FakeContainer(concurrently, retries=1),
        FakeContainer(marked_async),
    ):
        assert_type(asynchronous.call("x"), int)
        assert_type(asynchronous.submit("x"), Submission[int])
    for other in (
        FakeContainer(Several().size),
        FakeContainer(Plain().size),
        FakeContainer(Plain.size_static),
        FakeContainer(Plain()),
    ):
        assert_type(other.call("x"), int)
    assert_type(FakeContainer(len).call("x"), int)
    assert_type(FakeContainer(Plain).call(), Plain)
    with FakeContainer(size_async) as one:
        one.call(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        one.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(list(one.map(["x"])), list[int])
        assert_type(list(one.starmap([("x",)])), list[int])
    for batches in (FakeContainer(sizes), FakeContainer(Several().sizes)):
        assert_type(batches.call("x"), int)
        assert_type(batches.call(texts="x"), int)
        assert_type(batches.submit("x").result(), int)
        batches.call(["x"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        batches.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pairs = FakeContainer(sizes_marked)
    assert_type(pairs.call("x", 2), int)
    pairs.call(2, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with FakeContainer(size) as entered:
        assert_type(entered.call("x", twice=True), int)
        entered.call(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        entered.submit(text=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(entered.hold("start"), Gate)
        entered.hold("begin")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(entered.events, Events)
        assert_type(entered.timeline(), Timeline)
        assert_type(entered.submit("x").exception(), BaseException | None)
    FakeContainer(size, max_input=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    assert_type(FakeContainer(Model()).method("size"), FakeMethod)
    assert_type(FakeContainer(Model()), FakeContainer[..., Any])
    assert_type(FakeContainer(count).stream(2), StreamReader[int])
    assert_type(FakeContainer(count_async).stream(2), StreamReader[int])
    assert_type(FakeContainer(Several().count).stream(2), StreamReader[int])


async def on_a_loop() -> None:
    async with FakeContainer(size_async) as container:
        assert_type(await container.call.aio("x"), int)
    async with FakeContainer(plain_async) as other:
        assert_type(await other.call.aio("x"), int)
        assert_type(await other.submit("x"), int)
        assert_type(await other.submit.aio("x"), Submission[int])
        assert_type(await (await other.submit.aio("x")), int)
        await other.submit.aio(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type([each async for each in other.map.aio(["x"])], list[int])
        assert_type([each async for each in other.starmap.aio([("x",)])], list[int])
        await container.wait_running.aio(1)
        await container.wait_idle.aio()
    sequencer = Sequencer()
    async with sequencer(0):
        pass


def whole_app() -> None:
    probe = Probe()
    with VirtualClock() as clock, app.run(clock=clock, probe=probe):
        assert_type(clock, VirtualClock)
        assert_type(probe.hold("start", of=size), Gate)
        assert_type(clock.run(plain_async("x")), int)
        with clock.patch_time():
            pass


def fixtures(fake_container: FakeContainerFactory, run_app: RunApp) -> None:
    assert_type(fake_container(size, max_inputs=2).call("x"), int)
    assert_type(fake_container(plain_async).submit("x"), Submission[int])
    assert_type(fake_container(size_async).submit("x").result(), int)
    assert_type(fake_container(marked_async).call("x"), int)
    assert_type(fake_container(sizes).call("x"), int)
    fake_container(sizes).call(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(fake_container(Several().size).call("x"), int)
    assert_type(fake_container(Several()), FakeContainer[..., Any])
    assert_type(run_app(app), moorage.App)
