"""A class that loads a model once, and batches the requests of its web method.

    python model.py                                     prints its URL, and serves until Ctrl-C
    curl 'http://127.0.0.1:PORT/?text=a+fine+day'       {"text": "a fine day", "mood": 0.8}

Many requests wait at once for their answer (`max_inputs`), and the model sees them in batches:
the web method calls the batched method beside it.  Each costs the model less than alone.
"""

import threading
import time
from typing import Any

import modal

app = modal.App("moods")

SECONDS_TO_LOAD = 20.0
SECONDS_A_BATCH = 0.5


class Weights:
    """Stands for a real model: slow to load, and as slow for one text as for sixteen."""

    def __init__(self) -> None:
        time.sleep(SECONDS_TO_LOAD)
        self.words = {"fine": 0.8, "good": 0.7, "bad": -0.7}

    def predict(self, texts: list[str]) -> list[float]:
        time.sleep(SECONDS_A_BATCH)
        return [sum(self.words.get(word, 0.0) for word in text.split()) for text in texts]


@app.cls(max_containers=1, scaledown_window=300)
class Moods:
    """The model, in a container that does nothing else."""

    @modal.enter()
    def load(self) -> None:
        self.weights = Weights()

    @modal.batched(max_batch_size=16, wait_ms=50)
    def predict(self, texts: list[str]) -> list[float]:
        return self.weights.predict(texts)


@app.function(max_containers=1)
@modal.concurrent(max_inputs=200)
@modal.fastapi_endpoint()
async def mood(text: str) -> dict[str, Any]:
    return {"text": text, "mood": await Moods().predict.remote.aio(text)}


if __name__ == "__main__":
    with app.run():
        print(mood.get_web_url(), flush=True)
        threading.Event().wait()
