"""The bound of the backlog: who is refused, who waits for room, and in which order."""

import asyncio
import threading

import anyio
import pytest

import moorage
from moorage import App
from moorage.exception import (
    ExecutionError,
    InputCancelledError,
    InvalidError,
    ResourceExhaustedError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import Probe


def make_nap(slots=1, kind="async", **options):
    app = App()
    ran = []

    async def nap(seconds, name=None):
        ran.append(name)
        await asyncio.sleep(seconds)
        return name

    def nap_sync(clock, seconds, name=None):
        ran.append(name)
        clock.sleep(seconds)
        return name

    body = nap if kind == "async" else nap_sync
    decorated = moorage.concurrent(max_inputs=slots)(body)
    return app, app.function(max_containers=1, **options)(decorated), ran


def counts(function):
    s = function.statistics()
    assert s.accepted == (
        s.queued + s.waiting + s.running - s.abandoned + s.succeeded + s.failed + s.cancelled
    )
    return s.queued, s.outside, s.refused


def test_beyond_the_bound_every_way_to_call_is_refused_at_once():
    app, nap, _ = make_nap(max_backlog=2)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0)
        calls = [nap.spawn(10) for _ in range(3)]
        assert counts(nap) == (2, 0, 0)
        for way in (
            lambda: nap.remote(1),
            lambda: nap.spawn(1),
            lambda: list(nap.map([1])),
            lambda: list(nap.map(iter([1]))),
            lambda: nap.for_each([1, 2]),
            lambda: list(nap.starmap([(1, "x")])),
            lambda: nap.spawn_map([1]),
        ):
            with pytest.raises(
                ResourceExhaustedError, match="2 of at most 2 inputs wait for a slot of nap"
            ):
                way()
        assert counts(nap) == (2, 0, 7)
        assert clock.now() == 0.0
        calls[1].cancel()
        last = nap.spawn(1, "last")
        assert last.get() == "last"
        with pytest.raises(ResourceExhaustedError):
            nap.spawn_map([1] * 4)  # one slot and two places
        nap.spawn_map([1] * 3)
        assert counts(nap) == (2, 0, 11)


def test_a_free_slot_is_never_refused_and_the_first_call_waits_for_its_container():
    app, nap, _ = make_nap(slots=5, max_backlog=1)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0)
        calls = nap.experimental_spawn_map([3] * 6)
        assert nap.statistics().running == 5
        with pytest.raises(ResourceExhaustedError):
            nap.remote(0)
        clock.sleep(3.5)
        assert nap.remote(0) is None
        assert calls.num_inputs() == 6


@pytest.mark.parametrize("on_full", ["raise", "wait"])
@pytest.mark.parametrize("feeding", ["sequence", "iterable"])
def test_a_map_that_has_begun_feeds_what_fits_and_waits(on_full, feeding):
    app, nap, _ = make_nap(slots=2, max_backlog=3, on_full=on_full)
    read = []

    def seconds():
        for index in range(30):
            read.append(index)
            yield 1

    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0)
        rows = [1] * 30 if feeding == "sequence" else seconds()
        results = iter(nap.map(rows))
        for number in range(30):
            assert next(results) is None
            queued, outside, _ = counts(nap)
            assert queued <= 3
            assert outside <= 1
            assert len(read) <= number + 10
        assert list(results) == []
        assert clock.now() == 15.0, "both slots were in use all the time"


def test_two_maps_and_a_caller_share_the_room():
    app, nap, _ = make_nap(slots=1, max_backlog=1, on_full="wait")
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0)
        first, second = iter(nap.map([1] * 5)), iter(nap.map(iter([1] * 5)))
        next(first)
        next(second)
        assert nap.remote(1, "x") == "x"
        assert [list(first), list(second)] == [[None] * 4] * 2
        assert clock.now() <= 12.0
        assert counts(nap) == (0, 0, 0)


