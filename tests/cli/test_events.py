"""The queue of a main thread that waits: see ``moorage/cli/events.py``."""

import os
import signal
import threading

import pytest

from moorage.cli.events import Events


@pytest.fixture
def events():
    made = Events()
    yield made
    made.close()


def test_items_come_in_order_and_none_when_the_time_is_over(events):
    events.put(1)
    events.put(2)
    assert [events.next(), events.next(30), events.next(0), events.next(-1)] == [1, 2, None, None]
    assert events.next(0.001) is None


def test_any_thread_puts_and_any_thread_takes(events):
    found = []
    taker = threading.Thread(target=lambda: found.extend(events.next() for _ in range(300)))
    taker.start()
    putters = [
        threading.Thread(target=lambda: [events.put(n) for n in range(100)]) for _ in range(3)
    ]
    for each in putters:
        each.start()
    taker.join()
    assert sorted(found) == sorted([*range(100)] * 3)


def test_more_items_than_the_socket_takes(events):
    for number in range(100_000):
        events.put(number)
    assert [events.next() for _ in range(100_000)] == list(range(100_000))
    assert events.next(0) is None


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of Unix")
def test_a_handler_that_puts_ends_the_wait_whenever_its_signal_comes(events):
    """There is no wait that ends by itself, so a signal that was missed would hang the test."""
    main = threading.get_ident()
    taken = threading.Semaphore(0)
    rounds = 3_000

    def send():
        for _ in range(rounds):
            signal.pthread_kill(main, signal.SIGUSR1)
            taken.acquire()

    before = signal.signal(signal.SIGUSR1, lambda *_: events.put("signal"))
    sender = threading.Thread(target=send)
    try:
        sender.start()
        for _ in range(rounds):
            assert events.next() == "signal"
            taken.release()
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_what_wakes_for_others_is_put_back(events):
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    before = signal.set_wakeup_fd(writes)
    try:
        events.put(1)
        assert events.next() == 1
        assert signal.set_wakeup_fd(before) == writes
    finally:
        os.close(reads)
        os.close(writes)


def test_an_item_for_a_queue_that_is_closed(events):
    events.close()
    events.put(1)
