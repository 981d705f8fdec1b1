"""Execution deadlines, in virtual time: every input has one, whatever happened before it."""

from __future__ import annotations

import asyncio
import threading

import pytest

import moorage
from moorage.exception import FunctionTimeoutError
from moorage.runtime.clocks.virtual_clock import VirtualClock


def test_an_input_that_gets_the_slot_of_an_abandoned_one_has_a_deadline_of_its_own():
    app = moorage.App()
    clock = VirtualClock()
    begun = [clock.make_waiter() for _ in range(2)]
    ends = [clock.make_waiter() for _ in range(2)]

    @app.function(max_containers=1, timeout=10)
    def hold(index: int) -> int:
        begun[index].wake()
        with pytest.raises(BaseException):  # noqa: B017 - the wait of ours ends first
            moorage.runtime.clocks.parking.park(clock, clock.make_waiter())
        clock.wait(ends[index])  # it goes on all the same
        return index

    with clock, app.run(clock=clock):
        first, second = hold.spawn(0), hold.spawn(1)
        clock.wait(begun[0])
        with pytest.raises(FunctionTimeoutError, match="timeout of 10 s"):
            first.get()
        assert clock.now() == 10.0
        clock.sleep(0.7)
        s = hold.statistics()
        assert s is not None
        assert (s.running, s.abandoned, s.queued) == (1, 1, 1)
        ends[0].wake()
        with pytest.raises(FunctionTimeoutError):
            second.get()
        assert clock.now() == 20.7
        ends[1].wake()


def test_deadlines_come_in_the_order_of_grants_and_spare_who_is_in_time():
    app = moorage.App()

    @app.function(max_containers=1, timeout=10)
    @moorage.concurrent(max_inputs=3)
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        late = nap.spawn(60.0)
        clock.sleep(4.0)
        quick, later = nap.spawn(9.0), nap.spawn(60.0)
        queued = nap.spawn(9.5)  # its time begins with its slot, at 10 s
        with pytest.raises(FunctionTimeoutError):
            late.get()
        assert clock.now() == 10.0
        assert quick.get() == 9.0
        assert clock.now() == 13.0
        with pytest.raises(FunctionTimeoutError):
            later.get()
        assert clock.now() == 14.0
        assert queued.get() == 9.5
        assert clock.now() == 19.5


def test_an_input_that_blocked_its_loop_times_out_once_the_loop_is_free():
    app = moorage.App()
    blocked, go_on = threading.Event(), threading.Event()

    @app.function(max_containers=1, timeout=0.2)
    @moorage.concurrent(max_inputs=2)
    async def block(first: bool) -> None:
        if first:
            blocked.set()
            go_on.wait(30)
        await asyncio.Event().wait()

    with app.run():
        call = block.spawn(True)
        assert blocked.wait(10)
        s = block.statistics()
        assert s is not None
        assert s.running == 1
        go_on.set()
        with pytest.raises(FunctionTimeoutError):
            call.get(timeout=30)
