"""Cancelling synchronous and asynchronous inputs: rungs, shields, neighbours, stuck threads."""

import asyncio
import logging
import threading
import time

import pytest

import moorage
from moorage import App, config
from moorage.exception import (
    FunctionTimeoutError,
    InputCancellation,
    InputCancelledError,
    InvalidArgumentsError,
    InvalidError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.guards.cells import Cell
from moorage.runtime.pools.capacity import process_capacity
from onlooker import Notes


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(config, "cancel_grace", 0.01)


def test_a_thread_that_computes_is_struck_and_its_neighbours_are_not(onlooker):
    app = App()
    began = threading.Semaphore(0)
    go_on = threading.Event()
    ended = []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def work(spins):
        try:
            began.release()
            while True:  # CPython 3.13 skips the handlers around other loops
                if not spins and go_on.is_set():
                    return "unharmed"
                sum(range(100))
        except BaseException as error:
            ended.append(type(error))
            raise

    with app.run(probe=onlooker):
        victim, neighbour = work.spawn(True), work.spawn(False)
        assert began.acquire(timeout=30)
        assert began.acquire(timeout=30)
        victim.cancel()
        with pytest.raises(InputCancelledError):
            victim.get()
        onlooker.wait_until(lambda: work.statistics().running == 1)
        go_on.set()
        assert neighbour.get() == "unharmed"
        assert work.statistics().containers_started == 1
    assert ended == [InputCancellation]


def test_an_input_out_of_time_is_struck_too(onlooker):
    app = App()
    ended = Notes(onlooker)

    @app.function(timeout=1)  # long enough for its code to have begun
    def work():
        try:
            while True:
                sum(range(100))
        except BaseException as error:
            ended.append(type(error))
            raise

    with app.run(probe=onlooker):
        with pytest.raises(FunctionTimeoutError):
            work.remote()
        onlooker.wait_until(lambda: ended)
        onlooker.wait_until(lambda: not work.statistics().running)
    assert ended == [InputCancellation]


def test_a_cooperative_input_is_not_struck_and_ends_where_it_asks(onlooker):
    app = App()
    began, cancelled = threading.Event(), threading.Event()
    steps = []

    @app.function()
    @moorage.cooperative
    def work():
        began.set()
        assert cancelled.wait(30)
        until = time.monotonic() + 10 * config.cancel_grace
        while time.monotonic() < until:
            sum(range(100))
        steps.append("not struck")
        moorage.check_cancelled()
        steps.append("not reached")

    with app.run(probe=onlooker):
        call = work.spawn()
        assert began.wait(30)
        call.cancel()
        cancelled.set()
        onlooker.wait_until(lambda: not work.statistics().running)
    assert steps == ["not struck"]


def test_a_method_may_be_cooperative():
    app = App()

    @app.cls()
    class Model:
        @moorage.cooperative
        @moorage.method()
        def above(self): ...

        @moorage.method()
        @moorage.cooperative
        def below(self): ...

        @moorage.method()
        @moorage.cooperative()
        def with_parentheses(self): ...

        @moorage.method()
        def neither(self): ...

    model = Model()
    assert model.above._target.is_cooperative
    assert model.below._target.is_cooperative
    assert model.with_parentheses._target.is_cooperative
    assert not model.neither._target.is_cooperative


def test_cooperative_refuses_what_it_cannot_mark():
    app = App()
    with pytest.raises(InvalidError, match=r"swap the two"):
        moorage.cooperative(app.function(name="f")(lambda: None))
    with pytest.raises(InvalidArgumentsError, match=r"write @moorage\.cooperative above a def"):
        moorage.cooperative(3)
    with pytest.raises(InvalidArgumentsError, match=r"write @moorage\.cooperative above a def"):
        moorage.cooperative(type("Model", (), {}))
    with pytest.raises(InvalidArgumentsError, match="write a def that calls it"):
        moorage.cooperative(len)
    with pytest.raises(InvalidArgumentsError, match=r"write `with moorage\.shield\(\):`"):
        moorage.cooperative(asyncio.sleep)


def test_a_shield_holds_the_strike_off_until_its_end(onlooker):
    app = App()
    began, cancelled = threading.Event(), threading.Event()
    steps = []

    @app.function()
    def work():
        with moorage.shield():
            with moorage.shield():
                began.set()
                assert cancelled.wait(30)
            until = time.monotonic() + 10 * config.cancel_grace
            while time.monotonic() < until:
                moorage.check_cancelled()
            steps.append("whole")
        steps.append("not reached")

    with app.run(probe=onlooker):
        call = work.spawn()
        assert began.wait(30)
        call.cancel()
        cancelled.set()
        onlooker.wait_until(lambda: not work.statistics().running)
    assert steps == ["whole"]


def test_a_shielded_wait_goes_on_to_its_end(onlooker):
    app = App()
    sits, go_on = threading.Event(), threading.Event()
    steps = []

    @app.function()
    def inner():
        sits.set()
        assert go_on.wait(30)
        return "whole"

    @app.function()
    def outer():
        with moorage.shield():
            steps.append(inner.remote())
        inner.remote()
        steps.append("not reached")

    with app.run(probe=onlooker):
        call = outer.spawn()
        assert sits.wait(30)
        call.cancel()
        go_on.set()
        onlooker.wait_until(lambda: not outer.statistics().running)
    assert steps == ["whole"]


def test_a_shield_in_an_async_input_holds_its_cancel_off():
    app = App()
    steps = []

    @app.function()
    async def work():
        try:
            with moorage.shield():
                await asyncio.sleep(5)
                steps.append("whole")
            await asyncio.sleep(1)
            steps.append("not reached")
        except asyncio.CancelledError:
            steps.append(clock.now())
            raise

    with VirtualClock() as clock, app.run(clock=clock):
        call = work.spawn()
        clock.sleep(1)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        assert clock.now() == 1.1  # its caller waits for its end for a tenth of a second
        clock.sleep(10)
    assert steps == ["whole", 5]


def test_a_shield_leaves_the_users_own_timeouts_alone():
    app = App()

    @app.function()
    async def work():
        with moorage.shield():
            try:
                async with asyncio.timeout(2):
                    await asyncio.sleep(100)
            except TimeoutError:
                return clock.now()

    with VirtualClock() as clock, app.run(clock=clock):
        assert work.remote() == 2


def test_outside_of_inputs_the_three_do_nothing():
    @moorage.cooperative
    def plain():
        moorage.check_cancelled()
        with moorage.shield():
            return 1

    assert plain() == 1


def test_check_cancelled_in_an_async_input_and_in_its_threads(onlooker):
    app = App()
    began, cancelled = threading.Event(), threading.Event()
    seen = Notes(onlooker)

    def in_a_thread():
        began.set()
        assert cancelled.wait(30)
        try:
            moorage.check_cancelled()
        except asyncio.CancelledError as error:
            seen.append(type(error))

    @app.function()
    async def work():
        try:
            await asyncio.to_thread(in_a_thread)
        finally:
            try:
                moorage.check_cancelled()
            except asyncio.CancelledError:
                seen.append("here too")

    with app.run(probe=onlooker):
        call = work.spawn()
        assert began.wait(30)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        cancelled.set()
        onlooker.wait_until(lambda: len(seen) == 2)
    assert set(seen) == {asyncio.CancelledError, "here too"}


def test_a_strike_that_comes_within_a_call_of_ours_is_raised_when_it_is_left(monkeypatch, onlooker):
    app = App()
    steps = []
    inside, cancelled = threading.Event(), threading.Event()

    @app.function()
    def other():
        return 1

    @app.function()
    def work():
        # An uninterruptible region that is no wait, and takes its time.
        submit = other._submit

        def slowly(*args):
            inside.set()
            assert cancelled.wait(30)
            return submit(*args)

        monkeypatch.setattr(other, "_submit", slowly)
        steps.append("before")
        other.spawn()
        steps.append("not reached")

    strike = Cell.strike

    def strike_and_tell(cell, input):
        strike(cell, input)
        onlooker.look()

    monkeypatch.setattr(Cell, "strike", strike_and_tell)
    with app.run(probe=onlooker):
        call = work.spawn()
        assert inside.wait(30)
        call.cancel()
        cell = call._inputs[0].runner.cell
        onlooker.wait_until(lambda: cell._due)  # the strike has come, and is held off
        cancelled.set()
        onlooker.wait_until(lambda: not work.statistics().running)
        onlooker.wait_until(lambda: other.statistics().succeeded == 1)
    assert steps == ["before"]


def test_without_a_grace_nothing_is_struck(monkeypatch, onlooker):
    monkeypatch.setattr(config, "cancel_grace", None)
    app = App()
    began, go_on = threading.Event(), threading.Event()
    ended = []

    @app.function()
    def work():
        began.set()
        while not go_on.is_set():
            sum(range(100))
        ended.append("by itself")

    with app.run(probe=onlooker):
        call = work.spawn()
        assert began.wait(30)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        assert work.statistics().abandoned == 1
        go_on.set()
        onlooker.wait_until(lambda: not work.statistics().running)
    assert ended == ["by itself"]


def test_the_next_input_on_the_thread_is_not_struck(monkeypatch):
    """1. cancelled, 2. it ends, 3. the thread takes another, 4. the grace is over."""
    app = App()
    began, go_on = threading.Event(), threading.Event()

    @app.function(max_containers=1)
    def work(first):
        if first:
            began.set()
            assert go_on.wait(30)
            return "late"
        until = time.monotonic() + 10 * config.cancel_grace
        while time.monotonic() < until:
            sum(range(100))
        return "unharmed"

    monkeypatch.setattr(config, "cancel_grace", 0.05)
    with app.run():
        first, second = work.spawn(True), work.spawn(False)
        assert began.wait(30)
        first.cancel()
        go_on.set()
        assert second.get() == "unharmed"


# -- inputs that do not end ---------------------------------------------------------------


def stubborn_app(clock, *, max_inputs, max_containers):
    """Inputs that last for so many seconds whatever comes; a virtual sleep is like C code."""
    app = App()
    exits = []

    @app.cls(max_containers=max_containers, timeout=1000)
    @moorage.concurrent(max_inputs=max_inputs)
    class Worker:
        @moorage.enter()
        def enter(self):
            self.number = len(entered)
            entered.append(self.number)

        @moorage.method()
        def work(self, seconds):
            clock.sleep(seconds)
            return self.number

        @moorage.exit()
        def exit(self):
            exits.append(self.number)

    entered = []
    return app, Worker, entered, exits


def test_a_container_whose_slots_are_all_abandoned_is_given_up_for_another(caplog):
    before = process_capacity.statistics().containers
    with VirtualClock() as clock:
        app, worker, entered, exits = stubborn_app(clock, max_inputs=1, max_containers=1)
        with app.run(clock=clock):
            work = worker().work
            call = work.spawn(100)
            clock.sleep(1)
            call.cancel()
            # It waits for the slot for a second, then gets one in a new container.
            assert work.remote(0) == 1
            assert clock.now() == 2
            seen = work.statistics()
            assert (seen.abandoned, seen.abandoned_threads, seen.running) == (1, 1, 1)
            assert process_capacity.statistics().containers == before + 1
            clock.sleep(97)
            seen = work.statistics()
            assert (seen.abandoned, seen.abandoned_threads, seen.running) == (1, 1, 1)
            clock.sleep(2)
            assert work.statistics().containers == ()  # both containers have gone, and the pool
            assert entered == [0, 1]
        assert sorted(exits) == [0, 1]
    [record] = [r for r in caplog.records if "is given up" in r.message]
    assert record.levelno == logging.WARNING
    assert "work" in record.message
    assert "test_cancelling.py" in record.message
    assert process_capacity.statistics().containers == before


def test_a_container_with_one_abandoned_slot_is_given_up_after_thirty_seconds(caplog):
    with VirtualClock() as clock:
        app, worker, entered, exits = stubborn_app(clock, max_inputs=2, max_containers=1)
        with app.run(clock=clock):
            work = worker().work
            stuck, alive = work.spawn(1000), work.spawn(60)
            clock.sleep(1)
            stuck.cancel()
            neighbour = work.spawn(0)
            clock.sleep(29)
            assert work.statistics().abandoned_threads == 0
            assert work.statistics().queued == 1  # it waits for a slot of that container
            assert neighbour.get() == 1
            assert clock.now() == 31
            assert work.statistics().abandoned_threads == 1
            assert alive.get() == 0  # what lived in it finished
            assert clock.now() == 60
            assert entered == [0, 1]
            clock.sleep(1000)
        assert sorted(exits) == [0, 1]
    assert sum("is given up" in record.message for record in caplog.records) == 1


def test_no_container_starts_for_inputs_in_one_that_was_given_up():
    with VirtualClock() as clock:
        app, worker, entered, _ = stubborn_app(clock, max_inputs=1, max_containers=3)
        with app.run(clock=clock):
            work = worker().work
            call = work.spawn(1000)
            clock.sleep(1)
            call.cancel()
            clock.sleep(500)
            assert work.statistics().abandoned == 1
            assert entered == [0]
            clock.sleep(1000)


def test_a_crowded_process_starts_no_container_to_stop_it_at_once(monkeypatch):
    monkeypatch.setattr(process_capacity, "_max_containers", 1)
    app = App("crowded")

    with VirtualClock() as clock:

        @app.function()
        def takes_no_more(seconds):
            moorage.experimental.stop_fetching_inputs()
            clock.sleep(seconds)

        @app.function()
        def takes_the_room(seconds):
            clock.sleep(seconds)

        with app.run(clock=clock):
            call = takes_no_more.spawn(200)
            other = takes_the_room.spawn(50)
            clock.sleep(100)
            # At most one that the policy wanted while there was room.
            assert takes_no_more.statistics().containers_started <= 2
            other.get()
            call.get()


def test_a_container_is_kept_when_its_abandoned_inputs_end_in_time():
    with VirtualClock() as clock:
        app, worker, entered, _ = stubborn_app(clock, max_inputs=1, max_containers=1)
        with app.run(clock=clock):
            work = worker().work
            for _ in range(5):
                call = work.spawn(1.5)
                clock.sleep(1)
                call.cancel()
                clock.sleep(2)
            assert work.remote(0) == 0
            assert entered == [0]
            assert work.statistics().containers_started == 1


def test_leaving_ends_in_time_though_the_thread_of_the_hooks_is_in_an_input():
    with VirtualClock() as clock:
        app, worker, entered, _ = stubborn_app(clock, max_inputs=1, max_containers=1)
        with app.run(clock=clock):
            worker().work.spawn(1000)
            clock.sleep(1)
        assert clock.now() == 6
        assert entered == [0]
        clock.sleep(1000)  # the thread gets out
