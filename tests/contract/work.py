"""What the containers run: bodies written once, in the shapes that user code may have.

A *body* is ``async def body(x)`` that awaits nothing but what `World` has.  In a synchronous
shape it runs in one go, for there these wait in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import moorage
import onlooker
from moorage.runtime.clocks.clock import Clock, system_clock
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.waiting.async_waiters import make_async_waiter

Body = Callable[[Any], Coroutine[Any, Any, Any]]

SHAPES = ["function", "async function", "method", "async method", "batched", "async batched"]
SYNC = ["function", "method", "batched"]
ASYNC = ["async function", "async method", "async batched"]

in_both_times = pytest.mark.parametrize("world", ["virtual", "real"], indirect=True)
in_every_shape = pytest.mark.parametrize("shape", SHAPES)
in_every_shape_and_both_times = pytest.mark.parametrize(
    ("shape", "world"),
    [(shape, "virtual") for shape in SHAPES] + [(shape, "real") for shape in SHAPES[:2]],
    indirect=["world"],
)
both_kinds = pytest.mark.parametrize("kind", ["sync", "async"])

# Seconds after which a test that hangs fails.
PATIENCE = 30.0


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a body that does not wait, as one does in synchronous code."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    raise AssertionError("it awaited something in synchronous code")


def shaped(shape: str, body: Body) -> tuple[Any, dict[str, Any]]:
    """`body` as code for a container, and what it must be opened with."""
    if shape == "function":

        def run(x):
            return drive(body(x))

        return run, {}
    if shape == "async function":

        async def run(x):
            return await body(x)

        return run, {}
    if shape == "batched":

        def run(xs):
            return [drive(body(x)) for x in xs]

        return run, {"batch": (1, 0)}
    if shape == "async batched":

        async def run(xs):
            return [await body(x) for x in xs]

        return run, {"batch": (1, 0)}
    if shape == "method":

        class Work:
            @moorage.method()
            def run(self, x):
                return drive(body(x))

    else:
        assert shape == "async method"

        class Work:
            @moorage.method()
            async def run(self, x):
                return await body(x)

    return Work, {}


class Mine(Exception):
    def __init__(self, code, *, detail):
        super().__init__(f"{code}, {detail}")
        self.code = code
        self.detail = detail


class World:
    """Time, real or virtual, and what user code did in it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.virtual = isinstance(clock, VirtualClock)
        self._changed = threading.Condition()
        self.running = 0
        self.peak = 0
        self.began: list[Any] = []
        self.ended: list[Any] = []

    def door(self) -> Door:
        """A door for bodies; it may be in the code of a container of another process."""
        return Door(self)

    def notes(self) -> list[Any]:
        """A list to which bodies append, wherever they are."""
        return []

    def close(self) -> None:
        """The test is over."""

    async def sleep(self, seconds: float) -> None:
        assert isinstance(self.clock, VirtualClock), "no test sleeps in real time"
        if _in_loop():
            await asyncio.sleep(seconds)
        else:
            self.sleep_here(seconds)

    async def turn(self) -> None:
        """Lets the others go on: by a bit of virtual time, or just so in real time."""
        if isinstance(self.clock, VirtualClock):
            await self.sleep(0.001)
        elif _in_loop():
            await asyncio.sleep(0)

    def sleep_here(self, seconds: float) -> None:
        assert isinstance(self.clock, VirtualClock), "no test sleeps in real time"
        self.clock.sleep(seconds)

    @contextlib.contextmanager
    def at_work(self, x: Any) -> Iterator[None]:
        with self._changed:
            self.began.append(x)
            self.running += 1
            self.peak = max(self.peak, self.running)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self.ended.append(x)
                self.running -= 1
                self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until what user code does, or did, is so; for what lies outside of it see `rest`."""
        if isinstance(self.clock, VirtualClock):
            self.clock.sleep(0)  # everything comes to rest
            assert condition(), (self.running, self.began, self.ended)
            return
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), (self.running, self.began)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """As `wait_for`, for what the engine does right after user code has ended."""
        if isinstance(self.clock, VirtualClock):
            self.clock.sleep(0)
            assert condition()
            return
        onlooker.wait_until(condition)


class Door:
    """Holds bodies up until it is opened; a cancel ends the wait of asynchronous ones only."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: list[Any] = []

    async def wait(self) -> None:
        waiter: Any = make_async_waiter() if _in_loop() else self._clock.make_waiter()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append(waiter)
        if _in_loop():
            await waiter.wait()
        else:
            self._clock.wait(waiter)

    def open(self) -> None:
        with self._lock:
            self._is_open = True
            waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.wake()


def _in_loop() -> bool:
    return asyncio._get_running_loop() is not None


def make_world(time_: str) -> World:
    return World(VirtualClock() if time_ == "virtual" else system_clock)
