"""The turn of a virtual clock: who runs, who waits, and who loses the turn."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time

import pytest

import moorage
from moorage.exception import ClockStuckError
from moorage.runtime.clocks.asleep import LOOK_EVERY, LOOKS, Asleep
from moorage.runtime.clocks.turns import Gate, Turns
from moorage.testing import FakeContainer, VirtualClock

A, B, C = "A", "B", "C"


def turns_of(expected=None):
    contended = []
    return Turns({} if expected is None else expected, lambda: contended.append(1)), contended


def gate(opened, key, ident=0):
    return Gate(lambda: opened.append(key), ident, None)


# -- the leaf --------------------------------------------------------------------


def test_the_turn_goes_along_the_line_that_the_holder_makes():
    turns, contended = turns_of()
    turns.want(A)
    assert turns.holder == A
    assert turns.come(A)
    assert not contended
    turns.want(B)
    turns.want(C)
    turns.want(B)  # it has its place already
    assert contended
    assert [turns.waits(key) for key in (A, B, C)] == [False, True, True]
    turns.give_up(A)
    assert turns.holder == B
    turns.want(A)  # by a thread that has no turn: B's has not come
    assert turns.come(B)
    turns.give_up(B)
    assert turns.holder == C
    turns.give_up(C)
    assert turns.holder == A
    turns.give_up(A)
    assert turns.holder is None
    assert not turns.is_wanted


def test_who_was_woken_by_another_thread_comes_after_the_line():
    turns, _ = turns_of()
    turns.hold(A)
    other = threading.Thread(target=turns.want, args=(B,))
    other.start()
    other.join()
    turns.want(C)
    turns.give_up(A)
    assert turns.holder == C
    turns.give_up(C)
    assert turns.holder == B


def test_what_another_thread_put_in_line_the_holder_puts_forward():
    turns, _ = turns_of()
    turns.hold(A)
    for key in (B, C):
        other = threading.Thread(target=turns.want, args=(key,))
        other.start()
        other.join()
    turns.want(C)
    turns.give_up(A)
    assert turns.holder == C


def test_who_steps_back_goes_on_when_the_others_rest():
    turns, _ = turns_of()
    turns.hold(A)
    turns.want(B)
    turns.step_back(A)
    assert turns.holder == B
    assert turns.come(B)
    turns.want(C)
    turns.give_up(B)
    assert turns.holder == C
    turns.give_up(C)
    assert turns.holder == A


def test_expected_work_comes_last_in_its_order():
    expected = {}
    turns, _ = turns_of(expected)
    turns.hold(A)
    expected.update({1: "first", 2: "second"})
    turns.want(2)  # its thread is early
    turns.want(B)
    turns.give_up(A)
    assert turns.holder == B
    turns.give_up(B)
    assert turns.holder == 1
    del expected[1]
    turns.give_up(1)
    assert turns.holder == 2


def test_gates_open_when_the_turn_comes():
    turns, _ = turns_of()
    opened = []
    turns.hold(A)
    turns.want_at(A, gate(opened, A))
    turns.want_at(B, gate(opened, B, ident=7))
    assert opened == [A]
    turns.give_up(A)
    assert opened == [A, B]
    assert turns.thread == 7


def test_a_participant_that_is_replaced_keeps_the_turn_and_leaves_the_line():
    turns, _ = turns_of()
    turns.hold(A)
    turns.want(B)
    turns.hand_over(A, C)
    assert turns.holder == C
    turns.hand_over(B, A)
    assert not turns.is_wanted


def test_a_lent_turn_is_wanted_again():
    turns, _ = turns_of()
    turns.hold(A)
    turns.want(B)
    turns.lend()
    assert turns.holder == B
    turns.want(A)
    turns.give_up(B)
    assert turns.holder == A


# -- asleep or not ---------------------------------------------------------------


def gives_way(run, stop, switch=None):
    """Whether `Asleep` finds that a thread that runs `run` gives way, within 2 x LOOKS looks."""
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=run)
    thread.start()
    if switch is not None:
        sys.setswitchinterval(switch)
    try:
        asleep = Asleep()
        for _ in range(2 * LOOKS):
            if asleep.gives_way(1, thread.ident):
                return True
            time.sleep(LOOK_EVERY)
        return False
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()


def test_a_thread_in_a_real_wait_gives_way():
    stop = threading.Event()
    assert gives_way(lambda: stop.wait(30), stop)


def test_a_thread_that_computes_does_not():
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(100))

    assert not gives_way(compute, stop)
    stop.clear()
    assert not gives_way(compute, stop, switch=0.001)


def test_a_thread_that_computes_beside_others_does_not():
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(100))

    others = [threading.Thread(target=compute) for _ in range(3)]
    for other in others:
        other.start()
    assert not gives_way(compute, stop)  # it waits for the interpreter most of the time
    for other in others:
        other.join()


@pytest.mark.skipif(sys.platform != "linux", reason="only there the kernel tells")
@pytest.mark.parametrize(
    "nap", [lambda stop: time.sleep(0.001), lambda stop: stop.wait(0.001)], ids=["sleep", "wait"]
)
def test_a_thread_that_polls_gives_way(nap):
    stop = threading.Event()

    def poll():
        while not stop.is_set():
            nap(stop)

    assert gives_way(poll, stop)


def test_another_turn_is_looked_at_anew():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, args=(30,))
    thread.start()
    asleep = Asleep()
    seen = [asleep.gives_way(turn, thread.ident) for turn in range(2 * LOOKS)]
    stop.set()
    thread.join()
    assert not any(seen)


# -- in the clock ----------------------------------------------------------------


def test_one_participant_runs_at_a_time():
    app, clock, inside = moorage.App(), VirtualClock(), []

    def step():
        inside.append(1)
        assert len(inside) == 1
        sum(range(20_000))
        inside.pop()

    @app.function(max_containers=3)
    @moorage.concurrent(max_inputs=3)
    def sync(n):
        for _ in range(4):
            step()
            clock.sleep(n % 2)

    @app.function(max_containers=3)
    @moorage.concurrent(max_inputs=3)
    async def task(n):
        for _ in range(4):
            step()
            await asyncio.sleep(n % 2)
            await asyncio.to_thread(step)

    with clock, app.run():
        calls = [function.spawn(n) for n in range(9) for function in (sync, task)]
        for _ in range(3):
            step()
            clock.sleep(1)
        for call in calls:
            call.get()


def test_the_test_goes_on_until_it_waits():
    began = []
    with (
        VirtualClock() as clock,
        FakeContainer(lambda n: began.append(n), max_inputs=2) as container,
    ):
        calls = [container.submit(n) for n in range(2)]
        assert began == []
        clock.sleep(0)
        assert began == [0, 1]
        assert all(call.done() for call in calls)


def test_a_holder_that_waits_for_another_participant_lends_its_turn():
    heard = threading.Event()
    with VirtualClock() as clock, FakeContainer(heard.set) as container:
        call = container.submit()
        assert heard.wait(10)
        call.result()
        clock.sleep(5)
    assert clock.now() == 5


def test_a_holder_that_computes_for_long_keeps_its_turn():
    began = []
    with VirtualClock() as clock, FakeContainer(lambda n: began.append(n)) as container:
        container.submit(1)
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            sum(range(1000))
        assert began == []
        clock.sleep(0)
    assert began == [1]


@pytest.mark.parametrize(
    "look", [lambda: time.sleep(0.001), lambda: None], ids=["with naps", "without rest"]
)
def test_a_test_that_looks_again_and_again_sees_the_others_go_on(look):
    done = []

    async def work(x):
        done.append(x)

    with VirtualClock(stuck_after=2), FakeContainer(work) as container:
        waits = container.submit(1)
        while not done:  # a test should wait instead: container.wait_idle()
            look()
        assert waits.result() is None


def test_a_loop_that_was_lent_out_comes_back_in_its_turn():
    app, clock, heard, steps = moorage.App(), VirtualClock(), threading.Event(), []

    @app.function()
    def hear():
        steps.append("heard")
        heard.set()
        clock.sleep(1)
        steps.append("slept")

    async def main():
        async with app.run():
            call = await hear.spawn.aio()
            assert heard.wait(10)  # blocks the loop
            await asyncio.sleep(0.5)
            steps.append("main")
            await call.get.aio()

    clock.run(main())
    assert steps == ["heard", "main", "slept"]


def test_a_holder_that_never_rests_is_named_to_those_in_line():
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            sum(range(100))

    with VirtualClock(stuck_after=0.3), FakeContainer(spin) as container:
        call = container.submit()
        with pytest.raises(ClockStuckError, match=r"a worker of moorage-spin-1 \(in .*spin \("):
            call.result()
        stop.set()
        call.result()


def test_a_result_that_waits_in_line_behind_a_spinning_holder_is_given():
    app, clock, stop = moorage.App(), VirtualClock(stuck_after=0.3), threading.Event()

    @app.function()
    @moorage.concurrent(max_inputs=2)
    def both(n):
        while n and not stop.is_set():
            sum(range(100))

    with clock, app.run():
        quick, slow = both.spawn(0), both.spawn(1)
        assert quick.get() is None
        with pytest.raises(ClockStuckError, match="a worker of moorage-both-1"):
            slow.get()
        stop.set()
        slow.get()


def test_a_thread_that_enters_waits_for_its_turn():
    steps = []
    with VirtualClock() as clock:

        def other():
            with clock:
                steps.append("other")
                clock.sleep(1)
                steps.append("other again")

        thread = threading.Thread(target=other)
        thread.start()
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            sum(range(1000))
        steps.append("main")
        clock.sleep(0)
        steps.append("main again")
        clock.sleep(2)
        thread.join()
    assert steps == ["main", "other", "main again", "other again"]


def test_records_of_the_clocks_thread_have_their_place():
    logger, clock, seen = logging.getLogger("moorage"), VirtualClock(), []

    class Handler(logging.Handler):
        def emit(self, record):
            sum(range(100_000))
            seen.append(record.getMessage())

    handler = Handler()
    logger.addHandler(handler)
    from moorage.runtime.background import log

    try:
        with clock:
            for n in range(3):
                clock.call_at(n, lambda n=n: log(logger, logging.WARNING, "record %d", n))
            clock.sleep(1)
            seen.append("main")
            clock.sleep(5)
    finally:
        logger.removeHandler(handler)
    assert seen == ["record 0", "record 1", "main", "record 2"]


def test_tasks_of_a_clocks_loop_are_numbered():
    async def main():
        tasks = [asyncio.ensure_future(asyncio.sleep(1)) for _ in range(3)]
        numbers = [hash(task) for task in tasks]
        assert numbers == sorted(numbers)
        assert [task.get_name() for task in tasks] == [f"Task-{number}" for number in numbers]
        named = asyncio.create_task(asyncio.sleep(0), name="mine")
        assert named.get_name() == "mine"
        assert asyncio.get_running_loop().get_task_factory() is None
        await asyncio.gather(*tasks, named)
        return numbers

    assert VirtualClock().run(main()) == VirtualClock().run(main())


def test_a_task_factory_of_the_users_is_used():
    made = []

    def factory(loop, coroutine, **options):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        await asyncio.create_task(asyncio.sleep(0))

    VirtualClock().run(main())
    assert made[0].__name__ == "sleep"
