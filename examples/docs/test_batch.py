"""Batches: four at once when there are four, what there is after a second."""

import moorage
from moorage.testing import FakeStatistics

app = moorage.App("model")
sizes = []


@app.function()
@moorage.batched(max_batch_size=4, wait_ms=1000)
async def embed(texts: list[str]) -> list[int]:
    sizes.append(len(texts))
    return [len(text) for text in texts]


def test_batches(fake_container, virtual_clock):
    container = fake_container(embed)
    five = [container.submit(text) for text in ["a", "bb", "ccc", "dddd", "eeeee"]]
    assert five[3].result() == 4
    assert virtual_clock.now() == 0  # a full batch does not wait
    assert container.statistics() == FakeStatistics(queued=1, finished=4, peak=1, limit=1)
    assert five[4].result() == 5
    assert virtual_clock.now() == 1
    assert sizes == [4, 1]
