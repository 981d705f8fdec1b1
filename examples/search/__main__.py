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
CONTAINERS = (1, 2)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="examples.search", description="A search server.")
    parser.add_argument("query", nargs="*", help="find this, and measure nothing")
    parser.add_argument("--callers", type=int, default=256, help="at once (default: 256)")
    parser.add_argument("--queries", type=int, default=4096, help="in all (default: 4096)")
    given = parser.parse_args(arguments)
    if given.callers < 1 or given.queries < 2:
        parser.error("--callers must be 1 or more, and --queries 2 or more")
    if given.query:
        print_hits(given.query, asyncio.run(measure.ask_once(given.query)))
        return 0

    index = server.load()
    print(f"{len(index.passages):,} passages of the standard library's docstrings\n")
    print_hits(QUESTIONS, asyncio.run(measure.ask_once(QUESTIONS)))

    asked = measure.queries(index.passages, given.queries)
    print("\nwithout a server     one batch     per query")
    for batch in BATCHES:
        seconds = measure.batch_seconds(index, asked, batch)
        each = seconds / batch
        print(f"batches of {batch:<4} {seconds * 1000:>12.2f} ms {each * 1000:>10.2f} ms")

    expected = measure.answer_alone(index, asked)
    print("\ncallers  containers  batch  queries/s   p50 ms   p99 ms")
    wrong = 0
    for callers in (given.callers, 1):
        few = slice(None) if callers > 1 else slice(len(asked) // 16 + 2)
        for containers in CONTAINERS if callers > 1 else (1,):
            for batch in BATCHES:
                load = Load(callers, containers, batch)
                measured = asyncio.run(measure.measure(load, asked[few], expected[few]))
                print_row(measured)
                wrong += measured.wrong
    print("\nevery answer is that of a batch of one" if not wrong else f"\n{wrong} answers DIFFER")
    return 1 if wrong else 0


def print_hits(asked: list[str], answers: list[list[Hit]]) -> None:
    for query, hits in zip(asked, answers, strict=True):
        print(query)
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.name:<42.42}  {shortened(hit.text, 50)}")
        if not hits:
            print("  nothing: it has no word that is known")


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def print_row(measured: Measured) -> None:
    load = measured.load
    print(
        f"{load.callers:>7}  {load.containers:>10}  {load.batch:>5}  "
        f"{measured.per_second:>9,.0f}  {measured.p50 * 1000:>7.1f}  {measured.p99 * 1000:>7.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
