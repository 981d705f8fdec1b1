"""The search example: it answers in batches as it does alone, and notices when it does not.

Its model needs packages that the tests do without.  The server is given a small
one, made by hand, so that all but the arithmetic runs here; the arithmetic is
tested where ``make search`` has installed what it needs.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PASSAGES = {
    "subprocess.Popen.wait": "Wait for the child process to finish",
    "tempfile.TemporaryDirectory": "Create a temporary directory, removed afterwards",
    "functools.lru_cache": "Least-recently-used cache decorator",
    "json.load": "Deserialize a file that contains a document",
}


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of the example that need nothing installed."""
    monkeypatch.syspath_prepend(ROOT)
    names = ("texts", "server", "measure", "__main__")
    return SimpleNamespace(**{n: importlib.import_module(f"examples.search.{n}") for n in names})


class Hit(NamedTuple):
    name: str
    score: float
    text: str


class SmallIndex:
    """Finds the passages that share most words with a query; a query's "vector" is its words."""

    def __init__(self, texts: ModuleType) -> None:
        self.passages = [texts.Passage(*passage) for passage in PASSAGES.items()]
        self.words = texts.words

    def embed(self, queries: Sequence[str]) -> list[set[str]]:
        return [set(self.words(query)) for query in queries]

    def nearest(self, vectors: list[set[str]]) -> list[list[Hit]]:
        found = []
        for vector in vectors:
            scored = [(len(vector & set(self.words(text))), name) for name, text in self.passages]
            best = max(scored)
            found.append([Hit(best[1], best[0] / 10, PASSAGES[best[1]])] if best[0] else [])
        return found


class ForgetsInBatches(SmallIndex):
    def nearest(self, vectors: list[set[str]]) -> list[list[Hit]]:
        first, *others = super().nearest(vectors)
        return [first, *([] for _ in others)]


def test_search_shows_hits_and_a_row_for_each_load(
    search: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search.server, "load", lambda: SmallIndex(search.texts))

    status = search.__main__.main(["--callers", "40", "--seconds", "0.05"])

    shown = capsys.readouterr().out
    assert status == 0, shown
    assert shown.startswith("4 passages of the standard library's docstrings\n")
    question, hit = "wait for a child process to finish", "subprocess.Popen.wait"
    assert re.search(rf"^{question}\n  0\.\d\d  {re.escape(hit)} ", shown, re.M)
    rows = re.findall(r"^ +(\d+) +(\d) +(\d+) +([\d.]+) +[\d,]+ +[\d.]+ +[\d.]+$", shown, re.M)
    assert [tuple(map(int, row[:3])) for row in rows] == [
        *((40, containers, batch) for containers in (1, 2) for batch in (1, 8, 32)),
        *((1, 1, batch) for batch in (1, 8, 32)),
    ]
    for callers, _, limit, mean in rows:
        assert 1 <= float(mean) <= min(int(callers), int(limit))
    assert shown.endswith(" answers, each the same as in a batch of one\n")


def test_search_exits_with_1_when_a_batch_is_answered_otherwise(
    search: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search.server, "load", lambda: ForgetsInBatches(search.texts))

    assert search.__main__.main(["--callers", "40", "--seconds", "0.05"]) == 1
    assert re.search(r"[1-9][\d,]* of them WRONG\n$", capsys.readouterr().out)


def test_search_answers_what_it_is_asked_on_the_command_line(
    search: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search.server, "load", lambda: SmallIndex(search.texts))

    assert search.__main__.main(["load a document", "xyzzy"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "load a document",
        f"  0.10  {'json.load':<42}  Deserialize a file that contains a document",
        "xyzzy",
        "  nothing: it has no word that is known",
    ]


def test_search_collects_paragraphs_of_docstrings_and_no_tests(
    search: SimpleNamespace, tmp_path: Path
) -> None:
    source = '''
"""Read and write the files of spam.

    Too short.

The format is that of the
first   edition."""
class Spam:
    def fry(self):
        """Put it into a hot pan."""
        def turn():
            """Turn it after three minutes."""
    if True:
        async def fry_again(self):
            """Put it into a hot pan."""
'''
    (tmp_path / "spam").mkdir()
    (tmp_path / "spam" / "__init__.py").write_text(source)
    (tmp_path / "broken.py").write_text('"""This cannot be read by anyone."""\ndef')
    for folder in ("site-packages", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "other.py").write_text('"""This is left out of the index."""')

    assert search.texts.collect(tmp_path) == [
        ("spam", "Read and write the files of spam."),
        ("spam", "The format is that of the first edition."),
        ("spam.Spam.fry", "Put it into a hot pan."),
        ("spam.Spam.fry.turn", "Turn it after three minutes."),
    ]


def test_search_words_of_names_are_those_of_text(search: SimpleNamespace) -> None:
    words = search.texts.words

    assert words("readLines") == words("read_lines") == words("Read lines!") == ["read", "line"]
    assert words("HTTPServer processes 2 caches, is this") == (
        ["http", "server", "process", "cache", "is", "this"]
    )
    assert words("directories of boxes") == ["directory", "of", "box"]


def test_search_model_answers_the_same_in_batches_of_any_size(search: SimpleNamespace) -> None:
    pytest.importorskip("sklearn", reason="make search installs what the model needs")
    model = importlib.import_module("examples.search.model")
    passages = search.texts.collect(Path(asyncio.__file__).parent)[:200]
    index = model.Index(*model.make(passages, dimensions=16))
    queries = [f"{passage.name} {passage.text}" for passage in passages]

    alone = [index.nearest(index.embed([query]))[0] for query in queries]

    found = [hits[0].name for hits in alone]
    assert sum(f == p.name for f, p in zip(found, passages, strict=True)) > 190
    assert all(hits[0].score == pytest.approx(1, abs=0.01) for hits in alone)
    for size in (2, 7, 32, 200):
        batches = [queries[start : start + size] for start in range(0, len(queries), size)]
        answers = [hits for batch in batches for hits in index.nearest(index.embed(batch))]
        assert answers == alone
    assert index.nearest(index.embed(["xyzzy"])) == [[]]
