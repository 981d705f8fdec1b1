"""A model which is loaded once, called from Python and over HTTP."""

import json
import os
import urllib.request
from typing import Literal

import modal
import pydantic

MODEL_DIR = "/models"

image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install("torch==2.5.1", "transformers==4.46.0", "fastapi[standard]")
    .env({"HF_HOME": MODEL_DIR})
)
weights = modal.Volume.from_name("sentiment-weights", create_if_missing=True)

app = modal.App("sentiment", image=image)


class Review(pydantic.BaseModel):
    text: str
    stars: int | None = pydantic.Field(default=None, ge=1, le=5)


class Verdict(pydantic.BaseModel):
    label: Literal["good", "bad", "mixed"]
    score: float


@app.function(volumes={MODEL_DIR: weights})
def download():
    path = f"{MODEL_DIR}/words.json"
    if not os.path.exists(path):
        with open(path, "w") as file:
            json.dump({"love": 2, "nice": 1, "slow": -1, "awful": -2}, file)
        weights.commit()
        print("downloaded the weights")


@app.cls(
    gpu="A10G",
    volumes={MODEL_DIR: weights},
    scaledown_window=60,
    max_containers=2,
    enable_memory_snapshot=True,
)
class Sentiment:
    @modal.enter(snap=True)
    def load(self):
        with open(os.path.join(os.environ["HF_HOME"], "words.json")) as file:
            self.words: dict[str, int] = json.load(file)
        self.device = "cpu"

    @modal.enter(snap=False)
    def to_gpu(self):
        self.device = "cuda"

    def _score(self, text: str) -> float:
        found = [self.words[word] for word in text.lower().split() if word in self.words]
        return sum(found) / max(1, len(found))

    @modal.method()
    def predict(self, text: str) -> Verdict:
        score = self._score(text)
        label = "good" if score > 0.5 else "bad" if score < -0.5 else "mixed"
        return Verdict(label=label, score=round(score, 2))

    @modal.fastapi_endpoint(method="POST", docs=True)
    def classify(self, review: Review) -> Verdict:
        verdict = self.predict.local(review.text)
        if review.stars is not None and (review.stars > 3) != (verdict.label == "good"):
            verdict.label = "mixed"
        return verdict

    @modal.fastapi_endpoint()
    def health(self) -> dict:
        return {"device": self.device, "words": len(self.words)}


@app.local_entrypoint()
def main():
    download.remote()

    texts = ["I love it, nice", "awful and slow", "it is a chair"]
    for text, verdict in zip(texts, Sentiment().predict.map(texts)):
        print(f"{verdict.label:5} {verdict.score:+.1f} {text}")

    url = Sentiment().classify.get_web_url()
    request = urllib.request.Request(
        url,
        data=json.dumps({"text": "I love it", "stars": 1}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        print(response.status, json.load(response))
