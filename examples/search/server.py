"""The server: a class whose containers hold the model, and answer queries in batches.

Owns how inputs become batches and batches meet the model.  This is all that
would be deployed; it needs no more of its surroundings than `load`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import moorage as modal

if TYPE_CHECKING:
    from .model import Hit, Index

image = modal.Image.debian_slim().pip_install("scikit-learn")  # for Modal; no image is made here
app = modal.App("search", image=image)


def load() -> Index:
    """The model, whose packages only those need that call this: here, the containers."""
    from . import model

    return model.load()


# Two batches may be in a container: one has the model, of the other the words are looked up.
@app.cls(max_containers=1)
@modal.concurrent(max_inputs=2)
class Search:
    @modal.enter()
    def begin(self) -> None:
        self.index = load()
        self.turn = threading.Lock()  # the model's, as it would be an accelerator's

    @modal.batched(max_batch_size=32, wait_ms=2)
    def ask(self, queries: list[str]) -> list[list[Hit]]:
        """The passages that are nearest to each query.  A caller gives one, and gets its hits."""
        vectors = self.index.embed(queries)
        with self.turn:
            return self.index.nearest(vectors)
