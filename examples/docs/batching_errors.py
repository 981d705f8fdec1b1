"""One member of a batch fails; its neighbours do not."""

import moorage
from moorage.exception import InvalidError

app = moorage.App("batching")


@app.function()
@moorage.batched(max_batch_size=4, wait_ms=100)
def root(numbers: list[float]) -> list[float | Exception]:
    return [n**0.5 if n >= 0 else ValueError(f"{n} has no root") for n in numbers]


@app.function()
@moorage.batched(max_batch_size=4, wait_ms=100)
def inverse(numbers: list[float]) -> list[float]:
    return [1 / n for n in numbers]


@app.function()
@moorage.batched(max_batch_size=4, wait_ms=100)
def doubled(numbers: list[float]) -> list[float]:
    return [2 * number for number in numbers if number]


with app.run():
    print(list(root.map([4, -1, 9], return_exceptions=True)))
    # What the function raises is raised at all of them.
    print(list(inverse.map([1, 0, 2], return_exceptions=True)))
    try:
        print(list(doubled.map([1, 0, 2])))
    except InvalidError as error:
        print(error)
