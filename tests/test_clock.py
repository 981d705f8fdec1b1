"""The clocks: real waits and timers, and virtual time that jumps only when all wait."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from moorage.exception import ClockStuckError
from moorage.runtime import background
from moorage.runtime.clocks import clock as clock_module
from moorage.runtime.clocks import virtual_loop
from moorage.runtime.clocks.clock import RealClock, system_clock
from moorage.runtime.clocks.timekeeper import Timekeeper, TimerQueue
from moorage.runtime.clocks.virtual_clock import VirtualClock


def test_real_wait_is_woken_by_another_thread():
    waiter = system_clock.make_waiter()
    thread = threading.Thread(target=waiter.wake)
    thread.start()
    assert system_clock.wait(waiter, 10.0)
    thread.join()


def test_real_wait_gives_up_at_its_timeout():
    assert not system_clock.wait(system_clock.make_waiter(), 0.0)


def test_waking_twice_and_before_the_wait_is_harmless():
    for clock in (RealClock(), VirtualClock()):
        waiter = clock.make_waiter()
        waiter.wake()
        waiter.wake()
        assert clock.wait(waiter, 10.0)
        assert clock.now() >= 0.0


def test_timekeeper_fires_in_order_of_time_and_skips_the_cancelled():
    keeper = Timekeeper()
    fired: list[str] = []
    done = threading.Event()
    base = system_clock.now()
    keeper.call_at(base + 0.02, lambda: (fired.append("late"), done.set()))
    keeper.call_at(base + 0.01, lambda: fired.append("early"))
    keeper.call_at(base + 0.015, lambda: fired.append("never")).cancel()
    assert done.wait(10)
    assert fired == ["early", "late"]
    keeper.stop()
    assert keeper.thread is None


def test_timekeeper_survives_a_callback_that_raises(caplog: pytest.LogCaptureFixture):
    keeper = Timekeeper()
    done = threading.Event()

    def fail() -> None:
        raise ValueError("in a timer")

    with caplog.at_level(logging.ERROR):
        keeper.call_at(0.0, fail)
        keeper.call_at(0.0, done.set)
        assert done.wait(10)
    keeper.stop()
    assert background.flush(10)
    assert "a timer of moorage failed" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_nothing_that_a_callback_raises_ends_the_timekeeper(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Timekeeper()
    done = threading.Event()

    def fail() -> None:
        raise error

    keeper.call_at(0.0, fail)
    keeper.call_at(0.0, done.set)
    assert done.wait(10)
    keeper.stop()
    assert background.flush(10)
    assert "a timer of moorage failed" in caplog.text


def test_nothing_that_a_callback_raises_ends_virtual_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise SystemExit(3)

    with VirtualClock() as clock:
        clock.call_at(1.0, fail)
        clock.sleep(2)
        assert clock.now() == 2
    assert background.flush(10)
    assert "a timer of moorage failed" in caplog.text


@pytest.mark.parametrize("make", [Timekeeper, VirtualClock])
def test_what_a_callback_held_last_is_dropped_on_another_thread(make: type) -> None:
    died_on: list[str] = []
    died = threading.Event()

    class Users:
        def __del__(self) -> None:
            died_on.append(threading.current_thread().name)
            died.set()

    def hold(users: object) -> Callable[[], object]:
        return lambda: users

    if make is Timekeeper:
        keeper = Timekeeper()
        keeper.call_at(0.0, hold(Users()))
        assert died.wait(10)
        keeper.stop()
    else:
        with VirtualClock() as clock:
            clock.call_at(1.0, hold(Users()))
            clock.sleep(2)
        assert died.wait(10)
    assert died_on == ["moorage-cleanup"]


def test_timekeeper_serves_what_finalizers_post():
    keeper = Timekeeper()
    keeper.start()
    done = threading.Event()
    keeper.post(done.set)
    assert done.wait(10)
    keeper.stop()


class CountedTimer(clock_module.Timer):
    """A timer that counts how often a walk looks at it."""

    __slots__ = ()
    looks = 0

    @property
    def callback(self) -> object:  # type: ignore[override]
        CountedTimer.looks += 1
        return clock_module.Timer.callback.__get__(self)  # type: ignore[attr-defined]

    @callback.setter
    def callback(self, value: object) -> None:
        clock_module.Timer.callback.__set__(self, value)  # type: ignore[attr-defined]


@pytest.mark.parametrize("cancelled", [0.0, 0.4, 1.0])
def test_setting_and_cancelling_timers_looks_at_each_a_few_times(cancelled: float) -> None:
    queue, count = TimerQueue(), 4000
    CountedTimer.looks = 0
    for i in range(count):
        timer = CountedTimer(float(i), int)
        queue.push(timer)
        if i % 10 < 10 * cancelled:
            timer.cancel()
    assert CountedTimer.looks < 10 * count
    assert len(queue) <= max(count * (1 - cancelled) * 2, 0) + 130


def test_a_timer_queue_counts_the_cancelled_ones_also_as_they_fall_due():
    queue = TimerQueue()
    for round in range(20):
        timers = [clock_module.Timer(float(i), lambda: None) for i in range(100)]
        for timer in timers:
            queue.push(timer)
        for timer in timers[::2]:
            timer.cancel()
        while queue.pop_due(100.0) is not None:
            pass
        assert queue.cancelled == 0, round
        assert len(queue) == 0


def test_timer_queue_forgets_cancelled_timers():
    queue = TimerQueue()
    keeper = [clock_module.Timer(float(i), lambda: None) for i in range(1000)]
    for timer in keeper:
        queue.push(timer)
        timer.cancel()
    assert queue.next_when() is None
    assert len(queue._heap) <= 65


def test_virtual_sleep_jumps_and_timers_fire_on_the_way():
    fired: list[tuple[str, float]] = []
    with VirtualClock() as clock:
        clock.call_at(5.0, lambda: fired.append(("first", clock.now())))
        clock.call_at(5.0, lambda: fired.append(("second", clock.now())))
        clock.call_at(3600.0, lambda: fired.append(("hour", clock.now())))
        clock.call_at(7.0, lambda: fired.append(("never", 0.0))).cancel()
        clock.sleep(7200.0)
        assert clock.now() == 7200.0
    assert fired == [("first", 5.0), ("second", 5.0), ("hour", 3600.0)]


def test_virtual_time_stands_still_while_a_participant_is_busy():
    with VirtualClock() as clock:
        release = threading.Event()
        entered = threading.Event()
        seen: list[float] = []

        def other() -> None:
            with clock.participate("other"):
                entered.set()
                assert release.wait(10)  # busy: not a wait of ours
                seen.append(clock.now())
                clock.sleep(1.0)
                seen.append(clock.now())

        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
        clock.call_at(100.0, lambda: None)
        release.set()
        clock.sleep(50.0)
        thread.join()
        assert seen == [0.0, 1.0]
        assert clock.now() == 50.0


def test_a_woken_thread_counts_as_busy_before_it_runs():
    with VirtualClock() as clock:
        waiter = clock.make_waiter()
        times: list[float] = []

        def other() -> None:
            with clock.participate("other"):
                ready.set()
                clock.wait(waiter)
                times.append(clock.now())

        ready = threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        assert ready.wait(10)
        clock.sleep(2.0)
        waiter.wake()
        clock.sleep(1000.0)
        thread.join()
        assert times == [2.0]


def test_virtual_wait_times_out_at_its_time():
    with VirtualClock() as clock:
        assert not clock.wait(clock.make_waiter(), 3.0)
        assert clock.now() == 3.0


def test_a_loop_that_sits_in_a_blocking_wait_holds_up_no_time_when_it_is_woken():
    clock = VirtualClock()
    waiter = clock.make_waiter()
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        clock.call_at(1, lambda: loop.call_soon_threadsafe(seen.append, "woken"))
        clock.call_at(2, waiter.wake)
        assert clock.wait(waiter)
        assert (clock.now(), seen) == (2, [])
        await asyncio.sleep(3)
        assert (clock.now(), seen) == (5, ["woken"])

    with clock:
        loop = clock.new_event_loop()
        loop.run_until_complete(main())
        loop.close()


def test_an_event_loop_lives_in_virtual_time():
    async def main() -> tuple[list[str], float]:
        order: list[str] = []

        async def nap(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append(name)

        await asyncio.gather(nap("long", 3600.0), nap("short", 60.0), nap("none", 0.0))
        assert await asyncio.to_thread(lambda: 5) == 5
        async with asyncio.timeout(10.0):
            await asyncio.sleep(9.0)
        return order, asyncio.get_running_loop().time()

    with VirtualClock() as clock:
        with asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
            order, now = runner.run(main())
        assert order == ["none", "short", "long"]
        assert now == clock.now() == 3609.0


def test_a_loop_and_a_thread_share_one_time():
    with VirtualClock() as clock:
        times: list[tuple[str, float]] = []

        async def main() -> None:
            clock.participants.end(key)  # from here on the loop takes part itself
            for _ in range(3):
                await asyncio.sleep(2.0)
                times.append(("loop", clock.now()))

        def run_loop() -> None:
            with asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
                runner.run(main())

        key = object()
        clock.participants.hold_time(key, "until the loop runs")
        thread = threading.Thread(target=run_loop)
        thread.start()
        for _ in range(3):
            clock.sleep(2.0)
            times.append(("thread", clock.now()))
        clock.sleep(0.0)
        thread.join()
        expected = [(who, t) for who in ("loop", "thread") for t in (2.0, 4.0, 6.0)]
        assert sorted(times) == sorted(expected)


def test_stuck_time_names_who_holds_it_up():
    with VirtualClock(stuck_after=0.05) as clock:
        release = threading.Event()
        entered = threading.Event()

        def hog() -> None:
            with clock.participate("the hog"):
                entered.set()
                assert release.wait(30)

        thread = threading.Thread(target=hog)
        thread.start()
        assert entered.wait(10)
        with pytest.raises(ClockStuckError, match=r"the hog \(in hog \(tests"):
            clock.sleep(1.0)
        release.set()
        thread.join()


def test_repr_says_when_and_who():
    with VirtualClock() as clock:
        assert repr(clock) == "<VirtualClock at 0 s, busy: MainThread>"


def test_time_stands_while_a_wake_up_is_on_its_way(monkeypatch):
    """A loop that looks between the mark and the wake-up itself must not rest."""
    looked, idle = threading.Event(), virtual_loop.loop_idle

    def idle_and_tell(clock, loop, seen, timeout):
        timer = idle(clock, loop, seen, timeout)
        if loop.looks_again:
            looked.set()
        return timer

    monkeypatch.setattr(virtual_loop, "loop_idle", idle_and_tell)
    with VirtualClock() as clock:
        loop = clock.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        clock.sleep(1.0)
        loop.mark_busy()
        loop._write_to_self()  # somebody else's: it goes round once
        assert looked.wait(30)
        assert "event loop" in repr(clock)
        loop.mark_sent()  # ours was that one: the loop must not wait for another
        clock.sleep(1.0)
        assert clock.now() == 2.0
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
