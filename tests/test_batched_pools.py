"""Batches and everything else: starts, leaving, backlogs, loops, nesting, forks, memory."""

import asyncio
import io
import os
import re
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref

import pytest

import moorage
from moorage import App, Retries, config
from moorage.exception import (
    DeadlockError,
    ExecutionError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    ResourceExhaustedError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from test_batching import Stage, each_kind, kinds_of, results, sync_and_async

# -- containers that start, or do not ------------------------------------------------------


@sync_and_async
def test_members_that_wait_for_a_container_make_full_batches(kind):
    with Stage(kind, enter=lambda stage: stage.clock.sleep(5)) as stage:
        calls = stage.spawn(*range(3))
        stage.sleep(3.0)
        calls += stage.spawn(3, 4)
        assert results(calls) == list(range(5))
        # The fifth has waited for longer than its time by then.
        assert stage.ran == [(5.0, [0, 1, 2, 3]), (5.0, [4])]


@sync_and_async
def test_an_enter_hook_that_raises_fails_all_that_wait(kind):
    def enter(stage):
        stage.clock.sleep(2)
        if stage.starts == 1:
            raise LookupError("no model")

    with Stage(kind, enter=enter) as stage:
        calls = stage.spawn(*range(6))
        got = results(calls)
        assert kinds_of(got) == [LookupError] * 6
        assert len(set(map(id, got))) == 6
        assert results(stage.spawn(1)) == [1]


@sync_and_async
def test_a_start_that_takes_too_long_fails_all_that_wait(kind):
    def enter(stage):
        if stage.starts == 1:
            stage.clock.sleep(60)

    with Stage(kind, enter=enter, startup_timeout=5) as stage:
        assert kinds_of(results(stage.spawn(*range(6)))) == [FunctionTimeoutError] * 6
        assert stage.clock.now() == 5.0
        assert results(stage.spawn(1)) == [1]
        assert stage.ended().failed == 6
        stage.sleep(60)


@sync_and_async
def test_the_timeout_does_not_run_while_a_container_starts(kind):
    with Stage(
        kind, enter=lambda stage: stage.clock.sleep(5), timeout=2, startup_timeout=60
    ) as stage:
        assert results(stage.spawn(1, 2, seconds=1.5)) == [1, 2]


# -- leaving the run -----------------------------------------------------------------------


@sync_and_async
@pytest.mark.parametrize("drain", [False, True])
def test_leaving_while_a_batch_forms(kind, drain):
    app, ran, clock = App(), [], VirtualClock()

    def work(values):
        ran.append((clock.now(), values))
        return values

    async def work_async(values):
        return work(values)

    batched = moorage.batched(max_batch_size=4, wait_ms=20_000)
    work_ = app.function(serialized=True)(batched(work if kind == "sync" else work_async))
    with clock:
        with app.run(clock=clock, drain=drain):
            calls = [work_.spawn(value) for value in (1, 2)]
            clock.sleep(3.0)
        if drain:
            # It goes by its clock: inputs of the run may still join it.
            assert ran == [(20.0, [1, 2])]
            assert results(calls) == [1, 2]
        else:
            assert ran == []
            assert clock.now() < 20.0
            assert kinds_of(results(calls)) == [InputCancelledError] * 2


@each_kind
@pytest.mark.parametrize("drain", [False, True])
def test_leaving_while_a_batch_runs(kind, drain):
    stage = Stage(kind)
    stage._run = None
    with stage.clock:
        with stage.app.run(clock=stage.clock, drain=drain):
            calls = stage.spawn(1, 2, 3, 4, seconds=8) + stage.spawn(5)
            stage.sleep(3.0)
            statistics = stage.work.statistics
            assert stage.statistics().running == 4
        if drain:
            assert results(calls) == [1, 2, 3, 4, 5]
            assert stage.clock.now() == 8.0
        else:
            assert kinds_of(results(calls)) == [InputCancelledError] * 5
            assert stage.clock.now() < 8.0
            assert len(stage.cancelled) == 1
        assert statistics() is None


@sync_and_async
def test_what_the_runs_own_inputs_call_joins_batches_of_a_run_that_drains(kind):
    app, sizes = App(), []

    def double(values):
        sizes.append(len(values))
        return [2 * value for value in values]

    async def double_async(values):
        return double(values)

    double_ = app.function(serialized=True)(
        moorage.batched(max_batch_size=2, wait_ms=5000)(double if kind == "sync" else double_async)
    )

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=10)
    async def outer(value):
        await asyncio.sleep(3)
        return await double_.remote.aio(value)

    with VirtualClock() as clock:
        with app.run(clock=clock, drain=True):
            calls = [outer.spawn(value) for value in range(3)]
            clock.sleep(1.0)
        assert results(calls) == [0, 2, 4]
        assert sizes == [2, 1]
        assert clock.now() == 8.0