def test_callers_that_wait_come_in_in_order(in_threads):
    app, nap, ran = make_nap(kind="sync", max_backlog=1, on_full="wait")
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(clock, 0)
        nap.spawn(clock, 10, "running")
        nap.spawn(clock, 1, "queued")

        def remote(name):
            with clock.participate():
                return nap.remote(clock, 1, name)

        def spawn(name):
            with clock.participate():
                call = nap.spawn(clock, 1, name)
                return clock.now(), call

        waiting = []
        for index in range(4):
            waiting.append(in_threads(remote if index % 2 else spawn, str(index)))
            while counts(nap)[1] != index + 1:
                clock.sleep(0.01)
        assert counts(nap) == (1, 4, 0)
        clock.sleep(20.0)
        # When the one before it comes from the queue to the slot:
        at, call = waiting[0].result()
        assert at == 10.0
        assert waiting[2].result()[0] == 12.0
        assert [waiting[1].result(), waiting[3].result()] == ["1", "3"]
        assert call.get() == "0"
    assert ran == [None, "running", "queued", "0", "1", "2", "3"]


def test_a_caller_that_is_cancelled_leaves_the_line(run_async):
    app, nap, ran = make_nap(max_backlog=1, on_full="wait")
    probe = Probe()

    async def until_outside():
        await probe.wait_until.aio(lambda: counts(nap)[1] >= 1)

    async def give_up(function, *args):
        async with anyio.create_task_group() as group:
            group.start_soon(function.aio, *args)
            await until_outside()
            group.cancel_scope.cancel()
        assert counts(nap)[1] == 0

    with app.run(probe=probe):
        nap.remote(0)
        running, queued = nap.spawn(100, "running"), nap.spawn(100, "queued")

        async def main():
            # Cancelled before that, its code would not begin.
            await probe.wait_until.aio(lambda: len(probe.events.of("started")) == 2)
            await give_up(nap.remote, 0, "never")
            await give_up(nap.spawn, 0, "never")
            await give_up(nap.spawn_map, [0, 0])
            async with anyio.create_task_group() as group:
                group.start_soon(nap.remote.aio, 0, "last")
                await until_outside()
                queued.cancel()
                running.cancel()

        run_async(main)
        assert counts(nap) == (0, 0, 0)
        assert nap.statistics().cancelled == 6
    assert ran == [None, "running", "last"]


def test_leaving_the_run_releases_all(in_threads):
    app, nap, ran = make_nap(max_backlog=1, on_full="wait")
    probe = Probe()
    with app.run(probe=probe):
        nap.remote(0)
        nap.spawn(100, "running")
        nap.spawn(100, "queued")
        remote, spawn = in_threads(nap.remote, 0), in_threads(nap.spawn, 0)
        listed = in_threads(lambda: list(nap.map([1, 2])))
        probe.wait_until(lambda: counts(nap)[1] == 3)
    with pytest.raises(InputCancelledError, match="run was left"):
        remote.result()
    # It may go on to feed, and so hear that there is no run.
    with pytest.raises((InputCancelledError, ExecutionError), match="run"):
        listed.result()
    with pytest.raises(InputCancelledError, match="run was left"):
        spawn.result().get()
    assert set(ran) <= {None, "running"}


def test_an_input_that_waits_for_room_in_another_input_is_cancelled_with_it():
    app = App()
    begun = threading.Event()

    @app.function(max_containers=1, max_backlog=1, on_full="wait")
    async def inner(waits):
        if waits:
            await asyncio.Event().wait()

    @app.function()
    def outer():
        begun.set()
        inner.spawn(False)

    probe = Probe()
    with app.run(probe=probe):
        inner.remote(False)
        inner.spawn(True)
        inner.spawn(True)
        call = outer.spawn()
        assert begun.wait(10)
        probe.wait_until(lambda: counts(inner)[1] == 1)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        probe.wait_until(lambda: not outer.statistics().running)
        assert counts(inner) == (1, 0, 0)


