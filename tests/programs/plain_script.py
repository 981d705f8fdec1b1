"""A script which is run by Python, and runs its app itself."""

import asyncio
import sys

import modal

app = modal.App("plain-script", include_source=True)


@app.function(retries=modal.Retries(max_retries=1, initial_delay=0.0), max_containers=3)
def divide(a: int, b: int) -> float:
    return a / b


@app.function(enable_memory_snapshot=True)
@modal.concurrent(max_inputs=50, target_inputs=25)
async def shout(text: str, mark: str = "!") -> str:
    await asyncio.sleep(0.001)
    return text.upper() + mark


@app.function()
def chunks(text: str):
    yield from text.split("-")


async def asynchronous() -> None:
    async with app.run.aio():
        texts = [text async for text in shout.map.aio(["a", "b"], kwargs={"mark": "?"})]
        print(texts, await shout.remote.aio("c"))
        calls = [await shout.spawn.aio(word) for word in ("d", "e")]
        print(await modal.FunctionCall.gather.aio(*calls))


def main() -> int:
    print("local:", divide.local(1, 4), modal.is_local())
    with modal.enable_output(), app.run(detach=False):
        print(list(divide.starmap([(1, 2), (1, 0), (3, 4)], return_exceptions=True)))
        print(list(chunks.remote_gen("x-y-z")))
        shout.for_each(["nobody", "listens"])
        shout.spawn_map(["nor", "here"])
        try:
            divide.remote(1, 0)
        except ZeroDivisionError as error:
            print("as expected:", error)
    asyncio.run(asynchronous())
    return 4


if __name__ == "__main__":
    sys.exit(main())