# -- the bound of the backlog --------------------------------------------------------------


@sync_and_async
def test_a_backlog_smaller_than_a_batch_refuses_what_neither_fits_in_it_nor_in_a_slot(kind):
    with Stage(kind, max_backlog=2) as stage:
        with pytest.raises(ResourceExhaustedError):
            # No container is there yet, and so no slot.
            stage.work.experimental_spawn_map(range(3), [0.0] * 3)
        assert results(stage.spawn(0)) == [0]
        stage.sleep(2.0)
        # Those a free slot would take, and two that wait.
        calls = stage.spawn(1, 2, 3, 4, 5, 6, seconds=5)
        with pytest.raises(ResourceExhaustedError):
            stage.spawn(7)
        seen = stage.statistics()
        assert (seen.running, seen.queued, seen.refused) == (4, 2, 4)
        assert results(calls) == [1, 2, 3, 4, 5, 6]
        assert [values for _, values in stage.ran] == [[0], [1, 2, 3, 4], [5, 6]]


@each_kind
def test_callers_that_wait_for_room_make_batches_too(kind):
    with Stage(kind, max_backlog=2, on_full="wait") as stage:
        assert list(stage.work.map(range(30), [1.0] * 30)) == list(range(30))
        assert [value for _, values in stage.ran for value in values] == list(range(30))
        seen = stage.ended()
        assert (seen.outside, seen.refused) == (0, 0)
        assert dict(seen.batches.sizes).keys() <= {1, 2, 3, 4}


@sync_and_async
def test_one_that_leaves_a_forming_batch_lets_one_in_from_outside(kind):
    with Stage(kind, max_backlog=2, on_full="wait", size=8) as stage:
        first = stage.spawn(*range(8), seconds=10)
        stage.sleep(1.0)
        waiting = stage.spawn("a", "b")
        stage.sleep(1.0)
        handle = []
        part = object()

        def call():
            stage.clock.participants.bind_thread(part)
            handle.append(stage.work.remote("c", 0.0))
            stage.clock.participants.end(part)

        stage.clock.participants.begin(part, "caller")
        caller = threading.Thread(target=call)
        caller.start()
        stage.sleep(1.0)
        assert stage.statistics().outside == 1
        waiting[0].cancel()
        assert stage.statistics().outside == 0
        assert results(first) == list(range(8))
        assert results(waiting[1:]) == ["b"]
        stage.sleep(1.0)
        caller.join(30)
        assert handle == ["c"]
        assert stage.ran[1] == (10.0, ["b", "c"])


# -- every way to call ---------------------------------------------------------------------


@each_kind
def test_every_way_to_call_shares_batches(kind, run_async):
    app = App()
    sizes = []

    def double(values):
        sizes.append(len(values))
        return [2 * value for value in values]

    async def double_async(values):
        return double(values)

    batched = moorage.batched(max_batch_size=5, wait_ms=20)
    if "method" in kind:

        class Work:
            if kind.startswith("sync"):

                @batched
                def work(self, values):
                    return double(values)

            else:

                @batched
                async def work(self, values):
                    return double(values)

        work = app.cls(serialized=True, max_containers=1)(Work)().work
    else:
        function = double if kind == "sync" else double_async
        work = app.function(serialized=True, max_containers=1)(batched(function))

    async def all_of_them():
        assert await work.remote.aio(1) == 2
        got = [value async for value in work.map.aio(range(7))]
        assert got == list(range(0, 14, 2))
        got = [value async for value in work.starmap.aio([(1,), (2,)])]
        assert got == [2, 4]
        await work.for_each.aio(range(7))
        assert await (await work.spawn.aio(4)).get.aio() == 8

    with app.run():
        assert work.remote(1) == 2
        assert work.spawn(2).get() == 4
        assert list(work.map(range(20))) == list(range(0, 40, 2))
        assert sorted(work.map(range(20), order_outputs=False)) == list(range(0, 40, 2))
        assert list(work.starmap([(value,) for value in range(9)])) == list(range(0, 18, 2))
        work.for_each(range(9))
        assert list(work.experimental_spawn_map(range(9)).iter()) == list(range(0, 18, 2))
        work.spawn_map(range(3))
        run_async(all_of_them)
        seen = work.statistics()
        assert seen.failed == seen.cancelled == 0
    assert max(sizes) <= 5


