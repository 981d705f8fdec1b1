"""The group of starts: a fresh container for each input, beside a thread for each.

Owns what a start is: each input is for a class with another parameter value, and so for a pool and
a container of its own, without hooks.  What the runs of the app cost, in which the containers end,
is not counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import moorage

from .bodies import echo
from .harness import Contender, Goal, Group, timed
from .proof import CheckFailed

# The most containers of one run: fewer than `config.max_containers`, so that none has to make room.
BATCH: Final = 25


def _in_a_thread(x: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(echo(x)))
    thread.start()
    thread.join()
    return results[0]


class Echo:
    """What the containers run."""

    number: int = moorage.parameter()

    @moorage.method()
    def echo(self, x: Any) -> Any:
        return echo(x)


@contextmanager
def containers(quick: bool) -> Iterator[Group]:
    app = moorage.App("benchmarks")
    model: Any = app.cls()(Echo)

    def measure(inputs: Sequence[Any]) -> tuple[float, list[Any]]:
        total, results = 0.0, []
        for first in range(0, len(inputs), BATCH):
            batch = inputs[first : first + BATCH]
            with app.run():
                started = time.perf_counter()
                for number, x in enumerate(batch):
                    results.append(model(number=number).echo.remote(x))
                total += time.perf_counter() - started
                if model.statistics().containers_started != len(batch):
                    raise CheckFailed(f"not {len(batch)} containers: {model.statistics()}")
        return total * 1e6, results

    yield Group(
        "start",
        "µs",
        "a synchronous input at a time, each in a fresh container, a plain thread waits for it",
        echo,
        BATCH if quick else 8 * BATCH,
        1,
        [
            timed(
                "threading.Thread start + join", lambda inputs: [_in_a_thread(x) for x in inputs]
            ),
            Contender(
                "moorage, a container for each",
                lambda inputs: measure(inputs)[1],
                measure,
                goal=Goal(8),
            ),
        ],
    )
