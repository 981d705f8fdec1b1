"""A heavy model is replaced by a fake, where the enter hook loads it."""

import asyncio

import pytest

import moorage

app = moorage.App("search")


def load_model(name: str):
    raise OSError(f"{name} needs a GPU and 14 GB")


@app.cls(gpu="A10G", timeout=60)
@moorage.concurrent(max_inputs=2)
class Embedder:
    model: str = moorage.parameter(default="large")

    @moorage.enter()
    def load(self) -> None:
        self.encoder = load_model(self.model)

    @moorage.method()
    async def embed(self, text: str) -> list[float]:
        return await self.encoder.encode(text)


class FakeEncoder:
    """Takes as long as the real one, in virtual time."""

    def __init__(self, name: str) -> None:
        self.seconds = {"small": 1.0, "large": 4.0}[name]

    async def encode(self, text: str) -> list[float]:
        await asyncio.sleep(self.seconds)
        return [float(len(text))]


@pytest.fixture(autouse=True)
def no_heavy_model(monkeypatch):
    monkeypatch.setattr(f"{__name__}.load_model", FakeEncoder)


def test_two_texts_at_a_time(fake_container, virtual_clock):
    embedder = fake_container(Embedder())
    assert list(embedder.map(["a", "bb", "ccc"])) == [[1.0], [2.0], [3.0]]
    assert virtual_clock.now() == 8


def test_the_small_model_is_faster(fake_container, virtual_clock):
    assert fake_container(Embedder(model="small")).call("a") == [1.0]
    assert virtual_clock.now() == 1