def test_gathering_calls_of_one_batch():
    with Stage("async") as stage:
        calls = stage.spawn(1, 2, 3)
        assert moorage.FunctionCall.gather(*calls) == [1, 2, 3]
        assert stage.ran == [(1.0, [1, 2, 3])]
        again = stage.spawn(1)[0]
        with pytest.raises(TimeoutError):
            again.get(timeout=0.5)
        assert stage.clock.now() == 1.5
        assert again.get() == 1
        assert moorage.FunctionCall.from_id(again.object_id).get() == 1


# -- other batching ------------------------------------------------------------------------


def test_with_batching_on_a_function_that_is_not_batched_and_on_one_that_is():
    app = App()

    @app.function(max_containers=1)
    def size(values):
        return [len(values)] * len(values) if isinstance(values, list) else "one"

    pairs = size.with_batching(max_batch_size=2, wait_ms=60_000)
    threes = pairs.with_batching(max_batch_size=3, wait_ms=60_000)
    with app.run():
        assert size.remote(1) == "one"
        assert list(pairs.experimental_spawn_map(range(4)).iter()) == [2] * 4
        assert list(threes.experimental_spawn_map(range(6)).iter()) == [3] * 6
        assert size.remote(1) == "one", "which is as it was"
        assert size.statistics().batches is None
        assert pairs.statistics().batches.sizes == ((2, 2),)
        assert threes.statistics().batches.sizes == ((3, 2),)


def test_with_batching_on_a_class():
    app = App()

    @app.cls(max_containers=1)
    class Sizes:
        @moorage.method()
        def size(self, values):
            return [len(values)] * len(values) if isinstance(values, list) else "one"

    @app.cls(max_containers=1)
    class Batched:
        @moorage.batched(max_batch_size=2, wait_ms=60_000)
        def size(self, values):
            return [len(values)] * len(values)

    with app.run():
        assert Sizes().size.remote(1) == "one"
        for cls in (Sizes, Batched):
            threes = cls.with_batching(max_batch_size=3, wait_ms=60_000)().size
            assert list(threes.experimental_spawn_map(range(6)).iter()) == [3] * 6
        assert list(Batched().size.experimental_spawn_map(range(4)).iter()) == [2] * 4
        both = Batched.with_options(max_containers=2).with_concurrency(max_inputs=3)().size
        assert list(both.experimental_spawn_map(range(4)).iter()) == [2] * 4
        assert both.statistics().max_inputs == 3


@pytest.mark.parametrize("what", ["several methods", "none", "defaults", "generator"])
def test_what_with_batching_refuses(what):
    app = App()
    if what in ("several methods", "none"):

        class Work:
            def plain(self):
                return 1

        if what == "several methods":
            Work.one = moorage.method()(lambda self: 1)
            Work.two = moorage.method()(lambda self: 1)
        work = app.cls(serialized=True)(Work)
        with pytest.raises(InvalidError, match="for a class with one method"):
            work.with_batching(max_batch_size=2, wait_ms=0)
        return
    if what == "defaults":

        @app.function(serialized=True)
        def work(value=1): ...

    else:

        @app.function(serialized=True)
        def work(value):
            yield value

    with pytest.raises(InvalidError, match="default" if what == "defaults" else "is a generator"):
        work.with_batching(max_batch_size=2, wait_ms=0)
    with pytest.raises(InvalidError, match="max_batch_size"):
        work.with_batching(max_batch_size=0, wait_ms=0)


# -- loops, and what a container may be asked ----------------------------------------------


