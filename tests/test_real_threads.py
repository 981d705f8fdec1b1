"""The whole engine under real threads, switched as often as Python can.

Callers, user code and `statistics()` count independently; the three sums must
agree to the last input.  Run also with the collector at its most eager, on
inputs that lie in reference cycles and maps that are dropped in cycles.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import moorage
from moorage.exception import InputCancelledError
from moorage.runtime.clocks.timekeeper import process_timekeeper
from onlooker import wait_until_idle

INPUTS = int(os.environ.get("MOORAGE_STRESS_INPUTS", "400"))  # for each caller
CALLERS = 6


@pytest.fixture
def frantic_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def frantic_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.freeze()  # what is there already: only new objects are looked at, or it takes for ever
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Knot:
    """An argument in a reference cycle, for the collector to find anywhere."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.me = self


class Tally:
    """What user code saw."""

    def __init__(self, limit: int) -> None:
        self.lock = threading.Lock()
        self.limit = limit
        self.began: Counter[int] = Counter()
        self.ended = 0
        self.now = 0
        self.peak = 0

    def __enter__(self) -> None:
        with self.lock:
            self.now += 1
            self.peak = max(self.peak, self.now)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.now -= 1
            self.ended += 1

    def begin(self, value: int) -> None:
        with self.lock:
            self.began[value] += 1


def make_app(tally: Tally) -> tuple[moorage.App, Any]:
    app = moorage.App("stress")

    @app.cls(max_containers=2, scaledown_window=2)
    @moorage.concurrent(max_inputs=5, target_inputs=3)
    class Service:
        @moorage.method()
        def work(self, knot: Knot) -> int:
            with tally:
                tally.begin(knot.value)
                if knot.value % 7 == 0:
                    raise ValueError(knot.value)
                return knot.value

        @moorage.method()
        async def work_async(self, knot: Knot) -> int:
            with tally:
                tally.begin(knot.value)
                await asyncio.sleep(0)
                if knot.value % 7 == 0:
                    raise ValueError(knot.value)
                return knot.value

        @moorage.method()
        def items(self, count: int) -> Iterator[int]:
            yield from range(count)

    return app, Service()


def call_many(service: Any, first: int, count: int, seen: Counter[str], tally: Tally) -> None:
    rng = random.Random(first)
    handles = []
    for value in range(first, first + count):
        method = service.work if rng.random() < 0.5 else service.work_async
        handle = method.spawn(Knot(value))
        handles.append((value, handle))
        if rng.random() < 0.2:
            handle.cancel()
        if rng.random() < 0.05:
            value, handle = handles[rng.randrange(len(handles))]
            handle.cancel()
    for value, handle in handles:
        try:
            assert handle.get(timeout=60) == value
            seen["result"] += 1
        except ValueError as error:
            seen["error" if error.args == (value,) else "another's error"] += 1
        except InputCancelledError:
            seen["cancelled"] += 1


def drop_in_cycles(service: Any, times: int) -> None:
    for turn in range(times):
        results = service.work_async.map([Knot(1), Knot(2), Knot(3), Knot(4)])
        assert next(results) == 1
        items = service.items.remote_gen(100)
        assert next(items) == 0
        cycle: list[Any] = [results, items]
        cycle.append(cycle)  # only the collector ends them, wherever it runs
        del results, items, cycle
        if turn % 4 == 3:
            # Each holds a slot until then: before they hold them all.
            gc.collect()


def run_stress(inputs: int, *, cycles: int) -> None:
    tally = Tally(10)
    app, service = make_app(tally)
    seen = [Counter[str]() for _ in range(CALLERS)]
    errors: list[BaseException] = []

    def caller(index: int) -> None:
        try:
            call_many(service, 10_000 * (index + 1) + 1, inputs, seen[index], tally)
        except BaseException as error:
            errors.append(error)

    with app.run():
        threads = [threading.Thread(target=caller, args=(i,)) for i in range(CALLERS)]
        for thread in threads:
            thread.start()
        drop_in_cycles(service, cycles)
        gc.collect()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), repr(service.work.statistics())
        assert errors == []
        # Dropped maps and streams end on the timekeeper's thread: let it get there.
        done = threading.Event()
        process_timekeeper.post(done.set)
        assert done.wait(10)
        wait_until_idle(service.work)
        s = service.work.statistics()
        total: Counter[str] = Counter()
        for counter in seen:
            total.update(counter)
        assert sum(total.values()) == CALLERS * inputs
        assert (s.queued, s.running, s.abandoned) == (0, 0, 0)
        assert s.accepted == s.succeeded + s.failed + s.cancelled
        assert s.failed == total["error"]
        assert s.peak_inputs <= 5
        assert tally.now == 0
        assert tally.peak <= tally.limit
        assert max(tally.began.values()) == 1 or cycles, "an input ran twice"
        callers_inputs = [value for value in tally.began if value > 10_000]
        assert all(tally.began[value] == 1 for value in callers_inputs)
        assert len(callers_inputs) >= total["result"] + total["error"]


@pytest.mark.usefixtures("frantic_switching")
def test_three_counts_agree_under_frantic_switching():
    run_stress(INPUTS, cycles=5)


@pytest.mark.usefixtures("frantic_switching", "frantic_collector")
def test_three_counts_agree_under_a_frantic_collector():
    run_stress(max(20, INPUTS // 10), cycles=20)
