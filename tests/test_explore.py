"""Orders that a seed chooses: races are found and replayed, and correct programs pass.

The programs are in ``explorations/``.  ``make explorations`` runs them at length.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from explorations import racy
from explorations.correct import (
    CORRECT,
    a_group_that_fails,
    a_pipeline,
    callbacks_stay_in_order,
    each_its_own_key,
    producers_and_consumers,
    steps_of_tasks_alternate,
)
from explorations.racy import RACY
from explorations.report import busy_threads as busy_threads
from explorations.report import first_failure, report_of
from explorations.sources import SOURCES
from moorage.exception import InvalidError
from moorage.runtime.clocks.choices import Choices
from moorage.testing import VirtualClock, explore, replay

RUNS = int(os.environ.get("MOORAGE_EXPLORE_RUNS", "20"))
NAMES = {test.__name__: test for test in RACY}


@pytest.fixture(autouse=True)
def no_log():
    """Errors of spawned calls that nobody reads are logged: here, by design."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", NAMES)
def test_a_race_is_found_and_replayed(name):
    test, preempt = NAMES[name], RACY[NAMES[name]]
    seed, report = first_failure(test, preempt)
    assert f"failed with seed={seed}" in report
    for _ in range(3):
        assert report_of(test, seed, preempt) == report