def test_a_batch_whose_loop_sits_in_a_blocking_call_gets_no_neighbour_there(monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0.0)
    app, ran = App(), []

    @app.function(max_containers=1, serialized=True)
    def slow(seconds):
        clock.sleep(seconds)
        return seconds

    @app.function(max_containers=2, serialized=True)
    @moorage.concurrent(max_inputs=2)
    @moorage.batched(max_batch_size=2, wait_ms=1000)
    async def work(values):
        ran.append((clock.now(), values))
        if "block" in values:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                slow.remote(10)
        return values

    with VirtualClock() as clock, app.run(clock=clock):
        blocking = [work.spawn("block") for _ in range(2)]
        clock.sleep(2.0)
        others = [work.spawn(value) for value in range(2)]
        assert results(others) == [0, 1]
        assert clock.now() == 2.0, "in another container"
        more = [work.spawn("block") for _ in range(2)]
        clock.sleep(2.0)
        waiting = [work.spawn(2)]
        assert work.statistics().queued == 1
        assert results(blocking + more + waiting) == ["block"] * 4 + [2]
    assert ran[-1][1] == [2]
    assert ran[-1][0] == 10.0, "as soon as a loop ran again: its wait was over"


@sync_and_async
def test_set_local_input_concurrency_in_a_batch_counts_batches(kind):
    from moorage.experimental import get_local_input_concurrency, set_local_input_concurrency

    app, seen = App(), []

    def work(values):
        if values[0] is not None:
            set_local_input_concurrency(values[0])
        seen.append(get_local_input_concurrency())
        return values

    async def work_async(values):
        return work(values)

    work_ = app.function(serialized=True, max_containers=1)(
        moorage.concurrent(max_inputs=4, target_inputs=2)(
            moorage.batched(max_batch_size=3, wait_ms=0)(work if kind == "sync" else work_async)
        )
    )
    with app.run():
        assert work_.remote(1) == 1
        assert list(work_.map([None] * 9)) == [None] * 9
        (container,) = work_.statistics().containers
        assert container.limit == 1
        assert work_.remote(4) == 4
        (container,) = work_.statistics().containers
        assert container.limit == 4
    assert seen[-1] == 4


@sync_and_async
def test_stop_fetching_inputs_in_a_batch(kind):
    from moorage.experimental import stop_fetching_inputs

    app, containers = App(), []

    def work(values):
        containers.append(threading.get_ident())
        if values[0] == "stop":
            stop_fetching_inputs()
        return values

    async def work_async(values):
        return work(values)

    work_ = app.function(serialized=True, max_containers=1)(
        moorage.batched(max_batch_size=2, wait_ms=0)(work if kind == "sync" else work_async)
    )
    with app.run():
        assert list(work_.experimental_spawn_map(["stop", 1, 2, 3]).iter()) == ["stop", 1, 2, 3]
        assert work_.statistics().containers_started == 2
    assert len(containers) == 2


# -- batches that call one another ---------------------------------------------------------


@sync_and_async
def test_a_batch_that_waits_for_its_own_slot_is_named(kind, monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0.0)
    app = App()

    def nested(values):
        return [value and 1 + nested_.remote(value - 1) for value in values]

    async def nested_async(values):
        return [value and 1 + await nested_.remote.aio(value - 1) for value in values]

    batched = moorage.batched(max_batch_size=2, wait_ms=500)
    function = nested if kind == "sync" else nested_async
    nested_ = app.function(serialized=True, max_containers=1, name="nested")(batched(function))
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nested_.spawn(1), nested_.spawn(1)]
        got = results(calls)
        assert kinds_of(got) == [DeadlockError] * 2
        assert "nested gets no slot: all slots of nested are held" in str(got[0])
        assert nested_.remote(0) == 0
        seen = nested_.statistics()
        assert (seen.failed, seen.succeeded, seen.running) == (3, 1, 0)


@sync_and_async
def test_no_knot_where_a_forming_batch_will_go_by_its_clock(kind, monkeypatch, caplog):
    monkeypatch.setattr(config, "deadlock_grace", 0.0)
    app = App()

    def nested(values):
        return [value and 1 + nested_.remote(value - 1) for value in values]

    async def nested_async(values):
        got = await asyncio.gather(*(nested_.remote.aio(value - 1) for value in values if value))
        return [1 + value for value in got] if got else list(values)

    function = nested if kind == "sync" else nested_async
    nested_ = app.function(serialized=True, max_containers=1)(
        moorage.concurrent(max_inputs=4)(moorage.batched(max_batch_size=2, wait_ms=500)(function))
    )
    with VirtualClock() as clock, app.run(clock=clock):
        assert results([nested_.spawn(3)]) == [3]
        assert clock.now() == 2.0, "four batches of one, each by its clock"
    assert not caplog.text


