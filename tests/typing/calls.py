"""What the type checkers see of calls with many inputs, options, apps and batches.

Checked by mypy and basedpyright, not run by pytest: see ``surface.py``.
"""

from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, assert_type

import moorage
from moorage.types import (
    BatchStatistics,
    FunctionAutoscalerSettings,
    FunctionCurrentStats,
    InputInfo,
    PoolStatistics,
)


def drop(value: object) -> None:
    """For coroutines, which must not be left lying about."""


app = moorage.App("typing", tags={"team": "a"}, volumes={"/v": moorage.Volume.from_name("v")})


@app.function(
    image=moorage.Image.debian_slim().pip_install("numpy"),
    gpu="A100",
    cpu=0.5,
    memory=(512, 1024),
    secrets=[moorage.Secret.from_name("s")],
    volumes={"/data": moorage.Volume.from_name("v")},
    schedule=moorage.Period(days=1),
    retries=moorage.Retries(max_retries=2),
    min_containers=1,
)
@moorage.concurrent(max_inputs=8, target_inputs=4)
def work(x: int, y: str = "") -> float:
    return x + len(y)


@app.function(allow_concurrent_inputs=4, keep_warm=1)
async def awaited(x: int) -> bytes:
    return bytes(x)


async def rows() -> AsyncIterator[tuple[int, str]]:
    yield 1, "a"


async def many() -> None:
    assert_type(list(work.starmap([(1, "a")])), list[float])
    for either in work.starmap([(1, "a")], return_exceptions=True):
        assert_type(either, float | BaseException)
    async for value in work.starmap.aio(rows()):
        assert_type(value, float)
    work.for_each([1], ignore_exceptions=True)
    await work.for_each.aio(rows())
    work.spawn_map([1], kwargs={"y": "a"})
    await work.spawn_map.aio([1])
    assert_type(work.experimental_spawn_map([1]), moorage.FunctionCall[float])
    assert_type(await awaited.experimental_spawn_map.aio([1]), moorage.FunctionCall[bytes])


async def calls() -> None:
    call = work.spawn(1)
    assert_type(call.get(timeout=1, index=0), float)
    assert_type(call.iter(start=0, end=1), Iterator[float])
    async for value in call.iter.aio():
        assert_type(value, float)
    assert_type(call.num_inputs(), int)
    assert_type(await call.num_inputs.aio(), int)
    call.cancel(terminate_containers=True)
    await call.cancel.aio()
    assert_type(call.get_call_graph(), list[InputInfo])
    assert_type(moorage.FunctionCall.gather(call, call), list[float])
    assert_type(await moorage.FunctionCall.gather.aio(awaited.spawn(1)), list[bytes])
    assert_type(moorage.FunctionCall.from_id("fc-1"), moorage.FunctionCall[Any])
    assert_type(await moorage.FunctionCall.from_id.aio("fc-1"), moorage.FunctionCall[Any])
    assert_type({call: 1}, dict[moorage.FunctionCall[float], int])


async def options() -> None:
    other = work.with_options(timeout=3, gpu="T4", retries=2).with_concurrency(max_inputs=2)
    assert_type(other.remote(1, y="a"), float)
    assert_type(work.with_batching(max_batch_size=2, wait_ms=5).local(1), float)
    assert_type(work.update_autoscaler(min_containers=1), FunctionAutoscalerSettings)
    assert_type(await work.update_autoscaler.aio(), FunctionAutoscalerSettings)
    assert_type(work.autoscaler.settings(), FunctionAutoscalerSettings)
    assert_type(work.autoscaler.settings().scaledown_window, float | None)
    seen = work.statistics()
    assert_type(seen, PoolStatistics | None)
    if seen is not None:
        assert_type(seen.batches, BatchStatistics | None)
    assert_type(work.autoscaler.update(max_containers=None), FunctionAutoscalerSettings)
    assert_type(work.get_current_stats(), FunctionCurrentStats)
    assert_type(await work.get_current_stats.aio(), FunctionCurrentStats)
    assert_type(work.app, moorage.App)
    assert_type(work.object_id, str)
    assert_type(work.get_web_url(), str | None)
    assert_type(work.hydrate().remote(1), float)
    assert_type(moorage.Function.from_name("app", "f").remote(1, a=2), Any)
    assert_type(moorage.Function.from_id("fu-1"), moorage.Function[..., Any, Any])
    assert_type(moorage.Cls.from_name("app", "C"), moorage.Cls)