def test_races_are_replayed_in_fresh_processes_and_beside_busy_threads():
    """Three processes, each with its hash seed, its heap, and one of them with busy threads."""
    names = ["spawned_in_order", "cancelled_children_of_a_group", "members_of_a_batch"]
    names += ["lost_update_of_threads", "first_container_first"]
    found = {name: first_failure(NAMES[name], RACY[NAMES[name]]) for name in names}
    code = (
        "import sys; heap = [bytearray(n % 4000) for n in range(int(sys.argv[1]))]; del heap[::3]\n"
        "import contextlib, logging; logging.disable()\n"
        "from test_explore import NAMES, RACY, busy_threads, report_of\n"
        "with busy_threads() if sys.argv[2] else contextlib.nullcontext():\n"
        f"  for name, seed in {[(name, seed) for name, (seed, _) in found.items()]}:\n"
        "    print(report_of(NAMES[name], seed, RACY[NAMES[name]]))\n"
    )
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    for number, busy in enumerate(["", "busy", ""]):
        done = subprocess.run(
            [sys.executable, "-c", code, str(number * 7000), busy],
            env={**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout == "".join(f"{report}\n" for _, report in found.values())


@pytest.mark.parametrize("test", CORRECT)
def test_a_correct_program_passes(test):
    explored = explore(test, runs=RUNS, preempt=CORRECT[test])
    assert explored.runs == RUNS


@pytest.mark.parametrize("test", [*racy.IN_PLAIN_ORDER, *CORRECT])
def test_without_a_seed_the_order_is_the_plain_one(test):
    clock = VirtualClock()
    with clock.patch_time():
        if asyncio.iscoroutinefunction(test):
            clock.run(test())
        else:
            with clock:
                test()


# -- what is chosen ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_without_one_source_a_race_is_lost(source, monkeypatch):
    test = SOURCES[source]
    first_failure(test, RACY[test])
    source(monkeypatch)
    assert explore(test, runs=50, preempt=RACY[test]).runs == 50


def test_the_same_seed_is_the_same_order():
    first, second = VirtualClock(seed=3), VirtualClock(seed=3)
    for clock in (first, second):
        with clock:
            a_pipeline()
    assert first.participants.choices.order == second.participants.choices.order != 0


def test_distinct_counts_orders_and_not_seeds():
    async def sleeps():
        for _ in range(5):
            await asyncio.sleep(1)

    assert explore(sleeps, runs=20).distinct == 1
    assert explore(steps_of_tasks_alternate, runs=20).distinct == 1
    assert 1 < explore(callbacks_stay_in_order, runs=60).distinct < 60


def test_the_order_in_which_a_group_is_cancelled_is_an_order():
    assert explore(a_group_that_fails, runs=20).distinct > 10


def test_choices_are_the_same_for_a_seed():
    def drawn(seed):
        choices, things = Choices(seed), [1, 2, 3, 4]
        choices.shuffle(things)
        return [choices.pick(5) for _ in range(10)], things, choices.order

    assert drawn(1) == drawn(1) != drawn(2)
    assert Choices(1).pick(1) == 0


def test_timers_of_different_times_keep_their_order_when_a_cancelled_one_was_put_off():
    async def cancels():
        order = []
        loop = asyncio.get_running_loop()
        for _ in range(20):
            order.clear()
            at = loop.time() + 1
            late = [loop.call_at(at, order.append, n) for n in range(3)]
            loop.call_at(at, late[0].cancel)
            loop.call_at(at + 1e-10, order.append, 10)
            loop.call_at(at + 2e-10, order.append, 11)
            await asyncio.sleep(2)
            assert [n for n in order if n > 9] == order[-2:] == [10, 11]

    explore(cancels, runs=40)


# -- time ------------------------------------------------------------------------------------------


def test_time_is_patched_in_each_run():
    times = []

    def nap():
        began = time.monotonic()
        time.sleep(3600)
        times.append(time.monotonic() - began)

    explore(nap, runs=3)
    replay(nap, seed=1)
    assert times == [3600] * 4
    assert time.sleep.__module__ == "time"


# -- preempt ---------------------------------------------------------------------------------------


def test_sync_code_is_not_preempted_without_preempt():
    explored = explore(racy.lost_update_of_threads, runs=50)
    assert str(explored).startswith("50 runs passed, in ")
    assert "sync code was not preempted" in str(explored)


@pytest.mark.parametrize("test", [each_its_own_key, producers_and_consumers, a_pipeline])
def test_a_correct_program_passes_with_preempt(test):
    explored = explore(test, runs=RUNS, preempt=5)
    assert str(explored).endswith("code was preempted at up to 5 lines")


def test_the_trace_function_is_restored():
    def trace(frame, event, arg):
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(AssertionError):
            explore(racy.lost_update_of_threads, preempt=2)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_lines_are_seen_without_the_trace_function_from_312_on():
    monitoring, traced = sys.monitoring, []

    def sell():
        traced.append((sys.gettrace(), [monitoring.get_tool(each) for each in range(6)]))

    before = [monitoring.get_tool(each) for each in range(6)]
    replay(sell, seed=0, preempt=2)
    ((trace, tools),) = traced
    assert trace is sys.gettrace()
    assert "moorage.testing.explore" in tools
    assert [monitoring.get_tool(each) for each in range(6)] == before


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_without_a_free_tool_the_trace_function_sees_the_same_lines():
    monitoring = sys.monitoring
    seed, report = first_failure(racy.lost_update_of_threads, 2)
    taken = [each for each in range(6) if monitoring.get_tool(each) is None]
    for each in taken:
        monitoring.use_tool_id(each, "taken")
    try:
        assert first_failure(racy.lost_update_of_threads, 2) == (seed, report)
    finally:
        for each in taken:
            monitoring.free_tool_id(each)


def test_lines_of_a_module_are_not_switched(tmp_path, monkeypatch):
    """They run under the lock of the import, for which another thread would wait."""
    lines = "\n".join(f"line{n} = {n}" for n in range(50))
    (tmp_path / "slow_to_import.py").write_text(lines)
    monkeypatch.syspath_prepend(tmp_path)
    import moorage

    def program():
        app, others = moorage.App(), []
        sys.modules.pop("slow_to_import", None)

        @app.function(max_containers=3)
        def load(n):
            others.append(n)
            import slow_to_import

            assert slow_to_import.line49 == 49
            assert threading.current_thread() is not threading.main_thread()

        with app.run():
            list(load.map(range(3)))

    began = time.monotonic()
    explore(program, runs=30, preempt=5)
    assert time.monotonic() - began < 60  # each switch under the lock would take 0.2 s
    sys.modules.pop("slow_to_import", None)


# -- wrong arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, -1, True, "5"])
def test_what_is_no_number_of_runs_is_refused(wrong):
    with pytest.raises(InvalidError, match="write runs=200"):
        explore(steps_of_tasks_alternate, runs=wrong)


@pytest.mark.parametrize("wrong", [True, "7", 1.5, None])
def test_what_is_no_seed_is_refused(wrong):
    with pytest.raises(InvalidError, match="write seed=0"):
        explore(steps_of_tasks_alternate, seed=wrong)
    if wrong is not None:
        with pytest.raises(InvalidError, match=r"write VirtualClock\(seed=7\)"):
            VirtualClock(seed=wrong)


@pytest.mark.parametrize("wrong", [-1, True, "2"])
def test_what_is_no_number_of_lines_is_refused(wrong):
    with pytest.raises(InvalidError, match="write preempt=2"):
        replay(steps_of_tasks_alternate, seed=0, preempt=wrong)
