"""Code that sleeps in a thread, in virtual time as well."""

import time

from moorage.testing import FakeStatistics


def poll(seconds: float) -> float:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(10)
    return time.monotonic()


def test_an_hour_of_polling(fake_container, virtual_clock):
    with virtual_clock.patch_time():
        container = fake_container(poll, max_inputs=2, timeout=7200)
        assert list(container.map([3600, 1800, 900])) == [3600, 1800, 2700]
    assert container.statistics() == FakeStatistics(finished=3, peak=2, limit=2)
