"""Strikes: InputCancellation raised in a thread, in the input it is for and nowhere else."""

import os
import random
import sys
import threading
import time

import pytest

import moorage
from moorage import App, config
from moorage.exception import InputCancellation, InputCancelledError
from moorage.runtime.clocks.clock import system_clock
from moorage.runtime.containers.streaming import Stream
from moorage.runtime.context import running_input
from moorage.runtime.pools.capacity import process_capacity
from onlooker import wait_until_idle


@pytest.fixture
def at_once(monkeypatch):
    """A strike follows its cancel as fast as threads can, and they take turns all the time."""
    monkeypatch.setattr(config, "cancel_grace", 0.0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


# `make stress` has 10,000.
CANCELS = int(os.environ.get("MOORAGE_CANCELS", "2000"))


class Tally:
    """What the user's code itself saw.  Lists, for their appends need no lock."""

    def __init__(self):
        self.began = []
        self.struck = []
        self.wrong = []

    def run(self, body):
        me = running_input.get()
        self.began.append(me)
        try:
            return body()
        except InputCancellation:
            (self.struck if me.cancellation is not None else self.wrong).append(me)
            raise


def assert_balanced(function, *, accepted, answers):
    """Every count agrees, no lock is held, and every thread answers."""
    wait_until_idle(function)
    seen = function.statistics()
    assert seen.running == seen.queued == seen.abandoned == 0
    assert seen.accepted == accepted == seen.succeeded + seen.failed + seen.cancelled
    assert seen.failed == 0
    assert (seen.succeeded, seen.cancelled) == answers
    # Every slot can be had again, at once: all meet in here.
    most = seen.max_inputs
    barrier = threading.Barrier(most)
    assert sorted(function.map([barrier] * most)) == ["met"] * most


def outcome_of(call):
    try:
        call.get(timeout=60)
    except InputCancelledError:
        return "cancelled"
    return "value"


@pytest.mark.usefixtures("at_once")
def test_thousands_of_cancels_at_the_moment_of_return():
    """User code returns just when its strike is sent, or a little before or after."""
    app = App()
    tally = Tally()
    # Longer after each that returned first, shorter after each that was cancelled.
    turns = 1000.0

    @app.function(max_containers=1, timeout=60)
    @moorage.concurrent(max_inputs=4)
    def work(started):
        if isinstance(started, threading.Barrier):
            started.wait(30)
            return "met"

        def body():
            left = int(turns)
            started.release()
            while left:
                left -= 1
            return "done"

        return tally.run(body)

    answers = {"value": 0, "cancelled": 0}
    with app.run():
        work.remote(threading.Barrier(1))
        for _ in range(CANCELS):
            started = threading.Semaphore(0)
            call = work.spawn(started)
            assert started.acquire(timeout=30)
            call.cancel()
            answer = outcome_of(call)
            answers[answer] += 1
            turns *= 1.1 if answer == "value" else 0.9
        assert_balanced(
            work, accepted=CANCELS + 1, answers=(answers["value"] + 1, answers["cancelled"])
        )
        assert tally.wrong == []
        assert len(set(tally.began)) == len(tally.began) == CANCELS
    # Strikes were sent, or the test would show nothing.
    assert answers["cancelled"] >= len(tally.struck) > CANCELS / 20
    assert process_capacity.statistics().containers == 0


# A strike that lands in a finalizer of somebody else's is lost, as CPython says then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("at_once")
def test_thousands_of_cancels_during_nested_calls():
    """User code calls us, in every blocking way, when its strike is sent."""
    app = App()
    tally = Tally()

    @app.function(max_containers=1, timeout=60)
    @moorage.concurrent(max_inputs=8)
    def inner(n):
        if isinstance(n, threading.Barrier):
            n.wait(30)
            return "met"
        return n

    @app.function(max_containers=1, timeout=60)
    @moorage.concurrent(max_inputs=8)
    def items(n):
        yield from range(n)

    def nested(number):
        way = number % 6
        if way == 0:
            return inner.remote(number)
        if way == 1:
            return list(inner.map(range(3)))
        if way == 2:
            return inner.spawn(number).get()
        if way == 3:
            return list(items.remote_gen(3))
        if way == 4:
            stream = items.remote_gen(40)
            return next(iter(stream))  # and dropped half way
        return moorage.FunctionCall.gather(inner.spawn(1), inner.spawn(2))

    @app.function(max_containers=1, timeout=60)
    @moorage.concurrent(max_inputs=4)
    def outer(started, number=0):
        if isinstance(started, threading.Barrier):
            started.wait(30)
            return "met"

        def body():
            started.release()
            while True:  # until it is cancelled: by a strike, or in a wait
                nested(number)

        return tally.run(body)

    chance = random.Random(4)
    with app.run():
        for number in range(CANCELS):
            started = threading.Semaphore(0)
            call = outer.spawn(started, number)
            assert started.acquire(timeout=30)
            for _ in range(chance.choice([0, 0, 1, 3, 10])):
                time.sleep(0)
            call.cancel()
            assert outcome_of(call) == "cancelled"
        assert_balanced(outer, accepted=CANCELS, answers=(0, CANCELS))
        assert tally.wrong == []
        # Each was told once: in a wait, when a call of ours was left, or by a strike.
        assert len(set(tally.struck)) == len(tally.struck) == len(tally.began) == CANCELS
        # What they called ended too, whatever became of it.
        for function in (inner, items):
            wait_until_idle(function)
            seen = function.statistics()
            assert seen.accepted == seen.succeeded + seen.failed + seen.cancelled
            assert seen.failed == 0
        barrier = threading.Barrier(8)
        assert sorted(inner.map([barrier] * 8)) == ["met"] * 8
    assert process_capacity.statistics().containers == 0


def test_a_strike_on_the_way_to_closing_a_generator_does_not_leave_it_open():
    """Else the user's clean-up runs some time after the slot was given back."""
    closed = []

    class Items:
        def __iter__(self):
            return iter([1])

        strikes = 1

        @property
        def close(self):  # where the interpreter looks for a strike before the call
            if self.strikes:
                self.strikes = 0
                raise InputCancellation
            return lambda: closed.append(True)

    with pytest.raises(InputCancellation):
        Stream(system_clock).drive(Items())
    assert closed == [True]
