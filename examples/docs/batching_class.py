"""A model that is loaded once, and asked for many at a time."""

import asyncio

import moorage

app = moorage.App("batching")


@app.cls(max_containers=1)
@moorage.concurrent(max_inputs=2)
class Scorer:
    scale: int = moorage.parameter(default=10)

    @moorage.enter()
    def load(self) -> None:
        self.weights = {"sun": 3, "rain": 1}

    @moorage.batched(max_batch_size=32, wait_ms=100)
    async def score(self, words: list[str]) -> list[int]:
        await asyncio.sleep(0.01)  # the model, which takes as long for one as for many
        return [self.scale * self.weights.get(word, 0) for word in words]


async def main() -> None:
    async with app.run():
        scorer = Scorer(scale=100)
        words = ["sun", "rain"] * 50
        scores = await asyncio.gather(*(scorer.score.remote.aio(word) for word in words))
        print(sum(scores), "in all, for", len(scores), "callers")

        statistics = scorer.score.statistics()
        assert statistics is not None
        assert statistics.batches is not None
        for size, count in statistics.batches.sizes:
            print(f"{count} batches of {size}")

        # The same class in larger batches: a pool, and containers, of its own.
        patient = Scorer.with_batching(max_batch_size=100, wait_ms=500)(scale=1)
        await asyncio.gather(*(patient.score.remote.aio(word) for word in words))
        statistics = patient.score.statistics()
        assert statistics is not None
        assert statistics.batches is not None
        print(statistics.batches.sizes)


asyncio.run(main())