def test_a_retry_is_never_refused():
    app = App()
    tries = []

    @app.function(max_containers=1, max_backlog=1, retries=1)
    async def flaky(name, seconds):
        tries.append(name)
        await asyncio.sleep(seconds)
        if tries.count(name) == 1:
            raise LookupError
        return name

    with VirtualClock() as clock, app.run(clock=clock):
        first = flaky.spawn("first", 0.5)
        clock.sleep(0.25)
        flaky.spawn("second", 10)
        clock.sleep(0.5)
        third = flaky.spawn("third", 1)
        clock.sleep(1.0)
        assert counts(flaky) == (2, 0, 0), "the first is back"
        with pytest.raises(ResourceExhaustedError):
            flaky.remote("fourth", 1)
        assert first.get() == "first"
        assert third.get() == "third"


def test_a_start_that_fails_fails_those_that_wait_for_room_too(in_threads):
    app = App()
    go_on = threading.Event()

    @app.cls(max_backlog=1, on_full="wait")
    class Broken:
        @moorage.enter()
        def load(self):
            go_on.wait(30)
            raise OSError("no model")

        @moorage.method()
        def one(self):
            return 1

    probe = Probe()
    with app.run(probe=probe):
        one = Broken().one
        calls = [in_threads(one.remote) for _ in range(5)]
        probe.wait_until(lambda: one.statistics() is not None and counts(one)[1] == 4)
        go_on.set()
        for call in calls:
            with pytest.raises(OSError, match="no model"):
                call.result()


@pytest.mark.parametrize("on_full", ["raise", "wait"])
def test_the_bound_is_exact_from_eight_threads(on_full, in_threads, often_switching):
    app, most = App(), 5
    seen = []

    @app.function(max_containers=2, max_backlog=most, on_full=on_full)
    @moorage.concurrent(max_inputs=2)
    def work(value):
        seen.append(value)
        return value

    over = threading.Event()
    highest = 0

    def watch():
        nonlocal highest
        while not over.is_set():
            s = work.statistics()
            if s is not None:
                highest = max(highest, s.queued)

    def call(number):
        done = refused = 0
        for index in range(100):
            value = number * 1000 + index
            try:
                if index % 4 == 3:
                    assert list(work.map([value, value])) == [value, value]
                    done += 1
                elif index % 2:
                    assert work.spawn(value).get() == value
                else:
                    assert work.remote(value) == value
                done += 1
            except ResourceExhaustedError:
                refused += 1
        return done, refused

    with app.run():
        watching = in_threads(watch)
        sums = [caller.result() for caller in [in_threads(call, i) for i in range(8)]]
        over.set()
        watching.result()
        s = work.statistics()
        done, refused = (sum(column) for column in zip(*sums, strict=True))
        assert (s.succeeded, s.refused) == (done, refused)
        assert len(seen) == done
        assert (s.queued, s.outside, s.running) == (0, 0, 0)
    assert highest <= most
    if on_full == "wait":
        assert (done, refused) == (8 * 125, 0)


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "3"])
def test_nonsense_is_refused(value):
    with pytest.raises(InvalidError, match="max_backlog must be a whole number from 1 up"):
        App().function(max_backlog=value)


def test_on_full_is_one_of_two_and_goes_with_max_backlog():
    app = App()
    with pytest.raises(InvalidError, match="on_full must be 'raise' or 'wait'"):
        app.cls(max_backlog=1, on_full="drop")
    with pytest.raises(InvalidError, match=r"write @app\.function\(max_backlog=100"):
        app.function(on_full="wait")


def test_with_options_of_functions_and_classes():
    app, nap, _ = make_nap()

    @app.cls(max_containers=1)
    class Nap:
        @moorage.method()
        async def nap(self, seconds):
            await asyncio.sleep(seconds)

    functions = [nap.with_options(max_backlog=1), Nap.with_options(max_backlog=1)().nap]
    with VirtualClock() as clock, app.run(clock=clock):
        for function in functions:
            function.remote(0)
            function.spawn(5)
            function.spawn(5)
            with pytest.raises(ResourceExhaustedError):
                function.spawn(5)
