"""``python -m examples.search``: what the server finds, and how fast.  See the README beside it.

The exit status is 1 if an answer differs from that of a batch of one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from . import measure, server
from .measure import QUESTIONS, Load, Measured

if TYPE_CHECKING:
    from .model import Hit

BATCHES = (1, 8, 32)
QUERIES = 2_000  # of which each caller asks the next one


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.search",
        description="A search server, and how fast it is in batches.",
    )
    parser.add_argument("query", nargs="*", help="find this, and measure nothing")
    parser.add_argument("--callers", type=int, default=256, help="at once (default: 256)")
    parser.add_argument("--seconds", type=float, default=4, help="for each row (default: 4)")
    given = parser.parse_args(arguments)
    if given.callers < 1:
        parser.error(f"--callers must be 1 or more, got {given.callers}")
    if given.query:
        print_hits(given.query, asyncio.run(measure.ask_once(given.query)))
        return 0

    index = server.load()
    print(f"{len(index.passages):,} passages of the standard library's docstrings\n")
    print_hits(QUESTIONS, asyncio.run(measure.ask_once(QUESTIONS)))
    asked = measure.queries(index.passages, QUERIES)
    expected = measure.answer_alone(index, asked)
    print_batches({batch: measure.batch_seconds(index, asked, batch) for batch in BATCHES})

    print("\ncallers  containers  batch: limit    mean  answers/s   p50 ms   p99 ms")
    loads = [Load(given.callers, containers, batch) for containers in (1, 2) for batch in BATCHES]
    loads += [Load(1, 1, batch) for batch in BATCHES]
    answers = wrong = 0
    for load in loads:
        measured = asyncio.run(measure.measure(load, asked, expected, given.seconds))
        print_row(measured)
        answers += measured.answers
        wrong += measured.wrong
    print(f"\n{answers:,} answers, ", end="")
    print(f"{wrong:,} of them WRONG" if wrong else "each the same as in a batch of one")
    return 1 if wrong else 0


def print_hits(asked: list[str], answers: list[list[Hit]]) -> None:
    for query, hits in zip(asked, answers, strict=True):
        print(query)
        for hit in hits:
            print(f"  {hit.score:.2f}  {shortened(hit.name, 42):<42}  {shortened(hit.text, 50)}")
        if not hits:
            print("  nothing: it has no word that is known")


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def print_batches(seconds: dict[int, float]) -> None:
    """What a batch costs by itself, which is what batching can gain."""
    print("\nwithout a server   a batch takes   per query")
    for batch, taken in seconds.items():
        print(f"batches of {batch:<5} {taken * 1000:>12.2f} ms {taken * 1000 / batch:>8.2f} ms")


def print_row(measured: Measured) -> None:
    load = measured.load
    print(
        f"{load.callers:>7}  {load.containers:>10}  {load.batch:>12}  {measured.mean_batch:>6.1f}"
        f"  {measured.per_second:>9,.0f}  {measured.p50 * 1000:>7.1f}  {measured.p99 * 1000:>7.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
