"""Embeddings as a service: callers give one text, containers embed them in batches.

    modal deploy embeddings.py

The weights are a few rules, so that this file is all there is.  A container loads them
once, embeds up to two batches side by side, and writes its bill when it goes.
"""

import json
import math
import threading
import zlib
from pathlib import Path

import modal

image = modal.Image.debian_slim().pip_install("sentence-transformers")
app = modal.App("embeddings", image=image)

BILL = Path("/var/log/embeddings.jsonl")


class Model:
    """Hashes words to dimensions, and scales what comes out to length 1."""

    def __init__(self, name: str) -> None:
        if name not in ("small", "large"):
            raise FileNotFoundError(f"no weights for {name!r}")
        self.dimensions = {"small": 64, "large": 1024}[name]

    def encode(self, texts: list[str]) -> list[list[float]]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % self.dimensions] += 1.0
        length = math.hypot(*vector) or 1.0
        return [value / length for value in vector]


@app.cls(gpu="T4", max_containers=2, scaledown_window=120, timeout=60)
@modal.concurrent(max_inputs=2)
class Embedder:
    """One model.  Two batches may be in a container: one is encoded, one is prepared."""

    model_name: str = modal.parameter(default="small")

    @modal.enter()
    def load(self) -> None:
        self.model = Model(self.model_name)
        self.words = 0
        self.batches = 0
        self.lock = threading.Lock()

    @modal.batched(max_batch_size=4, wait_ms=50)
    def embed(self, texts: list[str]) -> list[list[float]]:
        """The vector of each text.  A caller gives one text, and gets its vector."""
        vectors = self.model.encode(texts)
        with self.lock:
            self.words += sum(len(text.split()) for text in texts)
            self.batches += 1
        return vectors

    @modal.exit()
    def flush(self) -> None:
        line = {"model": self.model_name, "words": self.words, "batches": self.batches}
        with BILL.open("a") as file:
            file.write(json.dumps(line) + "\n")


def similarity(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


@app.local_entrypoint()
def main(question: str = "a warm drink") -> None:
    embedder = Embedder(model_name="large")
    texts = ["a warm cup of tea", "how to mend a net", "a drink of cold water"]
    asked, *vectors = embedder.embed.map([question, *texts])
    for score, text in sorted(
        ((similarity(asked, vector), text) for vector, text in zip(vectors, texts, strict=True)),
        reverse=True,
    ):
        print(f"{score:.2f}  {text}")