@sync_and_async
def test_a_forming_batch_that_gets_a_slot_only_from_who_waits_for_it_is_a_knot(kind, monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0.0)
    app = App()

    def a(values):
        return [b_.remote(value) for value in values]

    def b(values):
        return [a_.remote(0) if value else 0 for value in values]

    async def a_async(values):
        return [await b_.remote.aio(value) for value in values]

    async def b_async(values):
        return [await a_.remote.aio(0) if value else 0 for value in values]

    batched = moorage.batched(max_batch_size=4, wait_ms=500)
    a_ = app.function(serialized=True, max_containers=1, name="a")(
        batched(a if kind == "sync" else a_async)
    )
    b_ = app.function(serialized=True, max_containers=1, name="b")(
        batched(b if kind == "sync" else b_async)
    )
    with VirtualClock() as clock, app.run(clock=clock):
        assert results([a_.spawn(0), a_.spawn(0)]) == [0, 0]
        got = results([a_.spawn(1), a_.spawn(0)])
        assert kinds_of(got) == [DeadlockError] * 2
        assert "a gets no slot: all slots of a and b are held" in str(got[0])
        assert results([a_.spawn(0)]) == [0]


# -- what is said about it -----------------------------------------------------------------


@sync_and_async
def test_batch_statistics_are_exact(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1, 2, 3, 4)  # at once
        stage.sleep(1.0)
        calls += stage.spawn(5)
        stage.sleep(0.25)
        calls += stage.spawn(6)
        stage.sleep(1.0)  # a wait of 1 s
        calls += stage.spawn(7, 8, 9, 10, seconds=4)
        stage.sleep(1.0)
        calls += stage.spawn(11)
        stage.sleep(0.5)
        seen = stage.statistics().batches
        assert seen == moorage.runtime.pools.statistics.BatchStatistics(
            max_batch_size=4,
            wait=1.0,
            running=1,
            granted=3,
            sizes=((2, 1), (4, 2)),
            mean_wait=pytest.approx(1 / 3),
            longest_wait=1.0,
        )
        assert seen.mean_size == pytest.approx(10 / 3)
        results(calls)
        seen = stage.ended().batches
        assert seen.sizes == ((1, 1), (2, 1), (4, 2))
        assert (seen.granted, seen.running, seen.longest_wait) == (4, 0, 3.0)
        assert seen.mean_wait == 1.0
        assert stage.statistics().busy_seconds == 4.0
        assert "0 queued" in repr(stage.work._service.open_run.pools[stage.work._service.key])


def described():
    out = io.StringIO()
    moorage.describe(out)
    text = re.sub(r"in-[0-9a-f-]+", "in-1", out.getvalue())
    return re.sub(r"at \S*(<locals>\.)?(\w+) \(\S*\.py:\d+\)", r"at \2", text)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_describe_says_what_batches_do(kind):
    with Stage(kind, size=3) as stage:
        forming = stage.spawn(1, 2)
        stage.sleep(0.75)
        text = described()
        assert f"{kind_name(kind)} (max_batch_size=3, max_inputs=1, max_containers=1): " in text
        assert "2 queued, the first for 0.8 s" in text
        assert "waits for more inputs, to make a batch of them, for 0.2 s at the most" in text
        results(forming)
        calls = stage.spawn(1, 2, 3, seconds=30)
        stage.sleep(2.0)
        text = described()
        assert ": 3 running" in text
        assert f"batch of 3 of {kind_name(kind)} in-1, for 2 s" in text
        calls[0].cancel()
        assert "1 of them were cancelled; it runs on for the others" in described()
        for call in calls[1:]:
            call.cancel()
        if kind == "sync":  # a task may have ended by now
            assert f"batch of 3 of {kind_name(kind)} in-1, for 2 s" in described()
            assert "was cancelled or out of time, and does not end" in described()
        assert kinds_of(results(calls)) == [InputCancelledError] * 3


def kind_name(kind):
    return "sync" if kind == "sync" else "asynchronous"


# -- memory --------------------------------------------------------------------------------


class Thing:
    """What a weak reference may point at."""

    def __init__(self, value=None):
        self.value = value


