"""Count words of a corpus in three levels: shelves map over books, and books over chapters.

    modal run nested.py --shelves 3 --books 4
"""

import collections
import dataclasses
import typing

import modal

app = modal.App("example-nested-map")

WORDS = "the whale sea ship captain boat wind the sea the".split()


@dataclasses.dataclass
class Counts:
    words: typing.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    chapters: int = 0
    depth: typing.Set[str] = dataclasses.field(default_factory=set)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.words + other.words, self.chapters + other.chapters, self.depth | other.depth
        )


@app.function(timeout=60)
def count_chapter(shelf: int, book: int, chapter: int) -> Counts:
    if chapter < 0:
        raise IndexError(f"no chapter {chapter}")
    length = 1 + (shelf + book + chapter) % len(WORDS)
    return Counts(collections.Counter(WORDS[:length]), 1, {"chapter"})


@app.function(timeout=120)
def count_book(shelf: int, book: int, chapters: int) -> Counts:
    total = Counts(depth={"book"})
    inputs = ((shelf, book, chapter) for chapter in range(chapters))
    for counts in count_chapter.starmap(inputs, order_outputs=False):
        total += counts
    return total


@app.function(timeout=300)
async def count_shelf(shelf: int, books: int, chapters: int) -> Counts:
    total = Counts(depth={"shelf"})
    async for counts in count_book.map.aio(
        [shelf] * books, range(books), kwargs={"chapters": chapters}
    ):
        total += counts
    return total


@app.function(max_containers=1)
def factorial(n: int) -> int:
    """Recursion needs no second container if it calls itself with `.local`."""
    return 1 if n <= 1 else n * factorial.local(n - 1)


@app.function()
def fibonacci(n: int) -> int:
    """Recursion through the cloud: each call has an input of its own."""
    return n if n < 2 else sum(fibonacci.map([n - 1, n - 2]))


@app.local_entrypoint()
def main(shelves: int = 3, books: int = 4, chapters: int = 5):
    total = Counts()
    for counts in count_shelf.map(range(shelves), kwargs={"books": books, "chapters": chapters}):
        total += counts
    print(f"{total.chapters} chapters of {shelves * books} books")
    for word, count in total.words.most_common(3):
        print(f"{word:>8} {count}")
    print("levels:", ", ".join(sorted(total.depth)))
    print("factorials:", list(factorial.map(range(1, 7))))
    print("fibonacci:", fibonacci.remote(6))

    try:
        list(count_book.map([0], [0], kwargs={"chapters": "many"}))
    except TypeError as error:
        print("error from the middle:", error)
