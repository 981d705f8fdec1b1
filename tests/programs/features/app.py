"""Two images: the one with the heavy packages, and a slim one for the rest.

`with image.imports():` imports in the containers of that image, so the module can be imported on a
laptop that has none of the packages.

    modal run app.py --query "to be or not to be"
"""

from typing import List, Tuple

import modal

slim = modal.Image.debian_slim(python_version="3.11")
base = (
    slim.apt_install("libsndfile1", "ffmpeg")
    .pip_install("pydantic>=2", "httpx", extra_index_url="https://pypi.example.com/simple")
    .run_commands("echo built")
)
heavy = base.add_local_python_source("heavy_features")
gpu_image = base.pip_install("torch", "sentence-transformers", gpu="T4")

app = modal.App("example-image-imports", image=slim)

with heavy.imports():
    import heavy_features as features
    from pydantic import BaseModel, ValidationError

    class Document(BaseModel):
        title: str
        stars: int

with gpu_image.imports():
    from sentence_transformers import CrossEncoder


@app.function(image=heavy)
def embed(text: str) -> List[float]:
    return features.embed(text)


@app.function(image=heavy)
def validate(payload: dict) -> str:
    try:
        document = Document.model_validate(payload)
    except ValidationError as error:
        return f"{error.error_count()} errors"
    return document.title


@app.cls(image=heavy, scaledown_window=60)
class Index:
    @modal.enter()
    def build(self):
        texts = ["a banana", "oh no", "queue"]
        self.rows = [(text, features.embed(text)) for text in texts]

    @modal.method()
    def nearest(self, query: List[float]) -> Tuple[str, float]:
        scored = [(text, features.similarity(query, row)) for text, row in self.rows]
        return max(scored, key=lambda pair: pair[1])


@app.function()
def plan(query: str) -> List[str]:
    return query.split(",")


@app.function(image=gpu_image, gpu="T4")
def rerank(query: str) -> List[str]:
    model = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2")
    return [row["text"] for row in model.rank(query, ["a banana", "oh no"], return_documents=True)]


@app.local_entrypoint()
def main(query: str = "banana,no,queue"):
    words = plan.remote(query)
    vectors = list(embed.map(words))
    for word, (text, score) in zip(words, Index().nearest.map(vectors)):
        print(f"{word} -> {text} ({score:.2f})")
    print(validate.remote({"title": "Moby", "stars": "5"}), validate.remote({"stars": "many"}))