@each_kind
@pytest.mark.parametrize("ends", ["returns", "raises", "in the list", "wrong length"])
def test_arguments_results_and_errors_die_with_their_callers(kind, ends, no_collections):
    app, alive = App("test"), []

    class CustomError(Exception):
        def __init__(self, number):
            super().__init__(number)
            alive.append(weakref.ref(self))

    def body(values):
        if ends == "raises":
            raise CustomError(1)
        if ends == "wrong length":
            return [Thing()]
        got = [Thing(value) if ends == "returns" else CustomError(value) for value in values]
        alive.extend(map(weakref.ref, got))
        return got

    async def body_async(values):
        return body(values)

    batched = moorage.batched(max_batch_size=3, wait_ms=60_000)
    if "method" in kind:

        class Work:
            if kind.startswith("sync"):

                @batched
                def work(self, values):
                    return body(values)

            else:

                @batched
                async def work(self, values):
                    return body(values)

        work = app.cls(serialized=True, max_containers=1)(Work)().work
    else:
        work = app.function(serialized=True, max_containers=1)(
            batched(body if kind == "sync" else body_async)
        )

    def call():
        arguments = [Thing() for _ in range(3)]
        alive.extend(map(weakref.ref, arguments))
        assert len(list(work.map(arguments, return_exceptions=True))) == 3

    with app.run():
        call()
    assert [each() for each in alive if each() is not None] == []


@sync_and_async
def test_arguments_of_those_that_left_die_with_the_batch(kind, no_collections):
    with Stage(kind) as stage:
        thing = Thing()
        alive = weakref.ref(thing)
        calls = [stage.work.spawn(thing, 5.0), *stage.spawn(2, 3, 4)]
        del thing
        stage.sleep(1.0)
        calls[0].cancel()
        assert results(calls[1:]) == [2, 3, 4]
        stage.ran.clear()
        stage.work.remote(5, 0.0)  # its thread, or task, is past it
        assert alive() is None


@sync_and_async
def test_arguments_of_those_that_left_before_it_ran_die_at_once(kind, no_collections):
    with Stage(kind) as stage:
        thing = Thing()
        alive = weakref.ref(thing)
        calls = [stage.work.spawn(thing, 5.0), *stage.spawn(2)]
        del thing
        calls[0].cancel()
        assert alive() is None
        results(calls)


# -- forks ---------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@sync_and_async
def test_a_fork_in_a_batch(kind):
    body = """
        ids = moorage.current_input_ids()
        assert len(ids) == 2, ids
        child = os.fork()
        if not child:
            code = 1
            try:
                assert moorage.current_input_ids() == []
                assert moorage.current_input_id() is None
                assert moorage.is_local()
                code = 0 if list(plain.map([1, 2])) == [1, 2] else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return [os.waitstatus_to_exitcode(status)] * len(values)
    """
    definition = "async def" if kind == "async" else "def"
    program = f"""
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import moorage

app = moorage.App()

@app.function()
@moorage.batched(max_batch_size=2, wait_ms=50)
def plain(values):
    return values

@app.function(max_containers=1)
@moorage.batched(max_batch_size=2, wait_ms=60_000)
{definition} forks(values):
{textwrap.indent(textwrap.dedent(body), "    ")}

with app.run():
    print(list(forks.experimental_spawn_map([1, 2]).iter()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.stdout, done.returncode) == ("[0, 0]\n", 0), done.stderr


@sync_and_async
def test_calls_after_the_run_are_refused_and_the_next_run_begins_anew(kind, monkeypatch):
    stage = Stage(kind)
    with stage:
        assert results(stage.spawn(1)) == [1]
    with pytest.raises(ExecutionError), config_strict():
        stage.work.remote(1, 0.0)


def config_strict():
    context = pytest.MonkeyPatch.context()

    class Strict:
        def __enter__(self):
            self.patch = context.__enter__()
            self.patch.setattr(config, "strict", True)

        def __exit__(self, *raised):
            context.__exit__(*raised)

    return Strict()


def test_retries_of_a_member_that_the_run_leaves_behind():
    stage = Stage("async", retries=Retries(max_retries=1, initial_delay=60.0))
    with stage:
        calls = stage.spawn(ValueError, 2)
        stage.sleep(2.0)
        assert stage.statistics().waiting == 2
    assert kinds_of(results(calls)) == [InputCancelledError] * 2
