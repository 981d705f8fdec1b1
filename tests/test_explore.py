"""Orders that a seed chooses: races are found and replayed, and correct programs pass."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import moorage
from moorage.exception import InvalidError
from moorage.runtime.clocks.choices import Choices
from moorage.runtime.clocks.numbered import ChosenTimer
from moorage.runtime.clocks.participants import Participants
from moorage.testing import VirtualClock, explore, replay

# -- programs with a race, each hidden in the order without a seed ----------------------


async def timers_of_one_instant():
    ready = []

    async def fill():
        await asyncio.sleep(1)
        ready.append(1)

    async def use():
        await asyncio.sleep(1)
        assert ready, "used before it was filled"

    await asyncio.gather(fill(), use())


def starts_on_one_loop():
    app, ready = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    async def step(n):
        if n:
            assert ready, f"step {n} before step 0"
        ready.append(n)

    with app.run():
        list(step.map(range(4)))


def starts_on_threads():
    app, ready = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    def step(n):
        if n:
            assert ready, f"step {n} before step 0"
        ready.append(n)

    with app.run():
        list(step.map(range(4)))


def two_functions():
    app, stock = moorage.App(), {}

    @app.function()
    async def fill():
        stock["book"] = 1

    @app.function()
    async def sell():
        stock["book"] -= 1

    with app.run():
        calls = [fill.spawn(), sell.spawn()]
        for call in calls:
            call.get()


def two_functions_that_are_warm():
    app, stock = moorage.App(), {"book": 1}

    @app.function()
    async def fill():
        stock["book"] = 1

    @app.function()
    async def sell():
        stock["book"] -= 1

    with app.run():
        fill.remote()
        sell.remote()
        del stock["book"]
        calls = [fill.spawn(), sell.spawn()]
        for call in calls:
            call.get()


async def results_of_one_instant():
    app, order = moorage.App(), []

    @app.function(max_containers=3)
    async def ask(n):
        await asyncio.sleep(1)
        return n

    async def note(n):
        order.append(await ask.remote.aio(n))

    async with app.run():
        await asyncio.gather(*(note(n) for n in range(3)))
    assert order == [0, 1, 2], f"order {order}"


def check_then_act_across_containers():
    app, stock = moorage.App(), {"book": 1}

    @app.function(max_containers=2)
    async def sell(n):
        await asyncio.sleep(1)
        if stock["book"]:
            await asyncio.sleep(0)
            stock["book"] -= 1

    with app.run():
        list(sell.map(range(2)))
    assert stock["book"] == 0, f"{stock['book']} left"


async def a_cancel_and_a_result():
    app, paid = moorage.App(), []

    @app.function()
    async def pay():
        await asyncio.sleep(1)
        paid.append(1)
        await asyncio.sleep(0)

    async with app.run():
        call = await pay.spawn.aio()
        await asyncio.sleep(1)
        if not paid:
            call.cancel()
        try:
            await call.get.aio()
        except moorage.exception.InputCancelledError:
            raise AssertionError("cancelled at the instant of its payment") from None


RACES = [
    timers_of_one_instant,
    starts_on_one_loop,
    starts_on_threads,
    two_functions,
    two_functions_that_are_warm,
    results_of_one_instant,
    check_then_act_across_containers,
    a_cancel_and_a_result,
]

# -- programs that are correct in each order ----------------------------------------------


async def a_queue():
    queue, seen = asyncio.Queue(2), []

    async def produce(start):
        for n in range(start, start + 5):
            await queue.put(n)
            await asyncio.sleep(n % 2)

    async def consume():
        while (item := await queue.get()) is not None:
            seen.append(item)

    consumers = [asyncio.ensure_future(consume()) for _ in range(2)]
    await asyncio.gather(produce(0), produce(10))
    for _ in consumers:
        await queue.put(None)
    await asyncio.gather(*consumers)
    assert sorted(seen) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert [n for n in seen if n < 10] == [0, 1, 2, 3, 4]


async def a_lock():
    lock, count = asyncio.Lock(), 0

    async def add():
        nonlocal count
        async with lock:
            before = count
            await asyncio.sleep(1)
            count = before + 1

    await asyncio.gather(*(add() for _ in range(5)))
    assert count == 5


async def a_condition():
    condition, items, got = asyncio.Condition(), [], []

    async def take():
        async with condition:
            await condition.wait_for(lambda: items)
            got.append(items.pop())

    takers = [asyncio.ensure_future(take()) for _ in range(3)]
    for n in range(3):
        await asyncio.sleep(1)
        async with condition:
            items.append(n)
            condition.notify()
    await asyncio.gather(*takers)
    assert sorted(got) == [0, 1, 2]


async def callbacks_in_their_order():
    loop, order = asyncio.get_running_loop(), []
    done = asyncio.Event()

    def first():
        for n in range(5):
            loop.call_soon(order.append, n)
        loop.call_soon(done.set)

    loop.call_later(1, first)
    await done.wait()
    assert order == [0, 1, 2, 3, 4]


async def timers_of_different_times():
    order = []

    async def note(n):
        await asyncio.sleep(n / 10)
        order.append(n)

    await asyncio.gather(*(note(n) for n in range(6)))
    assert order == sorted(order)


async def groups_of_anyio():
    seen = []
    with anyio.move_on_after(2.5) as scope:
        async with anyio.create_task_group() as group:
            for n in range(5):
                group.start_soon(anyio.sleep, n)
            group.start_soon(anyio.sleep, 100)
            seen.append(1)
    assert scope.cancelled_caught
    assert seen == [1]


def a_pipeline():
    app = moorage.App()

    @app.function(max_containers=2)
    @moorage.batched(max_batch_size=3, wait_ms=100)
    async def embed(ns):
        return [n * 2 for n in ns]

    @app.function(max_containers=2, retries=2)
    @moorage.concurrent(max_inputs=3)
    def fetch(n):
        return n + 1

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    async def both(n):
        return await embed.remote.aio(await fetch.remote.aio(n))

    with app.run():
        assert list(both.map(range(8))) == [2 * (n + 1) for n in range(8)]
        assert sorted(both.map(range(8), order_outputs=False)) == [2 * (n + 1) for n in range(8)]


async def threads_of_a_loop():
    assert await asyncio.gather(*(asyncio.to_thread(int, n) for n in range(6))) == [*range(6)]


# -- races between two lines of sync code --------------------------------------------------


def a_lost_update():
    app, counts = moorage.App(), {"sold": 0}

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    def sell(n):
        before = counts["sold"]
        counts["sold"] = before + 1

    with app.run():
        list(sell.map(range(3)))
    assert counts["sold"] == 3, f"sold {counts['sold']}"


def a_check_that_is_late():
    app, made = moorage.App(), []

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    class Model:
        @moorage.enter()
        def enter(self):
            self.model = None

        @moorage.method()
        def use(self, n):
            if self.model is None:
                made.append(n)
                self.model = "loaded"

    with app.run():
        list(Model().use.map(range(3)))
    assert len(made) == 1, f"loaded {len(made)} times"


SYNC_RACES = [a_lost_update, a_check_that_is_late]


def sync_code_without_a_race():
    app, counts = moorage.App(), {}

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    def count(n):
        counts[n] = counts.get(n, 0) + 1
        return counts[n]

    with app.run():
        assert list(count.map(range(8))) == [1] * 8


CORRECT = [
    a_queue,
    a_lock,
    a_condition,
    callbacks_in_their_order,
    timers_of_different_times,
    groups_of_anyio,
    a_pipeline,
    threads_of_a_loop,
]


def found(test, preempt=0):
    """The seed and the whole report of the first failure of `test`."""
    with pytest.raises(Exception) as caught:
        explore(test, preempt=preempt)
    notes = "\n".join(caught.value.__notes__)
    seed = int(notes.split("seed=")[1].split(":")[0].split(",")[0])
    return seed, f"{caught.value!r}\n{notes}"


@pytest.mark.parametrize("test", RACES)
def test_a_race_is_found_and_replayed(test):
    seed, report = found(test)
    for _ in range(5):
        with pytest.raises(Exception) as caught:
            replay(test, seed=seed)
        notes = "\n".join(caught.value.__notes__)
        assert f"{caught.value!r}\n{notes}" == report


@pytest.mark.parametrize("test", [starts_on_threads, results_of_one_instant])
def test_a_race_is_replayed_in_fresh_processes(test):
    seed, _ = found(test)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import test_explore as tests\n"
        f"try: tests.replay(tests.{test.__name__}, seed={seed})\n"
        "except Exception as error: print(repr(error)); print('\\n'.join(error.__notes__))"
    )
    reports = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in "123"
    }
    assert len(reports) == 1
    assert f"failed with seed={seed}" in reports.pop()


@pytest.mark.parametrize("test", CORRECT)
def test_a_correct_program_passes(test):
    runs = int(os.environ.get("MOORAGE_EXPLORE_RUNS", "60"))
    explored = explore(test, runs=runs)
    assert explored.runs == runs
    assert explored.distinct > 1 or test is callbacks_in_their_order


@pytest.mark.parametrize("test", [*RACES[:-1], *CORRECT])
def test_without_a_seed_the_order_is_the_plain_one(test):
    clock = VirtualClock()
    if asyncio.iscoroutinefunction(test):
        clock.run(test())
    else:
        with clock:
            test()


def test_the_same_seed_is_the_same_order():
    def order(seed):
        return explore(a_pipeline, runs=1, seed=seed)

    first, second = VirtualClock(seed=3), VirtualClock(seed=3)
    for clock in (first, second):
        with clock:
            a_pipeline()
    assert first.participants.choices.order == second.participants.choices.order != 0
    assert str(order(3)).startswith("1 runs passed, in 1 different orders")


@pytest.mark.parametrize("wrong", [0, -1, True, "5"])
def test_what_is_no_number_of_runs_is_refused(wrong):
    with pytest.raises(InvalidError, match="write runs=200"):
        explore(a_queue, runs=wrong)


@pytest.mark.parametrize("wrong", [True, "7", 1.5])
def test_what_is_no_seed_is_refused(wrong):
    with pytest.raises(InvalidError, match=r"write VirtualClock\(seed=7\)"):
        VirtualClock(seed=wrong)


# -- each source of choice finds a race that no other one finds -----------------------------


def no_line(monkeypatch):
    from moorage.runtime.clocks import turns

    init = turns.Turns.__init__
    monkeypatch.setattr(turns.Turns, "__init__", lambda self, e, c, _=None: init(self, e, c))
    monkeypatch.setattr(Participants, "may_switch", lambda self, key: None)


def no_ties(monkeypatch):
    monkeypatch.setattr(ChosenTimer, "__lt__", asyncio.TimerHandle.__lt__)
    monkeypatch.setattr(ChosenTimer, "_run", asyncio.TimerHandle._run)


def no_starts(monkeypatch):
    from moorage.runtime.containers import task_lane, thread_lane

    for lane in (task_lane, thread_lane):
        monkeypatch.setattr(lane, "move_to_front", lambda inputs, index: None)


@pytest.mark.parametrize(
    ("without", "test"),
    [
        (no_line, two_functions_that_are_warm),
        (no_ties, timers_of_one_instant),
        (no_starts, starts_on_one_loop),
    ],
)
def test_without_one_source_a_race_is_lost(without, test, monkeypatch):
    found(test)
    without(monkeypatch)
    assert explore(test, runs=100).runs == 100


def test_choices_are_the_same_for_a_seed():
    def drawn(seed):
        choices, things = Choices(seed), [1, 2, 3, 4]
        choices.shuffle(things)
        return [choices.pick(5) for _ in range(10)], things, choices.order

    assert drawn(1) == drawn(1) != drawn(2)
    assert Choices(1).pick(1) == 0


@pytest.mark.parametrize("test", SYNC_RACES)
def test_a_race_between_two_lines_is_found_with_preempt_only(test):
    assert "sync code was not preempted" in str(explore(test, runs=50))
    seed, report = found(test, preempt=2)
    assert f"seed={seed}, preempt=2" in report
    for _ in range(5):
        with pytest.raises(AssertionError) as caught:
            replay(test, seed=seed, preempt=2)
        notes = "\n".join(caught.value.__notes__)
        assert f"{caught.value!r}\n{notes}" == report


@pytest.mark.parametrize("test", [sync_code_without_a_race, *CORRECT])
def test_a_correct_program_passes_with_preempt(test):
    explored = explore(test, runs=30, preempt=3)
    assert str(explored).endswith("code was preempted at up to 3 lines")
    assert sys.gettrace() is None or "coverage" in sys.modules


@pytest.mark.parametrize("wrong", [-1, True, "2"])
def test_what_is_no_number_of_lines_is_refused(wrong):
    with pytest.raises(InvalidError, match="write preempt=2"):
        replay(a_queue, seed=0, preempt=wrong)
