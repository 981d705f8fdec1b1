"""How tests wait for what the engine does next, without a frame of theirs in its way.

A `Probe` is around user code.  Tests of cancels, strikes and speed have that code as bare
as users have it, and so wait with what is here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from moorage.running import runs
from moorage.testing import Probe

T = TypeVar("T")


class Onlooker(Probe):
    """Wakes who waits in `wait_until`; records nothing, and no frame of it is around user code."""

    def look(self) -> None:
        """Something of the test's own has changed: ask the conditions again."""
        for wake in self._wakes:
            wake()

    def _record(self, *args: Any) -> None: ...

    def around(self, pool: Any, input: Any, function: Any) -> Any:
        return function


class Notes(list[T]):
    """What user code noted, for conditions of an onlooker: an append asks them again."""

    def __init__(self, onlooker: Onlooker) -> None:
        super().__init__()
        self._onlooker = onlooker

    def append(self, note: T) -> None:
        super().append(note)
        self._onlooker.look()


def messages_of_moorage(caplog: Any) -> list[str]:
    """Return what the library has logged."""
    return [record.getMessage() for record in caplog.records if record.name == "moorage"]


def new_threads(before: set[threading.Thread]) -> list[str]:
    """Return the names of the threads that are not in `before`.

    Not of those that a garbage collection may start.
    """
    names = [thread.name for thread in set(threading.enumerate()) - before]
    return [name for name in names if name not in ("moorage-cleanup", "moorage-log")]


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` is true, of pools that are there; those that have no probe
    have one meanwhile.
    """
    onlooker = Onlooker()
    pools = runs.open_pools()
    probes = {pool.probe for pool in pools if isinstance(pool.probe, Probe)}
    pools = [pool for pool in pools if pool.probe is None]
    for pool in pools:
        with pool.lock:
            pool.watch(onlooker)
    for probe in probes:
        probe._add(onlooker.look)
    try:
        onlooker.wait_until(condition)
    finally:
        for probe in probes:
            probe._remove(onlooker.look)
        for pool in pools:
            with pool.lock:
                pool.watch(None)


def wait_until_idle(*functions: Any) -> None:
    """Wait until no input of these is queued, runs, or is on the way out of its code."""

    def is_idle(function: Any) -> bool:
        seen = function.statistics()
        return seen is None or not (seen.outside or seen.queued or seen.waiting or seen.running)

    wait_until(lambda: all(map(is_idle, functions)))


def hear_draining(set_attribute: Callable[[Any, str, Any], None]) -> Callable[[Any], None]:
    """What waits until a run is draining; `set_attribute` is setattr, or monkeypatch's."""
    heard = threading.Condition()
    begin = runs.Draining.__init__

    def begin_and_tell(self: Any, run: Any) -> None:
        begin(self, run)
        with heard:
            heard.notify_all()

    def until_draining(run: Any) -> None:
        with heard:
            assert heard.wait_for(lambda: run.draining or run.closed, 30)

    set_attribute(runs.Draining, "__init__", begin_and_tell)
    return until_draining
