"""The sequencer: steps across threads and tasks, in both kinds of time, and what never comes."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

import moorage
from moorage.exception import ClockStuckError, InputCancelledError, InvalidError, SequenceError
from moorage.testing import Sequencer, VirtualClock


def test_steps_in_threads_come_in_order(in_threads):
    seq, order = Sequencer(), []

    def take(number):
        with seq(number):
            order.append(number)

    futures = [in_threads(take, number) for number in (4, 2, 3, 0, 1)]
    for future in futures:
        future.result()
    assert order == [0, 1, 2, 3, 4]
    assert repr(seq) == "<Sequencer: done: 0, 1, 2, 3, 4; step 5 has not come; waiting: none>"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_steps_in_tasks_and_a_thread(backend, in_threads):
    seq, order = Sequencer(), []

    def in_a_thread():
        with seq(1):
            order.append("thread")

    async def take(number):
        async with seq(number):
            await anyio.sleep(0)
            order.append(number)

    async def main():
        future = in_threads(in_a_thread)
        async with anyio.create_task_group() as group:
            for number in (3, 2, 0):
                group.start_soon(take, number)
        await anyio.to_thread.run_sync(future.result)

    anyio.run(main, backend=backend)
    assert order == [0, "thread", 2, 3]


def test_time_passes_while_steps_wait_in_virtual_time():
    app, clock, seq, order = moorage.App(), VirtualClock(), Sequencer(), []

    @app.function()
    @moorage.concurrent(max_inputs=4)
    def sync(number, seconds):
        with seq(number):
            clock.sleep(seconds)
            order.append((number, clock.now()))

    @app.function()
    @moorage.concurrent(max_inputs=4)
    async def asynchronous(number, seconds):
        async with seq(number):
            await asyncio.sleep(seconds)
            order.append((number, clock.now()))

    with app.run(clock=clock):
        calls = [sync.spawn(3, 1), asynchronous.spawn(2, 10), sync.spawn(1, 60), sync.spawn(4, 1)]
        with seq(0):
            clock.sleep(30)
        for call in calls:
            call.get()
    assert order == [(1, 90), (2, 100), (3, 101), (4, 102)]


def test_a_step_whose_turn_cannot_come_is_found_in_virtual_time():
    seq = Sequencer()
    with VirtualClock(stuck_after=0.05):
        with seq(0):
            pass
        with pytest.raises(ClockStuckError) as caught:
            seq(2).__enter__()
    assert (
        "MainThread waits for its turn at step 2 (done: 0; step 1 has not come; waiting: 2)"
        in str(caught.value)
    )


def test_a_step_whose_turn_does_not_come_in_real_time(in_threads):
    seq = Sequencer(limit=0.05)
    message = r"step 2 did not get its turn .*\(done: none; step 0 has not come; waiting: 2\)"
    with pytest.raises(SequenceError, match=message):
        seq(2).__enter__()

    async def main():
        async with seq(1):
            raise AssertionError("it never comes")

    with pytest.raises(
        SequenceError, match=r"step 1 did not get its turn within 0\.05 real seconds"
    ):
        asyncio.run(main())
    with seq(0):  # those before go on
        pass
    with pytest.raises(SequenceError, match="step 3 cannot come, because step 1 never got its"):
        seq(3).__enter__()


@pytest.mark.parametrize("virtual", [False, True])
def test_steps_after_one_that_raised_never_come(virtual, in_threads):
    clock, seq = VirtualClock(), Sequencer()

    def take():
        if virtual:
            with clock.participate("other"), seq(2):
                pass
        else:
            with seq(2):
                pass

    with clock:
        future = in_threads(take)
        while "waiting: 2" not in repr(seq):
            clock.sleep(1)
        with pytest.raises(KeyError), seq(0):
            raise KeyError
        with pytest.raises(
            SequenceError, match=r"step 2 cannot come, because step 0 raised KeyError"
        ):
            future.result()
        with pytest.raises(
            SequenceError, match=r"step 1 cannot come, because step 0 raised KeyError"
        ):
            seq(1).__enter__()


def test_a_cancelled_input_leaves_its_wait_and_breaks_what_comes_after():
    app, clock, seq = moorage.App(), VirtualClock(), Sequencer()

    @app.function()
    @moorage.concurrent(max_inputs=4)
    def sync(number):
        with seq(number):
            return number

    @app.function()
    @moorage.concurrent(max_inputs=4)
    async def asynchronous(number):
        async with seq(number):
            return number

    with app.run(clock=clock):
        cancelled, later, first = sync.spawn(3), asynchronous.spawn(4), asynchronous.spawn(1)
        clock.sleep(1)
        cancelled.cancel()
        with pytest.raises(InputCancelledError):
            cancelled.get()
        with pytest.raises(SequenceError, match="step 3 ended its wait with InputCancellation"):
            later.get()
        with seq(0):
            pass
        assert first.get() == 1
        assert clock.now() == 1
        with seq(2):
            pass


def test_a_timed_out_task_leaves_its_wait():
    clock, seq = VirtualClock(), Sequencer()

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(5), seq(1):
                raise AssertionError("it never comes")
        assert clock.now() == 5
        async with seq(0):
            pass
        with pytest.raises(
            SequenceError, match="step 2 cannot come, because step 1 ended its wait"
        ):
            await seq(2).__aenter__()

    clock.run(main())


def test_each_number_is_taken_once(in_threads):
    seq, entered, leave = Sequencer(), threading.Event(), threading.Event()

    def first():
        with seq(0):
            entered.set()
            assert leave.wait(30)

    future = in_threads(first)
    assert entered.wait(30)
    with pytest.raises(SequenceError, match=r"step 0 was taken before \(.*step 0 is under way"):
        seq(0).__enter__()
    leave.set()
    future.result()
    with pytest.raises(SequenceError, match="step 0 was taken before"):
        seq(0).__enter__()
    with seq(1):
        pass


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", True, None])
def test_numbers_are_checked(wrong):
    with pytest.raises(InvalidError, match=r"write sequencer\(0\)"):
        Sequencer()(wrong)


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), "1", True])
def test_limits_are_checked(wrong):
    with pytest.raises(InvalidError, match=r"write Sequencer\(limit=10\)"):
        Sequencer(limit=wrong)
