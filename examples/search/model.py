"""The model: a vector for each passage, and one for each word, to make those of queries from.

Owns how the vectors are made (latent semantic analysis, by scikit-learn), where
they are kept afterwards, and the search itself, which needs numpy only.

Making them takes some ten seconds, the first time.  They are kept beside this
file, in ``.cache``, and used by the Python and the code that made them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from . import texts
from .texts import Passage, collect, words

Vectors = npt.NDArray[np.float32]

CACHE = Path(__file__).parent / ".cache"
DIMENSIONS = 768  # as many as a sentence has in a usual embedding
BLOCK = 32  # passages that are multiplied at once; see Index.nearest
# Vectors have this length, and whole numbers in them.  A product of two, and each sum on the
# way to it, then is a whole number below 2**24, which float32 holds exactly: in whatever order
# BLAS adds, and that depends on how many queries there are, the scores are the same to the bit.
LENGTH = 4000

_making = threading.Lock()


class Hit(NamedTuple):
    name: str
    score: float  # the cosine between the query and the passage, at most about 1
    text: str


class Index:
    """Passages that are found by what they mean, or nearly.  Any number of threads may search."""

    def __init__(
        self, passages: list[Passage], vectors: Vectors, words: list[str], word_vectors: Vectors
    ) -> None:
        """`vectors` has a row for each of `passages`, `word_vectors` one for each of `words`."""
        self.passages = passages
        self._word_vectors = word_vectors
        self._row = {word: row for row, word in enumerate(words)}
        # (blocks, dimensions, passages in a block); the last one is filled up with zeros.
        filled = np.zeros((-(-len(passages) // BLOCK) * BLOCK, vectors.shape[1]), np.float32)
        filled[: len(vectors)] = _whole(vectors)
        blocks = filled.reshape(-1, BLOCK, vectors.shape[1])
        self._blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1))

    def embed(self, queries: Sequence[str]) -> Vectors:
        """A row for each query, zeros if it has no word that is known."""
        vectors = np.zeros((len(queries), self._word_vectors.shape[1]), np.float32)
        for vector, query in zip(vectors, queries, strict=True):
            for word, times in Counter(words(query)).items():
                if word in self._row:
                    vector += (1 + math.log(times)) * self._word_vectors[self._row[word]]
        return _whole(vectors)

    def nearest(self, vectors: Vectors, hits: int = 3) -> list[list[Hit]]:
        """The best passages for each of `vectors`, from the best on; of equals the first."""
        scores = np.empty((len(vectors), len(self._blocks) * BLOCK), np.float32)
        # One product with all passages.  In blocks, since BLAS copies a large matrix into an
        # order of its own before each multiplication, which costs more than multiplying it
        # with a few queries; blocks as small as these it takes as they are.
        by_block = scores.reshape(len(vectors), -1, BLOCK).transpose(1, 0, 2)
        np.matmul(vectors, self._blocks, out=by_block)
        found: list[list[Hit]] = [[] for _ in vectors]
        rows = np.arange(len(vectors))
        for _ in range(min(hits, len(self.passages))):
            best = scores.argmax(axis=1)
            for answer, column, score in zip(found, best, scores[rows, best], strict=True):
                if score > 0:
                    name, text = self.passages[column]
                    answer.append(Hit(name, float(score) / LENGTH**2, text))
            scores[rows, best] = -np.inf
        return found


def _whole(vectors: Vectors) -> Vectors:
    """`vectors` scaled to LENGTH and rounded to whole numbers; zeros remain zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return np.rint(vectors * (LENGTH / norms))


def load() -> Index:
    """The index of the standard library's docstrings, made if there is none yet.

    From here on BLAS has one thread in this process: containers are what there
    are several of, and would fight for the cores.
    """
    makers = hashlib.sha256(
        b"".join(Path(file).read_bytes() for file in (__file__, texts.__file__))
    )
    path = CACHE / f"python-{platform.python_version()}-{makers.hexdigest()[:8]}.npz"
    with _making:  # two containers may start at once
        if not path.exists():
            passages = collect()
            print(f"making vectors of {len(passages):,} passages, once", file=sys.stderr)
            _write(path, *make(passages))
    index = _read(path)
    threadpool_limits(1, user_api="blas")
    return index


def make(
    passages: list[Passage], dimensions: int = DIMENSIONS
) -> tuple[list[Passage], Vectors, list[str], Vectors]:
    """What `Index` takes, the same for the same passages."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    tfidf = TfidfVectorizer(
        analyzer=lambda passage: words(f"{passage.name} {passage.text}"),
        min_df=2,
        max_df=0.2,
        sublinear_tf=True,
        dtype=np.float32,
    )
    svd = TruncatedSVD(dimensions, n_iter=3, random_state=0)
    vectors = svd.fit_transform(tfidf.fit_transform(passages))
    # A query's vector is the weighted sum of its words', so those are kept ready.
    word_vectors = tfidf.idf_[:, np.newaxis] * svd.components_.T
    return (
        passages,
        vectors.astype(np.float32),
        list(tfidf.get_feature_names_out()),
        word_vectors.astype(np.float32),
    )


def _write(
    path: Path, passages: list[Passage], vectors: Vectors, words: list[str], word_vectors: Vectors
) -> None:
    path.parent.mkdir(exist_ok=True)
    strings = json.dumps({"passages": passages, "words": words}).encode()
    # Under another name until it is complete: whoever reads it finds all of it or nothing.
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        np.savez(
            file,
            strings=np.frombuffer(strings, np.uint8),
            vectors=vectors,
            word_vectors=word_vectors,
        )
    os.replace(file.name, path)


def _read(path: Path) -> Index:
    with np.load(path) as kept:
        strings = json.loads(kept["strings"].tobytes())
        passages = [Passage(*passage) for passage in strings["passages"]]
        return Index(passages, kept["vectors"], strings["words"], kept["word_vectors"])
