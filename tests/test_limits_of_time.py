"""The three clocks: how long an input may wait and run, and a container may start."""

import asyncio
import gc
import threading
import warnings

import pytest

import moorage
from moorage import App, Retries
from moorage.exception import (
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    QueueTimeoutError,
)
from moorage.exception import TimeoutError as ModalTimeoutError
from moorage.runtime.clocks.virtual_clock import VirtualClock

# -- waiting in the queue ------------------------------------------------------------------


def make_nap(**options):
    app = App()
    ran = []

    @app.function(max_containers=1, **options)
    async def nap(seconds):
        ran.append(seconds)
        await asyncio.sleep(seconds)
        return seconds

    return app, nap, ran


def test_an_input_that_gets_no_slot_in_time_fails_and_never_runs():
    app, nap, ran = make_nap(queue_timeout=2.5)
    with VirtualClock() as clock, app.run(clock=clock):
        first = nap.spawn(10)
        clock.sleep(1.0)
        with pytest.raises(QueueTimeoutError, match=r"queue_timeout of 2\.5 s") as caught:
            nap.remote(1)
        assert isinstance(caught.value, ModalTimeoutError)
        assert clock.now() == 3.5
        assert first.get() == 10
        statistics = nap.statistics()
        assert (statistics.accepted, statistics.failed, statistics.queued) == (2, 1, 0)
    assert ran == [10]


def test_each_waits_from_its_own_arrival_and_cancelled_ones_between_are_passed_over():
    app, nap, ran = make_nap(queue_timeout=5)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.spawn(100)
        ends = []
        calls = []
        for _ in range(6):
            clock.sleep(1.0)
            calls.append(nap.spawn(1))
        for index in (0, 2, 3):
            calls[index].cancel()
        for index in (1, 4, 5):
            with pytest.raises(QueueTimeoutError):
                calls[index].get()
            ends.append(clock.now())
        assert ends == [7.0, 10.0, 11.0]
    assert ran == [100]


def test_a_slot_that_comes_in_time_is_taken_and_another_at_the_very_moment_has_one_outcome():
    app, nap, ran = make_nap(queue_timeout=3)
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nap.spawn(2) for _ in range(3)]  # slots at 0, 2, and 4: too late
        at_the_moment = [nap.spawn(0) for _ in range(2)]
        assert [call.get() for call in calls[:2]] == [2, 2]
        for call in [calls[2], *at_the_moment]:
            with pytest.raises(QueueTimeoutError):
                call.get()
        assert nap.remote(0) == 0
        # Its slot comes at the moment at which its time is over.
        first, second = nap.spawn(3), nap.spawn(9)
        first.get()
        try:
            assert second.get() == 9
        except QueueTimeoutError:
            assert ran.count(9) == 0
        statistics = nap.statistics()
        assert statistics.accepted == statistics.succeeded + statistics.failed
        assert statistics.succeeded == len(ran)


def test_an_input_that_is_tried_again_waits_anew_and_shows_how_it_failed_before():
    app = App()
    tries = []

    @app.function(
        max_containers=1, queue_timeout=4, retries=Retries(max_retries=2, initial_delay=1.0)
    )
    async def flaky(value, seconds):
        tries.append(value)
        await asyncio.sleep(seconds)
        raise LookupError(f"{value} at try {tries.count(value)}")

    with VirtualClock() as clock, app.run(clock=clock):
        first = flaky.spawn("a", 1.0)
        clock.sleep(0.5)
        flaky.spawn("b", 30.0)
        with pytest.raises(QueueTimeoutError) as caught:
            first.get()
        # Failed at 1, queued anew at 2.
        assert clock.now() == 6.0
        assert caught.value.__notes__ == ["attempt 1 of 2 failed: LookupError('a at try 1')"]
        assert flaky.statistics().waiting == 0
    assert tries == ["a", "b"]


def test_ten_thousand_wait_and_fail_at_their_time():
    app, nap, ran = make_nap(queue_timeout=5)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.spawn(100)
        clock.sleep(1.0)
        early = nap.experimental_spawn_map([1] * 5_000)
        clock.sleep(1.0)
        late = nap.experimental_spawn_map([1] * 5_000)
        clock.sleep(3.9)
        assert nap.statistics().queued == 10_000
        clock.sleep(0.2)
        assert nap.statistics().queued == 5_000
        clock.sleep(1.0)
        assert (nap.statistics().queued, nap.statistics().failed) == (0, 10_000)
        for call in (early, late):
            errors = []
            for index in (0, 4_999):
                with pytest.raises(QueueTimeoutError) as caught:
                    call.get(index=index)
                errors.append(caught.value)
            assert errors[0] is not errors[1], "each caller raises its own"
    assert ran == [100]


