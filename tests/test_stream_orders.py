"""The hand-over of items, which takes no lock: two threads that change turns at any line of it.

Owns `Turns`, which runs one thread at a time and switches before chosen lines of
``streaming.py``.  A wake that is lost leaves both threads waiting, which fails.  Begin at `run`.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from moorage.runtime.containers import streaming
from moorage.runtime.containers.streaming import Stream

ITEMS = 7
ROOM = 2


class Turns:
    """Two threads, of which one runs; `switches` says before which of all lines they change."""

    def __init__(self, switches: set[int]) -> None:
        self.lines = 0
        self._switches = switches
        self._may_run = [threading.Semaphore(0), threading.Semaphore(0)]
        self._blocked: list[Callable[[], bool] | None] = [None, None]
        self._done = [False, False]
        self.stuck = False
        self.errors: list[BaseException] = []

    def run(self, works: list[Callable[[], None]]) -> None:
        threads = [threading.Thread(target=self._run, args=(n, w)) for n, w in enumerate(works)]
        for thread in threads:
            thread.start()
        self._may_run[0].release()
        for thread in threads:
            thread.join()

    def _run(self, number: int, work: Callable[[], None]) -> None:
        here.number = number
        self._may_run[number].acquire()
        sys.settrace(self._trace)
        try:
            work()
        except BaseException as error:
            self.errors.append(error)
        finally:
            sys.settrace(None)
            self._done[number] = True
            self._give_turn(1 - number)

    def _trace(self, frame, event, arg):
        if frame.f_code.co_filename != streaming.__file__:
            return None
        if event == "line":
            self.lines += 1
            if self.lines in self._switches:
                self._give_turn(1 - here.number, back=here.number)
        return self._trace

    def _give_turn(self, to: int, back: int | None = None) -> None:
        """Let the other thread run, if it can; take the turn `back` later."""
        is_free = self._blocked[to]
        if self._done[to] or (is_free is not None and not is_free()):
            return
        self._may_run[to].release()
        if back is not None:
            self._may_run[back].acquire()

    def wait(self, is_free: Callable[[], bool]) -> None:
        """Wait until `is_free()`; the other thread runs."""
        number = here.number
        while not is_free() and not self.stuck:
            self._blocked[number] = is_free
            other = self._blocked[1 - number]
            if self._done[1 - number] or (other is not None and not other()):
                self.stuck = True  # nobody can go on
                self._may_run[1 - number].release()
                break
            self._give_turn(1 - number, back=number)
        self._blocked[number] = None
        if self.stuck:
            raise AssertionError("both threads wait")


here = threading.local()


class TurnsLock:
    """A lock, of which the thread that waits gives up its turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_held = False

    def __enter__(self) -> None:
        self._turns.wait(lambda: not self._is_held)
        self._is_held = True

    def __exit__(self, *error: object) -> None:
        self._is_held = False


class Waiter:
    def __init__(self) -> None:
        self.is_woken = False

    def wake(self) -> None:
        assert not self.is_woken, "woken twice"
        self.is_woken = True


class TurnsClock:
    """What `Stream` needs of a clock."""

    participants = None
    make_waiter = Waiter


def run(switches: set[int], monkeypatch: pytest.MonkeyPatch, closes_after: int) -> int:
    """Hand over all items, or close the stream; return how many lines ran."""
    turns = Turns(switches)
    stream = Stream(TurnsClock())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream._lock = TurnsLock(turns)  # type: ignore[assignment]  # pyright: ignore
    monkeypatch.setattr(streaming, "AHEAD", ROOM)
    monkeypatch.setattr(streaming, "park", lambda _, waiter: turns.wait(lambda: waiter.is_woken))
    made: list[int] = []
    taken: list[int] = []

    def generate():
        for item in range(ITEMS):
            made.append(item)
            assert len(made) - len(taken) <= ROOM + 1
            yield item

    def produce() -> None:
        stream.drive(generate())
        stream.end()

    def read() -> None:
        while len(taken) < closes_after:
            there, item = stream.take_nowait()
            while not there:
                waiter, ended = Waiter(), stream.ended
                there, item = stream.take_nowait(waiter.wake)
                if ended and not there:
                    return
                if not there and not stream.ended:
                    turns.wait(partial(getattr, waiter, "is_woken"))
            taken.append(item)
        stream.close()

    turns.run([produce, read])
    assert not turns.errors, (sorted(switches), turns.errors)
    assert taken == list(range(min(ITEMS, closes_after)))
    return turns.lines


@pytest.mark.parametrize("closes_after", [ITEMS + 1, ITEMS, 3, 0])
def test_no_wake_is_lost_wherever_the_threads_change_turns(monkeypatch, closes_after):
    lines = run(set(), monkeypatch, closes_after)
    assert lines > 20
    chosen = random.Random(closes_after)
    orders = [{at} for at in range(lines + 2)]
    orders += [
        set(chosen.sample(range(lines + 10), min(lines, chosen.randint(2, 12)))) for _ in range(100)
    ]
    for order in orders:
        run(order, monkeypatch, closes_after)
