"""A generator: the items come while it runs, and closing it runs its finally."""

from collections.abc import Iterator

import moorage

app = moorage.App("functions")


@app.function()
def countdown(start: int) -> Iterator[int]:
    try:
        yield from range(start, 0, -1)
    finally:
        print("the generator is closed")


with app.run():
    print(list(countdown.remote_gen(3)))
    items = countdown.remote_gen(1_000_000)
    print(next(items), next(items))
    items.close()
