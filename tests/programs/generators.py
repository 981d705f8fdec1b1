"""A pipeline of generators: lines are streamed from one function to the next.

    modal run generators.py --lines 30
"""

import functools
import logging
import sys
import time
from typing import Callable, Dict, Iterable, Iterator, List

import modal

logging.basicConfig(
    stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
)
logger = logging.getLogger("pipeline")

app = modal.App("example-generators")
totals = modal.Dict.from_name("generator-totals", create_if_missing=True)


def logged(function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        logger.info("%s begins", function.__name__)
        return function(*args, **kwargs)

    return wrapper


@app.function(timeout=60)
def read_lines(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"{'GET' if number % 3 else 'POST'} /page/{number % 4} {200 if number % 5 else 500}"


@app.function(is_generator=True)
@logged
def parse(lines: Iterable[str]):
    for line in lines:
        method, path, status = line.split()
        yield {"method": method, "path": path, "status": int(status)}


@app.function()
def weigh(path: str, hits: int) -> float:
    return hits / (1 + int(path.rsplit("/", 1)[1]))


@app.function()
def store(path: str, weight: float = 1.0) -> None:
    totals[path] = weight
    time.sleep(0.001)


@app.function()
def broken(count: int) -> Iterator[int]:
    yield from range(count)
    raise EOFError("the pipe is closed")


@app.cls()
class Windows:
    size: int = modal.parameter(default=3)

    @modal.method()
    def slide(self, items: List[int]) -> Iterator[List[int]]:
        for start in range(0, len(items), self.size):
            yield items[start : start + self.size]

    @modal.method(is_generator=True)
    def reverse(self, items: List[int]):
        return reversed_items(items)


def reversed_items(items: List[int]) -> Iterator[int]:
    yield from reversed(items)


@app.local_entrypoint()
def main(lines: int = 12):
    totals.clear()
    hits: Dict[str, int] = {}
    errors = 0
    batch: List[str] = []
    for line in read_lines.remote_gen(lines):
        batch.append(line)
    for record in parse.remote_gen(batch):
        hits[record["path"]] = hits.get(record["path"], 0) + 1
        errors += record["status"] >= 500
    logger.info("%d lines, %d errors", lines, errors)

    paths = sorted(hits)
    weights = list(weigh.starmap((path, hits[path]) for path in paths))
    for path, weight in zip(paths, weights):
        print(f"{path} {hits[path]} {weight:.2f}")

    store.for_each(paths, weights)
    print("stored:", totals.len(), round(sum(totals.values()), 2))
    store.for_each(["/page/0"], kwargs={"weight": 0.5})
    print("changed:", totals["/page/0"])

    print("windows:", list(Windows(size=2).slide.remote_gen([1, 2, 3, 4, 5])))
    print("reversed:", list(Windows().reverse.remote_gen([1, 2, 3])))

    got = []
    try:
        for item in broken.remote_gen(3):
            got.append(item)
    except EOFError as error:
        logger.warning("after %s: %s", got, error)

    few = read_lines.remote_gen(1_000)
    print("first:", next(few))
    few.close()
