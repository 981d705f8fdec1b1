"""Stream tokens as server-sent events, from functions that are generators."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Generator

import modal

image = modal.Image.debian_slim().pip_install("fastapi[standard]")
app = modal.App("story", image=image)

with image.imports():
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse


@app.function(gpu="L4", timeout=300)
@modal.concurrent(max_inputs=8)
def tokens(prompt: str, count: int = 5) -> Generator[str, None, None]:
    """One word after the other, as a language model gives them."""
    words = prompt.split()
    try:
        for number in range(count):
            time.sleep(0.01)
            yield words[number % len(words)]
    finally:
        print(f"a story of {prompt!r} has ended", flush=True)


@app.function()
async def chapters(titles: list[str]) -> AsyncGenerator[dict, None]:
    for number, title in enumerate(titles, start=1):
        await asyncio.sleep(0)
        yield {"chapter": number, "title": title.title()}


@app.function()
def translate(word: str) -> str:
    return {"the": "der", "sea": "See", "old": "alte", "man": "Mann"}.get(word, word) + " "


@app.function(timeout=600)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def web():
    web_app = FastAPI()

    async def events(prompt: str, count: int) -> AsyncGenerator[str, None]:
        number = 0
        async for token in tokens.remote_gen.aio(prompt, count=count):
            number += 1
            yield f"id: {number}\ndata: {json.dumps({'token': token})}\n\n"
        yield "event: done\ndata: [DONE]\n\n"

    @web_app.get("/story")
    async def story(prompt: str, count: int = 5):
        return StreamingResponse(
            events(prompt, count),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )

    @web_app.get("/plain")
    def plain(prompt: str):
        # The generator of the function itself, as the docs of Modal have it.
        return StreamingResponse(tokens.remote_gen(prompt), media_type="text/plain")

    @web_app.post("/translate")
    async def translated(request: Request):
        words = (await request.body()).decode().split()
        return StreamingResponse(translate.map.aio(words), media_type="text/plain")

    return web_app


@app.function()
@modal.fastapi_endpoint()
def countdown(start: int = 3):
    def numbers():
        for number in range(start, 0, -1):
            yield f"data: {number}\n\n"

    return StreamingResponse(numbers(), media_type="text/event-stream")


@app.local_entrypoint()
async def main(prompt: str = "the old man and the sea"):
    async for token in tokens.remote_gen.aio(prompt, count=6):
        print(token, end=" ", flush=True)
    print()
    async for chapter in chapters.remote_gen.aio(["the boat", "the fish"]):
        print(chapter["chapter"], chapter["title"])
    first = []
    async for token in tokens.remote_gen.aio("endless", count=1_000_000):
        first.append(token)
        if len(first) == 3:
            break
    print(first)
