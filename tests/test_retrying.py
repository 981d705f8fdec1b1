"""Retries: the same input is tried again, after a pause that holds no slot."""

import asyncio

import pytest

import moorage
from moorage import App, Retries
from moorage.exception import FunctionTimeoutError, InputCancelledError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.context import current_input


def make_flaky(failures, **options):
    """A function that fails so many times per value, and what it saw."""
    app = App()
    seen = []

    @app.function(**options)
    @moorage.concurrent(max_inputs=4)
    async def flaky(value):
        tries = [v for v, *_ in seen].count(value)
        ids = (moorage.current_input_id(), moorage.current_function_call_id())
        seen.append((value, *ids))
        if tries < failures:
            raise LookupError(f"try {tries + 1} of {value}")
        return value

    return app, flaky, seen


def test_an_input_is_tried_again_with_the_same_ids():
    app, flaky, seen = make_flaky(2, retries=2)
    with VirtualClock() as clock, app.run(clock=clock):
        assert flaky.remote(7) == 7
        assert clock.now() == 2.0, "an int means that many, 1 s apart"
        statistics = flaky.statistics()
        assert (statistics.accepted, statistics.succeeded, statistics.retries) == (1, 1, 2)
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_the_last_error_arrives_with_the_earlier_ones_as_notes():
    app, flaky, _ = make_flaky(9, retries=2)
    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(LookupError, match="try 3 of 1") as caught:
            flaky.remote(1)
        assert caught.value.__notes__ == [
            "attempt 1 of 3 failed: LookupError('try 1 of 1')",
            "attempt 2 of 3 failed: LookupError('try 2 of 1')",
        ]
        statistics = flaky.statistics()
        assert (statistics.failed, statistics.waiting, statistics.retries) == (1, 0, 2)


def test_pauses_follow_the_policy():
    policy = Retries(max_retries=4, initial_delay=2.0, backoff_coefficient=3.0, max_delay=10.0)
    app, flaky, _ = make_flaky(4, retries=policy)
    with VirtualClock() as clock, app.run(clock=clock):
        assert flaky.remote(1) == 1
        assert clock.now() == 2 + 6 + 10 + 10


def test_a_pause_holds_no_slot_and_no_caller_is_overtaken_by_its_own():
    app = App()
    order = []

    @app.function(retries=Retries(max_retries=1, initial_delay=5.0), max_containers=1)
    def work(value):
        order.append(value)
        if value == 1 and order.count(1) == 1:
            raise LookupError
        return value

    with VirtualClock() as clock, app.run(clock=clock):
        assert list(work.map([1, 2, 3])) == [1, 2, 3]
        assert clock.now() == 5.0
    assert order == [1, 2, 3, 1]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_all_ways_to_call_are_tried_again(way, run_async):
    app = App()
    tries = {}

    def fail_once(value):
        tries[value] = tries.get(value, 0) + 1
        if tries[value] == 1:
            raise LookupError(value)
        return value

    if way == "async":

        async def body(value):
            return fail_once(value)
    else:
        body = fail_once
    work = app.function(retries=Retries(max_retries=1, initial_delay=0.0))(body)
    with app.run():
        assert work.remote(1) == 1
        assert run_async(lambda: work.remote.aio(2)) == 2
        assert work.spawn(3).get() == 3
        assert sorted(work.map(range(4, 100), order_outputs=False)) == list(range(4, 100))
        work.for_each([200])
        assert list(work.experimental_spawn_map([300, 301]).iter()) == [300, 301]
        statistics = work.statistics()
        assert statistics.retries == len(tries) == statistics.succeeded
        assert set(tries.values()) == {2}


def test_a_cancelled_input_is_not_tried_again():
    app, flaky, seen = make_flaky(9, retries=3)
    with VirtualClock() as clock, app.run(clock=clock):
        call = flaky.spawn(1)
        clock.sleep(1.5)
        assert len(seen) == 2
        assert flaky.statistics().waiting == 1
        call.cancel()
        statistics = flaky.statistics()
        assert (statistics.waiting, statistics.cancelled) == (0, 1)
        with pytest.raises(InputCancelledError):
            call.get()
        clock.sleep(10.0)
    assert len(seen) == 2


