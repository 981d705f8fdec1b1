"""A run of the user's own fixture serves all tests of a module."""

import asyncio

import pytest

import moorage
from moorage.testing import VirtualClock

app = moorage.App("index")
loads = []


@app.cls(scaledown_window=3600)
@moorage.concurrent(max_inputs=8)
class Index:
    @moorage.enter()
    async def load(self) -> None:
        await asyncio.sleep(30)
        loads.append("a large index")

    @moorage.method()
    async def find(self, word: str) -> str:
        await asyncio.sleep(1)
        return word.upper()


@pytest.fixture(scope="module")
def clock():
    with VirtualClock() as clock:
        yield clock


@pytest.fixture(scope="module", autouse=True)
def running(clock):
    with app.run():
        yield


def test_one_word():
    assert Index().find.remote("a") == "A"


def test_words_at_once(clock):
    began = clock.now()
    assert list(Index().find.map("abcd")) == list("ABCD")
    assert clock.now() - began <= 1 + 30  # it is loaded if this test runs alone


def test_it_was_loaded_once():
    Index().find.remote("z")
    assert loads == ["a large index"]