def test_it_fires_while_the_containers_loop_is_blocked():
    app = App()
    blocked, go_on = threading.Event(), threading.Event()

    @app.function(max_containers=1, queue_timeout=1)
    async def block():
        blocked.set()
        go_on.wait(30)

    with app.run():
        first = block.spawn()
        assert blocked.wait(10)
        with pytest.raises(QueueTimeoutError):
            block.remote()
        go_on.set()
        first.get()


def test_inputs_fail_that_wait_for_a_container_to_start():
    app = App()

    @app.cls(queue_timeout=2)
    class Slow:
        @moorage.enter()
        async def load(self):
            await asyncio.sleep(5)

        @moorage.method()
        async def one(self):
            return 1

    with VirtualClock() as clock, app.run(clock=clock):
        one = Slow().one
        with pytest.raises(QueueTimeoutError):
            one.remote()
        assert clock.now() == 2.0
        clock.sleep(2.0)
        assert one.remote() == 1
        assert clock.now() == 5.0


def test_a_map_shows_them_in_their_place():
    app, nap, _ = make_nap(queue_timeout=2.5)
    with VirtualClock() as clock, app.run(clock=clock):
        results = list(nap.map([1, 1, 1, 1], return_exceptions=True))
    assert results[:3] == [1, 1, 1]
    assert isinstance(results[3], QueueTimeoutError)


def test_with_options_sets_it():
    app, nap, _ = make_nap()
    quick = nap.with_options(queue_timeout=1)
    with VirtualClock() as clock, app.run(clock=clock):
        quick.spawn(10)
        with pytest.raises(QueueTimeoutError):
            quick.remote(1)
        assert nap.remote(0) == 0


@pytest.mark.parametrize("value", [0, -1, True, "3", float("nan")])
@pytest.mark.parametrize("strict", [False, True])
def test_numbers_that_make_no_sense_are_refused_also_in_strict_mode(value, strict, monkeypatch):
    monkeypatch.setattr(moorage.config, "strict", strict)
    app = App()
    with pytest.raises(InvalidError, match="queue_timeout must be a number above 0"):
        app.function(queue_timeout=value)
    with pytest.raises(InvalidError, match="queue_timeout must be a number above 0"):
        app.cls(queue_timeout=value)


# -- starting ------------------------------------------------------------------------------


def make_slow(clock, seconds, *, kind="async", **options):
    """A class whose first container takes so long to start, and what its hooks did."""
    app = App()
    seen = []

    class Base:
        @moorage.exit()
        def leave(self):
            seen.append("exit")

        @moorage.method()
        async def one(self):
            return 1

    if kind == "async":

        class Slow(Base):
            @moorage.enter()
            async def load(self):
                seen.append("enter")
                await asyncio.sleep(seconds if seen.count("enter") == 1 else 0)
                seen.append("entered")
    else:

        class Slow(Base):
            @moorage.enter()
            def load(self):
                seen.append("enter")
                if seen.count("enter") == 1:
                    clock.sleep(seconds)
                seen.append("entered")

    return app, app.cls(**options)(Slow), seen


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_container_that_starts_too_slowly_is_given_up(kind, caplog):
    with VirtualClock() as clock:
        app, slow, seen = make_slow(clock, 10, kind=kind, startup_timeout=3, max_containers=1)
        with app.run(clock=clock):
            one = slow().one
            with pytest.raises(FunctionTimeoutError, match="startup_timeout of 3 s"):
                one.remote()
            assert clock.now() == 3.0
            assert not caplog.text, "its callers know"
            # It does not count against max_containers=1.
            assert one.remote() == 1
            assert clock.now() == 3.0
            clock.sleep(10.0)
            ended = ["enter", "enter", "entered"]
            assert seen == (ended if kind == "async" else [*ended, "entered", "exit"])
            assert len(one.statistics().containers) == 1
        assert seen.count("exit") == seen.count("entered")


def test_the_room_of_one_that_was_given_up_is_free():
    with VirtualClock() as clock:
        app, slow, seen = make_slow(clock, 50, kind="sync", startup_timeout=3, max_containers=1)
        with app.run(clock=clock):
            before = moorage.runtime.pools.capacity.process_capacity.statistics().containers
            with pytest.raises(FunctionTimeoutError):
                slow().one.remote()
            assert moorage.runtime.pools.capacity.process_capacity.statistics().containers == before
            clock.sleep(100.0)
            assert seen == ["enter", "entered", "exit"]
            assert moorage.runtime.pools.capacity.process_capacity.statistics().containers == before


