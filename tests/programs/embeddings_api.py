"""Embeddings of texts: many small requests become few large batches."""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time

import modal

image = modal.Image.debian_slim().pip_install("sentence-transformers==3.3.1", "fastapi[standard]")
app = modal.App("embeddings-api", image=image)
batches = modal.Queue.from_name("embeddings-api-batches", create_if_missing=True)

DIMENSIONS = 8
MAX_BATCH = 64

with image.imports():
    from fastapi import FastAPI
    from pydantic import BaseModel, Field

    class Texts(BaseModel):
        texts: list[str] = Field(max_length=256)
        normalize: bool = True


@app.cls(gpu="T4", max_containers=1, timeout=120)
class Embedder:
    @modal.enter()
    def load(self):
        self.gpu = threading.Lock()
        self.batches = 0

    @modal.batched(max_batch_size=MAX_BATCH, wait_ms=200)
    def embed(self, texts: list[str]) -> list[list[float]]:
        if not self.gpu.acquire(blocking=False):
            raise RuntimeError("two batches at once on one GPU")
        try:
            self.batches += 1
            batches.put(len(texts))
            time.sleep(0.05)  # as long for one text as for many
            return [self.vector(text) for text in texts]
        finally:
            self.gpu.release()

    def vector(self, text: str) -> list[float]:
        if text == "\0":
            raise ValueError("a text must not be NUL")
        digest = hashlib.sha256(text.encode()).digest()
        return [byte - 127.5 for byte in digest[:DIMENSIONS]]


@app.function(max_containers=1)
@modal.concurrent(max_inputs=1000)
@modal.asgi_app()
def api():
    web_app = FastAPI()
    embedder = Embedder()

    def normalized(vector: list[float]) -> list[float]:
        length = math.sqrt(sum(value * value for value in vector))
        return [value / length for value in vector]

    @web_app.post("/embed")
    async def embed(body: Texts) -> list[list[float]]:
        vectors = await asyncio.gather(*[embedder.embed.remote.aio(text) for text in body.texts])
        return [normalized(vector) for vector in vectors] if body.normalize else vectors

    @web_app.get("/similar")
    async def similar(a: str, b: str) -> float:
        first, second = [
            normalized(vector) async for vector in embedder.embed.map.aio([a, b])
        ]
        return round(sum(x * y for x, y in zip(first, second)), 6)

    return web_app


@app.local_entrypoint()
def main(count: int = 150):
    vectors = list(Embedder().embed.map(f"text {number}" for number in range(count)))
    sizes = batches.get_many(1000, block=False)
    print(len(vectors), "vectors of", {len(vector) for vector in vectors})
    print("batches:", len(sizes), "of", sum(sizes), "texts, the largest", max(sizes))
