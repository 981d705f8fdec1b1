"""Bells: a wait ends by a ring, by its time or by an exception, and no ring is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from moorage.runtime.clocks import bells
from moorage.runtime.clocks import clock as clock_module
from moorage.runtime.clocks.clock import RealWaiter, system_clock
from placing.outside import signalled


def made_by(name):
    return {"best": bells.make_bell, "lock": bells.Locked}[name]


@pytest.mark.parametrize("kind", ["best", "lock"])
def test_a_ring_before_the_wait_is_kept(kind):
    bell = made_by(kind)()
    bell.release()
    assert bell.acquire()
    assert not bell.acquire_within(0.0)()


@pytest.mark.parametrize("kind", ["best", "lock"])
def test_two_threads_wake_each_other_in_turns(kind):
    here, there = made_by(kind)(), made_by(kind)()
    order = []

    def other():
        for number in range(200):
            there.acquire()
            order.append(("there", number))
            here.release()

    thread = threading.Thread(target=other)
    thread.start()
    for number in range(200):
        order.append(("here", number))
        there.release()
        assert here.acquire_within(30.0)()
    thread.join()
    assert order == [(name, number) for number in range(200) for name in ("here", "there")]


@pytest.mark.parametrize("kind", ["best", "lock"])
def test_a_wait_ends_with_its_time(kind):
    bell = made_by(kind)()
    begun = system_clock.now()
    assert not bell.acquire_within(0.05)()
    assert system_clock.now() - begun >= 0.05
    bell.release()
    assert bell.acquire_within(threading.TIMEOUT_MAX)()


def test_linux_has_semaphores():
    semaphore = type(bells.make_bell()).__name__ == "Semaphore"
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert semaphore == (sys.platform == "linux" and gil)


def test_a_waiter_that_was_woken_twice_gives_its_bell_on_with_no_ring(monkeypatch):
    monkeypatch.setattr(clock_module, "_spare_bells", [])
    first = RealWaiter()
    first.wake()
    first.wake()
    assert system_clock.wait(first)
    assert system_clock.wait(first)  # it was woken, once and for all
    (spare,) = clock_module._spare_bells
    second = RealWaiter()
    assert second.bell is spare
    first.wake()  # late, and of nobody's concern any more
    assert not system_clock.wait(second, 0.0)


def test_a_waiter_whose_time_is_over_keeps_its_bell(monkeypatch):
    monkeypatch.setattr(clock_module, "_spare_bells", [])
    waiter = RealWaiter()
    assert not system_clock.wait(waiter, 0.0)
    assert clock_module._spare_bells == []  # it may still be rung
    waiter.wake()
    assert system_clock.wait(waiter, 0.0)
    assert len(clock_module._spare_bells) == 1


def test_many_waiters_and_wakers_share_bells_and_no_ring_is_lost():
    waiters = []
    there = threading.Semaphore(0)

    def wakes():
        for _ in range(2000):
            there.acquire()
            waiter = waiters.pop()
            waiter.wake()
            waiter.wake()

    def waits():
        for _ in range(1000):
            waiter = RealWaiter()
            waiters.append(waiter)
            there.release()
            assert system_clock.wait(waiter, 30.0)

    threads = [threading.Thread(target=work) for work in (wakes, waits, waits)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not waiters


@pytest.mark.parametrize("timeout", ["None", "60.0"])
def test_a_signal_runs_its_handler_in_the_wait(timeout):
    program = f"""
        import signal, sys
        from moorage.runtime.clocks.clock import RealWaiter, system_clock

        def handler(number, frame):
            print("handled", flush=True)

        signal.signal(signal.SIGUSR1, handler)
        try:
            print("waits", flush=True)
            system_clock.wait(RealWaiter(), {timeout})
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("interrupted")
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "waits\n"
    with signalled(child, signal.SIGUSR1):
        assert child.stdout.readline() == "handled\n"
    with signalled(child, signal.SIGINT):
        lines = child.communicate(timeout=60)[0].splitlines()
    assert [line for line in lines if line != "handled"] == ["interrupted"]
    assert child.returncode == 0
