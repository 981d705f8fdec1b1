"""Locks and queues of threads in virtual time."""

import queue
import threading
import time

lock = threading.Lock()
boxes: queue.Queue[str] = queue.Queue()


def pack(order: str) -> float:
    with lock:  # one packing table
        time.sleep(60)
    boxes.put(order)
    return time.monotonic()


def drive(within: float) -> str:
    try:
        return boxes.get(timeout=within)
    except queue.Empty:
        return "drove without a box"


def test_one_table(fake_container, virtual_clock):
    with virtual_clock.patch_time():
        packers = fake_container(pack, max_inputs=2)
        drivers = fake_container(drive, max_inputs=3)
        trips = [drivers.submit(within) for within in (90, 100, 110)]
        assert list(packers.map(["shoes", "hats"])) == [60, 120]
        assert [trip.result() for trip in trips] == ["shoes", *2 * ["drove without a box"]]
        assert boxes.get() == "hats"
