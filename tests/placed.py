"""Containers whose child is in this very process: all of ``placing/`` but the processes.

`OverASocket` has a socket pair between the two sides, and the post reads both ends: in real time.
`OverALoop` hands frames over as bytes, one after the other on a thread of its own, so virtual time
knows of each frame that is on its way: the same code in virtual time.

Begin reading at `OverASocket`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from moorage.placing.channel import Channel
from moorage.placing.frames import Buffer, FrameReader
from moorage.placing.host import ChildHost
from moorage.placing.post import Postman
from moorage.placing.remote import RemoteContainer
from moorage.runtime.clocks.clock import Clock
from moorage.runtime.containers.container import ContainerOptions, Host
from moorage.runtime.input import Target
from moorage.runtime.pools.pool_options import PoolOptions
from moorage.runtime.real import Real

# Reads both ends, as the posts of two processes would.
post = Postman("moorage-post-of-tests")


class OverASocket:
    """Starts the child's side in this process, at the other end of a socket pair."""

    def __init__(self, make_host: Callable[..., ChildHost]) -> None:
        self._make_host = make_host
        self.child: ChildHost
        self.driver_end: Channel
        self.child_end: Channel

    def start(self, container: RemoteContainer) -> None:
        mine, its = Real.socketpair()
        child = self.child = self._make_host(self._child_ended)

        def gone() -> None:
            self.driver_end.close()
            container.gone("its end of the socket was closed")

        self.driver_end = Channel(mine, post, container.received, gone)
        self.child_end = Channel(its, post, child.received, child.gone)
        self.driver_end.open_turnstile()
        self.child_end.open_turnstile()
        child.connect(self.child_end)
        container.connect(self.driver_end)
        self.driver_end.begin()
        self.child_end.begin()
        child.container.boot()

    def _child_ended(self) -> None:
        self.child_end.close_when_written()

    def kill(self) -> None:
        """As if the process were killed; its threads stay, and end when their code does."""
        self.child_end.close()
        self.child.gone()


class OverALoop:
    """Hands each frame over on a thread, in the time of a virtual clock."""

    def __init__(self, make_host: Callable[..., ChildHost], clock: Clock) -> None:
        self._make_host = make_host
        self._clock = clock
        self.child: ChildHost
        self._is_gone = False

    def start(self, container: RemoteContainer) -> None:
        child = self.child = self._make_host(self._child_ended)
        carries = self._carries = Carries()
        self._to_driver = Handing(self._clock, carries, container.received)
        self._to_child = Handing(self._clock, carries, child.received)
        self._container = container
        child.connect(self._to_driver)
        container.connect(self._to_child)
        child.container.boot()

    def _child_ended(self) -> None:
        self._report()
        self._carries.end()

    def _report(self) -> None:
        if not self._is_gone:
            self._is_gone = True
            self._to_driver.do(lambda: self._container.gone("its loop has ended"))

    def kill(self) -> None:
        """As if the process were killed; its threads stay, and end when their code does."""
        self._to_driver.close()
        self._report()
        self.child.gone()


class Carries:
    """A thread that does what it is given, in that order, until it is ended."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="moorage-loop-of-tests", daemon=True).start()

    def add(self, work: Callable[[], object]) -> None:
        self._queue.put(work)

    def end(self) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
        while not self._queue.empty():  # what came too late: virtual time waits for it
            (self._queue.get() or int)()


class Handing:
    """One direction of `OverALoop`."""

    def __init__(
        self, clock: Clock, carries: Carries, received: Callable[[int, int, memoryview], object]
    ) -> None:
        self._participants = clock.participants
        self._carries = carries
        self._received = received
        self._reader = FrameReader()
        self._lock = Real.Lock()  # so that the marks and the frames are in one order
        self._closed = False
        self.begun = 0

    def keep(self) -> None:
        """Nothing waits here that somebody may change."""

    def send(self, parts: Sequence[Buffer], mark: int = 0) -> None:
        data = b"".join(bytes(part) for part in parts)
        with self._lock:
            if self._closed:
                return
            self.begun = max(self.begun, mark)
            self.do(lambda: self._take(data))

    def do(self, work: Callable[[], object]) -> None:
        if self._participants is not None:
            work = self._participants.expected(work, "a frame on its way")
        self._carries.add(work)

    def _take(self, data: bytes) -> None:
        for kind, words, body in self._reader.take(data):
            self._received(kind, words, body)

    def close(self) -> None:
        with self._lock:
            self._closed = True


def make_placed(
    host: Host,
    number: int,
    target: int,
    limit: int,
    options: ContainerOptions,
    *,
    targets: Sequence[Target],
    pool_options: PoolOptions,
    over: str,
) -> RemoteContainer:
    """Make a container whose code runs on the other side of `over`: "socket" or "loop"."""
    batched = None if pool_options.batching is None else targets[0]

    def make_host(ended: Callable[[], object]) -> ChildHost:
        return ChildHost(
            options, targets, batched, host.clock, number=number, limit=limit, ended=ended
        )

    process: Any = OverASocket(make_host) if over == "socket" else OverALoop(make_host, host.clock)
    return RemoteContainer(
        host,
        number,
        target,
        limit,
        name=options.name,
        max_inputs=options.max_inputs,
        targets={each.name: index for index, each in enumerate(targets)},
        setup=None,
        process=process,
    )
