"""A wait that no time can end does not hang the test: the error says who waits where."""

import threading

from moorage.exception import ClockStuckError
from moorage.testing import FakeContainer, VirtualClock

heard = threading.Event()


def listen() -> None:
    heard.wait()  # real, and nobody sets it


with VirtualClock(stuck_after=0.3), FakeContainer(listen) as container:
    waits = container.submit()
    try:
        waits.result()
    except ClockStuckError as error:
        print(error)
    heard.set()