def test_inputs_wait_on_if_another_container_can_serve_them(caplog):
    app = App()
    starts = []

    @app.cls(max_containers=2, startup_timeout=5)
    class Work:
        @moorage.enter()
        async def load(self):
            starts.append(1)
            await asyncio.sleep(0 if len(starts) == 1 else 100)

        @moorage.method()
        async def nap(self, seconds):
            await asyncio.sleep(seconds)
            return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        nap = Work().nap
        assert nap.remote(0) == 0
        assert list(nap.map([8, 9])) == [8, 9]
        assert clock.now() == 17.0
    assert "startup_timeout" in caplog.text


def test_starts_that_take_too_long_back_off():
    with VirtualClock() as clock:
        app = App()
        starts = []

        @app.cls(startup_timeout=1, min_containers=1)
        class Never:
            @moorage.enter()
            async def load(self):
                starts.append(clock.now())
                await asyncio.sleep(3600)

            @moorage.method()
            def one(self):
                return 1

        with app.run(clock=clock):
            clock.sleep(6.0)
    assert starts == pytest.approx([0.0, 1.0, 2.1, 3.3, 4.7])


def test_by_default_it_is_the_timeout():
    with VirtualClock() as clock:
        app, slow, _ = make_slow(clock, 1000, timeout=7)
        with app.run(clock=clock):
            with pytest.raises(FunctionTimeoutError, match="startup_timeout of 7 s"):
                slow().one.remote()
            assert clock.now() == 7.0
        app, slow, _ = make_slow(clock, 1000, timeout=0.1)
        with app.run(clock=clock), pytest.raises(FunctionTimeoutError, match="of 1 s"):
            slow().one.remote()


def test_a_hook_that_goes_on_after_its_cancel_is_stopped_with_its_exit_hooks():
    app = App()
    seen = []

    @app.cls(startup_timeout=1)
    class Stubborn:
        @moorage.enter()
        async def load(self):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                seen.append("cancelled")
                await asyncio.sleep(2)

        @moorage.enter()
        def more(self):
            seen.append("more")

        @moorage.exit()
        def leave(self):
            seen.append("exit")

        @moorage.method()
        def one(self):
            return 1

    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(FunctionTimeoutError):
            Stubborn().one.remote()
        assert clock.now() == 1.0
        clock.sleep(5.0)
        assert seen == ["cancelled", "more", "exit"]


def test_an_async_hook_after_a_slow_sync_one_is_not_begun():
    app = App()
    seen = []
    with VirtualClock() as clock:

        @app.cls(startup_timeout=1)
        class Two:
            @moorage.enter()
            def first(self):
                clock.sleep(3)
                seen.append("first")

            @moorage.enter()
            async def second(self):
                seen.append("second")

            @moorage.exit()
            def leave(self):
                seen.append("exit")

            @moorage.method()
            def one(self):
                return 1

        with warnings.catch_warnings(), app.run(clock=clock):
            warnings.simplefilter("error")
            with pytest.raises(FunctionTimeoutError):
                Two().one.remote()
            clock.sleep(5.0)
            gc.collect()
    assert seen == ["first"]


def test_leaving_names_the_enter_hook_that_still_runs(caplog):
    app = App()
    go_on = threading.Event()

    @app.cls(startup_timeout=1)
    class Stuck:
        @moorage.enter()
        def load(self):
            go_on.wait(30)

        @moorage.method()
        def one(self):
            return 1

    with app.run(grace=0.2), pytest.raises(FunctionTimeoutError):
        Stuck().one.remote()
    assert "was left while this still ran" in caplog.text
    assert "load" in caplog.text
    go_on.set()


# -- running: the caller is answered in time, whatever its code does -----------------------


def make_blocked(**options):
    """A container whose loop one input blocks, when it is told to, until it is let go."""
    app = App()
    blocked, go_on = threading.Event(), threading.Event()
    seen = []

    @app.cls(max_containers=1, **options)
    @moorage.concurrent(max_inputs=4)
    class Work:
        @moorage.method()
        async def block(self):
            blocked.set()
            go_on.wait(30)

        @moorage.method()
        async def sleep(self):
            seen.append("began")
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("ended")

        @moorage.method()
        async def items(self):
            yield 1
            await asyncio.Event().wait()

    return app, Work(), blocked, go_on, seen


@pytest.mark.parametrize("way", ["timeout", "cancel", "leaving"])
def test_a_blocked_loop_delays_no_answer(way, in_threads):
    app, work, blocked, go_on, seen = make_blocked(timeout=2 if way == "timeout" else 300)
    with app.run(grace=5):
        sleeper = work.sleep.spawn()
        stream = iter(work.items.remote_gen())
        assert next(stream) == 1
        blocker = work.block.spawn()
        assert blocked.wait(10)
        if way == "timeout":
            for get in (sleeper.get, lambda: next(stream), blocker.get):
                with pytest.raises(FunctionTimeoutError, match="timeout of 2 s"):
                    get()
        else:
            sleeper.cancel()
            with pytest.raises(InputCancelledError):
                sleeper.get()
        assert not go_on.is_set()
        s = work.sleep.statistics()
        assert s.running == 3, "the slots are held until the code has ended"
        assert s.abandoned == (3 if way == "timeout" else 1)
        assert s.accepted == s.running - s.abandoned + s.failed + s.cancelled
        if way == "leaving":

            def let_go():
                with pytest.raises(InputCancelledError, match="run was left"):
                    blocker.get()
                go_on.set()

            answered = in_threads(let_go)
        else:
            go_on.set()
    if way == "leaving":
        answered.result()
    assert seen == ["began", "ended"]