def test_leaving_the_run_cancels_what_waits_for_its_next_attempt():
    app, flaky, seen = make_flaky(9, retries=3)
    with VirtualClock() as clock:
        with app.run(clock=clock):
            call = flaky.spawn(1)
            clock.sleep(0.5)
        with pytest.raises(InputCancelledError, match="run was left"):
            call.get()
    assert len(seen) == 1


def test_dropping_a_map_cancels_what_waits():
    app, flaky, seen = make_flaky(9, retries=3)
    with VirtualClock() as clock, app.run(clock=clock):
        results = flaky.map([1, 2, 3], return_exceptions=True)
        call = flaky.spawn(4)
        clock.sleep(0.5)
        results.close()
        call.cancel()
        clock.sleep(10.0)
        assert flaky.statistics() is None or flaky.statistics().waiting == 0
    assert len(seen) == 1


def make_slow():
    app = App()
    tries = []

    @app.function(retries=1, timeout=3)
    async def slow(seconds, lingers=0.0):
        tries.append(seconds)
        try:
            await asyncio.sleep(seconds if len(tries) == 1 else 0.0)
        finally:
            await asyncio.sleep(lingers)
        return "done"

    return app, slow, tries


def test_an_async_input_that_ran_out_of_time_is_tried_again():
    app, slow, tries = make_slow()
    with VirtualClock() as clock, app.run(clock=clock):
        assert slow.remote(10.0) == "done"
        assert clock.now() == 4.0
    assert len(tries) == 2


def test_an_input_cancelled_on_its_way_out_of_a_timeout_is_not_tried_again():
    app, slow, tries = make_slow()
    with VirtualClock() as clock, app.run(clock=clock):
        call = slow.spawn(10.0, lingers=5.0)
        clock.sleep(4.0)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        clock.sleep(10.0)
    assert len(tries) == 1


def test_a_sync_input_that_ran_out_of_time_is_not_tried_again():
    # It is answered at once, while its thread still runs.
    app = App()
    tries = []

    @app.function(retries=1, timeout=3)
    def slow(clock):
        tries.append(clock.now())
        clock.sleep(10.0)

    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(FunctionTimeoutError):
            slow.remote(clock)
        clock.sleep(30.0)
    assert tries == [0.0]


def test_a_call_that_waits_is_found_by_its_id_and_counted_as_pending():
    app, flaky, _ = make_flaky(1, retries=1)
    with VirtualClock() as clock, app.run(clock=clock):
        call = flaky.spawn(1)
        clock.sleep(0.5)
        assert moorage.FunctionCall.from_id(call.object_id) is call
        assert call.get_call_graph()[0].status.name == "PENDING"
        assert "waiting" in repr(call)
        assert call.get() == 1


def test_methods_are_tried_again_on_any_container():
    app = App()
    seen = []

    @app.cls(retries=2)
    class Work:
        @moorage.method()
        def work(self):
            seen.append(id(self))
            if len(seen) < 3:
                raise OSError("not yet")
            return "done"

        @moorage.method()
        def items(self):
            yield 1
            raise OSError("generators are not tried again")

    with VirtualClock() as clock, app.run(clock=clock):
        assert Work().work.remote() == "done"
        stream = Work().items.remote_gen()
        assert next(iter(stream)) == 1
        with pytest.raises(OSError, match="not tried again"):
            list(stream)


def test_many_at_once_under_frantic_switching(often_switching):
    app = App()
    tries = {}

    @app.function(retries=Retries(max_retries=3, initial_delay=0.0))
    @moorage.concurrent(max_inputs=8)
    def work(value):
        tries[value] = tries.get(value, 0) + 1
        if tries[value] <= value % 4:
            raise LookupError(value)
        return value

    with app.run():
        assert list(work.map(range(400))) == list(range(400))
        s = work.statistics()
        assert s.retries == sum(value % 4 for value in range(400))
        assert (s.waiting, s.queued, s.running, s.succeeded) == (0, 0, 0, 400)
    assert tries == {value: value % 4 + 1 for value in range(400)}


def test_a_late_cancel_of_one_attempt_does_not_reach_the_next():
    """An attempt runs out of time, and ends by itself before its cancel comes to its loop."""
    app = App()
    on_their_way = []

    @app.function(retries=Retries(max_retries=1, initial_delay=0))
    async def attempt():
        input = current_input()
        if not on_their_way:
            on_their_way.append(input.container.cancel(input))  # as the pool does it
            raise ValueError("the first")
        on_their_way[0]()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "the second"

    with app.run():
        assert attempt.remote() == "the second"