def refused() -> None:
    work.with_options(min_containers=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    work.with_concurrency(target_inputs=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    work.with_options(timeout=3).remote("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.function(gpu=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.function(max_input=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    moorage.batched(max_batch_size=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    moorage.Retries(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    work.starmap([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


# -- apps --------------------------------------------------------------------------


@app.local_entrypoint()
def main(x: int = 1) -> str:
    return str(x)


@app.local_entrypoint(name="other")
async def main_async() -> str:
    return ""


async def apps() -> None:
    assert_type(main(3), str)
    assert_type(main_async(), str)
    with app.run(detach=True) as running:
        assert_type(running, moorage.App)
    async with app.run(name="x") as running:
        assert_type(running, moorage.App)
    assert_type(app.deploy(name="x"), moorage.App)
    assert_type(await app.deploy.aio(), moorage.App)
    app.stop()
    await app.stop.aio()
    assert_type(app.include(moorage.App()), moorage.App)
    assert_type(app.app_id, str | None)
    assert_type(app.registered_functions, dict[str, moorage.Function[..., Any, Any]])
    assert_type(app.registered_classes, dict[str, moorage.Cls])
    assert_type(app.registered_web_endpoints, list[str])
    assert_type(moorage.App.lookup("x", create_if_missing=True), moorage.App)


# -- batches, and web endpoints ------------------------------------------------------


@app.function()
@moorage.concurrent(max_inputs=4)
@moorage.batched(max_batch_size=8, wait_ms=50)
async def lengths(words: list[str]) -> list[int]:
    return [len(word) for word in words]


@app.function()
@moorage.batched(max_batch_size=8, wait_ms=50)
@moorage.concurrent(max_inputs=4)
async def above(words: list[str]) -> list[int]:
    return [len(word) for word in words]


@app.cls()
class Embedder:
    @moorage.batched(max_batch_size=8, wait_ms=50)
    def embed(self, texts: list[str]) -> list[float]:
        return [float(len(text)) for text in texts]


@app.function()
@moorage.fastapi_endpoint(method="POST", docs=True)
def endpoint(x: int) -> dict[str, int]:
    return {"x": x}


@app.function()
@moorage.asgi_app(label="a")
def served() -> object:
    return object()


async def batches() -> None:
    assert_type(lengths.remote("a"), int)
    assert_type(list(lengths.map(["a"])), list[int])
    assert_type(above.remote("a"), int)
    assert_type(above.remote(words="a"), int)
    drop(assert_type(above.local(["a"]), Coroutine[Any, Any, list[int]]))
    drop(assert_type(lengths.local(["a"]), Coroutine[Any, Any, list[int]]))
    assert_type(Embedder().embed.remote("a"), float)
    assert_type(Embedder().embed.local(["a"]), list[float])
    assert_type(endpoint.local(3), dict[str, int])
    assert_type(served.local(), object)


# -- the arguments of batches ----------------------------------------------------------


@app.function()
@moorage.batched(max_batch_size=8, wait_ms=50)
def scaled(words: list[str], factors: Sequence[int]) -> list[bytes]:
    return [word.encode() * factor for word, factor in zip(words, factors, strict=True)]


@app.function()
@moorage.batched(max_batch_size=8, wait_ms=50)
async def three(a: list[int], b: list[str], c: list[bytes]) -> list[float]:
    return [0.0 for _ in a]


@app.function()
@moorage.batched(max_batch_size=8, wait_ms=50)
def four(a: list[int], b: list[int], c: list[int], d: list[int]) -> list[float]:
    return [0.0 for _ in a]


@app.function()
@moorage.batched(max_batch_size=8, wait_ms=50)
async def variadic(*columns: list[int]) -> list[float]:
    return [0.0 for _ in columns[0]]


@app.cls()
@moorage.concurrent(max_inputs=4)
class Batching:
    @moorage.batched(max_batch_size=8, wait_ms=50)
    async def pair(self, texts: list[str], counts: list[int]) -> list[float]:
        return [float(len(text)) for text in texts]


async def arguments_of_batches() -> None:
    assert_type(lengths.remote("a"), int)
    assert_type(lengths.remote(words="a"), int)
    assert_type(await lengths.remote.aio("a"), int)
    assert_type(lengths.spawn("a").get(), int)
    lengths.remote(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lengths.remote(words=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lengths.remote(["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lengths.remote("a", "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await lengths.remote.aio(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lengths.spawn(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    drop(lengths.local("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(lengths.with_options(timeout=3).remote("a"), int)
    drop(assert_type(lengths.with_options(timeout=3).local(["a"]), Coroutine[Any, Any, list[int]]))
    assert_type(scaled.remote("a", 3), bytes)
    assert_type(scaled.remote("a", factors=3), bytes)
    assert_type(scaled.local(["a"], [3]), list[bytes])
    scaled.remote(3, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await three.remote.aio(1, "b", b"c"), float)
    three.remote("b", "b", b"c")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(four.remote(1, 2, 3, 4), float)
    assert_type(await variadic.remote.aio(1, 2, 3), float)
    assert_type(Embedder().embed.remote("a"), float)
    assert_type(Embedder().embed.remote(texts="a"), float)
    Embedder().embed.remote(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await Batching().pair.remote.aio("a", 1), float)
    drop(assert_type(Batching().pair.local(["a"], [1]), Coroutine[Any, Any, list[float]]))
    Batching().pair.remote("a", "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