def make_lingering(clock, **options):
    app = App()
    seen = []

    @app.function(timeout=3, max_containers=1, **options)
    async def linger(seconds):
        seen.append(clock.now())
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(seconds)
            seen.append("cleaned")

    return app, linger, seen


def test_an_input_that_ends_promptly_is_answered_at_its_deadline():
    with VirtualClock() as clock:
        app, linger, seen = make_lingering(clock)
        with app.run(clock=clock):
            with pytest.raises(FunctionTimeoutError):
                linger.remote(0)
            assert clock.now() == 3.0
            assert seen == [0.0, "cleaned"]


def test_a_long_clean_up_keeps_the_slot_and_not_the_caller():
    with VirtualClock() as clock:
        app, linger, seen = make_lingering(clock)
        with app.run(clock=clock):
            first = linger.spawn(1)
            second = linger.spawn(0)
            with pytest.raises(FunctionTimeoutError):
                first.get()
            assert clock.now() == pytest.approx(3.1)
            s = linger.statistics()
            assert (s.running, s.abandoned, s.queued, s.failed) == (1, 1, 1, 1)
            with pytest.raises(FunctionTimeoutError):
                second.get()
            assert seen == [0.0, "cleaned", 4.0, "cleaned"]
            assert clock.now() == 7.0
            s = linger.statistics()
            assert (s.running, s.abandoned, s.failed) == (0, 0, 2)


def test_a_retry_waits_for_the_end_of_the_attempt_that_ran_out_of_time():
    with VirtualClock() as clock:
        app, linger, seen = make_lingering(clock, retries=Retries(max_retries=1, initial_delay=1.0))
        with app.run(clock=clock):
            with pytest.raises(FunctionTimeoutError) as caught:
                linger.remote(10)
            assert seen == [0.0, "cleaned", 14.0]
            assert clock.now() == pytest.approx(17.1), "none follows the last"
            assert len(caught.value.__notes__) == 1
            clock.sleep(10)
            assert linger.statistics().running == 0


def test_an_attempt_that_does_not_end_for_long_is_not_tried_again():
    with VirtualClock() as clock:
        app, linger, seen = make_lingering(clock, retries=5)
        with app.run(clock=clock):
            with pytest.raises(FunctionTimeoutError):
                linger.remote(100)
            assert clock.now() == pytest.approx(33.0)
            s = linger.statistics()
            assert (s.running, s.abandoned, s.failed, s.waiting, s.retries) == (1, 1, 1, 0, 0)
            clock.sleep(100)
            assert seen == [0.0, "cleaned"]
            # Its container was given up meanwhile, and the pool had no other.
            assert linger.statistics().containers == ()


@pytest.mark.parametrize("kind", ["def", "async def", "generator", "async generator"])
def test_ten_thousand_in_flight_run_out_at_their_time(kind):
    """Of each kind; with threads, as many as a container has."""
    app = App()
    count = 10_000 if kind.startswith("async") else 40
    with VirtualClock() as clock:
        park, forever = moorage.runtime.clocks.parking.park, clock.make_waiter

        def work():
            park(clock, forever())

        async def work_async():
            await asyncio.sleep(3600)

        def items():
            yield 1
            park(clock, forever())

        async def items_async():
            yield 1
            await asyncio.sleep(3600)

        body = {
            "def": work,
            "async def": work_async,
            "generator": items,
            "async generator": items_async,
        }[kind]
        function = app.function(max_containers=1, timeout=30)(
            moorage.concurrent(max_inputs=count)(body)
        )
        with app.run(clock=clock):
            if "generator" in kind:
                streams = []
                for _ in range(count):
                    streams.append(iter(function.remote_gen()))
                    assert next(streams[-1]) == 1
                ends = [lambda stream=stream: next(stream) for stream in streams]
            else:
                ends = [function.spawn().get for _ in range(count)]
            clock.sleep(29.0)
            assert function.statistics().running == count
            for end in ends:
                with pytest.raises(FunctionTimeoutError):
                    end()
            assert 30.0 <= clock.now() <= 30.2
            s = function.statistics()
            assert s.failed == count
