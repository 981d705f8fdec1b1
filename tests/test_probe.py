"""Probes: what they record, where they hold inputs, and that the engine does as ever."""

import asyncio
import io
import os
import random
import threading
import types

import anyio
import pytest

import moorage
from moorage import App, Retries
from moorage.exception import (
    ClockStuckError,
    DeadlockError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import Event, Events, FakeContainer, FakeStatistics, Probe, Timeline


@pytest.fixture
def clock():
    return VirtualClock()


async def sleeps(seconds):
    await asyncio.sleep(seconds)
    return seconds


# -- waiting for a state -------------------------------------------------------------------


def test_it_waits_until_something_is_so(in_threads):
    app, probe, go_on = App(), Probe(), threading.Event()

    @app.function(max_containers=1, serialized=True)
    def work(name):
        assert go_on.wait(30)
        return name

    with app.run(probe=probe):
        # Before there is a pool, and from the thread that is not the callers'.
        calls = [in_threads(work.remote, number) for number in range(3)]
        probe.wait_until(lambda: work.statistics() is not None and work.statistics().queued == 2)
        assert work.statistics().running == 1
        probe.wait_until(lambda: True)
        with pytest.raises(ZeroDivisionError):
            probe.wait_until(lambda: 1 / 0)
        go_on.set()
        probe.wait_until(lambda: not work.statistics().running)
        assert work.statistics().succeeded == 3
    assert sorted(call.result() for call in calls) == [0, 1, 2]
    assert probe._wakes == ()


def test_tasks_wait_until_something_is_so(run_async):
    app, probe, go_on = App(), Probe(), threading.Event()

    @app.function(max_containers=1, serialized=True)
    def work():
        assert go_on.wait(30)

    async def main():
        async with app.run(probe=probe), anyio.create_task_group() as group:
            group.start_soon(work.remote.aio)
            group.start_soon(work.remote.aio)
            await probe.wait_until.aio(lambda: work.statistics() and work.statistics().queued == 1)
            go_on.set()
            await probe.wait_until.aio(lambda: work.statistics().succeeded == 2)

    run_async(main)
    assert probe._wakes == ()


def test_in_virtual_time_it_waits_as_long_as_it_takes_and_not_for_ever(clock):
    with FakeContainer(sleeps, clock=clock) as container:
        for _ in range(3):
            container.submit(10.0)
        container.wait_until(lambda: container.statistics().finished == 2)
        assert clock.now() == 20.0
        with pytest.raises(ClockStuckError):
            container.wait_until(lambda: container.statistics().failed)


# -- gates ----------------------------------------------------------------------------------


def test_a_lost_update_is_written_down(clock):
    """Two inputs read, then both write: the interleaving is the test's."""
    stored = {"count": 0}

    async def increment():
        seen = stored["count"]
        await asyncio.sleep(0)  # a look at a database
        stored["count"] = seen + 1

    with FakeContainer(increment, max_inputs=2, clock=clock) as container:
        with container.hold("await") as gate:
            first, second = container.submit(), container.submit()
            gate.wait_held(2)
            assert gate.held == ["increment()", "increment() #2"]
            gate.release(second)
            second.result()
            assert stored["count"] == 1
        first.result()
        assert stored["count"] == 1  # lost


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_inputs_are_let_go_one_by_one(kind, clock):
    seen = []

    async def note_async(name):
        seen.append(name)

    def note(name):
        seen.append(name)

    function = note_async if kind == "async" else note
    with FakeContainer(function, max_inputs=3, clock=clock) as container:
        gate = container.hold("start")
        a, b, c = (container.submit(name) for name in "abc")
        gate.wait_held(3)
        clock.sleep(0)
        assert seen == []
        assert container.statistics() == FakeStatistics(running=3, peak=3, limit=3)
        for handle in (b, a):
            gate.release(handle)
            handle.result()
        assert seen == ["b", "a"]
        assert repr(gate) == f"<Gate at 'start': holds {function.__name__}('c')>"
        gate.release()
        c.result()
        assert seen == ["b", "a", "c"]
        assert container.events.inputs("started")[-1] == f"{function.__name__}('c')"


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_what_has_returned_is_held_before_anybody_knows(kind, clock):
    done = []

    async def work_async():
        done.append(1)
        return "done"

    def work():
        done.append(1)
        return "done"

    with FakeContainer(work if kind == "sync" else work_async, clock=clock) as container:
        gate = container.hold("settle")
        handle = container.submit()
        gate.wait_held()
        assert done == [1]
        assert not handle.done()
        assert container.statistics().running == 1
        gate.open()
        assert handle.result() == "done"
        assert gate.is_open


def test_an_error_is_held_before_anybody_knows(clock):
    def fails():
        raise ValueError("no")

    async def fails_async():
        raise ValueError("no")

    for function in (fails, fails_async):
        with FakeContainer(function, clock=clock) as container:
            gate = container.hold("settle")
            handle = container.submit()
            gate.wait_held()
            assert not handle.done()
            gate.release()
            with pytest.raises(ValueError, match="no") as caught:
                handle.result()
            assert caught.traceback[-1].name == function.__name__


@pytest.mark.parametrize("point", ["start", "await", "settle"])
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_what_is_held_can_be_cancelled_and_runs_out_of_time(kind, point, clock):
    ended = []

    async def work_async():
        try:
            await asyncio.sleep(1)
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    def work():
        ended.append("ran")

    if (kind, point) == ("sync", "await"):
        pytest.skip("a sync function awaits nothing")
    function = work if kind == "sync" else work_async
    with FakeContainer(function, max_inputs=2, timeout=10, clock=clock) as container:
        gate = container.hold(point)
        first, second = container.submit(), container.submit()
        gate.wait_held(2)
        first.cancel()
        assert isinstance(first.exception(), InputCancelledError)
        assert isinstance(second.exception(), FunctionTimeoutError)
        container.wait_idle()
        assert gate.held == []
        assert container.statistics() == FakeStatistics(cancelled=1, failed=1, peak=2, limit=2)
        expected = {
            ("sync", "start"): [],
            ("sync", "settle"): ["ran", "ran"],
            ("async", "start"): [],
            # As if it had been cancelled at its first await.
            ("async", "await"): ["CancelledError", "CancelledError"],
            ("async", "settle"): [],
        }
        assert ended == expected[kind, point]


def test_leaving_the_container_ends_what_is_held(clock):
    for function in (sleeps, lambda seconds: seconds):
        with FakeContainer(function, max_inputs=2, clock=clock) as container:
            gate = container.hold("start")
            handles = [container.submit(1), container.submit(1)]
            gate.wait_held(2)
        assert [handle.cancelled() for handle in handles] == [True, True]


def test_two_that_are_held_may_await_the_same_future(clock):
    shared = []

    async def wait_for_it():
        if not shared:
            shared.append(asyncio.ensure_future(asyncio.sleep(1, "there")))
        return await shared[0]

    with FakeContainer(wait_for_it, max_inputs=2, clock=clock) as container:
        with container.hold("await") as gate:
            handles = [container.submit(), container.submit()]
            gate.wait_held(2)
        assert [handle.result() for handle in handles] == ["there", "there"]


def test_a_cancel_at_the_first_await_waits_for_what_is_awaited_as_a_task_does(clock):
    log = []

    async def cleans_up():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            log.append("cleaned up")
            return "partial"

    async def outer():
        log.append(await asyncio.ensure_future(cleans_up()))

    with FakeContainer(outer, clock=clock) as container:
        gate = container.hold("await")
        handle = container.submit()
        gate.wait_held()
        clock.sleep(0)
        handle.cancel()
        container.wait_idle()
        assert log == ["cleaned up", "partial"]


def test_code_that_never_awaits_is_not_held_at_its_first_await(clock):
    async def returns():
        return 1

    async def fails():
        raise ValueError

    async def several():
        seen = [await asyncio.sleep(0, "first"), await asyncio.sleep(1, "second")]
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        except TimeoutError:
            seen.append("third")
        return seen

    for function in (returns, fails):
        with FakeContainer(function, clock=clock) as container:
            container.hold("await")
            assert (container.submit().exception() is None) == (function is returns)
    with FakeContainer(several, clock=clock) as container:
        gate = container.hold("await")
        handle = container.submit()
        gate.wait_held()
        clock.sleep(5)  # what it waits for comes long before it is let go
        gate.release()
        assert handle.result() == ["first", "second", "third"]
        assert clock.now() == 7


def test_generators_are_held_at_their_start(clock):
    def count():
        yield 1

    async def count_async():
        yield 1

    for function in (count, count_async):
        with FakeContainer(function, clock=clock) as container:
            for point in ("await", "settle"):
                with pytest.raises(InvalidError, match=r'write hold\("start"\)'):
                    container.hold(point)
            with container.hold("start"):
                stream = container.stream()
            assert list(stream) == [1]
            assert container.events.inputs("started") == [f"{function.__name__}()"]


def test_a_batch_is_held_as_one_under_the_names_of_its_members(clock):
    @moorage.batched(max_batch_size=2, wait_ms=100)
    def total(xs):
        return xs

    with FakeContainer(total, max_inputs=2, clock=clock) as container:
        gate = container.hold("start")
        handles = [container.submit(i) for i in range(3)]
        gate.wait_held(2)
        assert gate.held == ["total(0) + total(1)", "total(2)"]
        gate.release(handles[1])
        assert handles[0].result() == 0
        assert not handles[2].done()
        gate.open()
        assert handles[2].result() == 2


def test_a_gate_holds_what_comes_to_it_after_it_was_made(clock):
    with FakeContainer(sleeps, max_inputs=2, clock=clock) as container:
        handle = container.submit(5)
        container.wait_running(1)
        gate = container.hold("settle")
        gate.wait_held()
        assert clock.now() == 5
        gate.open()
        assert handle.result() == 5


def test_wrong_uses_of_a_gate_say_what_to_write(clock):
    with FakeContainer(sleeps, max_inputs=2, clock=clock) as container:
        with pytest.raises(InvalidError, match=r'write hold\("start"\)$'):
            container.hold("begin")
        gate = container.hold("start")
        with pytest.raises(InvalidError, match=r"call gate.wait_held\(\) first"):
            gate.release()
        first = container.submit(1)
        gate.wait_held()
        gate.release(first)
        assert first.result() == 1
        second, third = container.submit(1), container.submit(1)
        gate.wait_held(2)
        gate.release(second)
        with pytest.raises(InvalidError, match=r"held there: sleeps\(1\) #3; release one of these"):
            gate.release(second)
        gate.open()
        assert third.result() == 1
        with pytest.raises(InvalidError, match="is open and holds nothing"):
            gate.wait_held()
        with pytest.raises(InvalidError, match="from 1 up"):
            gate.wait_held(0)
    with FakeContainer(lambda: None) as container, pytest.raises(InvalidError, match="awaits noth"):
        container.hold("await")
    with pytest.raises(InvalidError, match=r"app\.run"):
        Probe().hold("start").wait_held()


# -- a whole app ------------------------------------------------------------------------------


def test_a_probe_sees_a_scale_up_and_a_scale_down(clock):
    app = App()

    @app.function(scaledown_window=30)
    @moorage.concurrent(max_inputs=2)
    async def work(seconds):
        await asyncio.sleep(seconds)

    probe = Probe()
    with clock, app.run(clock=clock, probe=probe):
        list(work.map([10, 10, 10, 10]))
        clock.sleep(100)
    assert str(probe.timeline(width=20)) == (
        "             0         20 s  (2 s a column)\n"
        "work(10)     #####                 result work-1\n"
        "work(10) #2  #####                 result work-1\n"
        "work(10) #3  #####                 result work-2\n"
        "work(10) #4  #####                 result work-2\n"
        "work-1       ====================\n"
        "work-2       ===================="
    )
    containers = {event.container for event in probe.events.of("starting")}
    assert containers == {"work-1", "work-2"}
    assert [event.at for event in probe.events.of("stopped")] == [40, 40]
    assert [event.container for event in probe.events.of("granted")] == [
        "work-1",
        "work-1",
        "work-2",
        "work-2",
    ]


def test_a_gate_of_an_app_holds_the_inputs_of_one_function(clock):
    app = App()
    log = []

    @app.function()
    def first(x):
        log.append(("first", x))
        return second.remote(x)

    @app.function()
    def second(x):
        log.append(("second", x))
        return x

    probe = Probe()
    with clock, app.run(clock=clock, probe=probe):
        gate = probe.hold("start", of=second)
        call = first.spawn(1)
        gate.wait_held()
        assert log == [("first", 1)]
        assert gate.held == ["second(1)"]
        gate.release()
        assert call.get() == 1
    assert probe.events.inputs("settled") == ["second(1)", "first(1)"]
    assert repr(probe) == f"<Probe: {len(probe.events)} events>"


# -- what happened --------------------------------------------------------------------------------


def test_the_way_of_an_input_that_is_tried_again(clock):
    tries = []

    async def flaky():
        tries.append(1)
        await asyncio.sleep(1)
        if len(tries) < 2:
            raise ValueError("no")

    retries = moorage.Retries(max_retries=1, initial_delay=2)
    with FakeContainer(flaky, retries=retries, clock=clock) as container:
        container.call()
    name, where = "flaky()", "flaky-1"
    assert container.events.of(input=name) == (
        Event(0, "queued", name),
        Event(0, "granted", name, where),
        Event(0, "started", name, where),
        Event(1, "waiting", name, where, "ValueError"),
        Event(3, "queued", name),
        Event(3, "granted", name, where),
        Event(3, "started", name, where),
        Event(4, "settled", name, where, "result"),
    )
    assert str(container.timeline(width=12)) == (
        "         0 s  (0.5 s a column)\nflaky()  ##~~~~##   result flaky-1\nflaky-1  ========"
    )


def test_the_way_of_an_input_that_was_answered_before_its_code_ended(clock):
    def works():
        clock.sleep(10)

    with FakeContainer(works, max_inputs=2, timeout=4, clock=clock) as container:
        assert isinstance(container.submit().exception(), FunctionTimeoutError)
        container.wait_idle()
        assert [(e.at, e.kind, e.detail) for e in container.events.of(input="works()")][2:] == [
            (0, "started", ""),
            (4, "settled", "FunctionTimeoutError"),
            (10, "ended", ""),
        ]
        assert str(container.timeline(width=11)) == (
            "         0         10 s  (1 s a column)\n"
            "works()  ####++++++   FunctionTimeoutError works-1\n"
            "works-1  ==========="
        )


def test_the_ways_of_a_batch_and_of_one_who_waits_outside(clock):
    @moorage.batched(max_batch_size=2, wait_ms=1000)
    async def total(xs):
        await asyncio.sleep(1)
        return xs

    with FakeContainer(total, clock=clock) as container:
        list(container.map(range(3)))
        assert container.events.inputs("queued") == ["total(0)", "total(1)", "total(2)"]
        assert container.events.inputs("granted") == ["total(0)", "total(1)", "total(2)"]
        assert container.events.inputs("settled") == ["total(0)", "total(1)", "total(2)"]
    with FakeContainer(sleeps, max_backlog=1, on_full="wait", clock=clock) as container:
        list(container.map([1, 1, 1]))
        assert container.statistics().finished == 3


def test_arguments_are_shown_without_running_code_of_the_users(clock):
    class Loud:
        def __repr__(self):
            raise AssertionError("its repr ran")

    def f(*args, **kwargs): ...

    with FakeContainer(f, clock=clock) as container:
        container.call(1, 2.5, None, True, "x" * 50, b"y", Loud(), [1], key=Loud())
        (label,) = container.events.inputs("queued")
    assert label == (
        "f(1, 2.5, None, True, 'xxxxxxxxxxxxxxxxxxx...', b'y', <Loud>, <list>, key=<Loud>)"
    )


def test_serialized_arguments_are_shown_as_they_were(clock):
    with FakeContainer(lambda x, key: x, serialize=True, clock=clock) as container:
        container.call(1, key="a")
        assert container.events.inputs("started") == ["<lambda>(1, key='a')"]


def test_events_read_well():
    events = Events(
        [
            Event(0, "starting", container="f-1"),
            Event(0.5, "queued", "f(1)"),
            Event(0.1 + 0.2, "granted", "f(1)", "f-1"),
            Event(12, "settled", "f(1)", "f-1", "result"),
        ]
    )
    assert str(events) == (
        "  0 s  f-1   starting\n"
        "0.5 s  f(1)  queued\n"
        "0.3 s  f(1)  granted         f-1\n"
        " 12 s  f(1)  settled result  f-1"
    )
    assert str(events[3]) == "12 s f(1) settled result f-1"
    assert events.of("queued", "granted", input="f(1)") == events[1:3]
    assert events.inputs("granted") == ["f(1)"]
    assert str(Events()) == "nothing happened"
    assert str(Timeline([])) == "nothing happened"
    with pytest.raises(ValueError, match="width=60"):
        Timeline([], width=3)


def test_a_timeline_is_the_same_in_every_run():
    def once():
        clock = VirtualClock()
        app = App()

        @app.function(retries=1)
        @moorage.concurrent(max_inputs=3, target_inputs=2)
        def work(seconds):
            clock.sleep(seconds)
            if seconds == 4:
                raise ValueError

        probe = Probe()
        with clock, app.run(clock=clock, probe=probe):
            list(work.map([3, 1, 4, 1, 5, 9, 2, 6], return_exceptions=True))
        return str(probe.timeline())

    assert once() == once()


def test_a_comparison_of_timelines_is_of_lines(clock):
    with FakeContainer(sleeps, max_inputs=1, clock=clock) as container:
        list(container.map([1, 2]))
        timeline = container.timeline(width=10)
        assert timeline == container.timeline(width=10)
    assert timeline == [
        "           0 s  (0.5 s a column)",
        "sleeps(1)  ##       result sleeps-1",
        "sleeps(2)  ..####   result sleeps-1",
        "sleeps-1   =======",
    ]
    assert timeline != container.timeline(width=30)
    assert timeline[0] == next(iter(timeline))
    assert timeline[:2] == list(timeline)[:2]
    assert repr(timeline) == f"<Timeline\n{timeline}\n>"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_can_use_a_probe_of_its_own():
    with FakeContainer(lambda: None) as container:
        container.call()
        child = os.fork()
        if child == 0:
            with FakeContainer(lambda: 7) as own:
                status = 0 if own.call() == 7 and container.events else 1
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- what cannot come ---------------------------------------------------------------------------


def test_a_point_that_the_function_never_comes_to_is_refused_for_a_whole_app_too():
    app, probe = App(), Probe()

    @app.function()
    def work(): ...

    @app.function()
    def count():
        yield 1

    with pytest.raises(InvalidError, match="work awaits nothing, because it is not an async"):
        probe.hold("await", of=work)
    with pytest.raises(InvalidError, match="count is a generator, which can be held at its start"):
        probe.hold("settle", of=count)


def test_who_waits_for_ever_at_a_gate_is_told_what_for():
    clock = VirtualClock(stuck_after=0.05)
    with FakeContainer(sleeps, max_inputs=2, clock=clock) as container:
        gate = container.hold("await")
        with pytest.raises(ClockStuckError) as caught:
            gate.wait_held(2)
        assert "waits for 2 held by <Gate at 'await': holds none> in" in str(caught.value)
        with pytest.raises(ClockStuckError) as caught:
            container.wait_running(1)
        assert "waits for 1 running in <FakeContainer sleeps: 0 of 2 slots held, at 0 s> in" in str(
            caught.value
        )


def test_a_call_whose_clock_is_stuck_shows_one_frame_of_ours():
    clock, go = VirtualClock(stuck_after=0.05), threading.Event()
    with FakeContainer(lambda: go.wait(30), clock=clock) as container:
        try:
            with pytest.raises(ClockStuckError) as caught:
                container.call()
        finally:
            go.set()
        assert [entry.name for entry in caught.traceback][1:] == ["__call__"]


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_members_of_a_batch_that_were_answered_early_end_with_it(kind, clock):
    async def works_async(xs):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        return xs

    def works(xs):
        clock.sleep(2.5)
        return xs

    function = works if kind == "sync" else works_async
    with FakeContainer(function, max_batch_size=2, wait_ms=10, clock=clock) as container:
        first, second = container.submit(1), container.submit(2)
        clock.sleep(1)
        first.cancel()
        clock.sleep(1)
        second.cancel()
        container.wait_idle()
        ended = clock.now()
        name = function.__name__
        assert container.events.inputs("ended") == [f"{name}(1)", f"{name}(2)"]
        assert [event.at for event in container.events.of("ended")] == [ended, ended]
        assert container.events.of("settled")[0].at == 1
        assert not any("Batch" in str(event) for event in container.events)


def test_a_member_that_left_its_batch_ends_when_that_has_a_result(clock):
    async def works(xs):
        await asyncio.sleep(5)
        return xs

    with FakeContainer(works, max_batch_size=2, wait_ms=10, clock=clock) as container:
        first, second = container.submit(1), container.submit(2)
        clock.sleep(1)
        first.cancel()
        assert second.result() == 2
        assert container.events.inputs("ended") == ["works(1)"]
        assert container.events.of("ended")[0].at == 5
        assert container.events.inputs("settled") == ["works(1)", "works(2)"]


@pytest.mark.parametrize("batched", [False, True])
def test_a_probe_keeps_no_input_that_has_ended(batched, clock):
    def works(x):
        clock.sleep(2)
        if x == 1 or x == [1]:
            raise ValueError
        return x

    options = {"max_batch_size": 1, "wait_ms": 0} if batched else {}
    with FakeContainer(works, clock=clock, **options) as container:
        handles = [container.submit(x) for x in range(5)]
        clock.sleep(1)
        handles[0].cancel()
        handles[4].cancel()
        assert len(container._probe._labels) == 4  # one of them is answered, and runs on
        container.wait_idle()
        assert container._probe._labels == {}


def test_a_batch_that_gets_its_slot_is_never_seen_as_neither_queued_nor_running(clock):
    async def works(xs):
        await asyncio.sleep(1)
        return xs

    with FakeContainer(works, max_batch_size=2, wait_ms=10, clock=clock) as container:
        for count in (1, 2, 3):
            handles = [container.submit(x) for x in range(count)]
            container.wait_idle()
            assert all(handle.done() for handle in handles)
        gate = container.hold("start")
        handles = [container.submit(x) for x in range(3)]
        container.wait_running(2)
        assert gate.held == ["works(0) #4 + works(1) #3"]
        gate.open()
        container.wait_idle()


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_grants_and_containers_are_the_same_in_every_run_of_a_large_app(kind):
    """Containers that start at one instant, retries, and batches whose end wakes inputs of
    several containers at once."""

    def once():
        clock, app, probe = VirtualClock(), App(), Probe()
        policy = Retries(max_retries=2, initial_delay=1.0, backoff_coefficient=2.0)

        @app.function(max_containers=2)
        @moorage.batched(max_batch_size=4, wait_ms=300)
        async def gather(xs):
            await asyncio.sleep(0.7)
            return xs

        def failing(x):
            if x % 7 == 0:
                raise ValueError

        def work(x, seconds):
            clock.sleep(seconds)
            failing(x)
            return gather.remote(x) if x % 3 == 0 else x

        async def work_async(x, seconds):
            await asyncio.sleep(seconds)
            failing(x)
            return await gather.remote.aio(x) if x % 3 == 0 else x

        code = moorage.concurrent(max_inputs=4, target_inputs=2)(
            work if kind == "sync" else work_async
        )
        options = {"max_containers": 5, "scaledown_window": 10, "timeout": 8}
        function = app.function(retries=policy, **options)(code)
        chance = random.Random(1)
        with app.run(clock=clock, probe=probe):
            calls = []
            for x in range(100):
                calls.append(function.spawn(x, chance.uniform(0, 3)))
                if x % 10 == 9:
                    clock.sleep(1.37)
                if x == 50:
                    clock.sleep(40)
            for x, call in enumerate(calls):
                if x % 7:
                    call.get()
            clock.sleep(60)
        events = probe.events
        grants = [(event.at, event.input, event.container) for event in events.of("granted")]
        return grants, events.of("starting", "ready", "stopped"), str(probe.timeline())

    first = once()
    assert len(first[0]) > 150
    for _ in range(3):
        assert once() == first


# -- what awaits shows is not lost under a probe ---------------------------------------------------


def described():
    text = io.StringIO()
    moorage.describe(text)
    return text.getvalue()


async def waits_inside(event):
    await event.wait()


@pytest.mark.parametrize("naps", [0, 1, 2])
def test_the_place_of_an_input_that_awaits_is_shown(naps, clock):
    async def work():
        for _ in range(naps):
            await asyncio.sleep(1)
        await waits_inside(asyncio.Event())

    with FakeContainer(work, clock=clock) as container:
        container.submit()
        clock.sleep(naps + 1)
        assert f"in a task, at {waits_inside.__name__} (" in described()


def test_the_place_of_an_input_at_a_gate_is_its_first_await(clock):
    with FakeContainer(waits_inside, clock=clock) as container:
        gate = container.hold("await")
        container.submit(asyncio.Event())
        gate.wait_held(1)
        assert "in a task, at waits_inside (" in described()


def test_the_place_of_a_coroutine_of_another_kind_is_shown(clock):
    @types.coroutine
    def work():
        yield from waits_inside(asyncio.Event()).__await__()

    with FakeContainer(work, clock=clock) as container:
        container.submit()
        clock.sleep(1)
        assert "in a task, at waits_inside (" in described()


@pytest.mark.parametrize("way", ["group", "wait", "gather"])
def test_a_deadlock_of_tasks_is_found_under_a_probe(way, clock, caplog):
    app = App()

    @app.function(max_containers=1)
    async def again(n):
        if n == 0:
            return 0
        if way == "gather":
            return sum(await asyncio.gather(again.remote.aio(n - 1)))
        if way == "wait":
            done, _ = await asyncio.wait([asyncio.create_task(again.remote.aio(n - 1))])
            return done.pop().result()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(again.remote.aio(n - 1))
        return task.result()

    with app.run(clock=clock, probe=Probe()), pytest.raises((DeadlockError, ExceptionGroup)):
        again.remote(1)
    assert clock.now() < 60


def test_waiting_callers_are_woken_without_the_lock_of_the_pool(clock):
    held = []

    async def main():
        async with FakeContainer(sleeps, max_inputs=2, max_backlog=1, on_full="wait") as container:
            pool = container._pool
            container._probe._add(lambda: held.append(pool.lock.locked()))
            submissions = [await container.submit.aio(1) for _ in range(5)]
            await container.wait_running.aio(2)
            submissions[1].cancel()
            await container.wait_idle.aio()

    clock.run(main())
    assert held
    assert not any(held)
